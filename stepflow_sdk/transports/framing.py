"""The framing of stdio: newline-delimited JSON, and packed frames where both ends have agreed on them.

A packed frame is the byte 0xC1, which begins neither JSON nor MessagePack, the length of the rest as four bytes, the
highest first, and the rest.
"""

import struct
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

__all__ = [
    "DEFAULT_MAX_MESSAGE_BYTES",
    "PACKED_MARK",
    "FrameSplitter",
    "Frames",
    "LineSplitter",
    "TooLong",
    "is_message",
    "join_frames",
    "join_lines",
]

Frames = list["bytes | bytearray | TooLong"]

DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_HEAD: Final = struct.Struct(">BI")
PACKED_MARK: Final = b"\xc1"
"""Begins a packed frame, and is in no line of UTF-8."""

_OBJECTS: Final = (b"{", b"[")
_BRACE: Final = 0x7B

_START = 2000
"""How much of a line that is too long is kept, in bytes: enough to find its id."""


class TooLong(Struct, frozen=True):
    """Stands for a line above the limit, of which only the start was kept."""

    start: bytes


class LineSplitter:
    """Cuts a stream of bytes into lines, whatever the chunks are.

    A line above the limit is skipped up to its end and comes out as `TooLong`, once, as soon as it is known.
    Memory stays below the limit and one chunk.
    """

    def __init__(self, max_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._skipping = False

    @property
    def between_lines(self) -> bool:
        """Whether what comes next begins a line."""
        return not self._buffer and not self._skipping

    def feed(self, data: bytes) -> list[bytes | bytearray | TooLong]:
        """Return the lines that end in this chunk, without their newlines."""
        if not self._buffer and not self._skipping and data.endswith(b"\n") and len(data) <= self._max_bytes:
            # Whole lines, as nearly always.
            whole: list[Any] = data.split(b"\n")
            whole.pop()
            return whole
        first, *rest = data.split(b"\n")
        lines: list[bytes | bytearray | TooLong] = []
        self._add(first, lines)
        if rest:
            self._end(lines)
            last = rest.pop()
            limit = self._max_bytes
            lines += [line if len(line) <= limit else TooLong(line[:_START]) for line in rest]
            self._add(last, lines)
        return lines

    def finish(self) -> list[bytes | bytearray | TooLong]:
        """Return what is left at the end of the stream, a last line without a newline."""
        lines: list[bytes | bytearray | TooLong] = []
        if self._buffer:
            self._end(lines)
        return lines

    def _add(self, part: bytes, lines: list[bytes | bytearray | TooLong]) -> None:
        if self._skipping or not part:
            return
        if len(self._buffer) + len(part) > self._max_bytes:
            self._buffer += part[:_START]
            lines.append(TooLong(bytes(self._buffer[:_START])))
            self._buffer = bytearray()
            self._skipping = True
        else:
            self._buffer += part

    def _end(self, lines: list[bytes | bytearray | TooLong]) -> None:
        if self._skipping:
            self._skipping = False
        else:
            # The buffer itself is the line: nobody copies a large message to hand it on.
            lines.append(self._buffer)
            self._buffer = bytearray()


class FrameSplitter:
    """Cuts a stream of bytes into lines, and once packed frames are expected and the first has come, into these.

    Attributes:
        feed: Returns the frames that end in a chunk; see `LineSplitter.feed`.
        finish: Returns what is left at the end of the stream.
    """

    def __init__(self, max_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lines = LineSplitter(max_bytes)
        self.feed: Callable[[bytes], Frames] = self._lines.feed
        self.finish: Callable[[], Frames] = self._lines.finish

    def expect_packed(self) -> None:
        """Know that packed frames may follow the next lines."""
        if self.feed == self._lines.feed:
            self.feed = self._feed_either

    def _feed_either(self, data: bytes) -> Frames:
        if self._lines.between_lines and data.startswith(PACKED_MARK):
            start = 0
        elif (found := data.find(b"\n" + PACKED_MARK)) >= 0:
            start = found + 1
        else:
            return self._lines.feed(data)
        packed = _PackedSplitter(self._max_bytes)
        self.feed, self.finish = packed.feed, packed.finish
        return self._lines.feed(data[:start]) + packed.feed(data[start:])


class _PackedSplitter:
    """Cuts a stream of bytes into packed frames; the counterpart of `LineSplitter`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._skipped = 0

    def feed(self, data: bytes) -> Frames:
        between = not (self._buffer or self._skipped)
        if (
            between
            and data[:1] == PACKED_MARK
            and _HEAD.size + int.from_bytes(data[1:5]) == len(data) <= self._max_bytes
        ):
            # One whole frame, as nearly always when one request is in flight.
            return [data[_HEAD.size :]]
        if self._skipped:
            dropped = min(self._skipped, len(data))
            self._skipped -= dropped
            data = data[dropped:]
        frames: Frames = []
        if self._buffer:
            self._buffer += data
            rest = self._cut(self._buffer, frames)
            # While a large frame is incomplete nothing is copied but what is new.
            if rest:
                self._buffer = self._buffer[rest:]
        else:
            self._buffer += data[self._cut(data, frames) :]
        return frames

    def finish(self) -> Frames:
        # It is no message, and is answered or logged as that.
        return [self._buffer] if self._buffer else []

    def _cut(self, data: bytes | bytearray, frames: Frames) -> int:
        """Add the whole frames, and return where the rest begins."""
        start = 0
        while len(data) - start >= _HEAD.size:
            mark, size = _HEAD.unpack_from(data, start)
            begin = start + _HEAD.size
            end = begin + size
            if mark != PACKED_MARK[0]:
                # Something printed: in UTF-8 that has no such byte, so the next one begins a frame again.
                found = data.find(PACKED_MARK, start)
                end = len(data) if found < 0 else found
                frames.append(data[start:end])
                start = end
                continue
            if size > self._max_bytes:
                if len(data) < min(end, begin + _START):
                    break
                frames.append(TooLong(bytes(data[begin : min(end, begin + _START)])))
                self._skipped = max(0, end - len(data))
                start = min(end, len(data))
                continue
            if end > len(data):
                break
            frames.append(data[begin:end])
            start = end
        return start


def is_message(frame: bytes | bytearray) -> bool:
    """Whether a frame begins like a message, in JSON or in MessagePack, and not like something printed."""
    first = frame[0]
    return first == _BRACE or 0x80 <= first <= 0x8F or frame.lstrip()[:1] in _OBJECTS


def join_frames(frames: list[bytes]) -> bytes:
    """Return frames as the bytes of one write: JSON, each a line, or packed frames."""
    # A map in MessagePack, and nothing in JSON, begins with a byte above 127. All frames of a write are of one kind.
    first = frames[0]
    if first[0] < 0x80:
        return first + b"\n" if len(frames) == 1 and 0x0A not in first else join_lines(frames)
    if len(frames) == 1:
        return _HEAD.pack(PACKED_MARK[0], len(first)) + first
    return b"".join([part for frame in frames for part in (_HEAD.pack(PACKED_MARK[0], len(frame)), frame)])


def join_lines(frames: list[bytes]) -> bytes:
    """Return frames as the bytes of one write, each a line.

    A newline inside a frame can only be white space between tokens, for JSON strings escape it; it becomes a blank.
    """
    data = b"\n".join(frames) + b"\n"
    if data.count(b"\n") != len(frames):
        data = b"\n".join([frame.replace(b"\n", b" ") for frame in frames]) + b"\n"
    return data
