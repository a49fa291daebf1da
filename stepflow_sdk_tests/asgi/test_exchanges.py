"""Requests that come and go: what one leaves behind changes nothing for the next, and nothing is left for long."""

import asyncio
import gc
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk import ComponentError, StepflowContext, StepflowServer, current_context
from stepflow_sdk.errors import ResourceUnavailable
from stepflow_sdk.transports.http import HttpEndpoint, HttpPolicy
from stepflow_sdk_tests.asgi.client import Answer, execute, request
from stepflow_sdk_tests.e2e.web import execution
from stepflow_sdk_tests.garbage import garbage


def make_server() -> StepflowServer:
    server: StepflowServer = StepflowServer()

    @server.component
    async def echo(value: Any) -> Any:
        return value

    @server.component
    async def waits(value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    @server.component
    def thread(value: Any) -> Any:
        return value

    @server.component(run_in_thread=False)
    def inline(value: Any) -> Any:
        return value

    @server.component
    async def fails(value: Any) -> None:
        raise ComponentError("no", data=value)

    @server.component
    async def names(value: Any) -> Any:
        return [current_context().component, value]

    @server.component
    async def calls(value: Any, ctx: StepflowContext) -> Any:
        return await ctx.put_blob(value)

    return server


KINDS = ("/echo", "/waits", "/thread", "/inline", "/fails", "/names", "/gone")


@given(st.lists(st.tuples(st.sampled_from(KINDS), st.integers(-(2**31), 2**31)), max_size=12))
@settings(max_examples=40, deadline=None)
async def test_every_request_gets_its_own_answer_whatever_is_under_way_beside_it(asked: list[tuple[str, int]]) -> None:
    app = make_server()
    answers = await asyncio.gather(*(execute(app, component, value) for component, value in asked))
    for (component, value), answer in zip(asked, answers, strict=True):
        if component == "/fails":
            assert answer["error"]["data"] == value
        elif component == "/gone":
            assert answer["error"]["data"]["component"] == "/gone"
        else:
            assert answer["result"] == {"output": ["/names", value] if component == "/names" else value}


async def test_a_context_that_a_component_kept_is_over_when_the_next_request_is_served() -> None:
    server: StepflowServer = StepflowServer()
    kept: list[Any] = []

    @server.component
    async def keeps(value: int) -> int:
        kept.append(current_context())
        return value

    for number in range(3):
        assert (await execute(server, "/keeps", {"value": number}))["result"] == {"output": number}
    assert len({id(context) for context in kept}) == 3
    for context in kept:
        with pytest.raises(ResourceUnavailable, match="has ended"):
            await context.put_blob(1)


def post(component: str) -> tuple[dict[str, Any], bytes]:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
        ],
        "client": ("127.0.0.1", 1),
    }
    body = b'{"jsonrpc":"2.0","id":1,"method":"components/execute","params":{"component":"%s","input":{"value":1},' % (
        component.encode()
    )
    return scope, body + b'"attempt":1,"observability":{}}}'


async def serve_and_leave(app: Any, component: str) -> None:
    """Send a request; a client whose component calls back reads the call and goes away."""
    scope, body = post(component)
    called = asyncio.Event()
    messages = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await called.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if b"blobs/put" in message.get("body", b""):
            called.set()

    await app(scope, receive, send)


@pytest.mark.parametrize("component", ["/echo", "/waits", "/inline", "/fails", "/calls", "/gone"])
async def test_a_request_leaves_nothing_for_the_garbage_collector(component: str) -> None:
    server = make_server()
    async with server.service():
        for _ in range(3):
            await serve_and_leave(server, component)
        with garbage() as left:
            for _ in range(5):
                await serve_and_leave(server, component)
        kept = {"Exchange", "Connection", "Peer", "Dispatcher", "Lane", "Deadlines", "StepflowContext"}
        assert not {kind.__name__ for kind in left} & kept


async def test_hundreds_of_requests_at_once_leave_nothing_for_the_garbage_collector() -> None:
    server = make_server()
    everybody_is_here = asyncio.Barrier(300)

    @server.component
    async def meet() -> None:
        await everybody_is_here.wait()

    async with server.service():
        with garbage() as left:
            answers = await asyncio.gather(*(execute(server, "/meet", None) for _ in range(300)))
            assert all(answer["result"] == {"output": None} for answer in answers)
        assert not {kind.__name__ for kind in left} & {"Exchange", "Connection", "Peer", "Dispatcher", "Lane"}


VALUES = {
    "host": ["localhost", "127.0.0.1:80", "evil.example", "[::1]", ""],
    "origin": ["https://example.com", "https://evil.example", "null"],
    "content-type": ["application/json", "APPLICATION/JSON; charset=utf-8", "text/plain", ""],
    "accept": ["application/json, text/event-stream", "*/*", "application/json", ""],
    "content-encoding": ["identity", "gzip"],
    "transfer-encoding": ["chunked", "gzip, chunked"],
    "content-length": ["10", "99999999999", "1000000", "x"],
    "authorization": ["Bearer right", "Bearer wrong", "right"],
    "x-other": ["a", "b" * 3000, "c" * 70_000],
}
RIGHT = [
    ("host", "localhost"),
    ("content-type", "application/json"),
    ("accept", "*/*"),
    ("authorization", "Bearer right"),
]
FIELD = st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name])))


@st.composite
def heads(draw: st.DrawFn) -> list[tuple[str, str]]:
    """A right head, or one with something added, left out or changed."""
    head = list(RIGHT)
    for field in draw(st.lists(FIELD, max_size=3)):
        if draw(st.booleans()):
            head = [(name, value) for name, value in head if name != field[0]]
        head.insert(draw(st.integers(0, len(head))), field)
    return head


async def answer_to(endpoint: HttpEndpoint, head: Sequence[tuple[str, str]]) -> tuple[int, bytes]:
    scope, body = post("/echo")
    scope["headers"] = [(name.encode(), value.encode()) for name, value in head]
    answer = Answer()

    async def receive() -> Any:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        answer.status = message.get("status", answer.status)
        answer.body += message.get("body", b"")

    await endpoint(scope, receive, send)
    return answer.status, answer.body


@given(st.lists(heads(), max_size=8))
@settings(max_examples=150, deadline=None)
async def test_what_came_before_does_not_change_what_is_let_in(asked: list[list[tuple[str, str]]]) -> None:
    server = make_server()
    policy = HttpPolicy(token="right", allowed_origins=frozenset({"https://example.com"}), max_body_bytes=1_000_000)
    async with server.service() as service:
        remembers = server.endpoint(service, policy)
        for head in [RIGHT, *asked]:
            assert await answer_to(remembers, head) == await answer_to(server.endpoint(service, policy), head)


async def test_more_clients_than_are_remembered_are_served() -> None:
    app = make_server()
    for number in range(600):
        answer = await request(app, "/", execution("/echo", number), headers={"host": f"localhost:{number}"})
        assert answer.json["result"] == {"output": number}


async def test_a_server_that_is_dropped_while_its_loop_runs_leaves_no_complaint(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def serve() -> weakref.ref[Any]:
        server = make_server()
        assert (await execute(server, "/echo", 1))["result"] == {"output": 1}
        return weakref.ref(server)

    server = await serve()
    gc.collect()
    assert server() is None
    assert caplog.records == []


async def test_errors_have_the_codes_of_the_runtime_that_introduced_itself_last() -> None:
    started, go = asyncio.Event(), asyncio.Event()
    server = make_server()

    @server.component
    async def breaks(value: bool) -> None:
        if value:
            started.set()
            await go.wait()
        raise KeyError

    async def code_of(value: bool) -> int:
        code: int = (await execute(server, "/breaks", {"value": value}))["error"]["code"]
        return code

    async def introduce(key: str) -> None:
        await request(server, body={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {key: 1}})

    assert await code_of(False) == -32004
    waiting = asyncio.ensure_future(code_of(True))
    await started.wait()
    await introduce("runtimeProtocolVersion")
    assert await code_of(False) == -32100
    go.set()
    assert await waiting == -32100
    await introduce("runtime_protocol_version")
    assert await asyncio.gather(*(code_of(False) for _ in range(3))) == [-32004] * 3


async def test_a_head_with_too_many_fields_is_refused_however_short_and_well_known_the_rest_of_it_is() -> None:
    server = make_server()
    body = execution("/echo", {"value": 1})
    for _ in range(2):
        assert (await request(server, body=body)).status == 200
    fields = {f"x{number}": "" for number in range(120)}
    assert (await request(server, body=body, headers=fields)).status == 431
