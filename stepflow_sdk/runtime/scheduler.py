"""Runs the items of one run: which step is called next, and by whom."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, NamedTuple, cast

import anyio
from anyio.abc import TaskGroup

from stepflow_sdk.flows import Failure
from stepflow_sdk.protocol import BlobId, FlowResult, FlowResultFailed, ObservabilityContext
from stepflow_sdk.runtime.events import ItemEnded, Observer, RunEvent, StepEnded
from stepflow_sdk.runtime.failures import Skipped, flow_result
from stepflow_sdk.runtime.inputs import InputSource
from stepflow_sdk.runtime.items import Item, Plan
from stepflow_sdk.runtime.journal import KeptStep, replay
from stepflow_sdk.runtime.runs import ItemRecord, RunStore, StepRecord
from stepflow_sdk.runtime.steps import StepCaller

__all__ = ["Job", "Scheduler"]

_TURNS = 64
"""After so many steps a worker lets everything else on the event loop have a turn."""


_MOST_UNTOLD = 1000
"""After so many events a worker waits until what they tell of is safe."""

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
        in_memory: Whether the inputs are all there already. When they come one by one, their number is bounded that
            is under way.
        variables: The variables given with the run.
        max_concurrency: How many steps may be called at once, over all items.
        on_result: Told the index of an item and its outcome.
    """

    run_id: str
    flow_id: BlobId
    plan: Plan
    inputs: InputSource
    in_memory: bool
    variables: Mapping[str, Any]
    max_concurrency: int
    on_result: Callable[[int, FlowResult], None]


class Scheduler:
    """Runs a job with as many workers as its limit allows and its work needs.

    A worker calls one step after the other: of the steps that can be called always the one of the earliest item, and
    of that item the one that stands first in the flow (section c.2 of the flow format). Items begin when no other item
    has anything to call, so that a run over many inputs holds the state of few. A chain of steps is the work of the
    run's own task; every other worker is started by one that sees more work than its own.

    The end of a step is written before anything that depends on it, and waited for together with the start of the
    step that the worker calls next: nothing is called, and nobody is told, before both are safe.
    """

    def __init__(self, job: Job, caller: StepCaller, store: RunStore, observer: Observer | None) -> None:
        self._job = job
        self._caller = caller
        self._store = store
        self._observe = observer
        self._untold: list[RunEvent | _Result] = []
        self._ready: list[tuple[int, int, Item]] = []
        self._active: dict[int, Item] = {}
        self._stored: dict[int, Mapping[str, StepRecord]] = {}
        self._inputs = job.inputs
        self._begun = 0
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
            self._end_item(item)
        if self._untold:
            await self._sync()

    async def _work(self) -> None:
        while await self._find_work():
            _, index, item = heappop(self._ready)
            if item.is_over:
                continue
            more = self._ready or self._has_room()
            if more and self._workers < self._job.max_concurrency and self._tasks is not None:
                self._workers += 1
                self._tasks.start_soon(self._work)
            await self._call(item, index)
        self._workers -= 1
        if self._untold:
            await self._sync()

    async def _find_work(self) -> bool:
        while not self._ready and self._has_room():
            await self._begin_item()
            await self._take_turns()
        return bool(self._ready)

    def _has_room(self) -> bool:
        """Whether another item can begin; when none can, a worker ends, and that of an earlier item goes on."""
        if self._inputs.exhausted or self._job.in_memory or not self._active:
            return not self._inputs.exhausted
        # Items begin in their order, so the first one is the earliest that has not ended.
        return self._begun - next(iter(self._active)) < _WINDOW

    async def _begin_item(self) -> None:
        pending = await self._inputs.take()
        if pending is None:
            return
        index = pending.item
        self._begun = index + 1
        item = self._job.plan.item(index, pending.input, self._job.variables)
        self._active[index] = item
        if pending.steps:
            self._stored[index] = {step.step_id: step for step in pending.steps}
        self._after(item, item.start())

    async def _call(self, item: Item, index: int) -> None:
        job = self._job
        step = job.plan.steps[index]
        input = item.take_input(index)
        began = time.perf_counter()
        ids = ObservabilityContext(None, None, job.run_id, job.flow_id, step.id)
        stored = self._stored[item.index].get(step.id) if item.index in self._stored else None
        start = KeptStep(self._write_start, item.index, step, stored) if self._store.keeps_steps else None
        outcome, failure, attempt = await self._caller.run(
            step, input, ids, item=item.index, observer=self._observe, start=start
        )
        if failure is not None:
            outcome = item.recover(index, outcome, failure)
        skipped = outcome if isinstance(outcome, Skipped) else None
        status = "skipped" if skipped else "failed" if isinstance(outcome, Failure) else "completed"
        reason = skipped.reason if skipped else None
        if start is not None:
            # Written first: what depends on a result must never be ahead of it.
            self._store.write_step(job.run_id, start.ended(status, None if skipped else outcome, attempt, reason))
        if self._observe is not None:
            seconds = time.perf_counter() - began
            event = StepEnded(
                job.run_id, item.index, step.id, step.component, status, seconds, failure, reason, attempt
            )
            self._tell(event)
        self._after(item, item.settle(index, outcome))
        await self._take_turns()

    def _after(self, item: Item, ready: list[int]) -> None:
        if item.index in self._stored:
            ready = replay(item, ready, self._stored[item.index], self._job.plan)
        for index in ready:
            heappush(self._ready, (item.index, index, item))
        if item.ended_early:
            self._write_ended_early(item)
        if item.done:
            self._end_item(item)

    def _write_ended_early(self, item: Item) -> None:
        ended, item.ended_early = item.ended_early, []
        run_id = self._job.run_id
        now = time.time() if self._store.keeps_steps else None
        for index, end in ended:
            step = self._job.plan.steps[index]
            failure, reason = (None, end.reason) if isinstance(end, Skipped) else (end, None)
            status = "skipped" if failure is None else "failed"
            if now is not None:
                record = StepRecord(item.index, step.id, status, failure, 0, reason, step.component, now, now)
                self._store.write_step(run_id, record)
            if self._observe is not None:
                self._tell(StepEnded(run_id, item.index, step.id, step.component, status, 0.0, failure, reason, 0))

    def _end_item(self, item: Item) -> None:
        if self._active.pop(item.index, None) is None:
            return  # another worker has ended its last step at the same time
        self._stored.pop(item.index, None)
        result = flow_result(item.outcome)
        failed = isinstance(result, FlowResultFailed)
        self.failed += failed
        record = ItemRecord(item.index, "failed" if failed else "completed", result, time.time())
        self._store.end_item(self._job.run_id, record)
        if self._observe is not None:
            self._tell(ItemEnded(self._job.run_id, item.index, result))
        self._tell(_Result(item.index, result))

    def _tell(self, told: "RunEvent | _Result") -> None:
        """Tell of what was written: at once where it is safe already, else behind the next `_sync`."""
        if self._store.durable:
            self._untold.append(told)
        else:
            self._tell_now(told)

    def _tell_now(self, told: "RunEvent | _Result") -> None:
        if isinstance(told, _Result):
            self._job.on_result(told.item, told.result)
        elif self._observe is not None:
            self._observe(told)

    async def _sync(self) -> None:
        """Wait until what was written is safe, then tell of it."""
        untold, self._untold = self._untold, []
        waiting = self._store.sync()
        if waiting is not None:
            await waiting
        for told in untold:
            self._tell_now(told)

    async def _take_turns(self) -> None:
        # Components that answer at once, and items without steps, would otherwise keep the loop to themselves.
        self._turn += 1
        if self._turn % _TURNS == 0:
            await asyncio.sleep(0)
            if len(self._untold) > _MOST_UNTOLD:
                await self._sync()  # items without steps wait for nothing else

    async def _write_start(self, record: StepRecord) -> None:
        self._store.write_step(self._job.run_id, record)
        await self._sync()


class _Result(NamedTuple):
    """The outcome of an item, for whoever started the run."""

    item: int
    result: FlowResult


def _first(error: Exception) -> Exception:
    if isinstance(error, ExceptionGroup):
        return _first(cast("ExceptionGroup[Exception]", error).exceptions[0])
    return error
