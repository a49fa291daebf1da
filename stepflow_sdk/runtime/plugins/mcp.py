"""The plugin for an MCP server, whose tools are components (section e.1 of the flow format)."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.util import find_spec
from typing import Literal, TypeAlias

import anyio
import anyio.lowlevel

from stepflow_sdk.errors import InvalidConfig, ResourceUnavailable, ServerLost
from stepflow_sdk.protocol.failures import sole_cause
from stepflow_sdk.runtime.environment import child_environment
from stepflow_sdk.runtime.plugins.mcp_link import McpLink
from stepflow_sdk.runtime.plugins.mcp_process import open_mcp_process
from stepflow_sdk.runtime.plugins.plugin import ServerHandler
from stepflow_sdk.runtime.plugins.remote import HANDSHAKE_SECONDS, STEP_SECONDS, RemotePlugin

__all__ = ["ToolErrors", "mcp_command_plugin", "mcp_url_plugin"]

ToolErrors: TypeAlias = Literal["fail", "content"]
"""What a result with ``isError: true`` does: fail its step, or be its output like any other, as upstream has it."""

_CONNECT_SECONDS = 30.0


def mcp_command_plugin(
    name: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    working_directory: str | os.PathLike[str] | None = None,
    tool_errors: ToolErrors = "fail",
    handshake_timeout: float = HANDSHAKE_SECONDS,
    step_timeout: float | None = STEP_SECONDS,
) -> RemotePlugin:
    """A plugin that starts an MCP server when it is first needed and speaks on its stdin and stdout.

    Args:
        name: What messages and the log call the server.
        command: The program and its arguments.
        env: Variables for it, beside all those of this process, which MCP servers inherit.
        working_directory: Where it runs; by default here.
        tool_errors: See `ToolErrors`.
        handshake_timeout: Seconds that the server has to answer ``initialize``.
        step_timeout: Seconds that a tool has; None for no limit.

    Raises:
        InvalidConfig: The package ``mcp`` is not installed.
    """
    _require_mcp(name)

    @asynccontextmanager
    async def open_link(handler: ServerHandler) -> AsyncGenerator[McpLink, None]:
        environment = {**os.environ, "PATH": child_environment({})["PATH"], **(env or {})}
        try:
            started = open_mcp_process(name, command, env=environment, cwd=working_directory)
            async with (
                started as process,
                McpLink.open(
                    name,
                    handler,
                    process.messages,
                    process.sink,
                    anyio.lowlevel.checkpoint,
                    process.describe_end,
                    tool_errors == "fail",
                    process,
                ) as link,
            ):
                yield link
        except ServerLost:
            raise
        except ResourceUnavailable as error:
            raise ServerLost(f"plugin {name!r} could not be started: {error.message}", flow_code=-32301) from None

    return RemotePlugin(
        name, open_link, handshake_timeout=handshake_timeout, step_timeout=step_timeout, calls_tools=True
    )


def mcp_url_plugin(
    name: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    tool_errors: ToolErrors = "fail",
    handshake_timeout: float = HANDSHAKE_SECONDS,
    step_timeout: float | None = STEP_SECONDS,
) -> RemotePlugin:
    """A plugin for an MCP server that runs already and speaks streamable HTTP.

    Args:
        name: What messages call the server.
        url: Where messages are POSTed, such as ``http://127.0.0.1:8000/mcp``.
        headers: Sent with every request.
        tool_errors: See `ToolErrors`.
        handshake_timeout: Seconds that the server has to answer ``initialize``.
        step_timeout: Seconds that a tool has; None for no limit.

    Raises:
        InvalidConfig: The package ``mcp`` is not installed.
    """
    _require_mcp(name)

    def open_link(handler: ServerHandler) -> AbstractAsyncContextManager[McpLink]:
        return _connected(name, url, headers or {}, handler, tool_errors)

    return RemotePlugin(
        name, open_link, handshake_timeout=handshake_timeout, step_timeout=step_timeout, calls_tools=True
    )


@asynccontextmanager
async def _connected(
    name: str, url: str, headers: Mapping[str, str], handler: ServerHandler, tool_errors: ToolErrors
) -> AsyncGenerator[McpLink, None]:
    """A link to a server at a URL."""
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    async def look(response: httpx2.Response) -> None:
        # What the specification of MCP lets a server say when it no longer knows the session.
        if response.status_code == 404 and "mcp-session-id" in response.request.headers:
            handler.ended.set()

    # How long an answer may take is said by the limit of the step.
    limits = httpx2.Timeout(_CONNECT_SECONDS, read=None)
    try:
        async with (
            httpx2.AsyncClient(headers=dict(headers), timeout=limits, event_hooks={"response": [look]}) as client,
            streamable_http_client(url, http_client=client) as (read_stream, write_stream),
            McpLink.open(
                name,
                handler,
                read_stream,
                write_stream,
                anyio.lowlevel.checkpoint,
                lambda: f"the server {name!r} at {url} cannot be reached, or has ended the session",
                tool_errors == "fail",
            ) as link,
        ):
            yield link
    except Exception as error:
        # A request that cannot be made ends the client, and with it everything here.
        cause = sole_cause(error)
        if not isinstance(cause, httpx2.HTTPError):
            raise
        said = f"{type(cause).__name__}: {cause}".strip(": ")
        raise ServerLost(f"plugin {name!r}: the server at {url} cannot be reached: {said}") from None


def _require_mcp(name: str) -> None:
    if find_spec("mcp") is None:
        raise InvalidConfig(f"plugin {name!r} is an MCP server, which needs: pip install 'stepflow-sdk[mcp]'")
