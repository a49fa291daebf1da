"""Running component calls inside their limits: in a task, in a worker thread, or at once."""

import asyncio
import contextlib
import contextvars
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from stepflow_sdk.components.spec import ComponentSpec
from stepflow_sdk.components.threads import WorkerThreads
from stepflow_sdk.errors import RequestTimeout

__all__ = ["Execution", "Executor"]

OnEnd = Callable[["Execution", bytes | None, BaseException | None], None]


class Execution:
    """One call of a component: it is answered once, by its end, its timeout or its cancellation.

    Attributes:
        spec: The component.
        answered: Whether the outcome has been told; what comes later is dropped.

    The other attributes belong to the executor.
    """

    __slots__ = ("answered", "call", "on_end", "spec", "started_at", "task", "timer")

    def __init__(self, spec: ComponentSpec, call: Callable[[], Any], on_end: OnEnd) -> None:
        self.spec = spec
        self.answered = False
        self.started_at = 0.0
        self.call = call
        self.on_end = on_end
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

    @property
    def unanswered(self) -> int:
        """How many calls have not told their outcome yet."""
        return len(self._unanswered)

    def start(self, spec: ComponentSpec, call: Callable[[], Any], on_end: OnEnd) -> Execution:
        """Run a call as its component demands.

        Args:
            spec: The component; its limits apply: ``timeout`` counts from when the call runs, and calls above
                ``max_concurrency`` wait their turn.
            call: Returns the output, or for an ``async def`` component the coroutine that does.
            on_end: Called once on the loop, with the encoded output or with the exception.
        """
        execution = Execution(spec, call, on_end)
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

    def _begin(self, execution: Execution) -> None:
        spec = execution.spec
        execution.started_at = time.monotonic()
        if spec.timeout is not None:
            execution.timer = self._loop.call_later(spec.timeout, self._expire, execution)
        if spec.is_async:
            task = self._loop.create_task(self._run_async(execution))
            execution.task = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif spec.in_thread:
            context = contextvars.copy_context()
            self._threads.submit(lambda: self._run_in_thread(execution, context))
        else:
            self._finish(execution, *contextvars.copy_context().run(_outcome, execution))

    async def _run_async(self, execution: Execution) -> None:
        # Nothing that a component raises may reach the event loop: SystemExit would end it.
        try:
            coroutine: Coroutine[Any, Any, Any] = execution.call()
            value = execution.spec.encode(await coroutine)
        except BaseException as error:
            self._finish(execution, None, error)
        else:
            self._finish(execution, value, None)

    def _run_in_thread(self, execution: Execution, context: contextvars.Context) -> None:
        if execution.answered:
            value, error = None, None
        else:
            value, error = context.run(_outcome, execution)
        with contextlib.suppress(RuntimeError):  # the loop is gone: the process is about to end
            self._loop.call_soon_threadsafe(self._finish, execution, value, error)

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
