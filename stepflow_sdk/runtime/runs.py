"""Where the state of runs is kept."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from stepflow_sdk.protocol import FlowResult

__all__ = ["ItemRecord", "MemoryRunStore", "RunRecord", "RunStore", "StepRecord"]


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
        overrides: The step overrides given with it.
        max_concurrency: How many of its steps may run at once.
        parent_run_id: The run that started it.
    """

    run_id: str
    flow_id: str
    flow_name: str | None
    items: int | None
    created_at: float
    status: str = "running"
    completed_at: float | None = None
    variables: dict[str, Any] | None = None
    overrides: dict[str, Any] | None = None
    max_concurrency: int | None = None
    parent_run_id: str | None = None


class StepRecord(Struct, frozen=True):
    """The end of one step of one item.

    Attributes:
        item: The index of the item's input.
        step_id: The step.
        status: ``completed``, ``failed`` or ``skipped``.
        outcome: What its dependants see: the JSON value, or the `Failure`.
        attempt: How many times its component was called; 0 if never.
        reason: Why it was skipped.
    """

    item: int
    step_id: str
    status: str
    outcome: Any
    attempt: int
    reason: str | None = None


class ItemRecord(Struct, frozen=True):
    """The end of one item of a run; ``status`` is ``completed`` or ``failed``, the time in seconds since 1970."""

    item: int
    status: str
    result: FlowResult
    completed_at: float


class RunStore(Protocol):
    """Keeps runs. When a method returns, what it was told is kept as safely as the store keeps things."""

    async def create(self, run: RunRecord, inputs: Sequence[Any] | None) -> None:
        """Accept a run; ``inputs`` is None when they come one by one."""
        ...

    async def record_steps(self, run_id: str, steps: Sequence[StepRecord]) -> None:
        """Keep the ends of steps; no step that depends on them starts before this returns."""
        ...

    async def end_item(self, run_id: str, item: ItemRecord) -> None:
        """Keep the outcome of an item."""
        ...

    async def end_run(self, run_id: str, status: str, completed_at: float) -> None:
        """Keep the end of a run."""
        ...

    async def get(self, run_id: str) -> RunRecord | None:
        """The run with this id, or None."""
        ...

    async def items(self, run_id: str) -> Sequence[ItemRecord]:
        """The items that have ended, in the order in which they did."""
        ...

    async def steps(self, run_id: str) -> Sequence[StepRecord]:
        """The steps that have ended, in the order in which they did."""
        ...


class _Run:
    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.items: list[ItemRecord] = []
        self.steps: dict[int, list[StepRecord]] = {}


class MemoryRunStore:
    """Keeps runs as long as the process lives, but no outcomes of inputs that come one by one: nobody counted them.

    Args:
        max_ended: How many runs that have ended are remembered; the oldest are forgotten first.
        keep_steps: Remember the steps of an item beyond its end. A run of a hundred thousand items is then as large
            as everything its components ever answered.
    """

    def __init__(self, *, max_ended: int = 1000, keep_steps: bool = False) -> None:
        self._max_ended = max_ended
        self._keep_steps = keep_steps
        self._runs: dict[str, _Run] = {}
        self._ended: dict[str, None] = {}

    async def create(self, run: RunRecord, inputs: Sequence[Any] | None) -> None:  # noqa: ARG002  (lost with the process)
        """See `RunStore.create`."""
        self._runs[run.run_id] = _Run(run)

    async def record_steps(self, run_id: str, steps: Sequence[StepRecord]) -> None:
        """See `RunStore.record_steps`."""
        by_item = self._runs[run_id].steps
        for step in steps:
            by_item.setdefault(step.item, []).append(step)

    async def end_item(self, run_id: str, item: ItemRecord) -> None:
        """See `RunStore.end_item`."""
        run = self._runs[run_id]
        if run.record.items is not None:
            run.items.append(item)
        if not self._keep_steps:
            run.steps.pop(item.item, None)

    async def end_run(self, run_id: str, status: str, completed_at: float) -> None:
        """See `RunStore.end_run`."""
        run = self._runs[run_id]
        run.record = _ended(run.record, status, completed_at)
        self._ended[run_id] = None
        while len(self._ended) > self._max_ended:
            oldest = next(iter(self._ended))
            del self._ended[oldest], self._runs[oldest]

    async def get(self, run_id: str) -> RunRecord | None:
        """See `RunStore.get`."""
        run = self._runs.get(run_id)
        return None if run is None else run.record

    async def items(self, run_id: str) -> Sequence[ItemRecord]:
        """See `RunStore.items`."""
        run = self._runs.get(run_id)
        return () if run is None else tuple(run.items)

    async def steps(self, run_id: str) -> Sequence[StepRecord]:
        """See `RunStore.steps`; without ``keep_steps`` only those of items that have not ended."""
        run = self._runs.get(run_id)
        return () if run is None else tuple(step for steps in run.steps.values() for step in steps)


def _ended(run: RunRecord, status: str, completed_at: float) -> RunRecord:
    return msgspec.structs.replace(run, status=status, completed_at=completed_at)
