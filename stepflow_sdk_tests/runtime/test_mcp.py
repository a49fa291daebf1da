import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk.errors import ComponentNotFound, InvalidConfig, InvalidInput, RemoteError, RequestTimeout, ServerLost
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import LocalRuntime, load_config
from stepflow_sdk.runtime.plugins.mcp import mcp_command_plugin, mcp_url_plugin
from stepflow_sdk_tests.runtime.scripted import stack_of
from stepflow_sdk_tests.runtime.waiting import PATIENCE, spoken_to_after

PROGRAM = str(Path(__file__).with_name("mcp_program.py"))


@contextmanager
def http_server(port: int = 0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    command = [sys.executable, PROGRAM, "--http", str(port)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        try:
            yield f"http://127.0.0.1:{port}/mcp", process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http_server() as (url, _):
        yield url


def config(**plugin: Any) -> dict[str, Any]:
    return {
        "plugins": {"tools": {"type": "mcp", **plugin}},
        "routes": {"/tools/{*component}": [{"plugin": "tools"}]},
    }


def over_stdio(**more: Any) -> dict[str, Any]:
    return config(command=sys.executable, args=[PROGRAM], **more)


@pytest.fixture(params=["stdio", "http"])
def plugin(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    if request.param == "stdio":
        return over_stdio
    url = request.getfixturevalue("url")
    return lambda **more: config(url=url, **more)


@pytest.fixture
async def runtime(plugin: Callable[..., dict[str, Any]]) -> AsyncGenerator[LocalRuntime, None]:
    async with LocalRuntime.from_config(plugin()) as runtime:
        yield runtime


def step(component: str, input: Any) -> dict[str, Any]:
    steps = [{"id": "s", "component": component, "input": {"$literal": input}}]
    return {"steps": steps, "output": {"$step": "s"}}


async def test_the_result_of_a_tool_is_its_content(runtime: LocalRuntime) -> None:
    assert await runtime.execute("/tools/add", {"a": 1, "b": 2}) == [{"type": "text", "text": "3"}]
    assert await runtime.execute("/tools/add", {"a": 1}) == [{"type": "text", "text": "11"}]
    assert (await runtime.run(step("/tools/add", {"a": 5}))).unwrap() == [{"type": "text", "text": "15"}]


async def test_arguments_arrive_as_they_are(runtime: LocalRuntime) -> None:
    for value in (None, 1, 1.5, "é☃", [None, {"a": None}], {"k": {"z": 1, "a": None}}):
        [part] = await runtime.execute("/tools/echo", {"value": value})
        assert json.loads(part["text"]) == value


async def test_the_last_segment_of_a_path_is_the_name_of_the_tool(runtime: LocalRuntime) -> None:
    assert await runtime.execute("/tools/some/where/add", {"a": 1}) == [{"type": "text", "text": "11"}]


async def test_a_flow_is_checked_against_the_schemas_of_tools(runtime: LocalRuntime) -> None:
    calls = {"add": {"a": 1.5}, "some/where/add": {"a": 1}, "pid": None, "ad": {"a": 1}}
    steps = [{"id": name, "component": f"/tools/{name}", "input": given} for name, given in calls.items()]
    report = await runtime.check_types({"steps": steps, "output": [{"$step": name} for name in calls]})
    assert [(found.code, found.path) for found in report.diagnostics] == [
        (2100, "$.steps[0].input.a"),
        (2500, "$.steps[3].component"),
    ]
    assert "did you mean '/add'?" in report.diagnostics[1].formatted


async def test_each_tool_is_listed_with_its_schemas(runtime: LocalRuntime) -> None:
    listed = {info.component: info for info in await runtime.list_components()}
    assert {"/tools/add", "/tools/echo", "/tools/refuse"} <= set(listed)
    add = listed["/tools/add"]
    assert add.description == "Add two numbers."
    assert isinstance(add.input_schema, dict)
    assert add.input_schema["required"] == ["a"]
    assert isinstance(add.output_schema, dict)
    assert add.output_schema["type"] == "array"


async def test_many_calls_are_answered_each_with_its_own_result(runtime: LocalRuntime) -> None:
    flow = {
        "steps": [{"id": "s", "component": "/tools/add", "input": {"a": {"$input": "$"}}}],
        "output": {"$step": "s", "path": "$[0].text"},
    }
    outcomes = await runtime.run_batch(flow, list(range(30)), max_concurrency=30)
    assert [outcome.unwrap() for outcome in outcomes] == [str(number + 10) for number in range(30)]


async def test_a_tool_that_reports_an_error_fails_its_step(runtime: LocalRuntime) -> None:
    outcome = await runtime.run(step("/tools/refuse", {"why": "no"}))
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32100, "Tool 'refuse' failed: no")
    content = [{"type": "text", "text": "no"}]
    assert outcome.error.data == {"content": content, "structuredContent": {"why": "no"}}


async def test_an_error_of_a_tool_can_be_content_as_upstream_has_it(plugin: Callable[..., dict[str, Any]]) -> None:
    async with LocalRuntime.from_config(plugin(toolErrors="content")) as runtime:
        outcome = await runtime.run(step("/tools/refuse", {"why": "no"}))
        assert outcome.unwrap() == [{"type": "text", "text": "no"}]


async def test_an_unknown_tool_is_told_with_the_nearest(runtime: LocalRuntime) -> None:
    with pytest.raises(ComponentNotFound, match="has no tool 'ad'; did you mean 'add'"):
        await runtime.execute("/tools/ad", {})


async def test_arguments_that_are_no_object_are_refused(runtime: LocalRuntime) -> None:
    for input in ([1], "x", 3, True):
        with pytest.raises(InvalidInput, match="arguments of the tool 'add' are an object, not"):
            await runtime.execute("/tools/add", input)


async def test_arguments_that_the_tool_refuses_fail_the_step(runtime: LocalRuntime) -> None:
    with pytest.raises(RemoteError, match="Tool 'add'"):
        await runtime.execute("/tools/add", None)


async def test_a_tool_that_takes_too_long_is_given_up_and_the_server_goes_on(url: str) -> None:
    plugin = mcp_url_plugin("slow", url, step_timeout=0.3)
    async with LocalRuntime({"slow": plugin}) as runtime:
        with pytest.raises(RequestTimeout, match=r"/wait_forever of the server 'slow' did not end within 0\.3 s"):
            await runtime.execute("/slow/wait_forever")
        assert len(await runtime.list_components()) > 5


# ---- the life of a server ---------------------------------------------------------------------------------------


async def test_a_server_gets_its_directory_and_the_environment_and_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPFLOW_TEST_OURS", "ours")
    loaded = load_config(over_stdio(env={"GIVEN": "${STEPFLOW_TEST_OURS}!"}), working_directory=tmp_path)
    async with LocalRuntime.from_config(loaded) as runtime:
        [part] = await runtime.execute("/tools/surroundings", {"names": ["STEPFLOW_TEST_OURS", "GIVEN"]})
    assert json.loads(part["text"]) == [str(tmp_path), "ours", "ours!"]


async def test_a_server_that_dies_is_told_with_its_last_words_and_started_again() -> None:
    async with LocalRuntime.from_config({**over_stdio(), "retry": {"transportMaxRetries": 0}}) as runtime:
        outcome = await runtime.run(step("/tools/die", {}))
        assert isinstance(outcome, FlowResultFailed)
        assert (outcome.error.code, outcome.error.message) == (-32300, 'step "s" failed')
        assert "these are my last words" in stack_of(outcome)[-1]["error"]
        assert await runtime.execute("/tools/add", {"a": 1}) == [{"type": "text", "text": "11"}]


ANSWER = """
import json, sys
message = json.loads(sys.stdin.readline())
print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], {answer}}}), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no key')", r"could not be started(.|\n)*no key"),
        (
            ANSWER.format(answer='"error": {"code": -5, "message": "go away"}'),
            r"does not speak the protocol(.|\n)*go away",
        ),
        (ANSWER.format(answer='"result": {}'), r"does not speak the protocol(.|\n)*broke the protocol of MCP"),
    ],
)
async def test_a_server_that_does_not_start_is_told_with_the_reason(code: str, said: str) -> None:
    plugin = mcp_command_plugin("broken", [sys.executable, "-c", code], handshake_timeout=PATIENCE)
    async with LocalRuntime({"x": plugin}) as runtime:
        with pytest.raises(ServerLost, match="plugin 'broken'") as caught:
            await runtime.execute("/x/y")
        assert caught.match(said)


async def test_a_server_that_does_not_answer_is_told_with_what_it_said() -> None:
    code = "import sys; print('hm', file=sys.stderr, flush=True); sys.stdin.read()"
    plugin = mcp_command_plugin("broken", [sys.executable, "-c", code], handshake_timeout=0.1)
    async with LocalRuntime({"x": spoken_to_after(plugin, "hm")}) as runtime:
        with pytest.raises(ServerLost, match=r"'broken' did not answer `initialize` within 0\.1 s(.|\n)*hm"):
            await runtime.execute("/x/y")


async def test_a_command_that_is_not_there_is_named() -> None:
    async with LocalRuntime.from_config(config(command="no-such-program-here")) as runtime:
        with pytest.raises(ServerLost, match="'tools' could not be started: cannot start 'no-such-program-here'"):
            await runtime.execute("/tools/add", {})


@pytest.mark.skipif(sys.platform == "win32", reason="signal 0 is a POSIX thing")
async def test_no_process_is_left_at_the_end() -> None:
    async with LocalRuntime.from_config(over_stdio()) as runtime:
        [part] = await runtime.execute("/tools/pid", {})
        os.kill(int(part["text"]), 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(part["text"]), 0)


async def test_a_server_over_http_that_is_gone_fails_the_step_and_is_reached_when_it_is_back() -> None:
    with http_server() as (url, process):
        async with LocalRuntime({"far": mcp_url_plugin("far", url)}) as runtime:
            assert await runtime.execute("/far/add", {"a": 1}) == [{"type": "text", "text": "11"}]
            process.kill()
            process.wait()
            with pytest.raises(ServerLost, match="'far' at http"):
                await runtime.execute("/far/add", {"a": 1})
            with http_server(int(url.split(":")[2].removesuffix("/mcp"))):
                assert await runtime.execute("/far/add", {"a": 1}) == [{"type": "text", "text": "11"}]


async def test_a_server_over_http_that_forgot_the_session_is_told_and_introduced_again() -> None:
    with http_server() as (url, process):
        async with LocalRuntime({"far": mcp_url_plugin("far", url)}) as runtime:
            await runtime.list_components()
            process.kill()
            process.wait()
            with http_server(int(url.split(":")[2].removesuffix("/mcp"))):
                with pytest.raises(ServerLost, match="or has ended the session"):
                    await runtime.execute("/far/add", {"a": 1})
                assert await runtime.execute("/far/add", {"a": 1}) == [{"type": "text", "text": "11"}]


async def test_a_url_where_nobody_listens_is_named() -> None:
    with http_server() as (url, process):
        process.kill()
        process.wait()
        async with LocalRuntime.from_config(config(url=url)) as runtime:
            with pytest.raises(
                ServerLost, match=r"'tools': the server at http://127\.0\.0\.1:\d+/mcp cannot be reached: ConnectError"
            ):
                await runtime.execute("/tools/add", {})


# ---- configurations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ({}, "needs 'command', such as command: my-mcp-server, or url"),
        ({"url": "http://x/mcp", "command": "x"}, "has both 'url', for a server that runs, and 'command'"),
        ({"url": "ftp://x"}, "is not the URL of a server"),
        ({"command": "x", "headers": {"a": "b"}}, "'headers' of plugin 'tools' has no meaning without a 'url'"),
        ({"command": "x", "toolErrors": "contents"}, "is 'fail' or 'content', not 'contents'; did you mean 'content'"),
        ({"command": "x", "arg": []}, "did you mean 'args'"),
        ({"command": "x", "args": ["${NOT_SET_HERE}"]}, "'NOT_SET_HERE' is not set"),
    ],
)
def test_what_is_wrong_with_an_mcp_plugin_is_told(plugin: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load_config(config(**plugin), environ={})
    assert said in str(caught.value)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepflow_sdk.runtime.plugins.mcp.find_spec", lambda name: None)
    with pytest.raises(InvalidConfig, match=r"plugin 'tools' is an MCP server.*stepflow-sdk\[mcp\]"):
        LocalRuntime.from_config(over_stdio())
