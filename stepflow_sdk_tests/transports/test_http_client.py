import asyncio
import json
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup
from msgspec import Raw

from stepflow_sdk.errors import (
    AccessDenied,
    ComponentError,
    InternalError,
    RequestTimeout,
    ResourceUnavailable,
    ServerLost,
)
from stepflow_sdk.protocol import METHODS, Notification, ObservabilityContext, Request
from stepflow_sdk.protocol.messages import ComponentExecuteParams, Initialized
from stepflow_sdk.transports import Connection, http_client
from stepflow_sdk.transports.http_client import HttpClient, HttpLimits, open_http
from stepflow_sdk_tests.transports.scripted_http import Exchange, Scripted, scripted

EXECUTE = METHODS["components/execute"]
Answer = Callable[[Exchange], Awaitable[None]]


class Log:
    """What has happened, to be waited for."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self._news = anyio.Event()

    def append(self, entry: str) -> None:
        self.entries.append(entry)
        self._news.set()

    async def until(self, entry: str) -> None:
        while entry not in self.entries:
            self._news = anyio.Event()
            await self._news.wait()


class Runtime:
    """Answers calls back with what they ask for; ``hold`` never is answered."""

    def __init__(self, log: "Log") -> None:
        self.tasks: TaskGroup | None = None
        self.log = log

    def request(self, connection: Connection, request: Request) -> None:
        assert self.tasks is not None
        self.tasks.start_soon(self._answer, connection, request)

    def notification(self, connection: Connection, notification: Notification) -> None:
        self.log.append(notification.method)

    def closed(self, connection: Connection) -> None:
        self.log.append("closed")

    async def _answer(self, connection: Connection, request: Request) -> None:
        if request.method == "hold":
            self.log.append("held")
            try:
                await anyio.sleep_forever()
            finally:
                self.log.append("cancelled")
        connection.reply(request, {"asked": request.method})


@asynccontextmanager
async def talking(
    answer: Answer, *, path: str = "", limits: HttpLimits | None = None, headers: dict[str, str] | None = None
) -> AsyncGenerator[tuple[HttpClient, Scripted, Log], None]:
    log = Log()
    with anyio.fail_after(60):
        async with scripted(answer) as server:
            url = server.url.rstrip("/") + path
            async with open_http(url, lambda: Runtime(log), limits=limits, headers=headers) as client:
                yield client, server, log


async def ask(client: HttpClient, input: Any = 1, timeout: float | None = None) -> Any:
    params = ComponentExecuteParams("/x", Raw(json.dumps(input).encode()), 1, ObservabilityContext())
    return json.loads(bytes((await client.call(EXECUTE, params, timeout=timeout)).output))


async def echo(exchange: Exchange) -> None:
    await exchange.result(exchange.json["params"]["input"])


# ---- requests ---------------------------------------------------------------------------------------------------


async def test_a_request_is_a_post_with_the_headers_of_the_protocol() -> None:
    async with talking(echo, path="/any/path?x=1&y=%2F", headers={"Authorization": "Bearer t"}) as (client, server, _):
        assert await ask(client, {"a": [1, "é"]}) == {"a": [1, "é"]}
    (exchange,) = server.exchanges
    assert (exchange.method, exchange.target) == ("POST", "/any/path?x=1&y=%2F")
    assert exchange.headers == {
        "host": server.url.removeprefix("http://").rstrip("/"),
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "authorization": "Bearer t",
        "content-length": str(len(exchange.body)),
    }
    assert exchange.json["method"] == "components/execute"
    assert isinstance(exchange.json["id"], str)


async def test_calls_one_after_the_other_share_a_connection() -> None:
    async with talking(echo) as (client, server, _):
        assert [await ask(client, n) for n in range(20)] == list(range(20))
    assert server.connections == 1


async def test_calls_at_once_do_not_wait_for_each_other() -> None:
    everyone = anyio.Event()
    waiting: list[Exchange] = []

    async def answer(exchange: Exchange) -> None:
        waiting.append(exchange)
        if len(waiting) == 150:
            everyone.set()
        await everyone.wait()
        await echo(exchange)

    answers: list[int] = []
    async with talking(answer) as (client, _, _), anyio.create_task_group() as tasks:

        async def one(number: int) -> None:
            answers.append(await ask(client, number))

        for number in range(150):
            tasks.start_soon(one, number)
    assert sorted(answers) == list(range(150))


async def test_large_bodies_pass_both_ways() -> None:
    text = "xé" * 2_000_000
    async with talking(echo) as (client, _, _):
        assert await ask(client, text) == text


async def test_proxies_of_the_environment_and_cookies_and_redirects_are_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")

    async def answer(exchange: Exchange) -> None:
        moved = b"HTTP/1.1 307 X\r\nlocation: /elsewhere\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
        if len(server.exchanges) == 1:
            await exchange.raw(moved)
        else:
            await echo(exchange)

    async with talking(answer) as (client, server, _):
        with pytest.raises(ServerLost, match="307, a redirect, which is not followed"):
            await ask(client)
        assert await ask(client) == 1
        assert [exchange.target for exchange in server.exchanges] == ["/", "/"]
        assert "cookie" not in server.exchanges[1].headers


# ---- plain answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 202, 400, 404, 500, 503])
async def test_the_body_decides_whatever_the_status_is(status: int) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.reply({"jsonrpc": "2.0", "id": exchange.json["id"], "result": {"output": 2}}, status, "text/x")

    async with talking(answer) as (client, _, _):
        assert await ask(client) == 2


@pytest.mark.parametrize("id", ["another", 7, None, "left out"])
async def test_an_answer_belongs_to_the_request_that_it_came_for(id: Any) -> None:
    async def answer(exchange: Exchange) -> None:
        message = {"jsonrpc": "2.0", "id": id, "error": {"code": -32007, "message": "a token, please"}}
        if id == "left out":
            del message["jsonrpc"], message["id"]
        await exchange.reply(message, 401)

    async with talking(answer) as (client, _, _):
        with pytest.raises(AccessDenied, match="a token, please"):
            await ask(client)


async def test_an_error_comes_out_as_the_class_of_its_code() -> None:
    async def answer(exchange: Exchange) -> None:
        error = {"code": -32004, "message": "no luck", "data": {"why": 1}}
        await exchange.reply({"jsonrpc": "2.0", "id": exchange.json["id"], "error": error})

    async with talking(answer) as (client, _, _):
        with pytest.raises(ComponentError, match="no luck") as caught:
            await ask(client)
        assert caught.value.data == {"why": 1}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"<html>Bad Gateway</html>", 502, r"answered 502 \(text/html\).*not JSON.*<html>Bad Gateway</html>"),
        (b"", 202, r"answered 202 \(text/html\).*it is no response"),
        (b"null", 200, "not a JSON-RPC 2.0 message"),
        (b'{"jsonrpc": "2.0", "id": "1"}', 200, "it is no response"),
        (b'{"jsonrpc": "2.0", "method": "x", "id": "1"}', 200, "it is no response"),
        (b"[]", 200, "must not be empty"),
        (b'[{"jsonrpc": "2.0", "id": "1", "result": 1}]', 200, "it is no response"),
        (b'{"error": "Content-Type must be application/json"}', 415, "its error is not an object"),
        (b'{"jsonrpc": "2.0", "id": "1", "result": {"output": "\xff"}}', 200, "not UTF-8"),
        (b'{"jsonrpc": "2.0", "id": "1", "result": {"output": NaN}}', 200, "not JSON"),
        (b'{"jsonrpc": "2.0", "id": "1", "res', 200, "not JSON"),
        (b'{"detail": "Not Found"}', 404, "it is no response.*Not Found"),
    ],
)
async def test_a_body_that_is_no_response_is_a_broken_server(body: bytes, status: int, said: str) -> None:
    async with talking(lambda exchange: exchange.reply(body, status, "text/html")) as (client, server, _):
        with pytest.raises(ServerLost, match=said) as caught:
            await ask(client)
        assert caught.value.message.startswith(f"the server at {server.url.rstrip('/')} ")
        assert caught.value.flow_code == -32300
        assert len(caught.value.message) < 1000


async def test_an_answer_above_the_limit_fails_its_call_alone() -> None:
    async with talking(echo, limits=HttpLimits(max_message_bytes=1000)) as (client, _, _):
        with pytest.raises(InternalError, match="components/execute is longer than 1000 bytes"):
            await ask(client, "x" * 1000)
        assert await ask(client, "x" * 800) == "x" * 800


async def test_a_compressed_answer_is_not_unpacked() -> None:
    async def answer(exchange: Exchange) -> None:
        assert "accept-encoding" not in exchange.headers
        await exchange.raw(b"HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b")

    async with talking(answer) as (client, _, _):
        with pytest.raises(ServerLost, match="no JSON-RPC message"):
            await ask(client)


# ---- what breaks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "how"),
    [
        (b"", "closed the connection without an answer"),
        (b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{", "broke off in the middle|closed the connection"),
        (b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", "broke off in the middle|closed the conn"),
        (b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "HTTP|broke off"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "does not speak HTTP"),
    ],
)
async def test_a_connection_that_breaks_is_a_lost_server(said: bytes, how: str) -> None:
    async def answer(exchange: Exchange) -> None:
        if len(server.exchanges) > 1:
            await echo(exchange)
            return
        await exchange.raw(said)
        exchange.close()

    async with talking(answer) as (client, server, _):
        with pytest.raises(ServerLost, match=how) as caught:
            await ask(client)
        assert caught.value.flow_code == -32300
        assert client.reachable
        assert await ask(client) == 1


async def test_a_server_that_is_not_there_is_named_without_its_secrets() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with open_http(f"http://user:secret@127.0.0.1:{port}/x?key=secret", lambda: Runtime(Log())) as client:
            with pytest.raises(ServerLost, match=r"cannot be reached: .*refused") as caught:
                await ask(client)
        assert caught.value.message.startswith(f"the server at http://127.0.0.1:{port}/x ")
        assert "secret" not in caught.value.message
        assert not client.reachable


async def test_a_call_without_an_answer_is_given_up_in_time_and_its_connection_closed() -> None:
    async def answer(exchange: Exchange) -> None:
        pass

    async with talking(answer) as (client, server, _):
        # On a busy machine the time may be over before the request has come.
        for seconds in (0.05, 0.5, 5.0):
            with pytest.raises(RequestTimeout):
                await ask(client, timeout=seconds)
            if server.exchanges:
                break
        await server.exchanges[0].gone.wait()


async def test_a_server_that_falls_silent_is_lost_where_a_limit_says_so() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.chunk(b": still here\n\n")
        await anyio.sleep_forever()

    async with talking(answer, limits=HttpLimits(idle_timeout=0.05)) as (client, _, _):
        with pytest.raises(ServerLost, match=r"sent nothing for 0\.05 s"):
            await ask(client)


async def test_a_cancelled_call_closes_its_exchange() -> None:
    asked = anyio.Event()

    async def answer(exchange: Exchange) -> None:
        asked.set()

    async with talking(answer) as (client, server, log):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, client)
            await asked.wait()
            tasks.cancel_scope.cancel()
        assert log.entries == ["closed"]
        await server.exchanges[0].gone.wait()


async def test_a_cancelled_call_closes_its_stream_and_ends_what_was_asked_in_it() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.event({"jsonrpc": "2.0", "id": 1, "method": "hold", "params": {}})

    async with talking(answer) as (client, server, log):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, client)
            await log.until("held")
            tasks.cancel_scope.cancel()
        assert log.entries == ["held", "cancelled", "closed"]
        await server.exchanges[0].gone.wait()


# ---- event streams ----------------------------------------------------------------------------------------------


async def test_calls_back_are_answered_by_post_with_the_id_of_the_instance() -> None:
    replies: asyncio.Queue[Exchange] = asyncio.Queue()

    async def answer(exchange: Exchange) -> None:
        if "result" in exchange.json:
            await exchange.reply(b"", 202)
            replies.put_nowait(exchange)
            return
        await exchange.start_stream("instance-7")
        for id in ("q1", 2):
            await exchange.event({"jsonrpc": "2.0", "id": id, "method": f"ask/{id}", "params": {}})
        got = [await replies.get(), await replies.get()]
        assert {reply.headers["stepflow-instance-id"] for reply in got} == {"instance-7"}
        assert {reply.target for reply in got} == {"/path"}
        await exchange.final(sorted([[str(reply.json["id"]), reply.json["result"]["asked"]] for reply in got]))
        await exchange.end_stream()

    async with talking(answer, path="/path") as (client, _, log):
        assert await ask(client) == [["2", "ask/2"], ["q1", "ask/q1"]]
        assert log.entries == ["closed"]


async def test_calls_back_are_answered_while_others_still_wait() -> None:
    replies: asyncio.Queue[Exchange] = asyncio.Queue()

    async def answer(exchange: Exchange) -> None:
        if "result" in exchange.json:
            await exchange.reply(b"", 202)
            replies.put_nowait(exchange)
            return
        await exchange.start_stream()
        await exchange.event({"jsonrpc": "2.0", "id": 1, "method": "hold", "params": {}})
        await exchange.event({"jsonrpc": "2.0", "id": 2, "method": "quick", "params": {}})
        reply = await replies.get()
        assert "stepflow-instance-id" not in reply.headers
        await exchange.final(reply.json["id"])
        await exchange.end_stream()

    async with talking(answer) as (client, _, log):
        assert await ask(client) == 2
        # What the server asked and did not wait for is given up with the exchange.
        assert log.entries == ["held", "cancelled", "closed"]


async def test_nothing_is_read_after_the_final_answer() -> None:
    done = anyio.Event()

    async def answer(exchange: Exchange) -> None:
        if len(server.exchanges) > 1:
            await echo(exchange)
            return
        await exchange.start_stream()
        await exchange.final("done")
        # The body never ends.
        await done.wait()

    async with talking(answer) as (client, server, _):
        assert await ask(client) == "done"
        assert await ask(client) == 1
        done.set()


async def test_a_stream_that_ends_with_its_answer_leaves_the_connection_for_the_next_call() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start_stream()
        id = exchange.json["id"]
        event = b'data: {"jsonrpc":"2.0","id":"%s","result":{"output":1}}\n\n' % id.encode()
        await exchange.raw(b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))

    async with talking(answer) as (client, server, _):
        assert [await ask(client) for _ in range(5)] == [1] * 5
        assert server.connections == 1


@pytest.mark.parametrize(
    "template",
    [
        b"data: %s\n\n",
        b"data:%s\n\n",
        b"data: %s\r\n\r\n",
        b"event: message\r\nid: 4\r\nretry: 9\r\n: note\r\ndata:%s\r\n\r\n",
        b": ping\n\ndata: %s\n\n",
        b"event: keepalive\ndata: now\n\ndata: %s\n\n",
        b"data: {broken\n\ndata: %s\n\n",
        b"data: [1]\n\ndata: %s\n\n",
        b'data: {"jsonrpc": "2.0", "id": "other", "result": 1}\n\ndata: %s\n\n',
        b'data: {"jsonrpc": "2.0", "method": "some/news"}\n\ndata: %s\n\n',
    ],
)
@pytest.mark.parametrize("size", [1, 10_000])
async def test_event_streams_are_read_liberally_in_chunks_of_any_size(template: bytes, size: int) -> None:
    async def answer(exchange: Exchange) -> None:
        if "method" not in exchange.json:
            await exchange.reply(b"", 202)
            return
        await exchange.start_stream()
        result = {"jsonrpc": "2.0", "id": exchange.json["id"], "result": {"output": "é😀"}}
        stream = template % json.dumps(result, ensure_ascii=False).encode()
        for at in range(0, len(stream), size):
            await exchange.chunk(stream[at : at + size])
        await exchange.end_stream()

    async with talking(answer) as (client, _, _):
        assert await ask(client) == "é😀"


async def test_an_answer_over_several_data_lines_is_one_answer() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start_stream()
        text = json.dumps({"jsonrpc": "2.0", "id": exchange.json["id"], "result": {"output": [1]}}, indent=1)
        await exchange.chunk(b"".join(b"data: %s\n" % line.encode() for line in text.split("\n")) + b"\n")
        await exchange.end_stream()

    async with talking(answer) as (client, _, _):
        assert await ask(client) == [1]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (Exchange.end_stream, "ended its event stream without an answer to components/execute"),
        (lambda exchange: exchange.raw(b"zz\r\n"), "HTTP|broke off|closed"),
    ],
)
async def test_a_stream_that_ends_without_the_answer_is_a_lost_server(end: Answer, said: str) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.event({"jsonrpc": "2.0", "id": 1, "method": "hold", "params": {}})
        await end(exchange)

    async with talking(answer) as (client, _, log):
        with pytest.raises(ServerLost, match=said):
            await ask(client)
        assert log.entries[-1] == "closed"


async def test_a_dropped_stream_is_a_lost_server() -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.start_stream()
        await exchange.chunk(b": hello\n\n")
        exchange.drop()

    async with talking(answer) as (client, _, _):
        with pytest.raises(ServerLost, match=r"closed the connection|broke off"):
            await ask(client)


async def test_an_event_above_the_limit_fails_what_it_belongs_to() -> None:
    refusals: asyncio.Queue[Any] = asyncio.Queue()

    async def answer(exchange: Exchange) -> None:
        if "method" not in exchange.json:
            await exchange.reply(b"", 202)
            refusals.put_nowait(exchange.json)
            return
        await exchange.start_stream()
        await exchange.event({"jsonrpc": "2.0", "id": "long", "method": "ask", "params": {"text": "x" * 1000}})
        refusal = await refusals.get()
        assert refusal["id"] == "long"
        assert "longer than 1000 bytes" in refusal["error"]["message"]
        await exchange.final("x" * 1000)
        await exchange.end_stream()

    async with talking(answer, limits=HttpLimits(max_message_bytes=1000)) as (client, _, _):
        with pytest.raises(InternalError, match="longer than 1000 bytes"):
            await ask(client)


async def test_an_answer_to_a_call_back_that_is_not_taken_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    replies: asyncio.Queue[Exchange] = asyncio.Queue()

    async def answer(exchange: Exchange) -> None:
        if "result" in exchange.json:
            await exchange.reply({"error": "who?"}, 421)
            replies.put_nowait(exchange)
            return
        await exchange.start_stream()
        for id in (1, 2):
            await exchange.event({"jsonrpc": "2.0", "id": id, "method": "ask", "params": {}})
            await replies.get()
        await exchange.final(1)
        await exchange.end_stream()

    # Ending the client's tasks would end an answer under way, so the second call waits for what the first has logged.
    async with talking(answer) as (client, _, _):
        assert await ask(client) == 1
        assert await ask(client) == 1
    assert "answered 421 to the answer to a call back" in caplog.text


async def test_a_server_that_asks_without_taking_the_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "_MAX_UNDELIVERED", 100)

    async def answer(exchange: Exchange) -> None:
        if "method" not in exchange.json:
            await anyio.sleep_forever()
        await exchange.start_stream()
        for number in range(200):
            await exchange.event({"jsonrpc": "2.0", "id": number, "method": "ask", "params": {}})

    async with talking(answer) as (client, _, _):
        with pytest.raises(ServerLost, match="calls back and does not take the answers"):
            await ask(client)


# ---- notifications ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "warned"), [(202, False), (200, True), (204, True)])
async def test_a_notification_is_taken_with_202(status: int, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with talking(lambda exchange: exchange.reply(b"", status)) as (client, server, _):
        await client.notify("initialized", Initialized())
    assert server.exchanges[0].json == {"jsonrpc": "2.0", "method": "initialized", "params": {}}
    assert ("insist on 202" in caplog.text) == warned


async def test_a_notification_that_is_refused_is_an_error() -> None:
    async with talking(lambda exchange: exchange.reply(b"no", 500)) as (client, _, _):
        with pytest.raises(ServerLost, match="answered 500 to the notification 'initialized'"):
            await client.notify("initialized", Initialized())


async def test_a_resource_error_of_the_server_is_not_a_lost_server() -> None:
    async def answer(exchange: Exchange) -> None:
        error = {"code": -32005, "message": "too many requests in flight"}
        await exchange.reply({"jsonrpc": "2.0", "id": None, "error": error}, 503)

    async with talking(answer) as (client, _, _):
        with pytest.raises(ResourceUnavailable) as caught:
            await ask(client)
        assert not isinstance(caught.value, ServerLost)


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_nothing_is_left_open_after_many_calls_of_every_kind() -> None:
    async def answer(exchange: Exchange) -> None:
        match exchange.json.get("params", {}).get("input"):
            case 0:
                await echo(exchange)
            case 1:
                exchange.drop()
            case 2:
                await exchange.start_stream()
                await exchange.end_stream()
            case _:
                await exchange.reply(b"?", 500)

    async with talking(answer) as (client, _, _):
        assert await ask(client, 0) == 0
        before = open_files()
        for number in range(60):
            with pytest.raises(ServerLost):
                await ask(client, number % 3 + 1)
        assert await ask(client, 0) == 0
        assert open_files() <= before + 4
