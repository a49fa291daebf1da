"""The load client for servers on stdin and stdout: whole batches are written and read on raw pipes."""

import json
import os
import re
import select
from collections.abc import Iterable, Sequence

from benchmarks.messages import ID_PREFIX, Dialect, answer, initialize, initialized
from benchmarks.processes import BenchmarkError, Server
from benchmarks.wire import TIMEOUT

_IDS = re.compile(rb'"id":\s?"' + ID_PREFIX.encode() + rb'([0-9a-f]{12})"')
_READ = 1 << 18


class StdioWire:
    """The two pipes of a server; see `Wire`."""

    def __init__(self, server: Server, dialect: Dialect) -> None:
        self._server = server
        self._requests: Sequence[bytes] = ()
        self._early = b""
        self._pending: list[bytes] = []
        self._poll = select.poll()
        self._poll.register(server.stdout, select.POLLIN)
        os.set_blocking(server.stdin, False)
        self.load([initialize(dialect)])
        self.send([0])
        self.receive()
        self._write(initialized(dialect) + b"\n")

    def load(self, requests: Sequence[bytes]) -> None:
        self._requests = [request + b"\n" for request in requests]

    def send(self, numbers: Iterable[int]) -> None:
        self._write(b"".join([self._requests[number] for number in numbers]))

    def receive(self) -> list[int]:
        numbers: list[int] = []
        while not numbers:
            lines = self._lines()
            # In arguments and results of ours there is no "method", "error" or "isError".
            if b'"method"' in lines:
                lines = self._answer_calls(lines)
            if b'"error"' in lines or b'"isError":true' in lines:
                raise BenchmarkError(f"the server answered {lines[:300]!r}")
            numbers = [int(number, 16) for number in _IDS.findall(lines)]
        return numbers

    def close(self) -> None:
        """The pipes are the server's."""

    def _lines(self) -> bytes:
        """Wait for the end of a line, and return all lines that are whole."""
        while True:
            data = self._early or self._read()
            self._early = b""
            end = data.rfind(b"\n") + 1
            if end:
                lines = b"".join([*self._pending, data[:end]])
                self._pending = [data[end:]] if end < len(data) else []
                return lines
            self._pending.append(data)

    def _read(self) -> bytes:
        if not self._poll.poll(TIMEOUT * 1000):
            raise BenchmarkError(f"no answer within {TIMEOUT:g} s; {self._server.complaint()}")
        data = os.read(self._server.stdout, _READ)
        if not data:
            raise BenchmarkError(f"the server closed its output; {self._server.complaint()}")
        return data

    def _answer_calls(self, lines: bytes) -> bytes:
        replies = []
        answers = []
        for line in lines.splitlines():
            if b'"method"' in line:
                call = json.loads(line)
                if "id" in call:
                    answers.append(answer(call) + b"\n")
            else:
                replies.append(line)
        self._write(b"".join(answers))
        return b"\n".join(replies)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._server.stdin, view) :]
            except BlockingIOError:
                self._wait_for_room()
            except BrokenPipeError:
                raise BenchmarkError(f"the server closed its input; {self._server.complaint()}") from None

    def _wait_for_room(self) -> None:
        # A server that writes before it has read everything waits for us, as we do for it.
        both = select.poll()
        both.register(self._server.stdin, select.POLLOUT)
        both.register(self._server.stdout, select.POLLIN)
        ready = dict(both.poll(TIMEOUT * 1000))
        if not ready:
            raise BenchmarkError(f"the server reads nothing; {self._server.complaint()}")
        if self._server.stdin not in ready:
            self._early += self._read()
