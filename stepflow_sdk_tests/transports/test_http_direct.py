"""The short way of requests through a server that runs itself, and where it parts from that of ASGI."""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import uvicorn.protocols.http.httptools_impl as of_uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from stepflow_sdk import StepflowContext, StepflowServer
from stepflow_sdk.transports.http.direct import directly
from stepflow_sdk.transports.http.next_turn import NextTurn
from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk.transports.http.serving import bind, make_server
from stepflow_sdk_tests.e2e.web import execution
from stepflow_sdk_tests.garbage import garbage

pytestmark = pytest.mark.skipif(
    not hasattr(of_uvicorn.HttpToolsProtocol, "_start_asgi_task"), reason="with this version of uvicorn there is none"
)

MINE: ContextVar[int] = ContextVar("mine", default=0)


class Marking(Struct):
    """An input that leaves a mark among the variables of where it is made."""

    value: Any

    def __post_init__(self) -> None:
        MINE.set(MINE.get() + 1)


SECONDS = 30.0
POLICY = HttpPolicy()
HEAD = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: */*\r\n"


def component_server(state: "State") -> StepflowServer:
    server: StepflowServer = StepflowServer()

    @server.component
    async def echo(value: Any) -> Any:
        return value

    @server.component
    async def waits(value: Any) -> Any:
        await asyncio.sleep(0.001)
        return value

    @server.component
    def thread(value: Any) -> Any:
        return value

    @server.component
    async def marks(value: Any) -> int:
        before = MINE.get()
        MINE.set(1)
        await asyncio.sleep(0)
        return before

    @server.component("marks/input")
    async def marks_input(input: Marking) -> int:
        return MINE.get()

    @server.component
    async def calls(value: Any, ctx: StepflowContext) -> list[str]:
        before = MINE.get()
        MINE.set(1)
        return [str(before), *await asyncio.gather(ctx.put_blob(value), ctx.put_blob([value]))]

    @server.component
    async def hangs(value: Any, ctx: StepflowContext) -> None:
        try:
            await ctx.put_blob(value)
        finally:
            state.ended.set()

    @server.component
    async def gated(value: Any) -> Any:
        await state.gate.wait()
        return value

    @server.component("gated/stream")
    async def gated_stream(value: Any, ctx: StepflowContext) -> Any:
        call = asyncio.ensure_future(ctx.put_blob(value))
        await state.gate.wait()
        call.cancel()
        return value

    return server


class State:
    """What components and tests tell each other."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.gate = asyncio.Event()


class Serving:
    """A web server in this event loop."""

    def __init__(self, web: Any, address: Any, state: State) -> None:
        self.web = web
        self.address = address
        self.ended = state.ended
        self.gate = state.gate

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)

    async def ask(self, *pieces: bytes) -> bytes:
        """Everything that comes back on a connection of which the last request ends it."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(SECONDS):
            answers = await reader.read()
        writer.close()
        return answers


@asynccontextmanager
async def serving(app: Any = None, policy: HttpPolicy = POLICY) -> AsyncGenerator[Serving, None]:
    state = State()
    server = component_server(state)
    async with server.service() as service, asyncio.timeout(2 * SECONDS):
        endpoint = server.endpoint(service, policy) if app is None else app
        started = asyncio.Event()
        web = make_server(endpoint, HttpPolicy(), started.set, stop_timeout=1)
        with bind("127.0.0.1", 0) as listener:
            running = asyncio.create_task(web.serve(sockets=[listener]))
            await started.wait()
            try:
                yield Serving(web, listener.getsockname(), state)
            finally:
                web.should_exit = True
                await running


def post(component: str, value: Any, *fields: str) -> bytes:
    body = json.dumps(execution(component, value, 7)).encode()
    head = HEAD + "".join(f"{field}\r\n" for field in (*fields, f"content-length: {len(body)}"))
    return head.encode() + b"\r\n" + body


def answer_to(call: dict[str, Any], blob_id: str) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": {"blob_id": blob_id}}).encode()
    return f"{HEAD}content-length: {len(body)}\r\n\r\n".encode() + body


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  (no event tells of it)
            await asyncio.sleep(0)


CLOSE = "connection: close"
KINDS = {
    "direct": lambda component, value: post(component, value),
    "expects": lambda component, value: post(component, value, "expect: 100-continue"),
    "chunked": lambda component, value: chunked(component, value),
}


def chunked(component: str, value: Any) -> bytes:
    body = json.dumps(execution(component, value, 7)).encode()
    half = len(body) // 2
    parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:], b""))
    return f"{HEAD}transfer-encoding: chunked\r\n\r\n".encode() + parts


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(KINDS)), st.sampled_from(["/echo", "/waits", "/thread", "/marks", "/gone"])),
        max_size=8,
    ),
    st.lists(st.integers(0, 1000), max_size=6),
)
@settings(max_examples=25, deadline=None)
async def test_answers_come_in_order_however_requests_are_sent_and_cut(
    asked: list[tuple[str, str]], thousandths: list[int]
) -> None:
    requests = [KINDS[kind](component, number) for number, (kind, component) in enumerate(asked)]
    everything = b"".join(requests) + post("/echo", "last", CLOSE)
    cuts = sorted(len(everything) * part // 1000 for part in thousandths)
    pieces = [everything[start:end] for start, end in zip([0, *cuts], [*cuts, len(everything)], strict=True)]
    async with serving() as server:
        answers = (await server.ask(*pieces)).replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
    bodies = [json.loads(line) for line in re.findall(rb"^\{.*?\}(?=HTTP/|$)", answers, re.MULTILINE)]
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == len(bodies) == len(asked) + 1
    for number, ((_, component), body) in enumerate(zip(asked, bodies, strict=False)):
        if component == "/gone":
            assert body["error"]["data"]["component"] == "/gone"
        else:
            assert body["result"] == {"output": 0 if component == "/marks" else number}
    assert bodies[-1]["result"] == {"output": "last"}


@pytest.mark.parametrize("component", ["/echo", "/waits", "/thread", "/gone"])
async def test_both_ways_lead_to_the_same_answer(component: str) -> None:
    whole = post(component, "x" * 100_000)
    async with serving() as server:
        # A request that ends its connection takes the way of ASGI, and so does one whose body comes later.
        by_asgi = await server.ask(post(component, "x" * 100_000, CLOSE))
        directly = await server.ask(whole, post("/echo", 1, CLOSE))
        later = await server.ask(whole[:300], whole[300:], post("/echo", 1, CLOSE))
    assert directly == later
    assert directly.startswith(by_asgi.replace(b"connection: close\r\n", b""))


@pytest.mark.parametrize("fields", [[], ["x-more: 1"] * 150, ["expect: 100-continue"]])
async def test_a_client_that_closes_its_side_at_once_gets_what_is_answered_at_once(fields: list[str]) -> None:
    async with serving() as server:
        reader, writer = await server.connect()
        writer.write(post("/echo", 5, *fields))
        writer.write_eof()
        async with asyncio.timeout(SECONDS):
            answer = (await reader.read()).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 431 " if len(fields) > 100 else b"HTTP/1.1 200 OK\r\n")
        await until(lambda: not server.web.server_state.connections)
        writer.close()


async def stream_of(reader: asyncio.StreamReader) -> tuple[bytes, list[dict[str, Any]]]:
    """The head of a stream, and the calls of its first chunk."""
    async with asyncio.timeout(SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        chunk = await reader.readexactly(int((await reader.readuntil(b"\r\n"))[:-2], 16) + 2)
    return head, [json.loads(line[6:]) for line in chunk.split(b"\n\n") if line.startswith(b"data: ")]


async def test_calls_made_at_once_leave_in_one_event_chunk_and_their_answers_find_the_component() -> None:
    async with serving() as server:
        reader, writer = await server.connect()
        writer.write(post("/calls", 5))
        head, calls = await stream_of(reader)
        assert b"content-type: text/event-stream\r\n" in head
        assert [call["params"]["data"] for call in calls] == [5, [5]]
        accepted = await server.ask(
            answer_to(calls[1], "b" * 64), answer_to(calls[0], "a" * 64), post("/echo", 1, CLOSE)
        )
        assert (
            accepted.count(b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n") == 2
        )
        async with asyncio.timeout(SECONDS):
            last = await reader.readuntil(b"0\r\n\r\n")
        assert json.loads(last.partition(b"data: ")[2].partition(b"\n\n")[0])["result"] == {
            "output": ["0", "a" * 64, "b" * 64]
        }
        # The connection serves the next request, and has none of the variables of the last.
        writer.write(post("/marks", 1))
        async with asyncio.timeout(SECONDS):
            assert (await reader.readuntil(b"}}")).endswith(b'"result":{"output":0}}')
        writer.close()


async def test_a_client_that_leaves_a_stream_ends_its_component_and_frees_its_place() -> None:
    async with serving() as server:
        reader, writer = await server.connect()
        writer.write(post("/hangs", 5))
        _, (call,) = await stream_of(reader)
        writer.close()
        async with asyncio.timeout(SECONDS):
            await server.ended.wait()
        late = await server.ask(answer_to(call, "a" * 64), post("/echo", 1, CLOSE))
        assert late.startswith(b"HTTP/1.1 202 Accepted\r\n")


@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["/echo", "/waits", "/thread", "/calls"]), st.integers(0, 4)))),
)
@settings(max_examples=25, deadline=None)
async def test_however_clients_come_and_go_all_places_are_free_afterwards(clients: list[list[tuple[str, int]]]) -> None:
    async def come_and_go(server: Serving, visits: list[tuple[str, int]]) -> None:
        for component, turns in visits:
            _, writer = await server.connect()
            writer.write(post(component, 1) * 2)
            for _ in range(turns):
                await asyncio.sleep(0)
            writer.transport.abort()

    async with serving(policy=HttpPolicy(max_exchanges=3)) as server:
        async with asyncio.TaskGroup() as tasks:
            for visits in clients:
                tasks.create_task(come_and_go(server, visits))
        await until(lambda: not server.web.server_state.connections and not server.web.server_state.tasks)
        answers = await asyncio.gather(*(server.ask(post("/waits", 1), post("/echo", 1, CLOSE)) for _ in range(3)))
    assert all(answer.count(b"HTTP/1.1 200 OK\r\n") == 2 for answer in answers)


@pytest.mark.parametrize("component", ["/gated", "/gated/stream"])
async def test_a_server_that_stops_lets_an_answer_leave_and_ends_its_connection(component: str) -> None:
    async with serving() as server:
        idle, idler = await server.connect()
        reader, writer = await server.connect()
        writer.write(post(component, 5))
        if component == "/gated/stream":
            await stream_of(reader)
        await until(lambda: any(connection.waiting for connection in server.web.server_state.connections))
        server.web.should_exit = True
        async with asyncio.timeout(SECONDS):
            assert await idle.read() == b""
            server.gate.set()
            answer = await reader.read()
        assert b'"result":{"output":5}' in answer
        assert (b"connection: close\r\n" in answer) == (component == "/gated")
        writer.close()
        idler.close()


async def test_nothing_of_a_body_is_kept_by_a_connection_that_waits() -> None:
    async with serving() as server:
        reader, writer = await server.connect()
        writer.write(post("/waits", "x" * 60_000))
        async with asyncio.timeout(SECONDS):
            await reader.readuntil(b"}}")
        (connection,) = server.web.server_state.connections
        assert not connection.cycle.body
        assert connection.waiting is None
        writer.close()


def test_there_is_none_for_other_applications_and_in_other_versions_of_uvicorn() -> None:
    class Other:
        def on_message_begin(self) -> None: ...

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    assert directly(Other, Failing("never")) is Other
    assert directly(of_uvicorn.HttpToolsProtocol, app) is of_uvicorn.HttpToolsProtocol
    assert issubclass(directly(of_uvicorn.HttpToolsProtocol, Failing("never")), of_uvicorn.HttpToolsProtocol)


class Failing:
    """An application with bugs."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.is_gone = False

    def take(self, scope: Any, body: bytes) -> Any:
        if self.where == "at once":
            raise RuntimeError("a bug")
        return self

    def answer_on(self, wire: Any) -> None:
        if self.where == "in the same turn":
            raise RuntimeError("a bug")
        wire.soon(self.write)

    def write(self) -> None:
        raise RuntimeError("a bug")

    def client_is_gone(self) -> None:
        self.is_gone = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it is not for ASGI")


async def test_an_endpoint_that_fails_at_once_is_answered_with_500(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Failing("at once")) as server:
        answer = await server.ask(post("/echo", 1))
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert "a bug" in caplog.text


@pytest.mark.parametrize("where", ["in the same turn", "later"])
async def test_an_endpoint_that_fails_otherwise_lets_nobody_wait(where: str) -> None:
    app = Failing(where)
    reports: list[str] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, report: reports.append(str(report.get("exception"))))
    async with serving(app) as server:
        # The end of a connection that is aborted has two forms.
        with contextlib.suppress(ConnectionResetError):
            assert await server.ask(post("/echo", 1)) == b""
        await until(lambda: app.is_gone)
    loop.set_exception_handler(handler)
    assert reports == ["a bug"]


async def test_what_fails_in_a_turn_does_not_keep_the_others_from_theirs() -> None:
    done: list[str] = []
    reports: list[Any] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, report: reports.append(report["exception"]))
    turn = NextTurn()

    def fails() -> None:
        turn.add(lambda: done.append("later"), lambda: None)
        raise RuntimeError("no")

    MINE.set(2)
    turn.add(fails, lambda: done.append("failed"))
    turn.add(lambda: done.append(f"variable {MINE.get()}"), lambda: done.append("wrong"))
    assert done == []
    await until(lambda: "later" in done)
    assert done == ["failed", "variable 0", "later"]
    assert [str(error) for error in reports] == ["no"]
    loop.set_exception_handler(handler)
    MINE.set(0)


async def test_an_exit_in_a_turn_does_not_cost_the_others_theirs() -> None:
    done: list[str] = []
    turn = NextTurn()

    def interrupted() -> None:
        raise SystemExit

    turn.add(interrupted, lambda: done.append("failed"))
    turn.add(lambda: done.append("next"), lambda: None)
    # What leaves a callback so ends the loop that runs it, so it is called by hand, as that would.
    with pytest.raises(SystemExit):
        turn._call_all()
    assert done == ["failed"]
    await until(lambda: "next" in done)


async def test_a_turn_whose_callback_was_lost_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    loop = asyncio.get_running_loop()
    turn = NextTurn()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "call_soon", lambda *_, **__: None)
        turn.add(lambda: done.append("first"), lambda: None)
    turn.add(lambda: done.append("second"), lambda: None)
    with monkeypatch.context() as patched:
        now = loop.time()
        patched.setattr(loop, "time", lambda: now + 60)
        turn.add(lambda: done.append("third"), lambda: None)
    await until(lambda: "third" in done)
    assert done == ["first", "second", "third"]


async def test_what_an_input_sets_among_the_variables_nobody_else_sees() -> None:
    async with serving() as server:
        for _ in range(2):
            for close in ([], [CLOSE]):  # without closing it is asked for on the short way
                reader, writer = await server.connect()
                writer.write(post("/marks/input", {"value": 1}, *close))
                async with asyncio.timeout(SECONDS):
                    answer = await reader.readuntil(b"}}")
                writer.close()
                assert answer.endswith(b'"output":1}}')


async def test_clients_that_go_away_leave_nothing_for_the_garbage_collector() -> None:
    async with serving() as server:

        async def come_and_go() -> None:
            server.ended.clear()
            reader, writer = await server.connect()
            writer.write(post("/hangs", 1))
            async with asyncio.timeout(SECONDS):
                await reader.readuntil(b"blobs/put")
                writer.close()
                await server.ended.wait()
                await writer.wait_closed()
            await until(lambda: not server.web.server_state.connections)

        await come_and_go()
        with garbage() as left:
            for _ in range(3):
                await come_and_go()
    kept = {"Directly", "RequestResponseCycle", "FlowControl", "WholeAnswers", "Exchange", "Connection"}
    assert not {kind.__name__ for kind in left} & kept


async def test_requests_that_wait_leave_nothing_for_the_garbage_collector() -> None:
    async with serving() as server:
        reader, writer = await server.connect()

        async def ask(component: str) -> None:
            writer.write(post(component, 1))
            async with asyncio.timeout(SECONDS):
                await reader.readuntil(b"}}")

        for component in ("/waits", "/echo", "/thread") * 3:
            await ask(component)
        with garbage() as left:
            for component in ("/waits", "/echo", "/thread") * 3:
                await ask(component)
        writer.close()
    assert not {kind.__name__ for kind in left} & {"Exchange", "Connection", "Wire", "RequestResponseCycle", "Context"}
