"""Serves an ASGI application on a socket."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk.transports.http.serving import make_server

__all__ = ["serve_api"]


@asynccontextmanager
async def serve_api(
    app: Any,
    listener: socket.socket,
    policy: HttpPolicy,
    *,
    before_end: Callable[[], None] | None = None,
    stop_seconds: int = 5,
) -> AsyncGenerator[None, None]:
    """Serve requests inside the block, and answer those that have come when it ends.

    Args:
        app: What is served.
        listener: Bound, see `bind`; it is closed at the end.
        policy: How many connections there may be, and how long the head of a request may take.
        before_end: Called when the block ends.
        stop_seconds: How long answers may take to leave then.
    """
    started = asyncio.Event()
    server = make_server(app, policy, started.set, stop_timeout=stop_seconds)
    with listener:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]))
            await started.wait()
            try:
                yield
            finally:
                if before_end is not None:
                    before_end()
                server.should_exit = True
