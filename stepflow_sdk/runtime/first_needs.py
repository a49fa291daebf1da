"""What every item of a flow waits for when it begins, found out once for all of them."""

from collections.abc import Sequence
from typing import NamedTuple

from stepflow_sdk.flows import Expression, Flow
from stepflow_sdk.flows.expressions import sure_needs

__all__ = ["OUTPUT", "FirstNeeds", "first_needs"]

OUTPUT = -1
"""Stands where the index of a step could stand, for the output of the flow."""


class FirstNeeds(NamedTuple):
    """Where the need-driven search of section c.1 of the flow format gets to before anything was called.

    Attributes:
        waiting: For each step that is needed, who waits for it: indexes of steps, or `OUTPUT`.
        missing: For each that waits, how many steps it waits for.
        free: Those that are needed and wait for nothing.
        provided: What must not fail for all this to hold; these do not refer to steps.
    """

    waiting: dict[str, list[int]]
    missing: dict[int, int]
    free: list[int]
    provided: list[Expression]


def first_needs(flow: Flow, expressions: Sequence[Expression], must_execute: Sequence[int]) -> FirstNeeds | None:
    """Search from the output and the steps that must run; None where the values decide what is needed.

    Args:
        flow: The flow; its references name steps that it has.
        expressions: The inputs of its steps, and its output as the last one.
        must_execute: Indexes of steps that run whether they are needed or not.
    """
    index = {step.id: number for number, step in enumerate(flow.steps)}
    waiting: dict[str, list[int]] = {flow.steps[number].id: [] for number in must_execute}
    missing: dict[int, int] = {}
    free: list[int] = []
    provided: list[Expression] = []
    consumers = [OUTPUT, *must_execute]
    while consumers:
        consumer = consumers.pop()
        needs = sure_needs(expressions[consumer])
        if needs is None or not needs[0] <= index.keys():
            return None
        steps, without_steps = needs
        if not steps:
            free.append(consumer)
            continue
        provided += without_steps
        missing[consumer] = len(steps)
        for step_id in steps:
            if step_id not in waiting:
                waiting[step_id] = []
                consumers.append(index[step_id])
            waiting[step_id].append(consumer)
    return FirstNeeds(waiting, missing, free, provided)
