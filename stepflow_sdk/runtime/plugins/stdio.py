"""The plugin for a component server that runs as a subprocess and speaks on its stdin and stdout."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from stepflow_sdk.errors import ResourceUnavailable, ServerLost
from stepflow_sdk.runtime.environment import child_environment
from stepflow_sdk.runtime.plugins.plugin import ServerHandler
from stepflow_sdk.runtime.plugins.remote import HANDSHAKE_SECONDS, STEP_SECONDS, RemotePlugin
from stepflow_sdk.transports.framing import DEFAULT_MAX_MESSAGE_BYTES
from stepflow_sdk.transports.process import ServerProcess, open_process

__all__ = ["stdio_plugin"]


def stdio_plugin(
    name: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    working_directory: str | os.PathLike[str] | None = None,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    handshake_timeout: float = HANDSHAKE_SECONDS,
    step_timeout: float | None = STEP_SECONDS,
) -> RemotePlugin:
    """A plugin that starts ``command`` when it is first needed.

    Args:
        name: What messages and the log call the server.
        command: The program and its arguments.
        env: Variables for it, beside the few that `child_environment` hands on.
        working_directory: Where it runs; by default here.
        max_message_bytes: The longest message that is read.
        handshake_timeout: Seconds that the server has to answer ``initialize``.
        step_timeout: Seconds that a component has; None for no limit.
    """

    @asynccontextmanager
    async def open_link(handler: ServerHandler) -> AsyncGenerator[ServerProcess, None]:
        try:
            process = open_process(
                command,
                handler=handler,
                name=name,
                env=child_environment(env or {}),
                cwd=working_directory,
                max_message_bytes=max_message_bytes,
            )
            async with process as link:
                yield link
        except ServerLost:
            raise
        except ResourceUnavailable as error:
            raise ServerLost(f"plugin {name!r}: {error.message}", flow_code=-32301) from None

    return RemotePlugin(name, open_link, handshake_timeout=handshake_timeout, step_timeout=step_timeout)
