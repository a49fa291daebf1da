import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from stepflow_sdk.errors import ServerLost
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.plugins.http import http_plugin
from stepflow_sdk_tests.transports.scripted_http import Exchange, Scripted, scripted

ENDPOINT = b'event: endpoint\ndata: {"endpoint": "/session/%d"}\n\n'
CALL_BACK = {"jsonrpc": "2.0", "id": "q1", "method": "blobs/put", "params": {"data": [1], "blob_type": "data"}}


class Sessions:
    """A server of sessions, which does in a component what the test says."""

    def __init__(
        self, endpoint: bytes = ENDPOINT, component: Callable[[Exchange], Awaitable[None]] | None = None
    ) -> None:
        self.endpoint = endpoint
        self.component = component
        self.streams: list[Exchange] = []
        self.replies: list[Exchange] = []
        self.replied = anyio.Event()

    async def answer(self, exchange: Exchange) -> None:
        if exchange.method == "GET":
            self.streams.append(exchange)
            await exchange.start_stream()
            start = self.endpoint
            await exchange.chunk(start % len(self.streams) if b"%d" in start else start)
            return
        message: dict[str, Any] = exchange.json
        if "method" not in message:
            self.replies.append(exchange)
            await exchange.reply(b"", 202)
            self.replied.set()
        elif message["method"] == "initialized":
            await exchange.reply(b"", 202)
        elif message["method"] == "initialize":
            result = {"server_protocol_version": 1}
            await exchange.reply({"jsonrpc": "2.0", "id": message["id"], "result": result})
        elif self.component is not None:
            await self.component(exchange)
        else:
            await exchange.result(exchange.target)


@asynccontextmanager
async def driving(
    sessions: Sessions, path: str = "runtime/events"
) -> AsyncGenerator[tuple[LocalRuntime, Scripted], None]:
    with anyio.fail_after(60):
        async with scripted(sessions.answer) as scene, LocalRuntime(scene.url + path) as runtime:
            yield runtime, scene


@pytest.mark.parametrize(
    "endpoint",
    [
        ENDPOINT,
        ENDPOINT.replace(b"\n", b"\r\n"),
        b": hello\n\nevent: keepalive\ndata: now\n\n" + ENDPOINT,
        b'event:endpoint\ndata:{"endpoint":"/session/%d","more":1}\n\nevent: keepalive\ndata:\n\ndata: noise\n\n',
    ],
)
async def test_requests_go_to_the_address_that_the_stream_says_first(endpoint: bytes) -> None:
    async with driving(Sessions(endpoint)) as (runtime, scene):
        assert [await runtime.execute("/x") for _ in range(3)] == ["/session/1"] * 3
        get, *posts = scene.exchanges
        assert (get.method, get.target, get.headers["accept"]) == ("GET", "/runtime/events", "text/event-stream")
        assert {post.target for post in posts} == {"/session/1"}


async def test_an_address_may_be_a_whole_url_and_have_a_query() -> None:
    sessions = Sessions()
    async with scripted(sessions.answer) as scene:
        address = f"{scene.url}prefix/session/7?token=x"
        sessions.endpoint = b"event: endpoint\ndata: %s\n\n" % json.dumps({"endpoint": address}).encode()
        async with LocalRuntime(f"{scene.url}prefix/runtime/events") as runtime:
            assert await runtime.execute("/x") == "/prefix/session/7?token=x"


async def test_calls_back_come_down_the_stream_and_are_answered_at_the_address() -> None:
    async def component(exchange: Exchange) -> None:
        stream = sessions.streams[0]
        await stream.chunk(b"event: message\ndata: " + json.dumps(CALL_BACK).encode() + b"\n\n")
        await sessions.replied.wait()
        await exchange.result("done")

    sessions = Sessions(component=component)
    async with driving(sessions) as (runtime, _):
        assert await runtime.execute("/x") == "done"
        (reply,) = sessions.replies
        assert reply.target == "/session/1"
        assert reply.json["id"] == "q1"
        assert await runtime.get_blob(reply.json["result"]["blob_id"]) == [1]


async def test_a_stream_that_ends_fails_what_is_in_flight_and_the_next_call_opens_a_session() -> None:
    async def component(exchange: Exchange) -> None:
        if len(sessions.streams) == 1:
            await sessions.streams[0].end_stream()
        else:
            await exchange.result(exchange.target)

    sessions = Sessions(component=component)
    async with driving(sessions) as (runtime, _):
        with pytest.raises(ServerLost, match=r"/runtime/events closed the connection") as caught:
            await runtime.execute("/x")
        assert "/session/" not in caught.value.message
        assert await runtime.execute("/x") == "/session/2"


async def test_a_session_that_has_expired_is_opened_anew() -> None:
    async def component(exchange: Exchange) -> None:
        if len(sessions.streams) == 1:
            error = {"code": -32010, "message": "this session is unknown or has ended"}
            await exchange.reply({"jsonrpc": "2.0", "id": None, "error": error}, 404)
        else:
            await exchange.result(exchange.target)

    sessions = Sessions(component=component)
    async with driving(sessions) as (runtime, _):
        with pytest.raises(ServerLost, match="unknown or has ended"):
            await runtime.execute("/x")
        assert await runtime.execute("/x") == "/session/2"


async def test_the_stream_is_closed_with_the_runtime() -> None:
    sessions = Sessions()
    with anyio.fail_after(60):
        async with scripted(sessions.answer) as scene:
            async with LocalRuntime(f"{scene.url}runtime/events") as runtime:
                await runtime.execute("/x")
            await sessions.streams[0].gone.wait()


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        (b'event: endpoint\ndata: {"endpoint": "http://elsewhere/session/1"}\n\n', "to another server"),
        (b'event: endpoint\ndata: {"endpoint": "//elsewhere/session/1"}\n\n', "to another server"),
        (b'event: endpoint\ndata: {"end": 1}\n\n', "opened a session without an address"),
        (b"event: endpoint\ndata: /session/1\n\n", "opened a session without an address"),
    ],
)
async def test_a_session_without_a_usable_address_is_refused(endpoint: bytes, said: str) -> None:
    async with driving(Sessions(endpoint)) as (runtime, scene):
        with pytest.raises(ServerLost, match=said):
            await runtime.execute("/x")
        assert {exchange.method for exchange in scene.exchanges} == {"GET"}


async def test_a_server_without_sessions_is_told() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.reply(b"no", 404, "text/plain")

    async with scripted(answer) as scene, LocalRuntime(f"{scene.url}runtime/events") as runtime:
        with pytest.raises(ServerLost, match=r"answered 404 \(text/plain\) instead of opening a session"):
            await runtime.execute("/x")


async def test_a_stream_that_ends_before_the_address_is_told() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.end_stream()

    async with scripted(answer) as scene, LocalRuntime(f"{scene.url}runtime/events") as runtime:
        with pytest.raises(ServerLost, match="ended the session before it said its address"):
            await runtime.execute("/x")


async def test_a_stream_that_never_says_the_address_is_given_up() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start_stream()

    async with scripted(answer) as scene:
        plugin = http_plugin("mute", f"{scene.url}runtime/events", handshake_timeout=0.1)
        async with LocalRuntime(plugin) as runtime:
            with pytest.raises(ServerLost, match=r"did not say the address of a session within 0\.1 s"):
                await runtime.execute("/x")
