"""What a subprocess writes to stderr: to the log, and the end of it for error messages."""

import logging
from collections import deque

__all__ = ["StderrLog"]

_TAIL_BYTES = 8 * 1024
_LOG_LINE_BYTES = 4 * 1024


class StderrLog:
    """Sends what a server writes to stderr to the logger ``stepflow_sdk.server.<name>``, and remembers its end.

    Memory is bounded whatever the server writes: 8 KiB are remembered, and a line is logged in parts of 4 KiB.
    """

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(f"stepflow_sdk.server.{name}")
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._line = b""

    def feed(self, data: bytes) -> None:
        """Take what was written."""
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size - len(self._tail[0]) >= _TAIL_BYTES:
            self._tail_size -= len(self._tail.popleft())
        *lines, rest = (self._line + data).split(b"\n")
        for line in lines:
            self._write(line)
        while len(rest) > _LOG_LINE_BYTES:
            self._write(rest[:_LOG_LINE_BYTES])
            rest = rest[_LOG_LINE_BYTES:]
        self._line = rest

    def finish(self) -> None:
        """Log a last line that no newline ends."""
        if self._line:
            self._write(self._line)
            self._line = b""

    def tail(self) -> str:
        """The last 8 KiB."""
        return b"".join(self._tail)[-_TAIL_BYTES:].decode("utf-8", "replace")

    def _write(self, line: bytes) -> None:
        if self._log.isEnabledFor(logging.INFO) and line.strip():
            self._log.info("%s", line[:_LOG_LINE_BYTES].decode("utf-8", "replace").rstrip())
