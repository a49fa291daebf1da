"""The plugins for component servers that speak HTTP: at a URL, or as a subprocess that announces its port."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from stepflow_sdk.errors import RequestTimeout, ResourceUnavailable, ServerLost
from stepflow_sdk.runtime.environment import child_environment
from stepflow_sdk.runtime.plugins.plugin import ServerHandler
from stepflow_sdk.runtime.plugins.remote import HANDSHAKE_SECONDS, STEP_SECONDS, RemotePlugin
from stepflow_sdk.transports.announced import ANNOUNCE_SECONDS, AnnouncingServer, open_announcing_server

if TYPE_CHECKING:
    from stepflow_sdk.runtime.plugins.http_link import HttpLink
    from stepflow_sdk.transports.http_client import HttpClient, HttpLimits

__all__ = ["HealthCheck", "check_url", "http_command_plugin", "http_plugin"]


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How a server that was started is found to be ready (section 4.1 of the dialects).

    Attributes:
        path: What is asked for with GET until the status is 2xx.
        timeout: Seconds that this may take.
        retry_delay: Seconds between two tries.
    """

    path: str = "/health"
    timeout: float = 60.0
    retry_delay: float = 0.1


def check_url(url: str) -> str:
    """Return the URL of a server.

    Raises:
        ValueError: It is not one; the message says why.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{url[:200]!r} is not a URL: {error}") from None
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"{url[:200]!r} is not the URL of a server, such as http://127.0.0.1:8080")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{url[:200]!r} holds characters that a URL has only in percent encoding")
    if not parts.hostname or port == 0:
        raise ValueError(f"{url[:200]!r} names no {'port' if port == 0 else 'host'}")
    return url


def http_plugin(
    name: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    limits: "HttpLimits | None" = None,
    handshake_timeout: float = HANDSHAKE_SECONDS,
    step_timeout: float | None = STEP_SECONDS,
) -> RemotePlugin:
    """A plugin for a server that runs already, and is not stopped either.

    The server is introduced to the runtime when it is first needed, and again when it had gone for a while.

    Args:
        name: What messages call the plugin.
        url: Where messages are POSTed; path and query included. One that ends in ``/runtime/events`` is that of the
            session transport of the protocol overview, which is then used.
        headers: Sent with every request, such as ``Authorization``.
        limits: See `HttpLimits`.
        handshake_timeout: Seconds that the server has to answer ``initialize``.
        step_timeout: Seconds that a component has; None for no limit.

    Raises:
        ValueError: The URL is not one of a server.
    """
    check_url(url)

    @asynccontextmanager
    async def open_link(handler: ServerHandler) -> AsyncGenerator["HttpLink", None]:
        from stepflow_sdk.runtime.plugins.http_link import HttpLink
        from stepflow_sdk.transports.http_client import open_http
        from stepflow_sdk.transports.http_session import is_session_url, open_session

        async with open_http(url, handler.fork, headers=headers, limits=limits) as client:
            if is_session_url(url):
                async with open_session(client, handler, timeout=handshake_timeout) as session:
                    yield HttpLink(name, session, handler, session=True)
            else:
                yield HttpLink(name, client, handler)

    return RemotePlugin(
        name, open_link, handshake_timeout=handshake_timeout, step_timeout=step_timeout, infers_schemas=True
    )


def http_command_plugin(
    name: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    working_directory: str | os.PathLike[str] | None = None,
    headers: Mapping[str, str] | None = None,
    health_check: HealthCheck | None = None,
    limits: "HttpLimits | None" = None,
    announce_timeout: float = ANNOUNCE_SECONDS,
    handshake_timeout: float = HANDSHAKE_SECONDS,
    step_timeout: float | None = STEP_SECONDS,
) -> RemotePlugin:
    """A plugin that starts ``command`` when it is first needed and speaks HTTP to the port that it announces.

    Args:
        name: What messages and the log call the server.
        command: The program and its arguments.
        env: Variables for it, beside the few that `child_environment` hands on.
        working_directory: Where it runs; by default here.
        headers: Sent with every request, such as ``Authorization``.
        health_check: How it is found to be ready.
        limits: See `HttpLimits`.
        announce_timeout: Seconds that it has to print ``{"port": N}`` on a line of stdout.
        handshake_timeout: Seconds that the server has to answer ``initialize``.
        step_timeout: Seconds that a component has; None for no limit.
    """
    check = HealthCheck() if health_check is None else health_check

    @asynccontextmanager
    async def open_link(handler: ServerHandler) -> AsyncGenerator["HttpLink", None]:
        from stepflow_sdk.runtime.plugins.http_link import HttpLink
        from stepflow_sdk.transports.http_client import open_http

        try:
            process = open_announcing_server(
                command,
                name=name,
                env=child_environment(env or {}),
                cwd=working_directory,
                announce_timeout=announce_timeout,
                on_end=handler.ended.set,
            )
            async with process as server:
                url = f"http://127.0.0.1:{server.port}"
                async with open_http(url, handler.fork, headers=headers, limits=limits) as client:
                    await _wait_until_healthy(client, server, check)
                    yield HttpLink(name, client, handler, server)
        except ServerLost:
            raise
        except (ResourceUnavailable, RequestTimeout) as error:
            raise ServerLost(f"plugin {name!r}: {error.message}", flow_code=-32301) from None

    return RemotePlugin(
        name, open_link, handshake_timeout=handshake_timeout, step_timeout=step_timeout, infers_schemas=True
    )


async def _wait_until_healthy(client: "HttpClient", server: AnnouncingServer, check: HealthCheck) -> None:
    status: int | None = None
    with anyio.move_on_after(check.timeout):
        while not server.ended.is_set():
            status = await client.get(check.path)
            if status is not None and 200 <= status < 300:
                return
            with anyio.move_on_after(check.retry_delay):
                await server.ended.wait()
    said = "gave no answer" if status is None else f"answered {status}"
    if server.ended.is_set():
        raise ResourceUnavailable(f"{server.describe_end()}; before that GET {check.path} {said}")
    message = f"the server {server.name!r} was not healthy within {check.timeout:g} s: GET {check.path} {said}"
    raise RequestTimeout(f"{message}; {server.describe_end()}", data={"timeout": check.timeout})
