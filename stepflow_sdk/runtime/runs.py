"""What is known of runs, and the interface behind which it is kept."""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from stepflow_sdk.protocol import FlowResult

__all__ = ["ItemRecord", "PendingItem", "RunQuery", "RunRecord", "RunStore", "StepRecord"]

REDACTED: Final = "<secret>"
"""Stands where the value of a secret variable would stand."""


class RunRecord(Struct, frozen=True):
    """What is known of a run from the moment it is accepted.

    Attributes:
        run_id: Its id, a UUID.
        flow_id: The id of its flow, which is a blob.
        flow_name: The flow's name.
        items: How many inputs it has; None when they are not counted beforehand.
        created_at: When it was accepted, in seconds since 1970.
        status: ``running``, ``completed``, ``failed`` or ``cancelled``.
        completed_at: When it ended.
        variables: The variables given with it.
        secrets: Which of them are secret: where a store shows a record, their values are left out.
        overrides: The step overrides given with it.
        max_concurrency: How many of its steps may run at once.
        parent_run_id: The run that started it.
        root_run_id: The run at the top, from which all others of this tree were started; for that one its own id.
        depth: How many runs are above it.
        attached: Whether a step of its parent waits for it. Such a run is not resumed on its own: the step runs again,
            and starts it again.
        completed: How many of its items have completed.
        failed: How many of its items have failed.
    """

    run_id: str
    flow_id: str
    flow_name: str | None
    items: int | None
    created_at: float
    status: str = "running"
    completed_at: float | None = None
    variables: dict[str, Any] | None = None
    secrets: tuple[str, ...] = ()
    overrides: dict[str, Any] | None = None
    max_concurrency: int | None = None
    parent_run_id: str | None = None
    root_run_id: str = ""
    depth: int = 0
    attached: bool = False
    completed: int = 0
    failed: int = 0

    def shown(self) -> "RunRecord":
        """The record without the values of secret variables."""
        if not self.secrets or self.variables is None:
            return self
        variables = {name: REDACTED if name in self.secrets else value for name, value in self.variables.items()}
        return msgspec.structs.replace(self, variables=variables)


class StepRecord(Struct, frozen=True):
    """One step of one item, from the first call of its component on.

    Attributes:
        item: The index of the item's input.
        step_id: The step.
        status: ``running``, ``completed``, ``failed`` or ``skipped``.
        outcome: What its dependants see: the JSON value, or the `Failure`; nothing while it runs.
        attempt: Which call of its component this is, or was the last; 0 if it was never called.
        reason: Why it was skipped.
        component: Its component's path in the flow.
        started_at: When its component was first called, in seconds since 1970.
        ended_at: When it ended.
    """

    item: int
    step_id: str
    status: str
    outcome: Any
    attempt: int
    reason: str | None = None
    component: str = ""
    started_at: float | None = None
    ended_at: float | None = None


class ItemRecord(Struct, frozen=True):
    """The end of one item of a run; ``status`` is ``completed`` or ``failed``, the time in seconds since 1970."""

    item: int
    status: str
    result: FlowResult
    completed_at: float


class PendingItem(Struct, frozen=True):
    """An item that has not ended: its index, its input, and those of its steps that have started."""

    item: int
    input: Any
    steps: Sequence[StepRecord] = ()


class RunQuery(Struct, frozen=True):
    """Which runs are wanted; what is None does not matter.

    Attributes:
        status: Those with this status.
        flow_name: Those of flows with this name.
        root_run_id: Those of this tree.
        parent_run_id: Those that this run has started.
        max_depth: Those with at most so many runs above them.
        roots_only: Those with no run above them.
        limit: At most so many.
        offset: Without the first so many.
    """

    status: str | None = None
    flow_name: str | None = None
    root_run_id: str | None = None
    parent_run_id: str | None = None
    max_depth: int | None = None
    roots_only: bool = False
    limit: int = 50
    offset: int = 0


class RunStore(Protocol):
    """Keeps runs.

    Writing is in two parts. What is written takes effect in its order, and nothing waits for it; what was written is
    safe when the next `sync` is over, and with it everything that was written before. So the end of a step, and the
    start of the one that it made ready, cost one wait together.
    """

    durable: bool
    """Whether runs outlive the process: then they are resumed, and all their inputs are kept before they begin."""

    keeps_steps: bool
    """Whether steps are kept at all; what would be thrown away need not be written."""

    async def create(self, run: RunRecord, inputs: Iterable[Any]) -> int | None:
        """Accept a run; it is safe when this returns.

        Args:
            run: The run; the store sets ``items``.
            inputs: One for each item. A store that is not durable leaves what is not a sequence alone.

        Returns:
            How many inputs there are; None when they come one by one.

        Raises:
            InvalidValue: There is a run with this id already.
            ResourceUnavailable: It cannot be kept now; nothing of it is.
        """
        ...

    def write_step(self, run_id: str, step: StepRecord) -> None:
        """Keep the start of a step (``running``), a further attempt, or its end; the first end that is kept counts."""
        ...

    def end_item(self, run_id: str, item: ItemRecord) -> None:
        """Keep the outcome of an item."""
        ...

    def end_run(self, run_id: str, status: str, completed_at: float) -> None:
        """Keep the end of a run."""
        ...

    async def delete(self, run_id: str) -> None:
        """Forget a run that has ended, with its inputs, items and steps; it is gone when this returns."""
        ...

    def sync(self) -> Awaitable[None] | None:
        """Wait until all that was written is safe; None when it is already.

        Raises:
            ResourceUnavailable: It cannot be kept.
        """
        ...

    async def get(self, run_id: str) -> RunRecord | None:
        """The run with this id as it is shown, or None."""
        ...

    async def find(self, query: RunQuery) -> Sequence[RunRecord]:
        """Runs as they are shown, the newest first."""
        ...

    async def items(self, run_id: str) -> Sequence[ItemRecord]:
        """The items that have ended, in the order in which they did."""
        ...

    async def inputs(self, run_id: str, *, first: int = 0, limit: int | None = None) -> Sequence[Any]:
        """The inputs in their order, from the one with the index ``first``; as far as they are kept."""
        ...

    async def steps(self, run_id: str, *, item: int | None = None) -> Sequence[StepRecord]:
        """The steps that have started, of all items or of one, in the order in which they did."""
        ...

    async def unfinished(self, *, after: str | None = None, limit: int = 100) -> Sequence[RunRecord]:
        """Runs that have not ended, the oldest first and whole, with their secrets; ``after`` is the last one known."""
        ...

    async def pending(self, run_id: str, *, after: int = -1, limit: int = 100) -> Sequence[PendingItem]:
        """Items of a run that have not ended, by their indexes, from the one behind ``after`` on."""
        ...
