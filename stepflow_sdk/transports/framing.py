"""Newline-delimited frames: the framing of stdio."""

from typing import NamedTuple

__all__ = ["DEFAULT_MAX_MESSAGE_BYTES", "LineSplitter", "TooLong", "join_lines"]

DEFAULT_MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_START = 2000
"""How much of a line that is too long is kept, in bytes: enough to find its id."""


class TooLong(NamedTuple):
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

    def feed(self, data: bytes) -> list[bytes | bytearray | TooLong]:
        """Return the lines that end in this chunk, without their newlines."""
        if data[-1:] == b"\n" and not self._buffer and not self._skipping and len(data) <= self._max_bytes:
            # Whole lines, as nearly always.
            whole: list[bytes | bytearray | TooLong] = [*data.split(b"\n")]
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


def join_lines(frames: list[bytes]) -> bytes:
    """Return frames as the bytes of one write, each a line.

    A newline inside a frame can only be white space between tokens, for JSON strings escape it; it becomes a blank.
    """
    if len(frames) == 1 and 0x0A not in frames[0]:
        return frames[0] + b"\n"
    data = b"\n".join(frames) + b"\n"
    if data.count(b"\n") != len(frames):
        data = b"\n".join([frame.replace(b"\n", b" ") for frame in frames]) + b"\n"
    return data
