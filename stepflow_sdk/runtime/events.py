"""What an observer of a runtime is told while flows run."""

import logging
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from stepflow_sdk.flows import Failure
from stepflow_sdk.protocol import FlowResult

__all__ = [
    "ItemEnded",
    "Observer",
    "RunEnded",
    "RunEvent",
    "RunStarted",
    "StepEnded",
    "StepRetried",
    "StepStarted",
    "all_observers",
]

_log = logging.getLogger("stepflow_sdk.runtime")


class RunStarted(Struct, frozen=True):
    """A run has begun.

    Attributes:
        run_id: Its id, a UUID.
        flow_id: The id of its flow.
        flow_name: The flow's name, if it has one.
        items: How many inputs it has; None when they are not counted beforehand.
        parent_run_id: The run whose component or step started it.
    """

    run_id: str
    flow_id: str
    flow_name: str | None = None
    items: int | None = None
    parent_run_id: str | None = None


class StepStarted(Struct, frozen=True):
    """A component is about to be called for a step; ``attempt`` counts from 1."""

    run_id: str
    item: int
    step_id: str
    component: str
    attempt: int = 1


class StepRetried(Struct, frozen=True):
    """An attempt at a step has failed, and another one follows.

    Attributes:
        run_id: The run.
        item: The index of the input, from 0.
        step_id: The step.
        component: Its component's path in the flow.
        attempt: Which attempt failed, from 1.
        failure: Why.
        delay: Seconds until the next one.
    """

    run_id: str
    item: int
    step_id: str
    component: str
    attempt: int
    failure: Failure
    delay: float


class StepEnded(Struct, frozen=True):
    """A step has ended.

    Attributes:
        run_id: The run.
        item: The index of the input, from 0.
        step_id: The step.
        component: Its component's path in the flow.
        status: ``completed``, ``failed`` or ``skipped``.
        seconds: How long its component took, with all attempts and the waits between them; 0 for a step that failed
            before it was called.
        failure: Why it failed. It is there too when ``useDefault`` made a success of it.
        reason: Why it was skipped.
        attempt: How often its component was called.
    """

    run_id: str
    item: int
    step_id: str
    component: str
    status: str
    seconds: float
    failure: Failure | None = None
    reason: str | None = None
    attempt: int = 1


class ItemEnded(Struct, frozen=True):
    """One input of a run has its outcome."""

    run_id: str
    item: int
    result: FlowResult


class RunEnded(Struct, frozen=True):
    """A run has ended.

    Attributes:
        run_id: The run.
        status: ``completed``, ``failed`` or ``cancelled``; ``interrupted`` for one that a state file keeps and that can
            be resumed.
        seconds: How long it took, in this process.
    """

    run_id: str
    status: str
    seconds: float


RunEvent: TypeAlias = RunStarted | StepStarted | StepRetried | StepEnded | ItemEnded | RunEnded
"""Anything that an observer is told."""

Observer: TypeAlias = Callable[[RunEvent], None]
"""Is called on the event loop, in order, and must not block; what it raises is logged and ignored."""


def all_observers(*observers: Observer | None) -> Observer | None:
    """One observer for those that there are, none of which can harm a run."""
    known = [_guarded(observer) for observer in observers if observer is not None]
    if len(known) < 2:
        return known[0] if known else None

    def observe(event: RunEvent) -> None:
        for observer in known:
            observer(event)

    return observe


def _guarded(observer: Observer) -> Observer:
    """An observer that cannot harm a run: what it raises is logged."""

    def observe(event: RunEvent) -> None:
        try:
            observer(event)
        except Exception:
            _log.exception("the observer failed on %s", type(event).__name__)

    return observe
