"""How many connections a server has open, and what the ones above that get."""

import asyncio
import logging
from typing import Any

from stepflow_sdk.errors import ResourceUnavailable
from stepflow_sdk.protocol import error_of
from stepflow_sdk.protocol.codec import encode_error
from stepflow_sdk.transports.open_files import most_open_files

__all__ = ["ACCEPTED_AT_ONCE", "ConnectionLimit", "open_files_for"]

_log = logging.getLogger("stepflow_sdk.server")

ACCEPTED_AT_ONCE = 32
"""How many connections the event loop takes before it looks whether they are too many; some versions of asyncio also
log so many errors a second once no further file can be opened."""

_TURNED_AWAY = 100
"""How many may be on their way out at once, having been told why."""

_OTHERS = 256
"""Files that the process may need for other things."""

_LINGER = 1.0
"""Seconds that a client has to read why it is turned away."""

_BETWEEN_WARNINGS = 10.0


def open_files_for(connections: int) -> int:
    """How many open files a server of so many connections wants to be allowed."""
    return connections + ACCEPTED_AT_ONCE + _TURNED_AWAY + _OTHERS


class ConnectionLimit:
    """Turns connections away where there are enough.

    Without that the process would run out of file descriptors, and with them of everything else that needs one.

    Args:
        wanted: How many there may be, as far as the limit of the process for open files has room for them.

    Attributes:
        most: How many there may be.
    """

    def __init__(self, wanted: int) -> None:
        self.most = wanted
        self._leaving: set[_TurnedAway] = set()
        self._warned: float | None = None
        files = most_open_files()
        if files is not None and open_files_for(wanted) > files:
            self.most = max(files - open_files_for(0), files // 4, 1)
            _log.info("at most %d connections are served: %d files may be open (ulimit -n)", self.most, files)
        error = error_of(ResourceUnavailable("the server has too many connections", data={"limit": self.most}))
        body = encode_error(None, error)
        self._refusal = (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"retry-after: 1\r\nconnection: close\r\n\r\n%s" % (len(body), body)
        )

    def turn_away(self, transport: Any) -> None:
        """Answer whatever a connection asks with 503, and close it."""
        now = asyncio.get_running_loop().time()
        if self._warned is None or now - self._warned > _BETWEEN_WARNINGS:
            self._warned = now
            _log.warning("%d connections are open, and no more are taken", self.most)
        if len(self._leaving) < _TURNED_AWAY:
            transport.set_protocol(_TurnedAway(transport, self._refusal, self._leaving))
        else:
            transport.set_protocol(asyncio.Protocol())
            transport.write(self._refusal)
            transport.close()


class _TurnedAway(asyncio.Protocol):
    """A connection on its way out.

    To close a socket with bytes unread resets the connection, and the client might never see the answer; so what it
    sends is read, and goes nowhere.
    """

    def __init__(self, transport: Any, refusal: bytes, leaving: "set[_TurnedAway]") -> None:
        self._transport = transport
        self._refusal = refusal
        self._leaving = leaving
        leaving.add(self)
        self._timer = asyncio.get_running_loop().call_later(_LINGER, self._leave)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002  (asyncio's signature)
        if self._refusal:
            self._transport.write(self._refusal)
            self._transport.write_eof()
            self._refusal = b""

    def _leave(self) -> None:
        if self._refusal:
            self._transport.write(self._refusal)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (asyncio's signature)
        self._leaving.discard(self)
        self._timer.cancel()
