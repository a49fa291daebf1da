"""Runs that are kept in memory."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from stepflow_sdk.errors import InvalidValue
from stepflow_sdk.runtime.runs import ItemRecord, PendingItem, RunQuery, RunRecord, StepRecord

__all__ = ["MemoryRunStore"]


class _Run:
    __slots__ = ("failed", "inputs", "items", "record", "steps")

    def __init__(self, record: RunRecord, inputs: Sequence[Any]) -> None:
        self.record = record
        self.inputs = inputs
        self.items: list[ItemRecord] = []
        self.failed = 0
        self.steps: dict[int, dict[str, StepRecord]] = {}


class MemoryRunStore:
    """Keeps runs as long as the process lives, but no outcomes of inputs that come one by one: nobody counted them.

    Args:
        max_ended: How many runs that have ended are remembered; the oldest are forgotten first.
        keep_steps: Remember inputs that were counted, and steps. A run of a hundred thousand items is then as large as
            everything its components were ever given and answered.
    """

    durable = False

    def __init__(self, *, max_ended: int = 1000, keep_steps: bool = False) -> None:
        self._max_ended = max_ended
        self.keeps_steps = keep_steps
        self._runs: dict[str, _Run] = {}
        self._ended: dict[str, None] = {}

    # ---- writing ----------------------------------------------------------------------------------------------

    async def create(self, run: RunRecord, inputs: Iterable[Any]) -> int | None:
        """See `RunStore.create`."""
        if run.run_id in self._runs:
            raise InvalidValue(f"there is a run {run.run_id} already", data={"field": "run_id"})
        counted = inputs if isinstance(inputs, Sequence) else None
        count = None if counted is None else len(counted)
        kept = () if counted is None or not self.keeps_steps else counted
        self._runs[run.run_id] = _Run(msgspec.structs.replace(run, items=count), kept)
        return count

    def write_step(self, run_id: str, step: StepRecord) -> None:
        """See `RunStore.write_step`."""
        by_item = self._runs[run_id].steps
        steps = by_item.get(step.item)
        if steps is None:
            by_item[step.item] = {step.step_id: step}
        else:
            steps[step.step_id] = step

    def end_item(self, run_id: str, item: ItemRecord) -> None:
        """See `RunStore.end_item`."""
        run = self._runs[run_id]
        if run.record.items is not None:
            run.items.append(item)
            run.failed += item.status == "failed"

    def end_run(self, run_id: str, status: str, completed_at: float) -> None:
        """See `RunStore.end_run`."""
        run = self._runs[run_id]
        run.record = msgspec.structs.replace(run.record, status=status, completed_at=completed_at)
        self._ended[run_id] = None
        while len(self._ended) > self._max_ended:
            oldest = next(iter(self._ended))
            del self._ended[oldest], self._runs[oldest]

    async def delete(self, run_id: str) -> None:
        """See `RunStore.delete`."""
        if self._ended.pop(run_id, run_id) is None:
            del self._runs[run_id]

    def sync(self) -> None:
        """See `RunStore.sync`; in memory there is nothing to wait for."""

    # ---- reading ----------------------------------------------------------------------------------------------

    async def get(self, run_id: str) -> RunRecord | None:
        """See `RunStore.get`."""
        run = self._runs.get(run_id)
        return None if run is None else _shown(run)

    async def find(self, query: RunQuery) -> Sequence[RunRecord]:
        """See `RunStore.find`."""
        found = [run for run in reversed(self._runs.values()) if _matches(run.record, query)]
        return [_shown(run) for run in found[query.offset : query.offset + query.limit]]

    async def items(self, run_id: str) -> Sequence[ItemRecord]:
        """See `RunStore.items`."""
        run = self._runs.get(run_id)
        return () if run is None else tuple(run.items)

    async def inputs(self, run_id: str, *, first: int = 0, limit: int | None = None) -> Sequence[Any]:
        """See `RunStore.inputs`; without ``keep_steps`` there are none."""
        run = self._runs.get(run_id)
        return () if run is None else run.inputs[first : None if limit is None else first + limit]

    async def steps(self, run_id: str, *, item: int | None = None) -> Sequence[StepRecord]:
        """See `RunStore.steps`; without ``keep_steps`` there are none."""
        run = self._runs.get(run_id)
        if run is None:
            return ()
        by_item = run.steps.values() if item is None else [run.steps.get(item, {})]
        return tuple(step for steps in by_item for step in steps.values())

    async def unfinished(self, *, after: str | None = None, limit: int = 100) -> Sequence[RunRecord]:  # noqa: ARG002  (as below)
        """See `RunStore.unfinished`; what the process began, it is still at."""
        return ()

    async def pending(self, run_id: str, *, after: int = -1, limit: int = 100) -> Sequence[PendingItem]:  # noqa: ARG002  (as above)
        """See `RunStore.pending`."""
        return ()


def _shown(run: _Run) -> RunRecord:
    return msgspec.structs.replace(run.record.shown(), completed=len(run.items) - run.failed, failed=run.failed)


def _matches(run: RunRecord, query: RunQuery) -> bool:
    wanted = (
        (query.status, run.status),
        (query.flow_name, run.flow_name),
        (query.root_run_id, run.root_run_id),
        (query.parent_run_id, run.parent_run_id),
    )
    deepest = 0 if query.roots_only else query.max_depth
    return all(want is None or want == has for want, has in wanted) and (deepest is None or run.depth <= deepest)
