"""Sessions of the protocol overview: an event stream for calls back, and an address of its own for POSTs.

A client opens ``GET /runtime/events`` and is told the session's address in the first event. It POSTs requests there
and gets each answer as that of its POST; calls back come down the stream, and their answers are POSTed to the same
address. The session ends with its stream.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from msgspec import Struct

from stepflow_sdk.errors import ResourceUnavailable, SessionExpired
from stepflow_sdk.transports.connection import Connection
from stepflow_sdk.transports.http.messages import Receive, Scope, Send, ascii_frame
from stepflow_sdk.transports.http.policy import Refusal

if TYPE_CHECKING:
    from sse_starlette import ServerSentEvent

__all__ = ["EVENTS_PATH", "SESSION_PREFIX", "Session", "SessionLimits", "Sessions"]

EVENTS_PATH = "/runtime/events"
SESSION_PREFIX = "/session/"


class SessionLimits(Struct, frozen=True):
    """Bounds of the sessions of one server.

    Attributes:
        count: How many there may be at once.
        idle: Seconds without a POST after which a session ends.
        keepalive: Seconds between ``keepalive`` events.
        backlog: How many calls back may wait for the client to read them.
    """

    count: int = 100
    idle: float = 3600.0
    keepalive: float = 15.0
    backlog: int = 1000


class Session:
    """One client's session.

    Attributes:
        id: What its address ends with; nobody can guess it.
        calls: The calls back that wait for an answer; those of other sessions are not among them.
    """

    def __init__(self, limits: SessionLimits) -> None:
        self.id = uuid.uuid4().hex
        self.calls: dict[str, Connection] = {}
        self._limits = limits
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue(limits.backlog)
        self._connections: set[Connection] = set()
        self._used = asyncio.get_running_loop().time()

    def join(self, connection: Connection) -> None:
        """Have a connection end with the session."""
        self._used = asyncio.get_running_loop().time()
        self._connections.add(connection)

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(connection)

    def send(self, frame: bytes) -> None:
        """Send a call back down the stream; a client that does not read loses its session."""
        try:
            self._events.put_nowait(frame)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        """End the stream, and with it the session."""
        while self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(None)

    def close(self) -> None:
        """Cancel what still runs for the session; its stream is over."""
        for connection in list(self._connections):
            connection.close("the session has ended")

    async def events(self, address: str) -> AsyncGenerator["ServerSentEvent"]:
        """The events of the stream, until the session ends."""
        from sse_starlette import ServerSentEvent

        yield ServerSentEvent(json.dumps({"endpoint": address}), event="endpoint", sep="\n")
        while (frame := await self._next()) is not None:
            yield ServerSentEvent(ascii_frame(frame).decode("ascii"), event="message", sep="\n")

    async def _next(self) -> bytes | None:
        while True:
            idle = asyncio.get_running_loop().time() - self._used
            if idle >= self._limits.idle and not self._connections:
                return None
            try:
                async with asyncio.timeout(max(self._limits.idle - idle, 0.01)):
                    return await self._events.get()
            except TimeoutError:
                continue


class Sessions:
    """The sessions of one server."""

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._sessions: dict[str, Session] = {}

    def get(self, id: str) -> Session:
        """Return a session.

        Raises:
            Refusal: 404 with -32010 for one that is unknown or has ended.
        """
        session = self._sessions.get(id)
        if session is None:
            raise Refusal(404, SessionExpired("this session is unknown or has ended"))
        return session

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open a session and serve its event stream until either side ends it.

        Raises:
            Refusal: 503 when there are as many sessions as there may be.
        """
        from sse_starlette import EventSourceResponse, ServerSentEvent

        if len(self._sessions) >= self._limits.count:
            limit = {"limit": self._limits.count}
            raise Refusal(503, ResourceUnavailable("too many sessions", data=limit), [(b"retry-after", b"1")])
        session = Session(self._limits)
        self._sessions[session.id] = session
        address = f"{scope.get('root_path', '').rstrip('/')}{SESSION_PREFIX}{session.id}"
        response = EventSourceResponse(
            session.events(address),
            ping=self._limits.keepalive,
            ping_message_factory=lambda: ServerSentEvent("", event="keepalive", sep="\n"),
            sep="\n",
        )
        try:
            await response(scope, receive, send)
        finally:
            del self._sessions[session.id]
            session.close()

    def end(self) -> None:
        """End all sessions."""
        for session in list(self._sessions.values()):
            session.end()
