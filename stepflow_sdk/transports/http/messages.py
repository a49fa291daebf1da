"""The pieces of HTTP answers, as ASGI messages, and events of an event stream."""

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from stepflow_sdk.protocol import error_of
from stepflow_sdk.protocol.codec import encode_error
from stepflow_sdk.transports.http.policy import Refusal

__all__ = ["JSON_CONTENT", "Message", "Receive", "Scope", "Send", "ascii_frame", "event", "send_answer", "send_refusal"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON_CONTENT = (b"content-type", b"application/json")
_NON_ASCII = re.compile("[^\x00-\x7f]+")


async def send_answer(
    send: Send,
    status: int,
    body: bytes,
    headers: Sequence[tuple[bytes, bytes]] = (),
    content: tuple[bytes, bytes] = JSON_CONTENT,
) -> None:
    """Send a whole answer."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [content, length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_refusal(send: Send, refusal: Refusal, id: int | str | None = None) -> None:
    """Send a status with a JSON-RPC error that says why."""
    await send_answer(send, refusal.status, encode_error(id, error_of(refusal.error)), refusal.headers)


def ascii_frame(frame: bytes) -> bytes:
    """Return a frame in ASCII and on one line, for an event stream.

    Runtimes decode each network chunk by itself, so a character of several bytes could be cut in two and lost.
    """
    if not frame.isascii():
        # Outside ASCII there is nothing but the text of strings, where an escape means the same.
        frame = _NON_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], frame.decode("utf-8")).encode("ascii")
    return frame.replace(b"\n", b" ")


def event(frame: bytes) -> bytes:
    """Return a frame as an event of an event stream: one ``data`` line, in ASCII."""
    return b"data: " + ascii_frame(frame) + b"\n\n"
