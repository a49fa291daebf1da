"""The client end of HTTP: a component server at a URL, which takes one JSON-RPC message by POST.

Each request is an exchange of its own; see `HttpExchange`. This module and those beside it import the HTTP client
library, which takes its time, so whoever needs them imports them late.
"""

import asyncio
import io
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import anyio
import msgspec
import yarl
from anyio.abc import TaskGroup

from stepflow_sdk.errors import RequestTimeout, ServerLost
from stepflow_sdk.protocol import Method, codec
from stepflow_sdk.transports.framing import DEFAULT_MAX_MESSAGE_BYTES
from stepflow_sdk.transports.http_exchange import INSTANCE_ID, ExchangeHandler, HttpExchange

__all__ = ["ExchangeHandler", "HttpClient", "HttpLimits", "open_http"]

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
_IDLE_CONNECTION = 3.0
"""Seconds that an unused connection is kept: less than the 5 after which common servers close it, so that no request
is sent into a connection that is just being closed."""

_DELIVERY_SECONDS = 30.0
"""Seconds that a server has to take a notification or the answer to a call back."""

_MAX_DELIVERIES = 64
"""How many answers to calls back may be on their way at once, each on a connection of its own."""

_MAX_UNDELIVERED = 20_000
"""How many answers to calls back may wait; a server that asks without taking the answers is then given up."""

_LARGE = 1024 * 1024
_SHOWN = 200

_log = logging.getLogger("stepflow_sdk.transports")


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of the conversation with an HTTP server.

    Attributes:
        max_message_bytes: The longest body, or event of a stream, that is read.
        connect_timeout: Seconds for a connection to be made.
        idle_timeout: Seconds that may pass without a byte of an answer; None for no such limit, as the protocol has
            none: a component may take its time.
    """

    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    connect_timeout: float = 10.0
    idle_timeout: float | None = None


@asynccontextmanager
async def open_http(
    url: str,
    handler: Callable[[], ExchangeHandler],
    *,
    headers: Mapping[str, str] | None = None,
    limits: HttpLimits | None = None,
) -> AsyncGenerator["HttpClient", None]:
    """A client for the server at a URL; its connections are kept for reuse and closed at the end.

    Redirects are not followed, cookies are not kept, and proxies that the environment names are not used.

    Args:
        url: Where messages are POSTed, path and query included.
        handler: Makes what takes the calls back, one for each exchange.
        headers: Sent with every request, such as ``Authorization``.
        limits: See `HttpLimits`.
    """
    limits = HttpLimits() if limits is None else limits
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_CONNECTION),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={**(headers or {}), **_HEADERS},
        skip_auto_headers=("User-Agent", "Accept-Encoding"),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_timeout, sock_read=limits.idle_timeout),
    )
    async with session, AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        client = HttpClient(url, session, tasks, handler, limits)
        try:
            yield client
        finally:
            # What went wrong in the block is not the business of the tasks in here, which would wrap it in groups.
            await stack.pop_all().aclose()


class HttpClient:
    """Talks to one component server; made by `open_http`.

    Attributes:
        url: The server's address, without a password or a query: for messages.
        reachable: Whether the last attempt to connect succeeded.
    """

    def __init__(
        self,
        url: str,
        session: aiohttp.ClientSession,
        tasks: TaskGroup,
        handler: Callable[[], ExchangeHandler],
        limits: HttpLimits,
    ) -> None:
        self._url = yarl.URL(url, encoded=True)
        self.url = str(self._url.with_user(None).with_query(None).with_fragment(None))
        self.reachable = True
        self.limits = limits
        self.make_handler = handler
        self._session = session
        self._tasks = tasks
        self._deliveries = anyio.Semaphore(_MAX_DELIVERIES)
        self._undelivered = 0
        self._undelivered_bytes = 0

    async def call(self, method: Method, params: msgspec.Struct, *, timeout: float | None = None) -> Any:
        """Ask the server and wait for its answer; a wait that is cancelled or times out closes the exchange.

        Args:
            method: One of `stepflow_sdk.protocol.METHODS`.
            params: Its params.
            timeout: Seconds, or None to wait as long as the server takes.

        Returns:
            The result, decoded into the method's type.

        Raises:
            WireError: What the server answered, as the class of its code.
            InternalError: The answer has not the promised form, or is too long.
            ServerLost: The server could not be reached, broke off, or answered with no JSON-RPC message.
            RequestTimeout: There was no answer in time.
        """
        exchange = HttpExchange(self, method, params)
        try:
            async with asyncio.timeout(timeout):
                return await exchange.run()
        except TimeoutError:
            message = f"{getattr(params, 'component', method.name)} was not answered within {timeout:g} s"
            raise RequestTimeout(message, data={"timeout": timeout}) from None

    async def notify(self, method: str, params: msgspec.Struct) -> None:
        """Tell the server something; it should take it with 202 (rule 3 of the runtimes' dialects).

        Raises:
            ServerLost: The server could not be reached, or refused it.
        """
        status = await self._deliver(codec.encode_notification(method, params), None)
        if not 200 <= status < 300:
            raise self.lost(f"answered {status} to the notification {method!r}, which is answered with 202")
        if status != 202:
            _log.warning("%s answered %d to %r; other runtimes insist on 202", self.url, status, method)

    async def get(self, path: str) -> int | None:
        """The status of a GET of another path of the server, or None when it gave none."""
        try:
            async with self._session.get(self._url.join(yarl.URL(path)), allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    @asynccontextmanager
    async def events(self) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """GET an event stream; its body is what `SseReader` reads."""
        async with self._session.get(
            self._url, headers={"Accept": "text/event-stream"}, allow_redirects=False
        ) as response:
            try:
                yield response
            finally:
                response.close()

    def at(self, address: str) -> "HttpClient":
        """A client for another address of the same server, on the same connections.

        Raises:
            ServerLost: The address is on another server.
        """
        url = self._url.join(yarl.URL(address))
        if url.origin() != self._url.origin():
            raise self.lost(f"sends its clients to another server: {address[:_SHOWN]!r}")
        client = HttpClient(str(url), self._session, self._tasks, self.make_handler, self.limits)
        # Who knows the address of a session can take part in it, so messages do not tell it.
        client.url = self.url
        return client

    def answer(self, frames: Iterable[bytes], instance_id: str | None) -> None:
        """Send answers to calls back on their way; what becomes of them is logged.

        Raises:
            ServerLost: More of them wait than a server that takes them would leave waiting.
        """
        for frame in frames:
            too_many = self._undelivered_bytes > 4 * self.limits.max_message_bytes
            if too_many or self._undelivered >= _MAX_UNDELIVERED:
                raise self.lost("calls back and does not take the answers")
            self._undelivered += 1
            self._undelivered_bytes += len(frame)
            self._tasks.start_soon(self._answer, frame, instance_id)

    async def _answer(self, frame: bytes, instance_id: str | None) -> None:
        try:
            async with self._deliveries:
                status = await self._deliver(frame, instance_id)
        except ServerLost as error:
            _log.warning("an answer to a call back was not delivered: %s", error.message)
        else:
            if status != 202:
                _log.warning("%s answered %d to the answer to a call back, not 202", self.url, status)
        finally:
            self._undelivered -= 1
            self._undelivered_bytes -= len(frame)

    async def _deliver(self, frame: bytes, instance_id: str | None) -> int:
        try:
            async with asyncio.timeout(_DELIVERY_SECONDS), self.post(frame, instance_id) as response:
                # A short body is read to its end, so that the connection can be used again.
                await response.content.readany()
                return response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self.failure(error) from None

    @asynccontextmanager
    async def post(self, frame: bytes, instance_id: str | None = None) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """POST a frame; an answer that is not read to its end costs the connection."""
        if self._session.closed:
            raise self.lost("was left while it was still needed")
        response = await self._session.post(
            self._url,
            # The client library insists that what is large comes as a file.
            data=frame if len(frame) < _LARGE else io.BytesIO(frame),
            headers=None if instance_id is None else {INSTANCE_ID: instance_id},
            allow_redirects=False,
        )
        self.reachable = True
        try:
            yield response
        finally:
            if not response.content.at_eof():
                response.close()
            response.release()

    def lost(self, what: str) -> ServerLost:
        """The error that tells what the server did wrong."""
        return ServerLost(f"the server at {self.url} {what}")

    def failure(self, error: Exception) -> ServerLost:
        """The error that tells what went wrong on the way."""
        match error:
            case aiohttp.ConnectionTimeoutError():
                self.reachable = False
                what = f"did not accept a connection within {self.limits.connect_timeout:g} s"
            case aiohttp.ClientSSLError():
                what = f"cannot be trusted: {error}"
            case aiohttp.ClientConnectorError():
                self.reachable = False
                what = f"cannot be reached: {_reason(error.os_error)}"
            case aiohttp.SocketTimeoutError():
                what = f"sent nothing for {self.limits.idle_timeout:g} s"
            case aiohttp.ClientConnectionError() | ConnectionError():
                what = "closed the connection without an answer"
            case aiohttp.ClientPayloadError():
                what = "broke off in the middle of its answer"
            case TimeoutError():
                what = f"did not take a message within {_DELIVERY_SECONDS:g} s"
            case _:
                what = f"does not speak HTTP as it should: {type(error).__name__}: {str(error)[:_SHOWN]}"
        return self.lost(what)


def _reason(error: OSError) -> str:
    # The event loop's own words for it name the address once more instead of the reason.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)
