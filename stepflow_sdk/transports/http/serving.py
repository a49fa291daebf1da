"""An HTTP server process: uvicorn on a socket of ours, without its logs and signals."""

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from stepflow_sdk.transports.http.connection_limit import ACCEPTED_AT_ONCE, ConnectionLimit
from stepflow_sdk.transports.http.direct import directly
from stepflow_sdk.transports.http.guarded import guarded
from stepflow_sdk.transports.http.policy import MOST_HEAD_BYTES, HttpPolicy
from stepflow_sdk.transports.http.whole_answers import WholeAnswers

if TYPE_CHECKING:
    import uvicorn

__all__ = ["bind", "is_loopback", "make_server", "parent_is_gone"]

_KEEP_ALIVE = 30
_BACKLOG = 4096
"""Connections that wait to be taken."""

_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free one.

    Raises:
        OSError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small pieces without delay only on sockets that say they are TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # On Windows the option means something else: to share a port that is in use.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_server(app: Any, policy: HttpPolicy, started: Callable[[], None], *, stop_timeout: int) -> "uvicorn.Server":
    """Return a uvicorn server for an ASGI application.

    Args:
        app: The application; its lifespan is not run here.
        policy: How many connections there may be, and how long the head of a request may take.
        started: Called when requests can come.
        stop_timeout: Seconds that open connections have when ``should_exit`` is set.
    """
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield  # signals are the process's, not the transport's

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for listener in sockets or ():
                # asyncio has one number for how many may wait and for how many it takes at once.
                listener.listen(_BACKLOG)
            started()

    config = uvicorn.Config(
        app,
        loop="none",
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        # Windows takes them one by one anyway, and there the first number is the one that counts.
        backlog=ACCEPTED_AT_ONCE if os.name == "posix" else _BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=stop_timeout,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
    )
    config.load()
    limit = ConnectionLimit(policy.max_connections)
    protocol = guarded(config.http_protocol_class)
    protocol = _with_connection_limit(_with_head_limits(protocol, policy.head_timeout), limit)
    config.http_protocol_class = directly(protocol, app)
    return Server(config)


def _with_connection_limit(base: Any, limit: ConnectionLimit) -> Any:
    """Return uvicorn's protocol class with a limit before it: its own lets everybody in, and refuses then."""

    class Counted(base):  # type: ignore[misc]  # which class it is depends on what is installed
        def connection_made(self, transport: Any) -> None:
            if len(self.connections) < limit.most:
                base.connection_made(self, transport)
            else:
                limit.turn_away(transport)

    return Counted


def _with_head_limits(base: Any, seconds: float) -> Any:
    """Return uvicorn's protocol class with limits for the head of a request, which it has none for itself.

    The head may take so many seconds, and `MOST_HEAD_BYTES`.
    """

    class Limited(base):  # type: ignore[misc]  # which class it is depends on what is installed
        _head_timer: asyncio.TimerHandle | None = None
        _head_bytes = 0

        def connection_made(self, transport: Any) -> None:
            self._answers = WholeAnswers(transport, self)
            base.connection_made(self, self._answers)
            self._watch_head(0)

        def data_received(self, data: bytes) -> None:
            base.data_received(self, data)
            self._watch_head(len(data))

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_head()
            base.connection_lost(self, exc)
            self._answers.release()

        def _watch_head(self, arrived: int) -> None:
            # Without a request under way, what has arrived is the beginning of one.
            if self.cycle is not None and not self.cycle.response_complete:
                self._forget_head()
                return
            self._head_bytes += arrived if self.awaits_head else 0
            if self._head_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
                self._is_refused = True
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()
            elif self._head_timer is None:
                self._head_timer = asyncio.get_running_loop().call_later(seconds, self._head_is_late)

        def _forget_head(self) -> None:
            self._head_bytes = 0
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _head_is_late(self) -> None:
            self._head_timer = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Limited


def parent_is_gone(parent: int) -> bool:
    """Whether the process that started this one has ended; ``parent`` is its id at the start."""
    return os.name == "posix" and os.getppid() != parent
