"""The body of a request, read within the bounds of a policy."""

import asyncio
import contextvars
from typing import Any

from stepflow_sdk.coroutines import go_on
from stepflow_sdk.errors import InvalidRequest, RequestTimeout
from stepflow_sdk.transports.http.messages import Message, Receive
from stepflow_sdk.transports.http.policy import HttpPolicy, Refusal

__all__ = ["read_body"]


async def read_body(receive: Receive, policy: HttpPolicy) -> bytes:
    """Read a body to its end.

    Raises:
        Refusal: 400 when the client goes away, 413 for more bytes than it may have, 408 when they come too slowly.
    """
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            message = await _receive_within(policy.body_timeout, receive)
            if message["type"] == "http.disconnect":
                raise Refusal(400, InvalidRequest("the client went away"))
            body: bytes = message.get("body", b"")
            size += len(body)
            if size > policy.max_body_bytes:
                raise policy.too_long()
            if not message.get("more_body", False):
                return b"".join([*parts, body]) if parts else body
            parts.append(body)
    except TimeoutError:
        error = RequestTimeout("the body did not arrive in time", data={"timeout": policy.body_timeout})
        raise Refusal(408, error, [(b"connection", b"close")]) from None


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
