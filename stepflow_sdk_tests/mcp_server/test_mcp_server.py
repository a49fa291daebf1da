"""A server as an MCP server: a real process, spoken to by the official client."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import ClientSession
from mcp.client import stdio
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, TextContent, Tool

from stepflow_sdk import StepflowServer
from stepflow_sdk.errors import RemoteError
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk_tests.e2e.wire import PATIENCE, SERVERS, Wire, serving

PROGRAM = Path(__file__).with_name("program.py")
CARELESS = SERVERS / "careless.py"


@asynccontextmanager
async def client(program: Path = PROGRAM, **environment: str) -> AsyncIterator[ClientSession]:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    command = StdioServerParameters(command=sys.executable, args=[str(program), "--mcp"], env=variables)
    async with stdio_client(command) as streams, ClientSession(*streams) as session:
        with anyio.fail_after(PATIENCE):
            await session.initialize()
        yield session


@pytest.fixture(scope="module")
async def shapes() -> AsyncGenerator[ClientSession, None]:
    async with client() as session:
        yield session


@pytest.fixture(scope="module")
async def careless() -> AsyncGenerator[ClientSession, None]:
    async with client(CARELESS) as session:
        yield session


async def call(session: ClientSession, tool: str, **arguments: Any) -> CallToolResult:
    with anyio.fail_after(PATIENCE):
        result = await session.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    return result


def texts(result: CallToolResult) -> list[str]:
    return [part.text for part in result.content if isinstance(part, TextContent)]


async def tools_of(session: ClientSession) -> dict[str, Tool]:
    return {tool.name: tool for tool in (await session.list_tools()).tools}


async def test_components_are_tools_with_their_schemas_and_texts(shapes: ClientSession) -> None:
    tools = await tools_of(shapes)
    greet = tools["greet"]
    assert greet.description is not None
    assert greet.description.startswith("Say hello.")
    assert greet.input_schema["required"] == ["name"]
    assert greet.input_schema["properties"]["name"]["description"] == "Who to greet."
    assert all(tool.input_schema["type"] == "object" for tool in tools.values())
    assert all(tool.output_schema is None or tool.output_schema["type"] == "object" for tool in tools.values())


async def test_an_output_that_is_no_object_is_wrapped_and_told_as_text(shapes: ClientSession) -> None:
    result = await call(shapes, "greet", name="Ada")
    assert not result.is_error
    assert result.structured_content == {"result": "Hello, Ada!"}
    assert texts(result) == ["Hello, Ada!"]
    assert (await call(shapes, "total", input=[1, 2])).structured_content == {"result": 3}
    assert texts(await call(shapes, "nothing")) == ["null"]


async def test_an_output_that_is_an_object_is_the_structured_content(shapes: ClientSession) -> None:
    # The client checks it against the schema of the tool, which refers to itself.
    result = await call(shapes, "tree.grow", name="oak", children=[{"name": "twig", "children": []}])
    grown = {"name": "oak", "children": [{"name": "twig", "children": []}, {"name": "new", "children": []}]}
    assert result.structured_content == grown
    assert json.loads(texts(result)[0]) == grown


async def test_an_input_that_is_no_object_is_the_argument_input(shapes: ClientSession) -> None:
    tools = await tools_of(shapes)
    schema = tools["total"].input_schema
    assert schema["properties"]["input"]["type"] == "array"
    assert (schema["required"], schema["additionalProperties"]) == (["input"], False)
    assert (await call(shapes, "draw", input={"radius": 2})).structured_content == {"result": "Circle(radius=2.0)"}
    assert (await call(shapes, "draw", input=None)).structured_content == {"result": "None"}
    for value in (None, 1, [1.5, "é☃"], {"input": {"a": None}}):
        assert (await call(shapes, "anything", input=value)).structured_content == {"result": value}


async def test_path_parameters_are_arguments_of_their_own(shapes: ClientSession) -> None:
    tools = await tools_of(shapes)
    assert tools["shout..word"].input_schema["required"] == ["path"]
    assert texts(await call(shapes, "shout..word", path={"word": "hey"}, input={"times": 2})) == ["HEYHEY"]
    assert texts(await call(shapes, "shout..word", path={"word": "hey"})) == ["HEY"]
    result = await call(shapes, "files..volume..-path", path={"volume": "3", "path": "a/b"}, input=[1])
    assert result.structured_content == {"result": [3, "a/b", [1]]}


WRONG: list[tuple[str, dict[str, Any], list[str]]] = [
    ("greet", {}, ["$.name"]),
    ("greet", {"name": 1, "punctuation": []}, ["$.name", "$.punctuation"]),
    ("total", {"input": [1, "2"]}, ["$.input[1]"]),
    ("total", {}, ["$.input"]),
    ("total", {"inptu": [1], "input": [1]}, ["$.inptu"]),
    ("positive", {"input": 0}, ["$.input"]),
    ("shout..word", {}, ["$.path"]),
    ("shout..word", {"path": "hey"}, ["$.path"]),
    ("shout..word", {"path": {"word": "a/b"}}, ["$.path.word"]),
    ("shout..word", {"path": {"word": ""}}, ["$.path.word"]),
    ("shout..word", {"path": {"word": 3}}, ["$.path.word"]),
    ("shout..word", {"path": {"wrod": "a"}}, ["$.path.wrod", "$.path.word"]),
    ("shout..word", {"path": {"word": "quietly"}}, ["$.path"]),
    ("shout..word", {"path": {"word": "a"}, "input": {"times": "x"}}, ["$.input.times"]),
    ("files..volume..-path", {"path": {"volume": "x", "path": "a"}, "input": []}, ["$.path.volume"]),
]


async def test_wrong_arguments_are_named_with_their_places(shapes: ClientSession) -> None:
    for tool, arguments, places in WRONG:
        result = await call(shapes, tool, **arguments)
        error = error_of(result)
        assert error["code"] == -32003
        assert [problem["path"] for problem in error["data"]["problems"]] == places
        assert all(place in texts(result)[0] for place in places)


async def test_a_tool_that_is_not_there_is_an_error_of_the_protocol_with_the_nearest_name(
    shapes: ClientSession,
) -> None:
    with pytest.raises(MCPError, match=r"Unknown tool: greeet; did you mean 'greet'\?"):
        await shapes.call_tool("greeet", {"name": "Ada"})


async def test_a_skip_is_no_error_and_says_so(careless: ClientSession) -> None:
    # The client checks the structured content of what is no error against the schema.
    result = await call(careless, "skip", reason="not now")
    assert not result.is_error
    assert result.structured_content == {"skipped": "not now"}
    assert texts(result) == ["skipped: not now"]
    assert (await call(careless, "skip")).structured_content == {"skipped": "the step was skipped"}


async def test_a_component_error_is_told_with_its_data(shapes: ClientSession) -> None:
    result = await call(shapes, "apologize")
    data = {"until": "tomorrow", "retryable": True}
    assert error_of(result) == {"code": -32004, "message": "not today", "data": data}
    assert texts(result)[0] == "not today"
    assert json.loads(texts(result)[1]) == data


async def test_whatever_a_component_raises_is_the_failure_of_its_call_alone(careless: ClientSession) -> None:
    for tool in ("fail", "fail.thread"):
        for how in ("value", "exit", "interrupt", "cancelled", "generator", "rude", "unprintable", "group", "secret"):
            assert error_of(await call(careless, tool, how=how))["code"] == -32004
    assert texts(await call(careless, "fail", how="value")) == ["ValueError: a bad value"]
    assert texts(await call(careless, "echo", input="still here")) == ["still here"]


async def test_an_output_that_is_not_json_is_a_failure(careless: ClientSession) -> None:
    for how in ("nan", "cycle", "deep", "object", "key", "raw"):
        assert error_of(await call(careless, "output", how=how))["code"] == -32004


async def test_a_component_that_takes_too_long_is_told_with_its_limit(careless: ClientSession) -> None:
    for tool in ("slow", "slow.async"):
        result = await call(careless, tool)
        assert error_of(result)["code"] == -32006
        assert "0.05 s" in texts(result)[0]


async def test_what_components_print_does_not_touch_the_wire(careless: ClientSession) -> None:
    for number in range(3):
        assert texts(await call(careless, "noise", text=f"line {number}\n{{")) == ["read ''"]


async def test_a_hundred_calls_run_at_once(shapes: ClientSession) -> None:
    results: list[CallToolResult] = []

    async def join() -> None:
        results.append(await call(shapes, "meet.all", count=100))

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(join)
    assert [result.structured_content for result in results] == [{"result": 100}] * 100


async def test_a_call_that_the_client_cancels_is_cancelled_in_its_component(careless: ClientSession) -> None:
    async def hanging() -> Any:
        content = (await call(careless, "hang.count")).structured_content
        assert content is not None
        return content["result"]

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(lambda: call(careless, "hang.counted"))
            while await hanging() < 3:
                pass
            tasks.cancel_scope.cancel()
        while await hanging():
            pass


async def test_blobs_are_kept_for_the_life_of_the_process(shapes: ClientSession) -> None:
    value = {"k": [1, None, "é"]}
    stored = await call(shapes, "store", input=value)
    [blob_id] = texts(stored)
    assert len(blob_id) == 64
    assert (await call(shapes, "load", blob_id=blob_id)).structured_content == {"result": value}
    assert texts(await call(shapes, "keep_bytes", size=400)) == ["102400"]
    assert error_of(await call(shapes, "load", blob_id="0" * 64))["code"] == -32008


async def test_a_flow_needs_a_runtime_and_the_error_says_so(shapes: ClientSession) -> None:
    result = await call(shapes, "nested")
    assert error_of(result)["code"] == -32005
    assert "LocalRuntime" in texts(result)[0]


async def test_the_lifespan_is_entered_once_and_left_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client gives a server two seconds to end, and kills it some seconds later.
    monkeypatch.setattr(stdio, "PROCESS_TERMINATION_TIMEOUT", PATIENCE)
    told = tmp_path / "told"
    async with client(TOLD=str(told)) as session:
        for _ in range(3):
            content = (await call(session, "state")).structured_content
            assert content == {"state": 1, "run": None, "attempt": 1}
        assert not told.exists()
    assert told.read_text("utf-8") == "left"


async def test_the_bundled_runtime_drives_a_server_of_its_own_kind() -> None:
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    plugin = {"type": "mcp", "command": sys.executable, "args": [str(PROGRAM), "--mcp"], "env": environment}
    config = {"plugins": {"shapes": plugin}, "routes": {"/{*component}": [{"plugin": "shapes"}]}}
    async with LocalRuntime.from_config(config) as runtime:
        assert await runtime.execute("/greet", {"name": "Ada"}) == [{"type": "text", "text": "Hello, Ada!"}]
        with pytest.raises(RemoteError, match="not today"):
            await runtime.execute("/apologize", {})


def error_of(result: CallToolResult) -> Any:
    assert result.is_error
    assert result.structured_content is None
    assert result.meta is not None
    return result.meta["stepflow/error"]


# ---- by hand: what no well-behaved client does ------------------------------------------------------------------


@contextmanager
def by_hand(**environment: str) -> Iterator[Wire]:
    with serving("careless", "--mcp", initialize=False, environment=environment) as wire:
        me = {"name": "by hand", "version": "1"}
        wire.request("init", "initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": me})
        assert wire.receive()["result"]["serverInfo"]["name"] == "careless"
        wire.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        yield wire


def call_by_hand(wire: Wire, id: int | str, tool: str, **arguments: Any) -> None:
    wire.request(id, "tools/call", {"name": tool, "arguments": arguments})


def test_the_end_of_stdin_ends_the_process_with_code_0() -> None:
    with by_hand() as wire:
        wire.end_input()
        assert wire.rest() == []
        assert wire.wait() == 0


def test_calls_that_are_on_their_way_when_stdin_ends_are_answered() -> None:
    with by_hand() as wire:
        for number in range(50):
            call_by_hand(wire, number, "echo.thread", input=number)
        wire.end_input()
        answers = {reply["id"]: reply["result"]["structuredContent"] for reply in wire.rest()}
        assert answers == {number: {"result": number} for number in range(50)}
        assert wire.wait() == 0


def test_calls_that_never_end_do_not_keep_the_process() -> None:
    with by_hand() as wire:
        for number, tool in enumerate(("hang", "hang.async")):
            call_by_hand(wire, number, tool)
        call_by_hand(wire, "last", "echo", input=1)
        assert wire.receive()["id"] == "last"
        wire.end_input()
        wire.rest()
        assert wire.wait() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_signal_lets_running_calls_end() -> None:
    with by_hand() as wire:
        call_by_hand(wire, 1, "slow.async")
        call_by_hand(wire, 2, "echo", input=1)
        first = wire.receive()
        wire.process.send_signal(signal.SIGTERM)
        assert {reply["id"] for reply in [first, *wire.rest()]} == {1, 2}
        assert wire.wait() == 0


BROKEN: list[tuple[bytes, Any, int]] = [
    (b"rubbish", None, -32700),
    (b'{"jsonrpc": "2.0", "id": 7, "method": "ping"', 7, -32700),
    (b'{"jsonrpc": "2.0", "id": "\xff", "method": "ping"}', None, -32700),
    (b"[]", None, -32600),
    (b"3", None, -32600),
    (b'{"jsonrpc": "2.0", "id": 8}', 8, -32600),
    (b'{"jsonrpc": "2.0", "id": 9, "method": "ping", "params": 3}', 9, -32600),
    (b'{"jsonrpc": "1.0", "id": 10, "method": "ping"}', 10, -32600),
    (b'{"jsonrpc": "2.0", "id": 11, "method": "no/such"}', 11, -32601),
    (b'{"jsonrpc": "2.0", "id": 12, "method": "tools/call", "params": {"name": 3}}', 12, -32602),
    (b'{"jsonrpc": "2.0", "id": 13, "method": "tools/call", "params": {"name": "' + b"x" * 70_000 + b'"}}', 13, -32600),
    (b"[" * 10_000, None, -32700),
]


def test_what_is_no_message_is_answered_and_the_next_one_is_read() -> None:
    with by_hand(MAX_BYTES="65536") as wire:
        for line, id, code in BROKEN:
            wire.send_bytes(line + b"\n\r\n")
            reply = wire.receive()
            assert (reply["id"], reply["error"]["code"]) == (id, code), line[:100]
        call_by_hand(wire, "last", "echo", input=1)
        assert wire.receive()["result"]["structuredContent"] == {"result": 1}


def test_a_client_that_does_not_read_is_waited_for_and_gets_every_answer() -> None:
    with by_hand() as wire:
        wire.stall()
        for number in range(40):
            call_by_hand(wire, number, "large", size=200_000)
        wire.read_on()
        replies = wire.receive_all(40)
        assert all(len(reply["result"]["structuredContent"]["result"]) == 200_000 for reply in replies.values())


# ---- the command line -------------------------------------------------------------------------------------------


def test_without_the_extra_the_command_line_names_the_command_that_installs_it() -> None:
    code = "import sys; sys.modules['mcp'] = None; from stepflow_sdk import StepflowServer; StepflowServer().run('mcp')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'stepflow-sdk[mcp]'" in done.stderr


def test_a_server_is_served_one_way_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        StepflowServer().run(arguments=["--mcp", "--http"])
    assert ended.value.code == 2
    assert "not allowed with" in capsys.readouterr().err
