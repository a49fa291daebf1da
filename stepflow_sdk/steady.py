"""An event loop that only its main coroutine ends, whatever the components do that it runs."""

import asyncio
import logging
import signal

# "Extending" in the documentation of asyncio has it.
from asyncio.tasks import _unregister_task  # pyright: ignore[reportPrivateUsage]
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["conceal", "run_steadily"]

_log = logging.getLogger("stepflow_sdk.server")


def run_steadily(
    main: Coroutine[Any, Any, None], loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> None:
    """Run a coroutine to its end, as `asyncio.run` does.

    There a task or a callback that raises `SystemExit` or `KeyboardInterrupt` ends the loop, as do ``loop.stop()`` and
    a signal handler that raises; here they are logged, and the loop goes on.

    Args:
        main: What is run; what it raises is raised here.
        loop_factory: Makes the event loop; None for asyncio's own.
    """
    runner = asyncio.Runner(loop_factory=loop_factory)
    try:
        loop = runner.get_loop()
        task = loop.create_task(main)
        conceal(task)
        while not task.done():
            try:
                loop.run_until_complete(task)
            except BaseException as error:
                if task.done() or _is_ours(error):
                    raise
                _told(error)
    finally:
        try:
            runner.close()
        except BaseException as error:  # tasks that are cancelled now raise what they like, too
            if _is_ours(error):
                raise
            _told(error)


def conceal(task: asyncio.Task[Any]) -> None:
    """Leave a task out of `asyncio.all_tasks`: components go through these to cancel what they have left behind."""
    _unregister_task(task)


def _is_ours(error: BaseException) -> bool:
    # As long as nobody else takes the signal, ctrl-C is a KeyboardInterrupt of Python's own.
    return isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _told(error: BaseException) -> None:
    try:
        _log.error("what a component left behind wanted to end the server, with %s: %s", type(error).__name__, error)
    except BaseException:  # a __str__ of somebody else's may raise anything
        _log.error("what a component left behind wanted to end the server, with an exception that cannot be printed")
