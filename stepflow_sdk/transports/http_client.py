"""The client end of HTTP: a component server at a URL, which takes one JSON-RPC message by POST.

Each request is an exchange of its own, with a `Connection` of its own: the answer is plain JSON, or an event stream in
which the server calls back before it answers. Answers to calls back are POSTs too. This is the only module that
imports the HTTP client library, so whoever needs it imports it late.
"""

import asyncio
import io
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import anyio
import msgspec
import yarl
from anyio.abc import TaskGroup

from stepflow_sdk.errors import InternalError, InvalidRequest, RequestTimeout, ServerLost
from stepflow_sdk.protocol import Method, codec
from stepflow_sdk.transports.connection import Connection, Handler
from stepflow_sdk.transports.framing import DEFAULT_MAX_MESSAGE_BYTES, TooLong
from stepflow_sdk.transports.sse_reader import SseReader

__all__ = ["ExchangeHandler", "HttpClient", "HttpLimits", "open_http"]

INSTANCE_ID = "Stepflow-Instance-Id"

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


class ExchangeHandler(Handler, Protocol):
    """What takes the calls back of one exchange."""

    tasks: TaskGroup | None
    """Where its answers are worked out; they are cancelled when the exchange is over."""


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
        exchange = _Exchange(self, method, params)
        try:
            async with asyncio.timeout(timeout):
                return await exchange.run()
        except TimeoutError:
            message = f"{method.name} was not answered within {timeout} s"
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


class _Exchange:
    """One request and its answer."""

    def __init__(self, client: HttpClient, method: Method, params: msgspec.Struct) -> None:
        self._client = client
        self._handler = client.make_handler()
        self._connection = Connection(self._handler, self._send)
        self._call = self._connection.peer.call(method, params)
        self._waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._call.waiter = self._waiter
        self._instance_id: str | None = None
        self._stream: anyio.CancelScope | None = None

    async def run(self) -> Any:
        """Send the request and return the result."""
        (frame,) = self._connection.peer.take()
        try:
            async with self._client.post(frame) as response:
                if "text/event-stream" in response.headers.get("Content-Type", "").lower():
                    await self._follow(response)
                else:
                    self._read(await self._body(response), response)
            return self._waiter.result()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._client.failure(error) from None
        finally:
            self._stream = None
            self._connection.peer.abandon(self._call)
            self._connection.close()

    def _send(self, frames: list[bytes]) -> None:
        # Without a stream nothing was asked, and what the peer says of a broken answer is raised instead.
        if self._stream is None:
            return
        try:
            self._client.answer(frames, self._instance_id)
        except ServerLost as error:
            if not self._waiter.done():
                self._waiter.set_exception(error)
            self._stream.cancel()

    # ---- plain answers ----------------------------------------------------------------------------------------

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._client.limits.max_message_bytes
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > limit:
                message = f"the answer to {self._call.method.name} is longer than {limit} bytes"
                raise InternalError(message, data={"limit": limit})
            chunks.append(chunk)
        return b"".join(chunks) if len(chunks) != 1 else chunks[0]

    def _read(self, body: bytes, response: aiohttp.ClientResponse) -> None:
        # Whatever the status is, the body decides (section 6.1 of the dialects), and it answers the request that it
        # came for: servers leave out the id of what they could not read.
        try:
            envelope = codec.read_envelope(body)
        except codec.Unreadable as unreadable:
            raise self._no_message(body, response, unreadable.error.message) from None
        if not isinstance(envelope, codec.Envelope) or not (envelope.result or envelope.error):
            raise self._no_message(body, response, "it is no response")
        if envelope.id != self._call.id:
            _check_error(envelope, lambda why: self._no_message(body, response, why))
            body = _with_id(envelope, self._call.id)
        self._connection.receive([body])

    def _no_message(self, body: bytes, response: aiohttp.ClientResponse, why: str) -> ServerLost:
        kind = response.headers.get("Content-Type", "no content type")[:100]
        said = body[:_SHOWN].decode("utf-8", "replace").strip()
        status = f"{response.status} ({kind})"
        if 300 <= response.status < 400:
            status = f"{response.status}, a redirect, which is not followed,"
        return self._client.lost(f"answered {status} with no JSON-RPC message: {why}; the body: {said!r}")

    # ---- event streams ----------------------------------------------------------------------------------------

    async def _follow(self, response: aiohttp.ClientResponse) -> None:
        self._instance_id = response.headers.get(INSTANCE_ID)
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            self._handler.tasks = tasks
            self._stream = tasks.cancel_scope
            try:
                await self._read_events(response)
            except (aiohttp.ClientError, OSError, TimeoutError, ServerLost) as error:
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _read_events(self, response: aiohttp.ClientResponse) -> None:
        limit = self._client.limits.max_message_bytes
        reader = SseReader(limit)
        async for chunk in response.content.iter_any():
            for event in reader.feed(chunk):
                if isinstance(event, TooLong):
                    problem = f"the message is longer than {limit} bytes"
                    self._connection.refuse(event.start, InvalidRequest(problem, data={"limit": limit}))
                elif event.data.lstrip()[:1] == b"{":
                    self._connection.receive([event.data])
                if self._waiter.done():
                    return
        raise self._client.lost(f"ended its event stream without an answer to {self._call.method.name}")


def _reason(error: OSError) -> str:
    # The event loop's own words for it name the address once more instead of the reason.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


def _check_error(envelope: codec.Envelope, refuse: Callable[[str], ServerLost]) -> None:
    # ``{"error": "text"}`` is what web frameworks say, not JSON-RPC.
    if envelope.error and not envelope.result and not bytes(envelope.error).startswith(b"{"):
        raise refuse("its error is not an object")


def _with_id(envelope: codec.Envelope, id: str) -> bytes:
    parts = {"result": envelope.result, "error": envelope.error}
    return codec.encode({"jsonrpc": "2.0", "id": id} | {name: part for name, part in parts.items() if part})
