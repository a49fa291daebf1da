"""How a process that does nothing but serve is set up for speed.

Nothing of this happens on import, nor in an application that mounts a server: it is for ``server.run()`` and
``stepflow-sdk serve``, whose processes are their own.
"""

import asyncio
import gc
import importlib
import sys
from collections.abc import Callable
from typing import Any

from msgspec import Struct

__all__ = ["Tuning"]


class Tuning(Struct, frozen=True):
    """The settings of a process; each can be turned off by itself.

    Attributes:
        large_reads: Have the C library keep the memory of large reads, instead of mapping it anew for each: asyncio
            reads 256 KiB at a time. It takes no memory.
        gc_thresholds: What `gc.set_threshold` is given, once what is there is out of the collector's sight; None to
            leave the collector alone.
        switch_interval: Seconds after which a thread that computes lets others run; None for Python's 0.005. With less,
            ``def`` components that compute hold up the others for a shorter time.
        open_files: Over HTTP, raise the limit for open files as far as ``HttpPolicy.max_connections`` needs it and the
            system allows; it is often 1024, and a connection is a file.
        uvloop: Run on uvloop where it is installed (``pip install 'stepflow-sdk[speed]'``).
    """

    large_reads: bool = True
    gc_thresholds: tuple[int, int, int] | None = (20_000, 50, 20)
    switch_interval: float | None = 0.0005
    open_files: bool = True
    uvloop: bool = True

    @classmethod
    def none(cls) -> "Tuning":
        """Everything as Python has it."""
        return cls(large_reads=False, gc_thresholds=None, switch_interval=None, open_files=False, uvloop=False)

    def begin(self) -> None:
        """Set up the process, before its event loop starts."""
        if self.large_reads:
            # Freeing one block above glibc's threshold raises it for good. Nothing is touched, so nothing is used.
            bytes(16 * 1024 * 1024)
        if self.switch_interval is not None:
            sys.setswitchinterval(self.switch_interval)

    def settle(self) -> None:
        """Know that everything is loaded that stays."""
        if self.gc_thresholds is not None:
            # Without a full collection first, which would hold up the first reply: imports leave next to no garbage.
            gc.freeze()
            gc.set_threshold(*self.gc_thresholds)

    def loop_factory(self) -> Callable[[], asyncio.AbstractEventLoop] | None:
        """What makes the event loop; None for asyncio's own."""
        if not self.uvloop:
            return None
        try:
            uvloop: Any = importlib.import_module("uvloop")
        except ModuleNotFoundError:
            return None
        make: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return make
