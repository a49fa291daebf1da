"""Reading and writing file descriptors on the event loop, whatever they are.

Pipes and sockets are read and written by the event loop itself. Regular files and terminals cannot be polled, or
must not be made non-blocking because the shell shares them: a thread does their I/O.
"""

import asyncio
import contextlib
import functools
import os
import stat
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from stepflow_sdk.transports.connection import HIGH_WATER

__all__ = ["Reader", "Writer", "open_reader", "open_writer"]

_CHUNK = 256 * 1024


class Reader(Protocol):
    """The reading end of a stream."""

    def pause(self) -> None:
        """Read no further for now."""

    def resume(self) -> None:
        """Read on."""

    def close(self) -> None:
        """Read no further ever."""


class Writer(Protocol):
    """The writing end of a stream."""

    def write(self, data: bytes, /) -> None:
        """Write in the background, in order; never blocks and never raises."""

    async def finish(self, timeout: float) -> None:
        """Write what waits, for at most ``timeout`` seconds, and close."""


async def open_reader(descriptor: int, received: Callable[[bytes], None], ended: Callable[[], None]) -> Reader:
    """Read a descriptor until its end; both callbacks are called on the event loop."""
    if _can_be_polled(descriptor):
        loop = asyncio.get_running_loop()
        file = os.fdopen(descriptor, "rb", buffering=0)
        _, reader = await loop.connect_read_pipe(lambda: _PolledReader(received, ended), file)
        return reader
    return _ThreadReader(descriptor, received, ended)


async def open_writer(
    descriptor: int, pause: Callable[[], None], resume: Callable[[], None], lost: Callable[[], None]
) -> Writer:
    """Write to a descriptor.

    Args:
        descriptor: Where to.
        pause: Called when more than `HIGH_WATER` bytes wait.
        resume: Called when that is over.
        lost: Called when nobody reads any more.
    """
    if _can_be_polled(descriptor):
        loop = asyncio.get_running_loop()
        file = os.fdopen(descriptor, "wb", buffering=0)
        _, writer = await loop.connect_write_pipe(lambda: _PolledWriter(pause, resume, lost), file)
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            # Whatever can be read from a writing end is its end to asyncio; on one socket for both these are requests.
            loop.remove_reader(descriptor)
        return writer
    return _ThreadWriter(descriptor, pause, resume, lost)


def _can_be_polled(descriptor: int) -> bool:
    if sys.platform == "win32":
        return False
    mode = os.fstat(descriptor).st_mode
    # Only asyncio's own loop can be kept from taking what arrives for the end of writing; see `open_writer`.
    own_loop = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    return stat.S_ISFIFO(mode) or (stat.S_ISSOCK(mode) and own_loop)


class _PolledReader(asyncio.Protocol):
    def __init__(self, received: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self.data_received = received  # type: ignore[assignment]  # one call less for each read
        self._ended = ended
        self._transport: asyncio.ReadTransport | None = None
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # connect_read_pipe makes no other kind

    def eof_received(self) -> bool | None:
        self._end()
        return None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._ended()

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self) -> None:
        self._over = True
        if self._transport is not None:
            self._transport.close()


class _PolledWriter(asyncio.BaseProtocol):
    def __init__(self, pause: Callable[[], None], resume: Callable[[], None], lost: Callable[[], None]) -> None:
        self._pause, self._resume, self._lost = pause, resume, lost
        self._gone = asyncio.Event()
        self._finishing = False
        self._transport: asyncio.WriteTransport | None = None
        self.write: Callable[[bytes], None] = _ignore

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # connect_write_pipe makes no other kind
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=HIGH_WATER)
            self.write = self._transport.write

    def pause_writing(self) -> None:
        self._pause()

    def resume_writing(self) -> None:
        self._resume()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        self.write = _ignore
        self._gone.set()
        if not self._finishing:
            self._lost()

    async def finish(self, timeout: float) -> None:
        self._finishing = True
        self.write = _ignore
        if self._transport is None:
            return
        self._transport.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._gone.wait()


def _ignore(_: bytes) -> None:
    """Takes the place of writing where nobody reads."""


class _ThreadReader:
    def __init__(self, descriptor: int, received: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._received = received
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._may_read = threading.Event()
        self._may_read.set()
        self._closed = False
        threading.Thread(target=self._read, name="stepflow-stdin", daemon=True).start()

    def pause(self) -> None:
        self._may_read.clear()

    def resume(self) -> None:
        self._may_read.set()

    def close(self) -> None:
        self._closed = True

    def _read(self) -> None:
        taken = threading.Semaphore(1)
        while True:
            self._may_read.wait()
            # One chunk at a time: the next is read when the loop has taken this one.
            taken.acquire()
            try:
                data = os.read(self._descriptor, _CHUNK)
            except OSError:
                data = b""
            try:
                self._loop.call_soon_threadsafe(self._deliver, data, taken)
            except RuntimeError:  # the loop is gone
                return
            if not data:
                return

    def _deliver(self, data: bytes, taken: threading.Semaphore) -> None:
        if not self._closed:
            if data:
                self._received(data)
            else:
                self._ended()
        taken.release()


class _ThreadWriter:
    def __init__(
        self, descriptor: int, pause: Callable[[], None], resume: Callable[[], None], lost: Callable[[], None]
    ) -> None:
        self._descriptor = descriptor
        self._pause, self._resume, self._lost = pause, resume, lost
        self._loop = asyncio.get_running_loop()
        # Most wires are pipes, and their servers do without the module.
        from queue import SimpleQueue

        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._waiting = 0
        self._paused = False
        self._done = asyncio.Event()
        threading.Thread(target=self._write, name="stepflow-stdout", daemon=True).start()

    def write(self, data: bytes) -> None:
        self._waiting += len(data)
        self._queue.put(data)
        if self._waiting > HIGH_WATER and not self._paused:
            self._paused = True
            self._pause()

    async def finish(self, timeout: float) -> None:
        self._queue.put(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._done.wait()

    def _write(self) -> None:
        broken = False
        while (data := self._queue.get()) is not None:
            try:
                view = memoryview(data)
                while view and not broken:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                broken = True
                self._tell(self._lost)
            self._tell(functools.partial(self._written, len(data)))
        self._tell(self._done.set)

    def _written(self, size: int) -> None:
        self._waiting -= size
        if self._paused and self._waiting <= HIGH_WATER // 2:
            self._paused = False
            self._resume()

    def _tell(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(callback)
