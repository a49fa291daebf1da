"""The server end of stdio: newline-delimited JSON on the process's own stdin and stdout."""

import contextlib
import os
from collections.abc import Callable

from msgspec import Struct

from stepflow_sdk.errors import InvalidRequest
from stepflow_sdk.transports.connection import Connection, Handler
from stepflow_sdk.transports.framing import (
    DEFAULT_MAX_MESSAGE_BYTES,
    PACKED_MARK,
    Frames,
    FrameSplitter,
    TooLong,
    join_frames,
)
from stepflow_sdk.transports.pipes import Reader, Writer, open_reader, open_writer

__all__ = ["StdioTransport", "WireDescriptors", "take_wire"]

_MANY = 16
"""Lines of one read."""
_SHORT = 8
"""Bytes of a line."""


class WireDescriptors(Struct, frozen=True):
    """The descriptors of the wire, which nothing but the transport knows; None for one that was closed."""

    input: int | None
    output: int | None


def take_wire() -> WireDescriptors:
    """Take stdin and stdout aside, so that nothing else in the process can touch the wire.

    Descriptor 0 then reads from nothing and descriptor 1 writes where stderr does, for C code and child processes
    too. The descriptors returned are not inherited by child processes, and closed in those that are forked.
    """
    wire = WireDescriptors(_duplicate(0), _duplicate(1))
    _taken[:] = [(copy, _file(copy)) for copy in (wire.input, wire.output) if copy is not None]
    nothing = os.open(os.devnull, os.O_RDWR)
    if _duplicate_is_closed(2):
        os.dup2(nothing, 2)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    if nothing > 2:
        os.close(nothing)
    return wire


_taken: list[tuple[int, tuple[int, int]]] = []


def _file(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _leave_wire() -> None:
    # A forked process would keep the wire open for the runtime, which waits for its end. By now the numbers may be
    # those of other files.
    for descriptor, file in _taken:
        with contextlib.suppress(OSError):
            if _file(descriptor) == file:
                os.close(descriptor)
    _taken.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_wire)


def _duplicate(descriptor: int) -> int | None:
    # The copy must not land on 0, 1 or 2 when one of them was closed at the start.
    copies: list[int] = []
    try:
        while not copies or copies[-1] <= 2:
            copies.append(os.dup(descriptor))
    except OSError:
        return None
    finally:
        for low in copies[:-1]:
            os.close(low)
    return copies[-1]


def _duplicate_is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


class StdioTransport:
    """One connection over a pair of descriptors.

    A slow reader stops the reading of requests until it has caught up. A message above ``max_message_bytes`` is
    answered with an error, and the next one is read.

    Args:
        handler: What serves the connection.
        wire: From `take_wire`, or any two descriptors.
        max_message_bytes: The longest line that is read.
        max_in_flight: See `Peer`.
        ended: Called when the other end has closed its side or does not read any more.
    """

    def __init__(
        self,
        handler: Handler,
        wire: WireDescriptors,
        *,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
        max_in_flight: int = 10_000,
        ended: Callable[[], None],
    ) -> None:
        self._frames = FrameSplitter(max_message_bytes)
        self.connection = Connection(
            handler, self._send, max_in_flight=max_in_flight, expect_packed=self._frames.expect_packed
        )
        self._ended = ended
        self._wire = wire
        self._max_message_bytes = max_message_bytes
        self._reader: Reader | None = None
        self._writer: Writer | None = None

    async def open(self) -> None:
        """Start to read and to answer."""
        if self._wire.output is not None:
            self._writer = await open_writer(self._wire.output, self._pause, self._resume, self._output_lost)
        if self._wire.input is None:
            self._input_ended()
        else:
            self._reader = await open_reader(self._wire.input, self._received, self._input_ended)

    async def close(self, timeout: float) -> None:
        """End the conversation; what must still leave has ``timeout`` seconds for it."""
        self.connection.flush()
        self.connection.close("the server is shutting down")
        if self._reader is not None:
            self._reader.close()
        if self._writer is not None:
            await self._writer.finish(timeout)

    def _received(self, data: bytes) -> None:
        lines = self._frames.feed(data)
        if len(lines) == 1 and not isinstance(line := lines[0], TooLong):
            # The way of a runtime that asks one thing after the other.
            if not self.connection.receive_execute(line):
                self.connection.receive([line])
            return
        if _MANY < len(lines) > len(data) // _SHORT and PACKED_MARK not in data:
            # No messages are as short as that; what is blank is found out here in a tenth of the time.
            lines = [line for line in lines if isinstance(line, TooLong) or line.strip()]
        if TooLong in map(type, lines):
            self._take_each(lines)
        else:
            self.connection.receive(lines)  # type: ignore[arg-type]  # just seen: there is no TooLong among them

    def _take_each(self, lines: Frames) -> None:
        for line in lines:
            if isinstance(line, TooLong):
                limit = {"limit": self._max_message_bytes}
                message = f"the message is longer than {self._max_message_bytes} bytes"
                self.connection.refuse(line.start, InvalidRequest(message, data=limit))
            else:
                self.connection.receive([line])

    def _input_ended(self) -> None:
        self._take_each(self._frames.finish())
        self.connection.end_input("the runtime closed the connection")
        self._ended()

    def _output_lost(self) -> None:
        # Nobody can be answered any more.
        self.connection.close("the runtime does not read any more")
        self._ended()

    def _send(self, frames: list[bytes]) -> None:
        writer = self._writer
        if writer is not None:
            writer.write(join_frames(frames))

    def _pause(self) -> None:
        self.connection.writer_full(True)
        if self._reader is not None:
            self._reader.pause()

    def _resume(self) -> None:
        self.connection.writer_full(False)
        if self._reader is not None:
            self._reader.resume()
