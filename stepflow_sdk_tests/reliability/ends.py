"""The runtime's end of a server, the same over stdio and over HTTP.

What is told to a server is followed by a request that must be answered too, so that every case ends with the proof
that the server goes on, and an answer too many is seen.
"""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from stepflow_sdk_tests.e2e.web import HEADERS, Web, serving_http
from stepflow_sdk_tests.e2e.wire import Wire, serving

__all__ = [
    "RECKLESS",
    "TRANSPORTS",
    "Asking",
    "Begun",
    "End",
    "HttpEnd",
    "StdioEnd",
    "Transport",
    "execution",
    "open_end",
]

Transport = Literal["stdio", "http"]
TRANSPORTS: list[Transport] = ["stdio", "http"]
RECKLESS = str(Path(__file__).parent / "servers" / "reckless")


def execution(id: int | str, component: str, input: Any = None) -> dict[str, Any]:
    params = {"component": component, "input": input, "attempt": 1, "observability": {"run_id": "run-7"}}
    return {"jsonrpc": "2.0", "id": id, "method": "components/execute", "params": params}


class Asking(Protocol):
    """A request on its way to its answer, with calls back in between."""

    def next(self) -> Any:
        """The next message: a call back, or the answer."""

    def answer(self, body: bytes) -> None:
        """Send what may be the answer to a call back."""

    def close(self) -> None:
        """Listen no longer."""


class Begun(Protocol):
    """A request that nobody waits for."""

    def close(self) -> None:
        """Go away, where that is possible."""


class End(Protocol):
    """What talks to a server process."""

    @property
    def process_id(self) -> int:
        """The server's."""

    @property
    def log(self) -> str:
        """What the server has written to stderr."""

    def tell(self, body: bytes, answers: int = 1) -> list[Any]:
        """Send one message; returns its answers, of which there must be so many and no more."""

    def ask(self, component: str, input: Any = None) -> Asking:
        """Send an execution that calls back."""

    def begin(self, component: str, input: Any = None) -> "Begun":
        """Send an execution and do not wait for its answer."""

    def execute(self, component: str, input: Any = None, id: int | str = 1) -> Any:
        """The answer to an execution; the next one is answered too."""
        (reply,) = self.tell(json.dumps(execution(id, component, input)).encode())
        assert reply["id"] == id
        return reply


class StdioEnd(End):
    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._probes = 0

    @property
    def process_id(self) -> int:
        return self.wire.process.pid

    @property
    def log(self) -> str:
        return self.wire.stderr.decode(errors="replace")

    def tell(self, body: bytes, answers: int = 1) -> list[Any]:
        self.wire.send_bytes(body + b"\n")
        replies: list[Any] = []
        self._wait(self._probe(), replies, answers)
        # What would come after the last answer comes before that of a second probe.
        self._wait(self._probe(), replies, answers)
        assert len(replies) == answers, replies
        return replies

    def _wait(self, probe: str, replies: list[Any], answers: int) -> None:
        seen = False
        while not seen or len(replies) < answers:
            message = self.wire.receive()
            if isinstance(message, dict) and message.get("id") == probe:
                assert message["result"] == {"output": probe}
                assert not seen
                seen = True
            else:
                replies.append(message)

    def ask(self, component: str, input: Any = None) -> Asking:
        self._probes += 1
        self.wire.send(execution(f"ask {self._probes}", component, input))
        return _StdioAsking(self.wire)

    def begin(self, component: str, input: Any = None) -> Begun:
        self._probes += 1
        self.wire.send(execution(f"begun {self._probes}", component, input))
        return _StdioAsking(self.wire)

    def _probe(self) -> str:
        self._probes += 1
        id = f"probe {self._probes}"
        self.wire.send(execution(id, "/echo", id))
        return id


class _StdioAsking(Asking):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def next(self) -> Any:
        return self._wire.receive()

    def answer(self, body: bytes) -> None:
        self._wire.send_bytes(body + b"\n")

    def close(self) -> None:
        pass


class HttpEnd(End):
    """POSTs on one connection that is kept, as runtimes send them."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self._connection = web.connect()

    @property
    def process_id(self) -> int:
        return self.web.process.pid

    @property
    def log(self) -> str:
        return self.web.stderr.decode(errors="replace")

    def tell(self, body: bytes, answers: int = 1) -> list[Any]:
        status, data = self.post(body)
        replies = [json.loads(data)] if data else []
        assert len(replies) == answers, (status, data[:500])
        assert status in ({200, 400, 413, 503} if answers else {202})
        status, data = self.post(json.dumps(execution("probe", "/echo", "probe")).encode())
        assert (status, json.loads(data)) == (200, {"jsonrpc": "2.0", "id": "probe", "result": {"output": "probe"}})
        return replies

    def post(self, body: bytes) -> tuple[int, bytes]:
        try:
            self._connection.request("POST", "/", body, HEADERS)
            response = self._connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            # The server may close a connection that is idle, or after an answer that says so.
            self._connection.close()
            self._connection.request("POST", "/", body, HEADERS)
            response = self._connection.getresponse()
        return response.status, response.read()

    def ask(self, component: str, input: Any = None) -> Asking:
        return _HttpAsking(self, component, input)

    def begin(self, component: str, input: Any = None) -> Begun:
        connection = self.web.connect()
        connection.request("POST", "/", json.dumps(execution("begun", component, input)), HEADERS)
        return connection

    def close(self) -> None:
        self._connection.close()


class _HttpAsking(Asking):
    def __init__(self, end: HttpEnd, component: str, input: Any) -> None:
        self._end = end
        self._stream = end.web.open(body=execution("ask", component, input))
        self._plain = self._stream.headers["content-type"] == "application/json"

    def next(self) -> Any:
        return json.loads(self._stream.response.read()) if self._plain else self._stream.message()

    def answer(self, body: bytes) -> None:
        status, _ = self._end.post(body)
        assert status in {202, 400}

    def close(self) -> None:
        self._stream.close()


@contextmanager
def open_end(transport: Transport, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[End]:
    """Run the reckless server, and see to it that it ends."""
    if transport == "stdio":
        with serving(RECKLESS, *arguments, environment=environment) as wire:
            yield StdioEnd(wire)
    else:
        with serving_http(RECKLESS, *arguments, environment=environment) as web:
            end = HttpEnd(web)
            yield end
            end.close()
