"""The load client for servers over HTTP: raw sockets, requests that are bytes already, plain and streamed answers.

Each request has a connection of its own, which is kept. Answers to calls back go over further ones, as runtimes do it.
"""

import json
import os
import re
import select
import selectors
import time
from collections.abc import Iterable, Sequence

from benchmarks.blob_api import BlobApi
from benchmarks.http_connection import Call, Connection
from benchmarks.messages import RUNS, Dialect, answer, initialize, initialized
from benchmarks.processes import BenchmarkError, Server
from benchmarks.wire import TIMEOUT

_INSTANCE = re.compile(rb"stepflow-instance-id:\s*(\S+)", re.IGNORECASE)


class HttpWire:
    """As many connections to a server as there are requests; see `Wire`."""

    def __init__(self, server: Server, dialect: Dialect) -> None:
        self._server = server
        self._selector = selectors.DefaultSelector()
        self._requests: Sequence[bytes] = ()
        self._connections: list[Connection] = []
        self._couriers: list[Connection] = []
        self._idle: list[Connection] = []
        self._done: list[int] = []
        self._port = _port_of(server)
        # Some servers go on to write there, and stop when nobody reads it.
        self._selector.register(server.stdout, selectors.EVENT_READ, self._drain)
        self._blobs = BlobApi(self._selector) if dialect is RUNS else None
        self._wanted = 200
        blob_api = None if self._blobs is None else self._blobs.url
        for message, self._wanted in ((initialize(dialect, blob_api), 200), (initialized(dialect), 202)):
            self.load([message])
            self.send([0])
            self.receive()
        self._wanted = 200

    def load(self, requests: Sequence[bytes]) -> None:
        self._requests = [self._framed(request) for request in requests]
        for number in range(len(self._connections), len(requests)):
            self._connections.append(self._connection(number))

    def send(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._connections[number].send(self._requests[number])

    def receive(self) -> list[int]:
        deadline = time.monotonic() + TIMEOUT
        while not self._done:
            ready = self._selector.select(TIMEOUT)
            if not ready or time.monotonic() > deadline:
                raise BenchmarkError(f"no answer within {TIMEOUT:g} s; {self._server.complaint()}")
            for key, _ in ready:
                key.data()
        numbers, self._done = self._done, []
        return numbers

    def close(self) -> None:
        for connection in self._connections + self._couriers:
            connection.close()
        if self._blobs is not None:
            self._blobs.close()
        self._selector.close()

    def _connection(self, number: int) -> Connection:
        def done(status: int, message: bytes) -> None:
            failed = status != self._wanted or b'"error"' in message
            if failed or (status == 200 and b'"result"' not in message):
                raise BenchmarkError(f"the server answered {status} {message[:300]!r}; {self._server.complaint()}")
            self._done.append(number)

        return Connection(self._port, self._selector, self._call, done)

    def _drain(self) -> None:
        if not os.read(self._server.stdout, 1 << 18):
            self._selector.unregister(self._server.stdout)

    def _call(self, call: Call, head: bytes) -> None:
        found = _INSTANCE.search(head)
        self._post(answer(call), None if found is None else found[1])

    def _post(self, body: bytes, instance: bytes | None) -> None:
        courier = self._idle.pop() if self._idle else self._courier()
        courier.send(self._framed(body, instance))

    def _courier(self) -> Connection:
        """One more connection for answers to calls back."""

        def done(status: int, message: bytes) -> None:
            if status != 202:
                raise BenchmarkError(f"the server took an answer with {status} {message[:300]!r}")
            self._idle.append(courier)

        courier = Connection(self._port, self._selector, self._call, done)
        self._couriers.append(courier)
        return courier

    def _framed(self, body: bytes, instance: bytes | None = None) -> bytes:
        head = (
            "POST / HTTP/1.1\r\n"
            f"host: 127.0.0.1:{self._port}\r\n"
            "content-type: application/json\r\n"
            "accept: application/json, text/event-stream\r\n"
            f"content-length: {len(body)}\r\n"
        ).encode()
        named = b"" if instance is None else b"stepflow-instance-id: " + instance + b"\r\n"
        return head + named + b"\r\n" + body


def _port_of(server: Server) -> int:
    """What the server announces on stdout, on a line among others."""
    waiting = select.poll()
    waiting.register(server.stdout, select.POLLIN)
    pending = b""
    while waiting.poll(TIMEOUT * 1000):
        data = os.read(server.stdout, 65536)
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            if line.startswith(b'{"port"'):
                return int(json.loads(line)["port"])
    raise BenchmarkError(f"the server announced no port; {server.complaint()}")
