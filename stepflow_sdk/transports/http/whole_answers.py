"""Answers that leave in one write: uvicorn writes the head of an answer by itself, at the price of a system call."""

import asyncio
from collections.abc import Callable
from typing import Any

from stepflow_sdk.transports.http.lingering import Lingering

__all__ = ["WholeAnswers"]

_SMALL = 64 * 1024
"""Bodies above so many bytes are not worth a copy."""


class WholeAnswers:
    """The transport of a connection, as uvicorn's protocol for httptools sees it.

    A head that tells the length of its body waits for that, which our endpoint always sends in the same breath. The
    head of a stream waits for its first event until the end of the turn. Everything else is written as it comes.

    Args:
        transport: What writes.
        protocol: Whose ``cycle`` is the answer under way. Without one of the form that is known here nothing waits.
    """

    def __init__(self, transport: Any, protocol: Any) -> None:
        self._transport = transport
        self._write = transport.write
        self._loop = asyncio.get_running_loop()
        self._protocol = protocol
        self._head: bytes | None = None
        self._answered: Any = None
        self.is_closing: Callable[[], bool] = transport.is_closing
        self.resume_reading = transport.resume_reading

    def __getattr__(self, name: str) -> Any:
        """What is nobody's business here."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, now or with what comes next."""
        head = self._head
        if head is not None:
            self._head = None
            if len(data) > _SMALL:
                self._write(head)
            else:
                data = head + data
        elif self._has_more():
            self._head = data
            return
        self._write(data)

    def pause_reading(self) -> None:
        """Read nothing for a while; then the end of the connection has to be looked for."""
        self._transport.pause_reading()
        look = getattr(self._protocol, "look_for_end", None)
        if look is not None:
            look()

    def close(self) -> None:
        """Close when all is written; where the client may still be sending, only when it has had time to read that."""
        protocol = self._protocol
        is_last = self.is_closing()
        self.release()
        if not is_last and getattr(protocol, "may_hear_more", False):
            self.is_closing = _always
            Lingering(self._transport, protocol)
        else:
            self._transport.close()

    def release(self) -> None:
        """Let go of what waits and of the protocol."""
        self._flush()
        self._protocol = self._answered = None

    def _has_more(self) -> bool:
        protocol = self._protocol
        cycle = None if protocol is None else protocol.cycle
        if cycle is None or cycle is self._answered or not getattr(cycle, "response_started", False):
            return False
        self._answered = cycle
        is_stream = getattr(cycle, "chunked_encoding", None)
        if is_stream:
            self._loop.call_soon(self._flush)
            return True
        return is_stream is False and cycle.expected_content_length > 0 and cycle.scope["method"] != "HEAD"

    def _flush(self) -> None:
        if self._head is not None:
            self._write(self._head)
            self._head = None


def _always() -> bool:
    return True
