"""What is kept of the steps of an item while they run, and how an item is brought as far as it was."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stepflow_sdk.flows import Skipped, Step
from stepflow_sdk.runtime.items import Item, Plan
from stepflow_sdk.runtime.runs import StepRecord

__all__ = ["KeptStep", "replay"]


class KeptStep:
    """A step whose attempts and end are kept; see `StepStart`.

    Args:
        write: Keeps a record; it is safe when this returns.
        item: The index of the run's input.
        step: The step.
        stored: What was kept of it before the process began.
    """

    __slots__ = ("_item", "_started_at", "_step", "_write", "first_attempt")

    def __init__(
        self, write: Callable[[StepRecord], Awaitable[None]], item: int, step: Step, stored: StepRecord | None
    ) -> None:
        self._write = write
        self._item = item
        self._step = step
        # The attempt that was under way when the process ended has happened, as far as anybody knows.
        self.first_attempt = 1 if stored is None else stored.attempt + 1
        self._started_at = None if stored is None else stored.started_at

    async def begin(self, attempt: int) -> None:
        """See `StepStart.begin`."""
        await self._write(self.started(attempt))

    def started(self, attempt: int) -> StepRecord:
        """The record of an attempt that begins."""
        if self._started_at is None:
            self._started_at = time.time()
        step = self._step
        return StepRecord(self._item, step.id, "running", None, attempt, None, step.component, self._started_at)

    def ended(self, status: str, outcome: Any, attempt: int, reason: str | None) -> StepRecord:
        """The record of its end."""
        step = self._step
        return StepRecord(
            self._item, step.id, status, outcome, attempt, reason, step.component, self._started_at, time.time()
        )


def replay(item: Item, ready: list[int], stored: Mapping[str, StepRecord], plan: Plan) -> list[int]:
    """Settle the steps whose ends are stored, and those that these make ready; returns what is left to be called.

    What an item does next depends on the outcomes of its steps alone, not on when they came: so it goes on from what is
    stored as it would have gone on then.
    """
    left: list[int] = []
    while ready:
        index = ready.pop()
        record = stored.get(plan.steps[index].id)
        if record is None or record.status == "running":
            left.append(index)
        else:
            item.take_input(index)
            ready += item.settle(index, Skipped(record.reason) if record.status == "skipped" else record.outcome)
    return left
