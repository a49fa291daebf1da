"""The short way between uvicorn and the endpoint of a server that runs itself: without ASGI.

ASGI takes a task, two coroutines and three messages for an answer. Where nobody stands between uvicorn's protocol and
our endpoint, as in a process of our own, a POST that is there as a whole is handed over as bytes, and its answer is
written as bytes. Everything else goes the way of ASGI.
"""

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Protocol

from stepflow_sdk.transports.http.messages import Receive, Scope, Send
from stepflow_sdk.transports.http.next_turn import NextTurn

__all__ = ["Direct", "Waiting", "Wire", "directly"]

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 0\r\n%b\r\n"
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nstepflow-instance-id: %b\r\n"
    b"transfer-encoding: chunked\r\n%b\r\n"
)
_CHUNK = b"%x\r\n%b\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_SMALL = 64 * 1024
"""Bodies above so many bytes are not worth a copy."""


class Waiting(Protocol):
    """A request that will be answered."""

    def answer_on(self, wire: "Wire") -> None:
        """Answer there, from the next turn of the event loop on."""
        ...

    def client_is_gone(self) -> None:
        """Know that nobody waits for the answer any more; not called once that is complete."""
        ...


class Direct(Protocol):
    """An ASGI application that takes requests on the short way, too."""

    def take(self, scope: Scope, body: bytes) -> bytes | Waiting | None:
        """Take a POST that is there as a whole.

        Returns:
            The answer: JSON, with the status 200, or nothing, with 202. Or what will answer. Or None for a request that
            belongs to ASGI; then nothing has happened.
        """
        ...


class Wire:
    """Where one request is answered: as a whole, or by an event stream.

    Args:
        protocol: The connection.
        cycle: What uvicorn knows of the request.
        turn: Of all connections of the server.

    Attributes:
        is_stream: Whether the answer has begun, as a stream.
    """

    __slots__ = ("_cycle", "_protocol", "_turn", "is_stream")

    def __init__(self, protocol: Any, cycle: Any, turn: NextTurn) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self._turn = turn
        self.is_stream = False
        # It leads back to the connection, which leads here.
        cycle.on_response = _nothing

    def begin(self, taken: bytes | Waiting) -> None:
        """Answer, or wait for the answer."""
        if isinstance(taken, bytes):
            self.answer(taken)
        else:
            self._protocol.waiting = taken
            taken.answer_on(self)

    def soon(self, write: Callable[[], None]) -> None:
        """Have something called in the next turn of the event loop, which is where to write."""
        self._turn.add(write, self._protocol.fail)

    def answer(self, body: bytes) -> None:
        """Write the whole answer: JSON, with the status 200, or nothing, with 202."""
        head = _ANSWER % (len(body), self._last_field()) if body else _ACCEPTED % self._last_field()
        if len(body) > _SMALL:
            self._write(head)
            self._write(body)
        else:
            self._write(head + body)
        self._complete()

    def stream(self, events: bytes, instance_id: str, *, is_last: bool) -> None:
        """Write events, and before the first of them the head."""
        chunk = _CHUNK % (len(events), events)
        if not self.is_stream:
            self.is_stream = True
            chunk = _STREAM % (instance_id.encode(), self._last_field()) + chunk
        if is_last:
            self._write(chunk + _LAST_CHUNK)
            self._complete()
        else:
            self._write(chunk)

    def _last_field(self) -> bytes:
        # A server that stops wants no further request.
        return b"" if self._cycle.keep_alive else b"connection: close\r\n"

    def _write(self, data: bytes) -> None:
        cycle = self._cycle
        cycle.response_started = True
        if not cycle.disconnected:
            self._protocol.write_now(data)

    def _complete(self) -> None:
        # What uvicorn does when it has written the last of an answer.
        protocol, cycle = self._protocol, self._cycle
        protocol.waiting = None
        cycle.response_complete = True
        if not cycle.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()


def directly(base: Any, app: Any) -> Any:
    """Return uvicorn's protocol class for httptools, made to hand requests over to an application that is `Direct`.

    For other applications, other protocols and other versions of uvicorn it is what it was.
    """
    begin_by_asgi: Any = getattr(base, "_start_asgi_task", None)
    if begin_by_asgi is None or not (hasattr(base, "on_message_begin") and hasattr(app, "take")):
        return base
    endpoint: Direct = app
    turn = NextTurn()

    class Directly(base):  # type: ignore[misc]  # which class it is depends on what is installed
        waiting: Waiting | None = None

        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            # By then the body has been read, too, as far as it has arrived.
            turn.add(partial(self._begin, cycle, app), self.fail)

        def connection_made(self, transport: Any) -> None:
            # Past the transport that `base` gives itself, which looks at all that is written.
            self._close, self.write_now = transport.close, transport.write
            base.connection_made(self, transport)

        def eof_received(self) -> bool:
            # What was read in the turn before is begun in this one, and may be answered in the next. Clients that close
            # their side as soon as they have asked shall have their answers, too.
            turn.add(self._close, self.fail)
            return True

        def connection_lost(self, exc: Exception | None) -> None:
            base.connection_lost(self, exc)
            waiting, self.waiting = self.waiting, None
            if waiting is not None:
                waiting.client_is_gone()

        def _begin(self, cycle: Any, app: Any) -> None:
            taken: bytes | Waiting | None = None
            if _is_simple(cycle) and not self.flow.write_paused:
                try:
                    # Classes of inputs are made there, which are code of the user.
                    taken = copy_context().run(endpoint.take, cycle.scope, bytes(cycle.body))
                except Exception as error:
                    # uvicorn knows what to do with an application that fails.
                    app = partial(_raise, error)
            if taken is None:
                begin_by_asgi(self, cycle, app)
                return
            cycle.body.clear()
            self.flow.resume_reading()
            Wire(self, cycle, turn).begin(taken)

        def fail(self) -> None:
            self.transport.abort()

    return Directly


def _is_simple(cycle: Any) -> bool:
    return (
        not cycle.more_body
        and cycle.keep_alive
        and not cycle.disconnected
        and not cycle.waiting_for_100_continue
        and cycle.scope["method"] == "POST"
    )


async def _raise(error: Exception, _scope: Scope, _receive: Receive, _send: Send) -> None:
    raise error


def _nothing() -> None:
    pass
