"""The body of a request, read within the bounds of a policy."""

import asyncio
import contextvars
from collections.abc import AsyncGenerator
from typing import Any

from stepflow_sdk.coroutines import go_on
from stepflow_sdk.errors import InvalidRequest, RequestTimeout
from stepflow_sdk.transports.http.messages import Message, Receive
from stepflow_sdk.transports.http.policy import HttpPolicy, Refusal

__all__ = ["body_pieces", "read_body"]


async def read_body(receive: Receive, policy: HttpPolicy) -> bytes:
    """Read a body to its end.

    Raises:
        Refusal: 400 when the client goes away, 413 for more bytes than it may have, 408 when they come too slowly.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        body, is_last = await _receive_piece(receive, policy, size)
        if is_last:
            return b"".join([*parts, body]) if parts else body
        size += len(body)
        parts.append(body)


async def body_pieces(receive: Receive, policy: HttpPolicy) -> AsyncGenerator[bytes, None]:
    """The pieces of a body as they arrive, for what need not be in memory as a whole; raises as `read_body` does."""
    size = 0
    is_last = False
    while not is_last:
        body, is_last = await _receive_piece(receive, policy, size)
        size += len(body)
        yield body


async def _receive_piece(receive: Receive, policy: HttpPolicy, size: int) -> tuple[bytes, bool]:
    """The next piece of a body of which so many bytes have come, and whether it is the last one."""
    try:
        message = await _receive_within(policy.body_timeout, receive)
    except TimeoutError:
        error = RequestTimeout("the body did not arrive in time", data={"timeout": policy.body_timeout})
        raise Refusal(408, error, [(b"connection", b"close")]) from None
    if message["type"] == "http.disconnect":
        raise Refusal(400, InvalidRequest("the client went away"))
    body: bytes = message.get("body", b"")
    if size + len(body) > policy.max_body_bytes:
        raise policy.too_long()
    return body, not message.get("more_body", False)


async def _receive_within(seconds: float, receive: Receive) -> Message:
    # A small body is there already, and then nobody needs a timer, which costs more than the rest.
    receiving: Any = receive()
    if not hasattr(receiving, "send"):
        async with asyncio.timeout(seconds):
            awaited: Message = await receiving
            return awaited
    context = contextvars.copy_context()
    try:
        waits_for = context.run(receiving.send, None)
    except StopIteration as ended:
        message: Message = ended.value
        return message
    async with asyncio.timeout(seconds):
        later: Message = await go_on(receiving, waits_for, context)
        return later
