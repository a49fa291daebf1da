"""The ASGI endpoint: JSON-RPC by POST, sessions, and what operators ask for."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import UNSET

from stepflow_sdk.errors import InvalidRequest, NotFound, ParseError, ResourceUnavailable
from stepflow_sdk.protocol import Call, error_of, methods
from stepflow_sdk.protocol.codec import Envelope, Unreadable, encode_error, read_envelope
from stepflow_sdk.transports.connection import Connection, Handler, call_deadlines
from stepflow_sdk.transports.deadlines import Deadlines
from stepflow_sdk.transports.http.body import begin_body
from stepflow_sdk.transports.http.exchange import Exchange
from stepflow_sdk.transports.http.known_heads import KnownHeads
from stepflow_sdk.transports.http.messages import JSON_CONTENT, Receive, Scope, Send, send_answer, send_refusal
from stepflow_sdk.transports.http.policy import HttpPolicy, Refusal
from stepflow_sdk.transports.http.sessions import EVENTS_PATH, SESSION_PREFIX, Session, SessionLimits, Sessions

__all__ = ["HttpEndpoint"]

_SESSIONS = SessionLimits()
_INSTANCE_ID = b"stepflow-instance-id"
_RETRY_AFTER = (b"retry-after", b"1")
_MOST_SPARES = 64
_EXECUTE = methods.EXECUTE.name.encode()
_BEGINNING = 256


class MetricsPage(Protocol):
    """What ``GET /metrics`` shows."""

    @property
    def content_type(self) -> str:
        """Of the text."""
        ...

    def text(self) -> str:
        """Everything that was counted."""
        ...

    def refused(self, status: int) -> None:
        """Count a request that is answered with a status instead of being served."""
        ...


class HttpEndpoint:
    """Answers HTTP requests: one JSON-RPC message by POST to the path that it is mounted at.

    ``GET /health`` says that the process answers, ``GET /ready`` whether it takes requests, and ``GET /metrics``, where
    there are any, what it has counted.

    A request is answered with plain JSON, or with an event stream when its component calls back. Answers to calls
    back are POSTs too and get 202, as notifications do. Whatever is refused has a status of HTTP and a JSON-RPC
    error as its body.

    Args:
        make_handler: Makes what serves one exchange.
        policy: Who may talk to it.
        sessions: Bounds of the sessions, which live beside the exchanges without one.
        is_stopping: Whether new requests are refused.
        metrics: What is counted; refusals are added.

    Attributes:
        instance_id: Tells this process from others behind one address, in ``Stepflow-Instance-Id``.
    """

    def __init__(
        self,
        make_handler: Callable[[], Handler],
        policy: HttpPolicy,
        sessions: SessionLimits = _SESSIONS,
        *,
        is_stopping: Callable[[], bool] = lambda: False,
        metrics: MetricsPage | None = None,
    ) -> None:
        self.instance_id = uuid.uuid4().hex
        self._make_handler = make_handler
        self._policy = policy
        self._calls: dict[str, Connection] = {}
        self._sessions = Sessions(sessions)
        self._exchanges = 0
        self._heads = KnownHeads(policy)
        self._spares: list[Exchange] = []
        self._deadlines: Deadlines[Call] | None = None
        self._is_stopping = is_stopping
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; an ASGI application for ``http`` scopes."""
        try:
            path = _path(scope)
            if path in {"", "/"} and scope["method"] == "POST":
                self._heads.check(scope["headers"])
                await self._post(scope, receive, send, None)
                return
            self._policy.check_source(scope["headers"])
            if path in {"", "/"}:
                raise _wrong_method(b"POST")
            if path.startswith(SESSION_PREFIX):
                self._policy.check_caller(scope["headers"])
                session = self._sessions.get(path.removeprefix(SESSION_PREFIX))
                if scope["method"] != "POST":
                    raise _wrong_method(b"POST")
                self._policy.check_content(scope["headers"])
                await self._post(scope, receive, send, session)
            elif path == EVENTS_PATH:
                await self._events(scope, receive, send)
            elif path == "/health":
                await self._read(scope, send, b'{"status":"healthy"}')
            elif path == "/ready":
                await self._ready(scope, send)
            elif path == "/metrics" and self._metrics is not None:
                self._policy.check_caller(scope["headers"])
                text = self._metrics.text().encode()
                await self._read(scope, send, text, content=(b"content-type", self._metrics.content_type.encode()))
            else:
                raise Refusal(404, NotFound(f"there is nothing at {path[:200]!r}"))
        except Refusal as refusal:
            if self._metrics is not None:
                self._metrics.refused(refusal.status)
            await send_refusal(send, refusal)

    def end_sessions(self) -> None:
        """End the event streams of all sessions, so that a server can stop."""
        self._sessions.end()

    async def _read(
        self,
        scope: Scope,
        send: Send,
        body: bytes,
        status: int = 200,
        headers: Sequence[tuple[bytes, bytes]] = (),
        content: tuple[bytes, bytes] = JSON_CONTENT,
    ) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            raise _wrong_method(b"GET, HEAD")
        self._policy.check_body(scope["headers"])
        await send_answer(send, status, body, headers, content)

    async def _ready(self, scope: Scope, send: Send) -> None:
        if self._is_stopping():
            await self._read(scope, send, b'{"status":"stopping"}', 503)
        elif self._exchanges >= self._policy.max_exchanges:
            await self._read(scope, send, b'{"status":"overloaded"}', 503, [_RETRY_AFTER])
        else:
            await self._read(scope, send, b'{"status":"ready"}')

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            raise _wrong_method(b"GET")
        self._policy.check_caller(scope["headers"])
        self._policy.check_body(scope["headers"])
        await self._sessions.serve(scope, receive, send)

    async def _post(self, scope: Scope, receive: Receive, send: Send, session: Session | None) -> None:
        body = begin_body(receive, self._policy)
        if not isinstance(body, bytes):
            body = await body
        client = scope.get("client")
        remote = client[0] if client else "unknown"
        # The name of the method stands at the beginning, or the request is read the other way.
        is_execute = session is None and body.find(_EXECUTE, 0, _BEGINNING) >= 0
        if is_execute and (taken := self._take_execute(body, remote)) is not None:
            await self._answer_taken(taken, receive, send)
            return
        calls = self._calls if session is None else session.calls
        try:
            envelope = read_envelope(body)
        except Unreadable as unreadable:
            if unreadable.id in calls:
                # A broken answer to a call of ours still ends the wait for it.
                calls[str(unreadable.id)].receive([body])
            error = encode_error(unreadable.id, error_of(unreadable.error))
            await send_answer(send, 400, error)
            return
        if not isinstance(envelope, Envelope):
            what = "batches are not served over HTTP" if envelope else "the body is empty"
            raise Refusal(400, InvalidRequest(what) if envelope else ParseError(what))
        if envelope.method is UNSET and (envelope.result or envelope.error or envelope.id in calls):
            self._take_answer(calls, envelope, scope["headers"])
            await send_answer(send, 202, b"")
        else:
            await self._exchange(body, receive, send, remote, session)

    def take(self, scope: Scope, body: bytes) -> bytes | Exchange | None:
        """Take a POST to the path of the protocol without ASGI; see `Direct`."""
        if _path(scope) not in {"", "/"} or len(body) > self._policy.max_body_bytes:
            return None
        try:
            self._heads.check(scope["headers"])
        except Refusal:
            return None
        if body.find(_EXECUTE, 0, _BEGINNING) >= 0:
            client = scope["client"]
            return self._take_execute(body, client[0] if client else "unknown")
        return self._take_good_answer(body) if self._calls else None

    def _take_good_answer(self, body: bytes) -> bytes | None:
        try:
            envelope = read_envelope(body)
        except Unreadable:
            return None
        if not isinstance(envelope, Envelope) or envelope.method is not UNSET or not isinstance(envelope.id, str):
            return None
        connection = self._calls.get(envelope.id)
        if connection is None:
            return None
        connection.receive_envelope(envelope)
        return b""

    def _take_execute(self, body: bytes, remote: str) -> bytes | Exchange | None:
        """Take a request to execute a component, the way of nearly all; None where `_post` has to look."""
        if self._exchanges >= self._policy.max_exchanges:
            return None
        spares = self._spares
        exchange = spares.pop() if spares else self._make_exchange()
        answer = exchange.answer_at_once(body, remote)
        if answer is not None or not exchange.took:
            spares.append(exchange)
            return answer
        self._exchanges += 1
        return exchange

    async def _answer_taken(self, taken: bytes | Exchange, receive: Receive, send: Send) -> None:
        if isinstance(taken, bytes):
            await send_answer(send, 200, taken)
            return
        try:
            await taken.answer(receive, send)
        finally:
            self._ended(taken)

    def _ended(self, exchange: Exchange) -> None:
        self._exchanges -= 1
        if exchange.is_clean and len(self._spares) < _MOST_SPARES:
            self._spares.append(exchange)
        else:
            exchange.end()

    def _make_exchange(self) -> Exchange:
        if self._deadlines is None:
            self._deadlines = call_deadlines()
        return Exchange(
            self._make_handler(), self._calls, self.instance_id, deadlines=self._deadlines, on_end=self._ended
        )

    async def _exchange(self, body: bytes, receive: Receive, send: Send, remote: str, session: Session | None) -> None:
        if self._exchanges >= self._policy.max_exchanges:
            limit = {"limit": self._policy.max_exchanges}
            error = ResourceUnavailable("too many requests in flight", data=limit)
            raise Refusal(503, error, [_RETRY_AFTER])
        if session is None:
            exchange = self._make_exchange()
            exchange.connection.remote = remote
        else:
            exchange = Exchange(
                self._make_handler(), session.calls, self.instance_id, remote=remote, send_call=session.send
            )
            session.join(exchange.connection)
        self._exchanges += 1
        try:
            exchange.connection.receive([body])
            if exchange.is_answered_with_nothing():
                await send_answer(send, 202, b"")
            else:
                await exchange.answer(receive, send)
        finally:
            self._exchanges -= 1
            if session is not None:
                session.leave(exchange.connection)

    def _take_answer(
        self, calls: Mapping[str, Connection], envelope: Envelope, headers: list[tuple[bytes, bytes]]
    ) -> None:
        connection = calls.get(envelope.id) if isinstance(envelope.id, str) else None
        if connection is not None:
            connection.receive_envelope(envelope)
            return
        instance = next((value for name, value in headers if name == _INSTANCE_ID), None)
        if instance is not None and instance.decode("latin-1") != self.instance_id:
            message = "this answer belongs to another process of the server, see Stepflow-Instance-Id"
            raise Refusal(421, InvalidRequest(message, data={"instance_id": self.instance_id}))


def _path(scope: Scope) -> str:
    # Servers differ in whether the path includes the prefix that the application is mounted at.
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not root:
        return path
    root = root.rstrip("/")
    return path[len(root) :] if root and (path == root or path.startswith(f"{root}/")) else path


def _wrong_method(allowed: bytes) -> Refusal:
    return Refusal(405, InvalidRequest(f"only {allowed.decode()} works here"), [(b"allow", allowed)])
