"""Reads event streams (``text/event-stream`` of the HTML standard), whatever the chunks are."""

from typing import NamedTuple

from stepflow_sdk.transports.framing import DEFAULT_MAX_MESSAGE_BYTES, TooLong

__all__ = ["ServerEvent", "SseReader"]

_START = 2000
"""How much of an event that is too long is kept, in bytes: enough to find the id of its message."""

_BOM = b"\xef\xbb\xbf"


class ServerEvent(NamedTuple):
    """One event.

    Attributes:
        name: What ``event:`` says, else ``message``.
        data: The ``data`` lines, joined by newlines; still bytes, so a character may come in two chunks.
    """

    name: str
    data: bytes


class SseReader:
    """Cuts a stream of bytes into events.

    It takes what the standard allows and more than real runtimes do: lines that end in LF, CRLF or CR, ``data:`` with
    or without the blank after it, several ``data`` lines, comments, ``id`` and ``retry``. Events without data are
    left out; an event that the end of the stream cuts off is lost, as the standard says.

    Args:
        max_bytes: The longest event, counted in bytes of its ``data`` lines. A longer one is skipped up to its end
            and comes out as `TooLong`, once, as soon as it is known; memory stays below the limit and one chunk.
    """

    def __init__(self, max_bytes: int = DEFAULT_MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._line_is_blank = True
        self._after_cr = False
        self._at_start = True
        self._skipping = False
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[ServerEvent | TooLong]:
        """Return the events that end in this chunk."""
        events: list[ServerEvent | TooLong] = []
        first, *rest = self._with_newlines(chunk).split(b"\n")
        self._add(first, events)
        for part in rest:
            self._end_line(events)
            self._add(part, events)
        return events

    def _with_newlines(self, chunk: bytes) -> bytes:
        # JSON escapes carriage returns, so most chunks have none and pass as they are.
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" not in chunk:
            return chunk
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _add(self, part: bytes, events: list[ServerEvent | TooLong]) -> None:
        if not part:
            return
        self._line_is_blank = False
        if self._skipping:
            return
        self._line += part
        if self._size + len(self._line) > self._max_bytes + len(b"data: "):
            self._skip_the_rest(events)

    def _skip_the_rest(self, events: list[ServerEvent | TooLong]) -> None:
        start = b"\n".join([*self._data, _value(bytes(self._line[: _START + 6]), b"data") or b""])
        events.append(TooLong(start[: min(_START, self._max_bytes)]))
        self._skipping = True
        self._line = bytearray()
        self._data = []

    def _end_line(self, events: list[ServerEvent | TooLong]) -> None:
        line, self._line = bytes(self._line), bytearray()
        blank, self._line_is_blank = self._line_is_blank, True
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
            blank = blank or (not line and not self._skipping)
        if blank:
            self._end_event(events)
        elif not self._skipping:
            self._read_field(line)

    def _read_field(self, line: bytes) -> None:
        data = _value(line, b"data")
        if data is not None:
            self._data.append(data)
            self._size += len(data) + 1
            return
        name = _value(line, b"event")
        if name is not None:
            self._name = name[:100].decode("utf-8", "replace")

    def _end_event(self, events: list[ServerEvent | TooLong]) -> None:
        if self._data:
            events.append(ServerEvent(self._name or "message", b"\n".join(self._data)))
        self._name, self._data, self._size, self._skipping = "", [], 0, False


def _value(line: bytes, field: bytes) -> bytes | None:
    """What a line says for a field, or None when it is about something else."""
    if not line.startswith(field):
        return None
    rest = line[len(field) :]
    if not rest:
        return b""
    return rest[1:].removeprefix(b" ") if rest.startswith(b":") else None
