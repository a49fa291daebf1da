"""What makes short time limits safe on a slow machine: they begin when what must come before them has come."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio

from stepflow_sdk.runtime.plugins.link import Link
from stepflow_sdk.runtime.plugins.plugin import ServerHandler
from stepflow_sdk.runtime.plugins.remote import RemotePlugin

__all__ = ["PATIENCE", "spoken_to_after", "until"]

PATIENCE = 60.0
"""Seconds that anything may take on a busy machine before a test gives up."""


async def until(happened: Callable[[], bool]) -> None:
    """Wait for what comes on a pipe, of which nobody tells."""
    with anyio.fail_after(PATIENCE):
        while not happened():  # noqa: ASYNC110  (nothing tells of it)
            await anyio.sleep(0.005)


def spoken_to_after(plugin: RemotePlugin, *said: str) -> RemotePlugin:
    """Have a plugin begin its handshake, and its time, when the server has written all of this."""
    opening = plugin._open_link

    @asynccontextmanager
    async def open_link(handler: ServerHandler) -> AsyncGenerator[Link, None]:
        async with opening(handler) as link:
            await until(lambda: all(text in link.describe_end() for text in said))
            yield link

    plugin._open_link = open_link
    return plugin
