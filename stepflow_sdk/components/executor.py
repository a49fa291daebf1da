"""Running component calls inside their limits: in a task, in a worker thread, or at once."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import copy_context
from typing import Any

from stepflow_sdk.components.begun import EagerTasks
from stepflow_sdk.components.copies import mark_copies
from stepflow_sdk.components.execution import SMALL, Execution
from stepflow_sdk.components.lanes import Lane
from stepflow_sdk.components.spec import ComponentSpec
from stepflow_sdk.components.threads import WorkerThreads
from stepflow_sdk.errors import RequestTimeout
from stepflow_sdk.packed import Packed

__all__ = ["Executor"]

_MANY_STALE = 1000
"""How many cancelled calls may wait for a thread or a turn before they are looked for."""


class _Gate:
    """Counts the running calls of a component with ``max_concurrency`` and lines up the others."""

    __slots__ = ("limit", "opening", "running", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self.opening = False
        self.waiting: deque[Execution] = deque()


class Executor:
    """Starts calls and tells their outcome, on one asyncio event loop.

    Args:
        threads: Where ``def`` components run.
    """

    def __init__(self, threads: WorkerThreads) -> None:
        self._threads = threads
        self._submit = threads.submit
        self._loop = asyncio.get_running_loop()
        self._eager = EagerTasks(self._loop)
        self._begin = self._eager.begin
        self._lanes: set[Lane] = set()  # those with calls that are unanswered
        self._gates: dict[str, _Gate] = {}
        self._running: set[Execution] = set()
        self._made: deque[tuple[Execution, bytes | Packed, BaseException | None]] = deque()
        self._look_is_due = False
        self._idle = asyncio.Event()
        self._stale = 0
        self.is_copy = False
        mark_copies(self)

    def waiting(self) -> AbstractContextManager[None]:
        """For a ``def`` component that does nothing but wait inside the block: its thread does not count meanwhile."""
        return self._threads.waiting()

    @property
    def unanswered(self) -> int:
        """How many calls have not told their outcome yet."""
        return sum(len(lane.unanswered) for lane in self._lanes)

    @property
    def queued(self) -> int:
        """How many calls wait for a thread or a turn; some of those that were cancelled are among them."""
        return self._threads.queued + sum(len(gate.waiting) for gate in self._gates.values())

    def start(self, execution: Execution) -> None:
        """Run a call as its component demands; it may have ended when this returns.

        The limits of the component apply: ``timeout`` counts from when the call runs, and calls above
        ``max_concurrency`` wait their turn.
        """
        spec = execution.spec
        lane = execution.lane
        if spec.at_once and not lane.is_full:
            task = self._begin(execution, copy_context())
            if task is None:
                return
            execution.kept = True
            execution.task = task
            self._running.add(execution)
        else:
            execution.kept = True
            # It may begin where another call ends, in the context of that one.
            execution.variables = copy_context()
            if spec.max_concurrency is None or self._pass_gate(execution):
                self._launch(execution, spec)
        if not execution.answered:
            if not lane.unanswered:
                self._lanes.add(lane)
            lane.unanswered.add(execution)

    def cancel(self, execution: Execution, reason: BaseException) -> None:
        """Answer a call with an exception now and have its component stop as soon as it lets itself be stopped.

        An ``async def`` component is cancelled. A thread cannot be: its call goes on without an audience.
        """
        if execution.answered:
            return
        execution.answered = True
        if execution.timer is not None:
            execution.timer.cancel()
        execution.ended(b"", reason)
        self._forget(execution)
        if execution.task is not None and execution.begun:
            # A task that is cancelled before its first line would never tell of its end.
            execution.task.cancel()
        elif execution.task is None:
            self._stale += 1
            if self._stale >= _MANY_STALE:
                self._forget_stale()

    def cancel_all(self, reason: BaseException) -> None:
        """Cancel every call that has not been answered."""
        for lane in list(self._lanes):
            self.cancel_lane(lane, reason)

    def cancel_lane(self, lane: Lane, reason: BaseException) -> None:
        """Cancel every call of a lane that has not been answered."""
        for execution in list(lane.unanswered):
            self.cancel(execution, reason)

    async def drain(self, timeout: float) -> bool:
        """Wait until every call is answered, at most ``timeout`` seconds; True when they are."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._lanes:
                    self._idle.clear()
                    await self._idle.wait()
        return not self._lanes

    async def close(self, reason: BaseException, timeout: float = 1.0) -> None:
        """Cancel every call and give the coroutines among them a moment to end."""
        self.cancel_all(reason)
        tasks = [execution.task for execution in self._running if execution.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        self._eager.close()

    def release(self, lane: Lane) -> None:
        """Let the calls of a lane begin again, as far as it is not held anew meanwhile."""
        lane.hold(False)
        self._unpark(lane)

    def finish(self, execution: Execution, output: bytes | Packed, error: BaseException | None) -> None:
        """Know that the component itself has ended, before or after it was answered for."""
        if execution.task is not None:
            self._running.discard(execution)
            execution.task = None
        if not execution.answered:
            execution.answered = True
            if execution.timer is not None:
                execution.timer.cancel()
            execution.ended(output, error)
            self._forget(execution)
        if execution.spec.max_concurrency is not None:
            self._leave_gate(execution.spec)

    def _unpark(self, lane: Lane) -> None:
        while lane.parked and not lane.is_full:
            execution = lane.parked.popleft()
            if execution.answered:
                self.finish(execution, b"", None)
            else:
                self._launch(execution, execution.spec)

    def _launch(self, execution: Execution, spec: ComponentSpec) -> None:
        if execution.lane.is_full:
            execution.lane.parked.append(execution)
        elif spec.in_thread:
            if spec.timeout is not None and execution.timer is None:
                execution.timer = self._loop.call_later(spec.timeout, self._expire, execution)
            try:
                self._submit(execution.work)
            except RuntimeError as error:  # there is no thread to be had
                self.finish(execution, b"", error)
            # A handler of a signal that raises between two callbacks of the loop takes the second one with it.
            if self._made:
                self._look()
        elif spec.is_async:
            began = 0.0 if spec.timeout is None else self._loop.time()
            # Who asks for a context calls the runtime.
            task = self._begin(execution, execution.take_variables(), waits=bool(spec.injected))
            if task is not None:
                execution.task = task
                self._running.add(execution)
                if spec.timeout is not None:
                    execution.timer = self._loop.call_at(began + spec.timeout, self._expire, execution)
        else:
            self.finish(execution, *execution.take_variables().run(execution.outcome))

    def _forget_stale(self) -> None:
        # Where all threads or turns are taken for good, what nobody waits for any more would pile up behind them.
        self._stale = 0
        for gate in self._gates.values():
            gate.waiting = deque(execution for execution in gate.waiting if not execution.answered)
        for job in self._threads.drop(_is_stale):
            self.finish(_of(job), b"", None)

    def _forget(self, execution: Execution) -> None:
        lane = execution.lane
        unanswered = lane.unanswered
        unanswered.discard(execution)
        if not unanswered:
            self._lanes.discard(lane)
            if not self._lanes:
                self._idle.set()

    def relaunch(self, execution: Execution) -> None:
        """Begin again with a call that should not run in its thread now; called there."""
        self._tell(self._launch, execution, execution.spec)

    def made(self, execution: Execution, output: bytes | Packed, error: BaseException | None) -> None:
        """Take the outcome of a call in a thread; called there."""
        self._made.append((execution, output, error))
        # What other threads make until the loop looks needs no second call.
        if not self._look_is_due:
            self._look_is_due = True
            self._tell(self._look)

    def _look(self) -> None:
        self._look_is_due = False
        made = self._made
        while made:
            execution, output, error = made.popleft()
            self.finish(execution, output, error)
            lane = execution.lane
            if len(output) > SMALL:
                lane.count(-len(output))
            if lane.parked:
                self._unpark(lane)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: the process is about to end
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _expire(self, execution: Execution) -> None:
        seconds = execution.spec.timeout
        message = f"{execution.spec.path} did not end within {seconds} s"
        self.cancel(execution, RequestTimeout(message, data={"timeout": seconds}))

    def _pass_gate(self, execution: Execution) -> bool:
        spec = execution.spec
        gate = self._gates.get(spec.path)
        if gate is None:
            gate = self._gates[spec.path] = _Gate(spec.max_concurrency or 1)
        if gate.running >= gate.limit:
            gate.waiting.append(execution)
            return False
        gate.running += 1
        return True

    def _leave_gate(self, spec: ComponentSpec) -> None:
        gate = self._gates[spec.path]
        gate.running -= 1
        if gate.opening:
            return  # a call that has just been let in has ended at once; whoever let it in lets in the next
        gate.opening = True
        while gate.waiting and gate.running < gate.limit:
            execution = gate.waiting.popleft()
            if not execution.answered:
                gate.running += 1
                self._launch(execution, spec)
        gate.opening = False


def _of(job: Callable[[], None]) -> Execution:
    execution: Execution = job.__self__  # type: ignore[attr-defined]  # all jobs are `Execution.work`
    return execution


def _is_stale(job: Callable[[], None]) -> bool:
    return _of(job).answered
