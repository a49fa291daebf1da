"""What every item of a flow waits for when it begins, found out once for all of them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stepflow_sdk.flows import Expression
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
        provided: What must not fail for all this to hold; nothing of it looks at a step.
    """

    waiting: dict[str, list[int]]
    missing: dict[int, int]
    free: list[int]
    provided: list[Expression]


def first_needs(
    index: Mapping[str, int], expressions: Sequence[Expression], must_execute: Sequence[int]
) -> FirstNeeds | None:
    """Search from the output and the steps that must run.

    Args:
        index: The indexes of the steps by their ids.
        expressions: The inputs of the steps, and the output of the flow as the last one.
        must_execute: The steps that run whether they are needed or not.

    Returns:
        None where values decide what is needed, and where a reference names no step.
    """
    waiting: dict[str, list[int]] = {step_id: [] for step_id, number in index.items() if number in must_execute}
    missing: dict[int, int] = {}
    free: list[int] = []
    provided: list[Expression] = []
    consumers = [OUTPUT, *must_execute]
    while consumers:
        consumer = consumers.pop()
        needs = sure_needs(expressions[consumer])
        if needs is None or not needs[0] <= index.keys():
            return None
        steps, fallible = needs
        # A step that fails before any was called may leave others without need; an output that does, does not.
        if steps or consumer != OUTPUT:
            provided += fallible
        if not steps:
            free.append(consumer)
            continue
        missing[consumer] = len(steps)
        for step_id in sorted(steps, key=index.__getitem__):
            if step_id not in waiting:
                waiting[step_id] = []
                consumers.append(index[step_id])
            waiting[step_id].append(consumer)
    return FirstNeeds(waiting, missing, free, provided)
