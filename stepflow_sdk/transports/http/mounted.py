"""What an application that mounts a server, or runs it, asks of it beside requests."""

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from stepflow_sdk.errors import ResourceUnavailable
from stepflow_sdk.transports.http.messages import Receive, Scope, Send, send_refusal
from stepflow_sdk.transports.http.policy import Refusal

__all__ = ["serve_otherwise"]

_log = logging.getLogger("stepflow_sdk.server")


Open = Callable[[], AbstractAsyncContextManager[Any]]


async def serve_otherwise(name: str, service: Open, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve what is no request, or comes before the service is there.

    Args:
        name: What the log calls the server.
        service: Opens the service.
        scope: Of ASGI, like the other two.
        receive: Gives events.
        send: Takes them.
    """
    if scope["type"] == "lifespan":
        await _serve_lifespan(name, service, receive, send)
    elif scope["type"] == "http":
        await _refuse(send)
    elif scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})


async def _serve_lifespan(name: str, service: Open, receive: Receive, send: Send) -> None:
    await receive()
    try:
        async with service():
            await send({"type": "lifespan.startup.complete"})
            await receive()
    except Exception as error:
        _log.exception("the lifespan of %s failed", name)
        await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
        return
    await send({"type": "lifespan.shutdown.complete"})


async def _refuse(send: Send) -> None:
    message = "the server's lifespan was not entered: put `async with server.service():` around the yield"
    error = ResourceUnavailable(f"{message} of the lifespan of the application that mounts it")
    await send_refusal(send, Refusal(503, error))
