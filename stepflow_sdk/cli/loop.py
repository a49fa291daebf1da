"""The event loop of a command, which signals end in good order."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["Terminated", "run_to_end"]

T = TypeVar("T")


class Terminated(Exception):
    """The program was asked to end by SIGTERM, and everything that it had started has ended."""


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; SIGINT and SIGTERM cancel it, so that it stops the servers that it has started.

    Raises:
        KeyboardInterrupt: After SIGINT.
        Terminated: After SIGTERM.
    """

    async def main() -> T:
        task = asyncio.current_task()
        if task is not None:
            # Not every platform, nor every thread, can be told of signals.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise Terminated from None
