"""Running component calls inside their limits: in a task, in a worker thread, or at once."""

import asyncio
import contextlib
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

from stepflow_sdk.components.spec import ComponentSpec
from stepflow_sdk.components.threads import WorkerThreads
from stepflow_sdk.errors import RequestTimeout

__all__ = ["Execution", "Executor", "Lane"]

_MAX_MADE = 1024 * 1024

OnEnd = Callable[["Execution", bytes | None, BaseException | None], None]


class Lane:
    """The calls of one connection: while it is held none of them begins.

    Attributes:
        held: Whether outputs would pile up, because nobody takes them.
        parked: The calls that wait to begin.
    """

    __slots__ = ("_lock", "_made", "held", "parked")

    def __init__(self) -> None:
        self.held = False
        self.parked: deque[Execution] = deque()
        self._made = 0
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether no call should begin now; worker threads may ask too."""
        return self.held or self._made > _MAX_MADE

    def count(self, size: int) -> None:
        """Count the bytes that worker threads have made and the loop has not seen, less with a negative size."""
        with self._lock:
            self._made += size


class Execution:
    """One call of a component: it is answered once, by its end, its timeout or its cancellation.

    Attributes:
        spec: The component.
        answered: Whether the outcome has been told; what comes later is dropped.

    The other attributes belong to the executor.
    """

    __slots__ = ("answered", "call", "lane", "on_end", "spec", "task", "timer")

    def __init__(self, spec: ComponentSpec, call: Callable[[], Any], on_end: OnEnd, lane: Lane) -> None:
        self.spec = spec
        self.answered = False
        self.call = call
        self.on_end = on_end
        self.lane = lane
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None


class _Gate:
    """Counts the running calls of a component with ``max_concurrency`` and lines up the others."""

    __slots__ = ("limit", "running", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.running = 0
        self.waiting: deque[Execution] = deque()


class Executor:
    """Starts calls and tells their outcome, on one asyncio event loop.

    Args:
        threads: Where ``def`` components run.
    """

    def __init__(self, threads: WorkerThreads) -> None:
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._unanswered: set[Execution] = set()
        self._gates: dict[str, _Gate] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._free = Lane()

    def waiting(self) -> AbstractContextManager[None]:
        """For a ``def`` component that does nothing but wait inside the block: its thread does not count meanwhile."""
        return self._threads.waiting()

    @property
    def unanswered(self) -> int:
        """How many calls have not told their outcome yet."""
        return len(self._unanswered)

    def start(self, spec: ComponentSpec, call: Callable[[], Any], on_end: OnEnd, lane: Lane | None = None) -> Execution:
        """Run a call as its component demands.

        Args:
            spec: The component; its limits apply: ``timeout`` counts from when the call runs, and calls above
                ``max_concurrency`` wait their turn.
            call: Returns the output, or for an ``async def`` component the coroutine that does.
            on_end: Called once on the loop, with the encoded output or with the exception.
            lane: The lane that can hold the call back.
        """
        execution = Execution(spec, call, on_end, lane or self._free)
        self._unanswered.add(execution)
        if spec.max_concurrency is not None:
            gate = self._gates.get(spec.path)
            if gate is None:
                gate = self._gates[spec.path] = _Gate(spec.max_concurrency)
            if gate.running >= gate.limit:
                gate.waiting.append(execution)
                return execution
            gate.running += 1
        self._begin(execution)
        return execution

    def cancel(self, execution: Execution, reason: BaseException) -> None:
        """Answer a call with an exception now and have its component stop as soon as it lets itself be stopped.

        An ``async def`` component is cancelled. A thread cannot be: its call goes on without an audience.
        """
        self._answer(execution, None, reason)
        if execution.task is not None:
            execution.task.cancel()

    def cancel_all(self, reason: BaseException) -> None:
        """Cancel every call that has not been answered."""
        for execution in list(self._unanswered):
            self.cancel(execution, reason)

    async def drain(self, timeout: float) -> bool:
        """Wait until every call is answered, at most ``timeout`` seconds; True when they are."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self._unanswered:
                    self._idle.clear()
                    await self._idle.wait()
        return not self._unanswered

    async def close(self, reason: BaseException, timeout: float = 1.0) -> None:
        """Cancel every call and give the coroutines among them a moment to end."""
        self.cancel_all(reason)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)

    def release(self, lane: Lane) -> None:
        """Let the calls of a lane begin again, as far as it is not held anew meanwhile."""
        lane.held = False
        self._unpark(lane)

    def _unpark(self, lane: Lane) -> None:
        while lane.parked and not lane.is_full:
            self._launch(lane.parked.popleft())

    def _begin(self, execution: Execution) -> None:
        if execution.spec.timeout is not None:
            execution.timer = self._loop.call_later(execution.spec.timeout, self._expire, execution)
        self._launch(execution)

    def _launch(self, execution: Execution) -> None:
        spec = execution.spec
        if execution.lane.is_full:
            execution.lane.parked.append(execution)
        elif spec.is_async:
            task = self._loop.create_task(self._run_async(execution))
            execution.task = task
            self._tasks.add(task)
        elif spec.in_thread:
            context = contextvars.copy_context()
            self._threads.submit(lambda: self._run_in_thread(execution, context))
        else:
            self._finish(execution, *contextvars.copy_context().run(_outcome, execution))

    async def _run_async(self, execution: Execution) -> None:
        # The lane is asked again where the call begins: those before it may have filled the wire meanwhile.
        if execution.lane.is_full:
            self._forget_task(execution)
            execution.lane.parked.append(execution)
            return
        # Nothing that a component raises may reach the event loop: SystemExit would end it.
        try:
            coroutine: Coroutine[Any, Any, Any] = execution.call()
            value = execution.spec.encode(await coroutine)
        except BaseException as error:
            self._forget_task(execution)
            self._finish(execution, None, error)
        else:
            self._forget_task(execution)
            self._finish(execution, value, None)

    def _forget_task(self, execution: Execution) -> None:
        # A done callback would do this too, at the price of another turn of the event loop.
        if execution.task is not None:
            self._tasks.discard(execution.task)
            execution.task = None

    def _run_in_thread(self, execution: Execution, context: contextvars.Context) -> None:
        if execution.lane.is_full:
            self._tell(self._launch, execution)
            return
        value, error = (None, None) if execution.answered else context.run(_outcome, execution)
        execution.lane.count(len(value or b""))
        self._tell(self._finish_thread, execution, value, error)

    def _finish_thread(self, execution: Execution, value: bytes | None, error: BaseException | None) -> None:
        self._finish(execution, value, error)
        lane = execution.lane
        lane.count(-len(value or b""))
        if lane.parked:
            self._unpark(lane)

    def _tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: the process is about to end
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _expire(self, execution: Execution) -> None:
        seconds = execution.spec.timeout
        message = f"{execution.spec.path} did not end within {seconds} s"
        self.cancel(execution, RequestTimeout(message, data={"timeout": seconds}))

    def _finish(self, execution: Execution, value: bytes | None, error: BaseException | None) -> None:
        """The component itself has ended, before or after it was answered for."""
        self._answer(execution, value, error)
        self._release(execution.spec)

    def _answer(self, execution: Execution, value: bytes | None, error: BaseException | None) -> None:
        if execution.answered:
            return
        execution.answered = True
        if execution.timer is not None:
            execution.timer.cancel()
        self._unanswered.discard(execution)
        execution.on_end(execution, value, error)
        if not self._unanswered:
            self._idle.set()

    def _release(self, spec: ComponentSpec) -> None:
        if spec.max_concurrency is None:
            return
        gate = self._gates[spec.path]
        gate.running -= 1
        while gate.waiting and gate.running < gate.limit:
            execution = gate.waiting.popleft()
            if not execution.answered:
                gate.running += 1
                self._begin(execution)


def _outcome(execution: Execution) -> tuple[bytes | None, BaseException | None]:
    try:
        return execution.spec.encode(execution.call()), None
    except BaseException as error:
        return None, error
