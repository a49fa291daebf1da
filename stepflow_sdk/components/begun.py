"""Coroutines that begin at once: on a busy server most components end before they ever wait.

A task for each of them would cost more than the component itself. So the first stretch of a coroutine runs in the place
of its caller, and only a coroutine that waits goes on in a task. From Python 3.12 on asyncio can do this
(``eager_start``). Before, a spare task is kept for whoever turns out to need it: the first stretch runs under its name,
because timeouts and task groups hold on to ``asyncio.current_task()``, and what waits is handed over to it.
No task comes from the factory of the loop, which may know nothing of contexts.
"""

import asyncio
import sys
import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Final, Protocol

from msgspec import Struct

from stepflow_sdk.coroutines import go_on

__all__ = ["EagerTasks"]


class Work(Protocol):
    """A coroutine to be, and who waits for its outcome."""

    def call(self) -> Coroutine[Any, Any, Any]:
        """Make the coroutine, inside the context in which it runs."""
        ...

    def end(self, value: Any, error: BaseException | None) -> None:
        """Take the value or the exception, once; must not raise."""
        ...


async def _whole(work: Work) -> None:
    # Nothing that it raises may reach the event loop: SystemExit would end it.
    try:
        value = await work.call()
    except BaseException as error:
        work.end(None, error)
    else:
        work.end(value, None)


if sys.version_info >= (3, 12):

    class EagerTasks:
        """Runs coroutines on an event loop, the first stretch of each at once."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop

        def begin(self, work: Work, context: Context, *, waits: bool = False) -> asyncio.Task[None] | None:  # noqa: ARG002  (for 3.11)
            """Run a coroutine until it ends or waits.

            Args:
                work: The coroutine.
                context: Where it runs.
                waits: Whether it will wait for sure, which makes no difference here.

            Returns:
                The task in which it goes on, or None when it has ended; its outcome has been told then.
            """
            task: asyncio.Task[None] = asyncio.Task(_whole(work), loop=self._loop, context=context, eager_start=True)
            return None if task.done() else task

        def close(self) -> None:
            """Begin nothing more."""

else:

    class EagerTasks:
        """Runs coroutines on an event loop, the first stretch of each at once."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop
            self._spare: _Spare | None = None

        def begin(self, work: Work, context: Context, *, waits: bool = False) -> asyncio.Task[None] | None:
            """Run a coroutine until it ends or waits.

            Args:
                work: The coroutine.
                context: Where it runs.
                waits: Whether it will wait for sure; then a task is made for it at once.

            Returns:
                The task in which it goes on, or None when it has ended; its outcome has been told then.
            """
            loop = self._loop
            if waits:
                return asyncio.Task(_whole(work), loop=loop, context=context)
            spare = self._spare
            # Whoever cancels all tasks cancels a spare one, too, which then goes on with nothing any more.
            if spare is None or spare.task.cancelling():
                spare = _Spare(loop)
            self._spare = None
            task = spare.task
            outer = _current_tasks.get(loop)  # there is one where a runtime in the same process calls
            _current_tasks[loop] = task
            try:
                waits_for = context.run(spare.send, work)
            finally:
                if outer is None:
                    del _current_tasks[loop]
                else:
                    _current_tasks[loop] = outer
            if waits_for is not _ENDED:
                return spare.take_over(waits_for, context)
            self._spare = spare
            return None

        def close(self) -> None:
            """Begin nothing more."""
            if self._spare is not None:
                self._spare.task.cancel()
                self._spare = None

    # What asyncio.current_task() reads, and what the functions for whoever runs coroutines himself ("Extending" in the
    # documentation of asyncio) write; no later version of Python comes here.
    _current_tasks: dict[asyncio.AbstractEventLoop, asyncio.Task[Any]] = vars(asyncio.tasks)["_current_tasks"]

    _ENDED: Final = object()

    class _Spare:
        """A task that sleeps until it is given something to go on with, and the generator that may need it."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop
            self._gate: asyncio.Future[None] = loop.create_future()
            self._rest: _Rest | None = None
            self._sleeps = False
            # In no context but its own: that of a component may hold much.
            self.task: asyncio.Task[None] = asyncio.Task(self._sleep(), loop=loop, context=Context())
            # Nobody waits for a spare task: the server that it belongs to may go while the loop runs.
            self._log_loss(False)
            self.handed_over = False
            self._works: Any = _work(self)
            self.send: Callable[[Work | None], Any] = self._works.send
            """Run a coroutine until it ends, which gives `_ENDED`, or waits, which gives what it waits for."""
            self.send(None)

        def take_over(self, waits_for: Any, context: Context) -> asyncio.Task[None]:
            """Go on with what was sent."""
            self.handed_over = True
            self._rest = _Rest(self._works, waits_for, context)
            self._log_loss(True)
            if not self._sleeps or self._gate.done():
                self.task.add_done_callback(self._look)
            if not self._gate.done():
                self._gate.set_result(None)
            return self.task

        def _log_loss(self, logs: bool) -> None:
            setattr(self.task, "_log_destroy_pending", logs)  # noqa: B010  (no public name; `asyncio.gather` does so)

        def _look(self, _: "asyncio.Task[None]") -> None:
            # A task that is cancelled before its first turn ends without a look at what it has been handed, and one
            # that was cancelled while it was spare has ended before.
            if self._rest is not None:
                self.task = self._loop.create_task(_finish(self._rest, asyncio.CancelledError()))

        async def _sleep(self) -> None:
            self._sleeps = True
            cancelled: asyncio.CancelledError | None = None
            try:
                await self._gate
            except asyncio.CancelledError as error:
                cancelled = error
            rest, self._rest = self._rest, None
            if rest is not None:
                await _finish(rest, cancelled)

    class _Rest(Struct, eq=False):
        works: Any
        waits_for: Any
        context: Context

    async def _finish(rest: _Rest, cancelled: asyncio.CancelledError | None) -> None:
        await go_on(rest.works, rest.waits_for, rest.context, cancelled)

    @types.coroutine
    def _work(spare: _Spare) -> Generator[Any, Any, None]:
        # One generator runs coroutine after coroutine. To send it the next costs less than to begin that from outside,
        # and what it returns comes out of it without a StopIteration.
        while not spare.handed_over:
            work: Work | None = yield _ENDED
            if work is None:
                return
            value: Any = None
            try:
                coroutine: Any = work.call()
                value = yield from coroutine  # pyright: ignore[reportUnknownVariableType]  (whatever it returns)
            except BaseException as error:
                work.end(None, error)
            else:
                work.end(value, None)
            # Nothing may live on until the next one comes.
            work = coroutine = value = None
