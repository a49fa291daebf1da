"""The end of a connection whose client may still be sending."""

import asyncio
from typing import Any

__all__ = ["Lingering"]

_SECONDS = 5.0
"""How long a client may take to send the rest and to close its side."""


class Lingering(asyncio.Protocol):
    """Reads on behind an answer that ends a connection, for some seconds, and drops what comes.

    To close a socket with bytes that nobody has read resets the connection, and then the client may lose an answer that
    it has not read yet (RFC 9112, section 9.6). So first only the server's side is closed.

    Args:
        transport: The connection; what was written to it is sent before its end.
        protocol: What served it, and is told when it is lost.
    """

    def __init__(self, transport: asyncio.Transport, protocol: Any) -> None:
        self._protocol = protocol
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, transport.close)
        transport.set_protocol(self)
        transport.write_eof()
        transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: the client goes on."""

    def pause_writing(self) -> None:
        """Called by the event loop: the client does not read."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Called by the event loop: it reads again."""
        self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop: it is over."""
        self._timer.cancel()
        self._protocol.connection_lost(exc)
