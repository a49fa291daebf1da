"""One kept connection to an HTTP server, as a state machine that a selector drives."""

import json
import re
import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.processes import BenchmarkError

_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"transfer-encoding:\s*chunked", re.IGNORECASE)
_STREAM = re.compile(rb"content-type:\s*text/event-stream", re.IGNORECASE)
_SECONDS = 30.0
_READ = 1 << 18

Call = Mapping[str, Any]


class Connection:
    """Sends one request at a time, and tells when its answer is whole.

    Args:
        port: Of the server, on this machine.
        selector: Where the connection registers; the data of its key is what to call.
        on_call: Called with each request of the server in a streamed answer, and the head of that answer.
        on_done: Called with the status and the last message, which may be empty.
    """

    def __init__(
        self,
        port: int,
        selector: selectors.BaseSelector,
        on_call: Callable[[Call, bytes], None],
        on_done: Callable[[int, bytes], None],
    ) -> None:
        self._port = port
        self._selector = selector
        self._on_call = on_call
        self._on_done = on_done
        self._socket: socket.socket | None = None
        self._request = b""
        self._clear()

    def send(self, request: bytes) -> None:
        """Send a request; the one before must have been answered."""
        self._clear()
        self._request = request
        if self._socket is None:
            self._connect()
        try:
            self._open.sendall(request)
        except ConnectionError:
            self._again()

    def close(self) -> None:
        if self._socket is not None:
            self._selector.unregister(self._socket)
            self._socket.close()
            self._socket = None

    @property
    def _open(self) -> socket.socket:
        if self._socket is None:
            raise BenchmarkError("the connection is closed")
        return self._socket

    def _connect(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self._port), _SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(self._socket, selectors.EVENT_READ, self._readable)

    def _again(self) -> None:
        # The server closed a connection that it no longer wanted, just when the request was sent.
        self.close()
        self._connect()
        self._open.sendall(self._request)

    def _clear(self) -> None:
        self._parts: list[bytes] = []
        self._missing: int | None = None
        self._buffer = b""
        self._head = b""
        self._chunked = False
        self._stream = False
        self._events = b""
        self._last = b""

    def _readable(self) -> None:
        try:
            data = self._open.recv(_READ)
        except ConnectionError:
            data = b""
        if data:
            self._feed(data)
        elif not self._request:
            self.close()
        elif self._last:
            # One of the peers drops its connection instead of ending the stream.
            self.close()
            self._finish(self._last)
        elif self._head:
            raise BenchmarkError("the server closed the connection in the middle of an answer")
        else:
            self._again()

    def _feed(self, data: bytes) -> None:
        if not self._head:
            self._buffer += data
            head, found, data = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self._buffer = b""
            self._head = head
            self._chunked = _CHUNKED.search(head) is not None
            self._stream = _STREAM.search(head) is not None
            length = _LENGTH.search(head)
            self._missing = int(length[1]) if length else 0
        if self._chunked:
            self._feed_chunks(data)
            return
        self._parts.append(data)
        self._missing = (self._missing or 0) - len(data)
        if self._missing <= 0:
            self._finish(b"".join(self._parts))

    def _feed_chunks(self, data: bytes) -> None:
        self._buffer += data
        while True:
            size, found, rest = self._buffer.partition(b"\r\n")
            if not found:
                return
            length = int(size, 16)
            if len(rest) < length + 2:
                return
            self._buffer = rest[length + 2 :]
            if not length:
                self._finish(self._last if self._stream else b"".join(self._parts))
                return
            if self._stream:
                self._feed_events(rest[:length])
            else:
                self._parts.append(rest[:length])

    def _feed_events(self, data: bytes) -> None:
        *events, self._events = (self._events + data).split(b"\n\n")
        for event in events:
            message = event.partition(b"data: ")[2]
            if b'"method"' in message:
                self._on_call(json.loads(message), self._head)
            elif message:
                self._last = message

    def _finish(self, message: bytes) -> None:
        self._request = b""
        self._on_done(int(self._head[9:12]), message)
