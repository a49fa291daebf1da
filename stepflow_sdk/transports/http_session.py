"""The client end of the session transport (protocol overview, "HTTP").

The event stream of ``GET /runtime/events`` says the session's address first, and then carries the server's calls
back. Requests are POSTed to the address and answered there; so are the answers to calls back. The session ends with
its stream.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Annotated
from urllib.parse import urlsplit

import aiohttp
import anyio
import msgspec

from stepflow_sdk.errors import InvalidRequest, ServerLost
from stepflow_sdk.transports.connection import Connection, Handler
from stepflow_sdk.transports.framing import TooLong
from stepflow_sdk.transports.http_client import HttpClient
from stepflow_sdk.transports.sse_reader import ServerEvent, SseReader

__all__ = ["is_session_url", "open_session"]

_EVENTS_PATH = "/runtime/events"


class _Endpoint(msgspec.Struct):
    endpoint: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


def is_session_url(url: str) -> bool:
    """Whether a URL is that of an event stream of sessions."""
    return urlsplit(url).path.rstrip("/").endswith(_EVENTS_PATH)


@asynccontextmanager
async def open_session(client: HttpClient, handler: Handler, *, timeout: float) -> AsyncGenerator[HttpClient, None]:
    """Open a session and keep it until the end.

    Args:
        client: The client for the address of the event stream.
        handler: Takes the calls back, and is told when the stream has ended.
        timeout: Seconds that the server has to say the session's address.

    Returns:
        The client for the session's address.

    Raises:
        ServerLost: The server could not be reached, or opened no session.
    """
    async with AsyncExitStack() as stack:
        try:
            with anyio.fail_after(timeout):
                events = await stack.enter_async_context(_opened(client))
                session = client.at(await _address(client, events))
        except TimeoutError:
            raise client.lost(f"did not say the address of a session within {timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise client.failure(error) from None
        connection = _connection(handler, session)
        await stack.enter_async_context(_reading(events, connection, client))
        yield session


@asynccontextmanager
async def _opened(client: HttpClient) -> AsyncGenerator[AsyncGenerator[ServerEvent | TooLong, None], None]:
    async with client.events() as response:
        kind = response.headers.get("Content-Type", "no content type")[:100]
        if response.status != 200 or "text/event-stream" not in kind.lower():
            raise client.lost(f"answered {response.status} ({kind}) instead of opening a session")
        async with aclosing(_events(client, response)) as events:
            yield events


@asynccontextmanager
async def _reading(
    events: AsyncIterator[ServerEvent | TooLong], connection: Connection, client: HttpClient
) -> AsyncGenerator[None, None]:
    tasks = anyio.create_task_group()
    await tasks.__aenter__()
    tasks.start_soon(_read, events, connection, client)
    try:
        yield
    finally:
        tasks.cancel_scope.cancel()
        # Nothing of the block is handed in, or it would come out wrapped in a group.
        await tasks.__aexit__(None, None, None)
        connection.close()


async def _read(events: AsyncIterator[ServerEvent | TooLong], connection: Connection, client: HttpClient) -> None:
    limit = client.limits.max_message_bytes
    try:
        async for event in events:
            if isinstance(event, TooLong):
                problem = f"the message is longer than {limit} bytes"
                connection.refuse(event.start, InvalidRequest(problem, data={"limit": limit}))
            elif event.name == "message" and event.data.lstrip()[:1] == b"{":
                connection.receive([event.data])
        reason = client.lost("ended the session")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        reason = client.failure(error)
    connection.close(reason.message)


async def _address(client: HttpClient, events: AsyncIterator[ServerEvent | TooLong]) -> str:
    async for event in events:
        if isinstance(event, TooLong) or event.name != "endpoint":
            continue
        try:
            return msgspec.json.decode(event.data, type=_Endpoint).endpoint
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise client.lost(f"opened a session without an address: {error}") from None
    raise client.lost("ended the session before it said its address")


async def _events(client: HttpClient, response: aiohttp.ClientResponse) -> AsyncGenerator[ServerEvent | TooLong, None]:
    reader = SseReader(client.limits.max_message_bytes)
    async for chunk in response.content.iter_any():
        for event in reader.feed(chunk):
            yield event


def _connection(handler: Handler, session: HttpClient) -> Connection:
    def send(frames: list[bytes]) -> None:
        try:
            session.answer(frames, None)
        except ServerLost as error:
            connection.close(error.message)

    connection = Connection(handler, send)
    return connection
