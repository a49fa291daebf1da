"""The plugin for a component server that is an object in this process."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import anyio

from stepflow_sdk.runtime.plugins.plugin import ServerHandler
from stepflow_sdk.runtime.plugins.remote import STEP_SECONDS, RemotePlugin
from stepflow_sdk.transports import Connection, Handler

__all__ = ["MemoryServer", "inprocess_plugin"]

_TURNS = 64


class MemoryServer(Protocol):
    """A server that can be spoken to in memory, such as a ``StepflowServer``."""

    def open_memory(self, handler: Handler, /) -> AbstractAsyncContextManager[Connection]:
        """Serve one runtime, whose end of the connection is the value; ``handler`` takes the calls back."""
        ...


def inprocess_plugin(name: str, server: MemoryServer, *, step_timeout: float | None = STEP_SECONDS) -> RemotePlugin:
    """A plugin that calls the components of a server in this process, on the event loop of the runtime.

    Args:
        name: What messages call the plugin.
        server: The server.
        step_timeout: Seconds that a component has; None for no limit.
    """

    @asynccontextmanager
    async def open_link(handler: ServerHandler) -> AsyncGenerator[_MemoryLink, None]:
        opened = server.open_memory(handler)
        connection = await opened.__aenter__()
        try:
            yield _MemoryLink(name, connection)
        finally:
            # The server's lifespan is left in peace even when the runtime is cancelled; its own limits end it.
            with anyio.CancelScope(shield=True):
                await opened.__aexit__(*sys.exc_info())

    return RemotePlugin(name, open_link, step_timeout=step_timeout)


class _MemoryLink:
    def __init__(self, name: str, connection: Connection) -> None:
        self._name = name
        self._connection = connection
        self._calls = 0

    @property
    def connection(self) -> Connection:
        return self._connection

    @property
    def direct(self) -> Connection | None:
        """See `Link.direct`."""
        return None if self._connection.closed else self._connection

    @property
    def child(self) -> None:
        """There is none: the server is in this process."""

    async def drain(self) -> None:
        """Let everything else on the loop have a turn now and then: calls may be answered without any wait."""
        self._calls += 1
        if self._calls % _TURNS == 0:
            await asyncio.sleep(0)

    def describe_end(self) -> str:
        return f"the server {self._name!r} closed the connection"
