"""The body of a request, read within the bounds of a policy."""

import asyncio

from stepflow_sdk.errors import InvalidRequest, RequestTimeout
from stepflow_sdk.transports.http.messages import Receive
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
            async with asyncio.timeout(policy.body_timeout):
                message = await receive()
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
