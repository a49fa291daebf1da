"""The end of a served process: signals, and the promise that it ends."""

import asyncio
import os
import signal
import threading
from types import FrameType
from typing import Any

__all__ = ["Shutdown"]

_SIGNALS = [number for name in ("SIGTERM", "SIGINT", "SIGBREAK") if (number := getattr(signal, name, None))]


class Shutdown:
    """Knows when a process has been asked to end, and sees to it that it does.

    The first SIGTERM or SIGINT sets ``requested``; a second one ends the process at once. From the first request on
    the process has ``limit`` seconds: whatever its components do, a thread that never returns or a coroutine that
    blocks the event loop, it is ended then with exit code 0, for everything that could be answered has been.

    Use it as a context manager around the event loop's main coroutine. Outside the main thread, where Python takes
    no signals, only `request` works.
    """

    def __init__(self, limit: float) -> None:
        self.requested = asyncio.Event()
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._previous: dict[int, Any] = {}
        self._signalled = False
        self._watchdog: threading.Timer | None = None

    def __enter__(self) -> "Shutdown":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def request(self) -> None:
        """Ask the process to end; call it on the event loop."""
        self._watch()
        self.requested.set()

    def _watch(self) -> None:
        if self._watchdog is None:
            self._watchdog = threading.Timer(self._limit, os._exit, [0])
            self._watchdog.daemon = True
            self._watchdog.start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  (the signal module's signature)
        if self._signalled:
            os._exit(128 + number)
        self._signalled = True
        # The watchdog starts here and not on the loop, which a component may be blocking.
        self._watch()
        self._loop.call_soon_threadsafe(self.requested.set)
