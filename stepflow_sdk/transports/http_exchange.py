"""One exchange of the client end of HTTP: a POST, and its answer as plain JSON or as an event stream.

In a stream the server calls back before it answers; the answers to that are POSTs of their own.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import anyio
import msgspec
from anyio.abc import TaskGroup

from stepflow_sdk.errors import InternalError, InvalidRequest, ServerLost
from stepflow_sdk.protocol import Method, codec
from stepflow_sdk.transports.connection import Connection, Handler, settle
from stepflow_sdk.transports.framing import TooLong
from stepflow_sdk.transports.sse_reader import SseReader

if TYPE_CHECKING:
    from stepflow_sdk.transports.http_client import HttpClient

__all__ = ["INSTANCE_ID", "ExchangeHandler", "HttpExchange"]

INSTANCE_ID = "Stepflow-Instance-Id"
"""The header by which the answers to calls back find the process that asked (section 7 of the dialects)."""

_SHOWN = 200
"""How much of a body is shown in errors, in bytes."""


class ExchangeHandler(Handler, Protocol):
    """What takes the calls back of one exchange."""

    tasks: TaskGroup | None
    """Where its answers are worked out; they are cancelled when the exchange is over."""


class HttpExchange:
    """One request and its answer.

    Args:
        client: Knows the server.
        method: What is asked.
        params: Its params.
    """

    def __init__(self, client: "HttpClient", method: Method, params: msgspec.Struct) -> None:
        self._client = client
        self._handler = client.make_handler()
        self._connection = Connection(self._handler, self._send)
        self._call = self._connection.peer.call(method, params)
        self._waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._call.waiter = partial(settle, self._waiter)
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


def _check_error(envelope: codec.Envelope, refuse: Callable[[str], ServerLost]) -> None:
    # ``{"error": "text"}`` is what web frameworks say, not JSON-RPC.
    if envelope.error and not envelope.result and not bytes(envelope.error).startswith(b"{"):
        raise refuse("its error is not an object")


def _with_id(envelope: codec.Envelope, id: str) -> bytes:
    parts = {"result": envelope.result, "error": envelope.error}
    return codec.encode({"jsonrpc": "2.0", "id": id} | {name: part for name, part in parts.items() if part})
