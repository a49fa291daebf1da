"""The body of a request, read within the bounds of a policy."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from stepflow_sdk.coroutines import go_on
from stepflow_sdk.errors import InvalidRequest, RequestTimeout
from stepflow_sdk.transports.http.messages import Message, Receive
from stepflow_sdk.transports.http.policy import HttpPolicy, Refusal

__all__ = ["begin_body", "body_pieces", "read_body"]


def begin_body(receive: Receive, policy: HttpPolicy) -> bytes | Awaitable[bytes]:
    """Read a body: nearly always it is there already, and then nobody waits; `read_body` tells the rest."""
    receiving: Any = receive()
    if not hasattr(receiving, "send"):
        return _read_on(receiving, receive, policy)
    try:
        waits_for = receiving.send(None)
    except StopIteration as ended:
        message: Message = ended.value
        body: bytes = message.get("body", b"")
        if (
            message["type"] == "http.request"
            and not message.get("more_body", False)
            and len(body) <= policy.max_body_bytes
        ):
            return body
        return _read_on(_there(message), receive, policy)
    return _read_on(go_on(receiving, waits_for), receive, policy)


async def read_body(receive: Receive, policy: HttpPolicy) -> bytes:
    """Read a body to its end.

    Raises:
        Refusal: 400 when the client goes away, 413 for more bytes than it may have, 408 when they come too slowly.
    """
    body = begin_body(receive, policy)
    return body if isinstance(body, bytes) else await body


async def body_pieces(receive: Receive, policy: HttpPolicy) -> AsyncGenerator[bytes, None]:
    """The pieces of a body as they arrive, for what need not be in memory as a whole; raises as `read_body` does."""
    size = 0
    is_last = False
    while not is_last:
        body, is_last = await _receive_piece(receive(), policy, size)
        size += len(body)
        yield body


async def _read_on(receiving: Awaitable[Message], receive: Receive, policy: HttpPolicy) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        body, is_last = await _receive_piece(receiving, policy, size)
        size += len(body)
        parts.append(body)
        if is_last:
            return b"".join(parts)
        receiving = receive()


async def _there(message: Message) -> Message:
    return message


async def _receive_piece(receiving: Awaitable[Message], policy: HttpPolicy, size: int) -> tuple[bytes, bool]:
    """The next piece of a body of which so many bytes have come, and whether it is the last one."""
    try:
        async with asyncio.timeout(policy.body_timeout):
            message = await receiving
    except TimeoutError:
        error = RequestTimeout("the body did not arrive in time", data={"timeout": policy.body_timeout})
        raise Refusal(408, error, [(b"connection", b"close")]) from None
    if message["type"] == "http.disconnect":
        raise Refusal(400, InvalidRequest("the client went away"))
    body: bytes = message.get("body", b"")
    if size + len(body) > policy.max_body_bytes:
        raise policy.too_long()
    return body, not message.get("more_body", False)
