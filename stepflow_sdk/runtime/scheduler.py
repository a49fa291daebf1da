"""Runs the items of one run: which step is called next, and by whom."""

import asyncio
import time
from collections import deque
from contextvars import copy_context
from functools import partial
from typing import Any, Final, cast

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct

from stepflow_sdk.flows import Failure, Step
from stepflow_sdk.protocol import ObservabilityContext
from stepflow_sdk.runtime.events import Observer, StepEnded, StepStarted
from stepflow_sdk.runtime.failures import Skipped
from stepflow_sdk.runtime.items import Item
from stepflow_sdk.runtime.journal import KeptStep
from stepflow_sdk.runtime.plugins.plugin import OngoingCall
from stepflow_sdk.runtime.progress import Job, Progress, status_of
from stepflow_sdk.runtime.runs import RunStore, StepRecord
from stepflow_sdk.runtime.steps import StepCaller

__all__ = ["Job", "Scheduler"]

_TURNS: Final = 64
"""After so many steps everything else on the event loop has a turn."""

_MOST_UNTOLD: Final = 1000
"""After so many events a worker waits until what they tell of is safe."""


class _Step(Struct, eq=False):
    """A step that is called."""

    item: Item
    index: int
    step: Step
    input: Any
    ids: ObservabilityContext
    began: float
    start: KeptStep | None = None
    begun: OngoingCall | None = None


class _Wait:
    """Stands for a step, where something has to be waited for before there is another one."""


_WAIT: Final = _Wait()


class Scheduler:
    """Runs a job with as many calls at once as its limit allows.

    A component that can be called without a task is called so, and what its answer makes ready is called where the
    answer is read: the answers of one read make calls that leave in one write. All others are the work of workers,
    which call one step after the other. The run's own task is the first of them; more are started when it waits and
    there is more to do. A worker is also who goes on with a call of the first kind that did not end well.

    The end of a step is written before anything that depends on it, and waited for together with the start of the
    step that the worker calls next: nothing is called, and nobody is told, before both are safe.
    """

    def __init__(self, job: Job, caller: StepCaller, store: RunStore, observer: Observer | None) -> None:
        self._job = job
        self._caller = caller
        self._store = store
        self._observe = observer
        self._progress = Progress(job, store, observer)
        self._loop = asyncio.get_running_loop()
        # What is begun from outside of the run's tasks has its context variables nevertheless.
        self._context = copy_context()
        self._tasks: TaskGroup | None = None
        self._broken: Exception | None = None
        self._over: asyncio.Future[None] | None = None
        self._workers = 0
        self._calling = 0
        self._turn = 0
        self._staffing = False
        self._ongoing: set[_Step] = set()
        self._ended: deque[tuple[_Step, Any, OngoingCall | None]] = deque()
        self._driving = False
        self._resting = False

    @property
    def failed(self) -> int:
        """How many items have failed."""
        return self._progress.failed

    @property
    def waiting(self) -> int:
        """How many steps could be called, and wait for a turn."""
        return self._progress.waiting

    async def run(self) -> None:
        """Run every item to its end; cancelling this cancels the calls of the components."""
        try:
            first = self._next()
            if first is not None or not self._is_quiet:
                async with anyio.create_task_group() as tasks:
                    await self._run(tasks, first)
        except ExceptionGroup as group:
            # The inputs or the store failed. Several workers may have met it, which says nothing to anybody.
            raise _first(group) from None
        finally:
            for step in self._ongoing:
                begun, step.begun = step.begun, None
                if begun is not None:
                    begun.abandon()
        if self._broken is not None:
            raise self._broken
        self._progress.give_up()
        if self._progress.untold:
            await self._progress.sync()

    async def _run(self, tasks: TaskGroup, first: "_Step | _Wait | None") -> None:
        self._tasks = tasks
        try:
            if first is not None:
                self._workers += 1
                await self._work(first)
            while not self._is_quiet:
                self._over = self._loop.create_future()
                await self._over
        finally:
            self._tasks = None

    @property
    def _is_quiet(self) -> bool:
        return not (self._workers or self._ongoing or self._ended or self._resting)

    def _tell_if_over(self) -> None:
        if self._over is not None and not self._over.done() and self._is_quiet:
            self._over.set_result(None)

    # ---- calls without a task ---------------------------------------------------------------------------------

    def _next(self) -> "_Step | _Wait | None":
        """Begin every call that needs no task, and return the first thing to do that needs a worker."""
        self._driving = True
        try:
            return self._drive()
        finally:
            self._driving = False

    def _drive(self) -> "_Step | _Wait | None":
        progress = self._progress
        most = self._job.max_concurrency
        begun = 0
        while True:
            if self._ended:
                step = self._take_end()
                if step is not None:
                    return step
            elif self._workers + len(self._ongoing) >= most:
                return None
            elif begun == _TURNS:
                # Components that answer at once, and items without steps, would keep the loop to themselves.
                self._rest()
                return None
            elif progress.is_ready:
                begun += 1
                found = progress.take()
                step = None if found is None else self._begin(*found)
                if step is not None:
                    return step
            elif not progress.has_room:
                return None
            elif progress.untold > _MOST_UNTOLD or not (progress.begin_item() or self._job.inputs.exhausted):
                return _WAIT
            else:
                begun += 1

    def _begin(self, item: Item, index: int) -> _Step | None:
        """Call a step; returns it where that needs a worker."""
        job = self._job
        called = job.plan.steps[index]
        ids = ObservabilityContext(None, None, job.run_id, job.flow_id, called.id)
        step = _Step(item, index, called, item.take_input(index), ids, time.perf_counter())
        if self._store.keeps_steps:
            stored = self._progress.stored(item, step.step.id)
            step.start = KeptStep(self._write_start, item.index, step.step, stored)
        direct = None if self._store.durable else self._caller.direct(step.step, step.input)
        if direct is None:
            return step
        if step.start is not None:
            self._store.write_step(self._job.run_id, step.start.started(1))
        if self._observe is not None:
            self._observe(StepStarted(self._job.run_id, item.index, step.step.id, step.step.component))
        self._ongoing.add(step)
        step.begun = self._caller.begin(direct, step.step, step.input, step.ids, partial(self._on_end, step))
        return None

    def _on_end(self, step: _Step, output: Any, failed: OngoingCall | None) -> None:
        self._ended.append((step, output, failed))
        if self._driving or self._resting:
            return
        if asyncio.current_task(self._loop) is None:
            self._context.run(self._go_on)
        else:
            # A server in this process answers from the task of a component, which is no place for another one.
            self._rest()

    def _take_end(self) -> _Step | None:
        """Take note of the end of a call; returns the step where a worker has to go on with it."""
        step, output, failed = self._ended.popleft()
        self._ongoing.discard(step)
        step.begun = failed  # None for a good end: the call holds the step
        if failed is not None:
            return step
        self._end(step, output, None, 1)
        return None

    def _rest(self) -> None:
        self._resting = True
        self._loop.call_soon(self._end_rest, context=self._context)

    def _end_rest(self) -> None:
        self._resting = False
        self._go_on()

    def _go_on(self) -> None:
        tasks = self._tasks
        if tasks is None:
            return  # the run was cancelled meanwhile
        try:
            while (step := self._next()) is not None:
                self._workers += 1
                tasks.start_soon(self._work, step)
        except Exception as error:  # the inputs failed, or who is told; nobody above here could raise it to the run
            self._broken = error
            tasks.cancel_scope.cancel()
        else:
            self._tell_if_over()

    # ---- workers ----------------------------------------------------------------------------------------------

    async def _work(self, step: "_Step | _Wait | None") -> None:
        progress = self._progress
        while step is not None:
            if not self._staffing and (progress.is_ready or self._ended or progress.has_room):
                self._staffing = True
                self._loop.call_soon(self._staff)
            self._calling += 1
            await (self._wait() if isinstance(step, _Wait) else self._call(step))
            self._calling -= 1
            self._turn += 1
            if self._turn % _TURNS == 0:
                await asyncio.sleep(0)
            self._workers -= 1
            step = self._next()
            self._workers += step is not None
        self._tell_if_over()
        if progress.untold:
            await progress.sync()

    def _staff(self) -> None:
        """Start workers, unless there is one who will come for more to do by himself."""
        self._staffing = False
        if self._calling == self._workers:
            self._go_on()

    async def _wait(self) -> None:
        if self._progress.untold:
            await self._progress.sync()
        await self._job.inputs.wait()

    async def _call(self, step: _Step) -> None:
        begun, step.begun = step.begun, None  # it holds the step
        outcome, failure, attempt = await self._caller.run(
            step.step,
            step.input,
            step.ids,
            item=step.item.index,
            observer=self._observe,
            start=step.start,
            begun=begun,
        )
        if failure is not None:
            outcome = step.item.recover(step.index, outcome, failure)
        self._end(step, outcome, failure, attempt)

    def _end(self, step: _Step, outcome: Any, failure: Failure | None, attempt: int) -> None:
        """Know what a step came to: it is written first, for what depends on it must never be ahead of it."""
        start, observe = step.start, self._observe
        if start is not None or observe is not None:
            status = status_of(outcome)
            skipped = outcome if isinstance(outcome, Skipped) else None
            reason = None if skipped is None else skipped.reason
            if start is not None:
                record = start.ended(status, None if skipped is not None else outcome, attempt, reason)
                self._store.write_step(self._job.run_id, record)
            if observe is not None:
                seconds = time.perf_counter() - step.began
                item, component = step.item.index, step.step.component
                event = StepEnded(
                    self._job.run_id, item, step.step.id, component, status, seconds, failure, reason, attempt
                )
                self._progress.tell(event)
        self._progress.settle(step.item, step.index, outcome)

    async def _write_start(self, record: StepRecord) -> None:
        self._store.write_step(self._job.run_id, record)
        await self._progress.sync()


def _first(error: Exception) -> Exception:
    if isinstance(error, ExceptionGroup):
        return _first(cast("ExceptionGroup[Exception]", error).exceptions[0])
    return error
