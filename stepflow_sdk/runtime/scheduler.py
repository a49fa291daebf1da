"""Runs the items of one run: which step is called next, and by whom."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, cast

import anyio
from anyio.abc import TaskGroup

from stepflow_sdk.flows import Failure
from stepflow_sdk.protocol import BlobId, FlowResult, FlowResultFailed, ObservabilityContext
from stepflow_sdk.runtime.events import ItemEnded, Observer, StepEnded
from stepflow_sdk.runtime.failures import Skipped, flow_result
from stepflow_sdk.runtime.items import Item, Plan
from stepflow_sdk.runtime.runs import ItemRecord, RunStore, StepRecord
from stepflow_sdk.runtime.steps import StepCaller

__all__ = ["Scheduler"]

_TURNS = 64
"""After so many steps a worker lets everything else on the event loop have a turn."""


_WINDOW = 1000
"""Of inputs that come one by one, so many are under way at once: an item that takes long holds up the outcomes of those
behind it, and these wait in memory."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a scheduler has to do.

    Attributes:
        run_id: The run.
        flow_id: What components are told of the flow.
        plan: The flow.
        inputs: Taken one by one, when there is room for another item.
        count: How many there are; None when nobody knows.
        variables: The variables given with the run.
        max_concurrency: How many steps may be called at once, over all items.
        on_result: Told the index of an item and its outcome.
    """

    run_id: str
    flow_id: BlobId
    plan: Plan
    inputs: Iterator[Any]
    count: int | None
    variables: Mapping[str, Any]
    max_concurrency: int
    on_result: Callable[[int, FlowResult], None]


class Scheduler:
    """Runs a job with as many workers as its limit allows and its work needs.

    A worker calls one step after the other: of the steps that can be called always the one of the earliest item, and
    of that item the one that stands first in the flow (section c.2 of the flow format). Items begin when no other item
    has anything to call, so that a run over many inputs holds the state of few. A chain of steps is the work of the
    run's own task; every other worker is started by one that sees more work than its own.
    """

    def __init__(self, job: Job, caller: StepCaller, store: RunStore, observer: Observer | None) -> None:
        self._job = job
        self._caller = caller
        self._store = store
        self._observe = observer
        self._ready: list[tuple[int, int, Item]] = []
        self._active: dict[int, Item] = {}
        self._inputs = job.inputs
        self._begun = 0
        self._exhausted = job.count == 0
        self._workers = 0
        self._turn = 0
        self._tasks: TaskGroup | None = None
        self.failed = 0

    async def run(self) -> None:
        """Run every item to its end; cancelling this cancels the calls of the components."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._workers = 1
                await self._work()
        except ExceptionGroup as group:
            # The inputs or the store failed. Several workers may have met it, which says nothing to anybody.
            raise _first(group) from None
        for item in list(self._active.values()):
            item.give_up()
            await self._end_item(item)

    async def _work(self) -> None:
        while await self._find_work():
            _, index, item = heappop(self._ready)
            more = self._ready or self._has_room()
            if more and self._workers < self._job.max_concurrency and self._tasks is not None:
                self._workers += 1
                self._tasks.start_soon(self._work)
            await self._call(item, index)
        self._workers -= 1

    async def _find_work(self) -> bool:
        while not self._ready and self._has_room():
            await self._begin_item()
            await self._take_turns()
        return bool(self._ready)

    def _has_room(self) -> bool:
        """Whether another item can begin; when none can, a worker ends, and that of an earlier item goes on."""
        if self._exhausted or self._job.count is not None or not self._active:
            return not self._exhausted
        # Items begin in their order, so the first one is the earliest that has not ended.
        return self._begun - next(iter(self._active)) < _WINDOW

    async def _begin_item(self) -> None:
        try:
            value = next(self._inputs)
        except StopIteration:
            self._exhausted = True
            return
        index = self._begun
        self._begun += 1
        self._exhausted = self._begun == self._job.count
        item = Item(self._job.plan, index, value, self._job.variables)
        self._active[index] = item
        await self._after(item, item.start())

    async def _call(self, item: Item, index: int) -> None:
        job = self._job
        step = job.plan.steps[index]
        input = item.take_input(index)
        began = time.perf_counter()
        ids = ObservabilityContext(None, None, job.run_id, job.flow_id, step.id)
        outcome, failure, attempt = await self._caller.run(step, input, ids, item=item.index, observer=self._observe)
        skipped = outcome if isinstance(outcome, Skipped) else None
        if skipped is not None:
            outcome = None
        status = "skipped" if skipped else "failed" if isinstance(outcome, Failure) else "completed"
        reason = skipped.reason if skipped else None
        record = StepRecord(item.index, step.id, status, outcome, attempt, reason)
        # Stored first: what depends on a result must never be ahead of it.
        await self._store.record_steps(job.run_id, (record,))
        if self._observe is not None:
            seconds = time.perf_counter() - began
            self._observe(
                StepEnded(job.run_id, item.index, step.id, step.component, status, seconds, failure, reason, attempt)
            )
        await self._after(item, item.settle(index, outcome))
        await self._take_turns()

    async def _after(self, item: Item, ready: list[int]) -> None:
        for index in ready:
            heappush(self._ready, (item.index, index, item))
        if item.failed_early:
            await self._record_failed_early(item)
        if item.done:
            await self._end_item(item)

    async def _record_failed_early(self, item: Item) -> None:
        failed, item.failed_early = item.failed_early, []
        steps = self._job.plan.steps
        run_id = self._job.run_id
        records = [StepRecord(item.index, steps[index].id, "failed", failure, 0) for index, failure in failed]
        await self._store.record_steps(run_id, records)
        if self._observe is not None:
            for index, failure in failed:
                step = steps[index]
                self._observe(StepEnded(run_id, item.index, step.id, step.component, "failed", 0.0, failure, None, 0))

    async def _end_item(self, item: Item) -> None:
        if self._active.pop(item.index, None) is None:
            return  # another worker has ended its last step at the same time
        result = flow_result(item.outcome)
        failed = isinstance(result, FlowResultFailed)
        self.failed += failed
        record = ItemRecord(item.index, "failed" if failed else "completed", result, time.time())
        await self._store.end_item(self._job.run_id, record)
        if self._observe is not None:
            self._observe(ItemEnded(self._job.run_id, item.index, result))
        self._job.on_result(item.index, result)

    async def _take_turns(self) -> None:
        # Components that answer at once, and items without steps, would otherwise keep the loop to themselves.
        self._turn += 1
        if self._turn % _TURNS == 0:
            await asyncio.sleep(0)


def _first(error: Exception) -> Exception:
    if isinstance(error, ExceptionGroup):
        return _first(cast("ExceptionGroup[Exception]", error).exceptions[0])
    return error
