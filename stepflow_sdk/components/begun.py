"""Coroutines that begin at once: on a busy server most components end before they ever wait.

A task for each of them would cost more than the component itself. So the first stretch of a coroutine runs in the place
of its caller, and only a coroutine that waits goes on in a task. From Python 3.12 on asyncio can do this
(``eager_start``). Before, a spare task is kept for whoever turns out to need it: the first stretch runs under its name,
because timeouts and task groups hold on to ``asyncio.current_task()``, and what waits is handed over to it.
"""

import asyncio
import sys

# "Extending" in the documentation of asyncio has these two for whoever runs coroutines himself.
from asyncio.tasks import _enter_task, _leave_task  # pyright: ignore[reportPrivateUsage]
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, NamedTuple, Protocol

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
                return loop.create_task(_whole(work), context=context)
            spare, self._spare = self._spare or _Spare(loop), None
            outer = asyncio.current_task(loop)  # there is one where a runtime in the same process calls
            if outer is not None:
                _leave_task(loop, outer)
            _enter_task(loop, spare.task)
            value: Any = None
            failure: BaseException | None = None
            try:
                coroutine, waits_for = context.run(_first_stretch, work)
            except StopIteration as ended:
                value = ended.value
            except BaseException as error:
                failure = error
            else:
                return spare.take_over(work, coroutine, waits_for, context)
            finally:
                _leave_task(loop, spare.task)
                if outer is not None:
                    _enter_task(loop, outer)
            # A component may have cancelled the task that it found itself in.
            if not spare.task.cancelling():
                self._spare = spare
            work.end(value, failure)
            # Its traceback holds this frame: left here, what failed would live on until the garbage is collected.
            failure = None
            return None

        def close(self) -> None:
            """Begin nothing more."""
            if self._spare is not None:
                self._spare.task.cancel()
                self._spare = None

    def _first_stretch(work: Work) -> tuple[Coroutine[Any, Any, Any], Any]:
        coroutine = work.call()
        return coroutine, coroutine.send(None)

    class _Handed(NamedTuple):
        work: Work
        coroutine: Coroutine[Any, Any, Any]
        waits_for: Any
        context: Context

    class _Spare:
        """A task that sleeps until it is given a coroutine to go on with."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self._loop = loop
            self._gate: asyncio.Future[None] = loop.create_future()
            self._handed: _Handed | None = None
            self._sleeps = False
            self.task: asyncio.Task[None] = loop.create_task(self._sleep())

        def take_over(
            self, work: Work, coroutine: Coroutine[Any, Any, Any], waits_for: Any, context: Context
        ) -> asyncio.Task[None]:
            self._handed = _Handed(work, coroutine, waits_for, context)
            if not self._sleeps:
                self.task.add_done_callback(self._look)
            if not self._gate.done():
                self._gate.set_result(None)
            return self.task

        def _look(self, _: "asyncio.Task[None]") -> None:
            # A task that is cancelled before its first turn ends without a look at what it has been handed.
            if not self._sleeps and self._handed is not None:
                self.task = self._loop.create_task(_go_on(self._handed, asyncio.CancelledError()))

        async def _sleep(self) -> None:
            self._sleeps = True
            cancelled: asyncio.CancelledError | None = None
            try:
                await self._gate
            except asyncio.CancelledError as error:
                cancelled = error
            if self._handed is not None:
                await _go_on(self._handed, cancelled)

    async def _go_on(handed: _Handed, cancelled: asyncio.CancelledError | None) -> None:
        try:
            value = await go_on(handed.coroutine, handed.waits_for, handed.context, cancelled)
        except BaseException as error:
            handed.work.end(None, error)
        else:
            handed.work.end(value, None)
