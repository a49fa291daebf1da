import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import pytest

from stepflow_sdk.errors import DefinitionError, InvalidConfig, ServerLost
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import LocalRuntime, RetryPolicy, load_config
from stepflow_sdk.runtime.config import HttpCommandConfig, HttpConfig
from stepflow_sdk.runtime.plugins import remote
from stepflow_sdk.runtime.plugins.http import HealthCheck, http_command_plugin, http_plugin
from stepflow_sdk.transports.announced import AnnouncingServer
from stepflow_sdk_tests.runtime.components import server
from stepflow_sdk_tests.runtime.waiting import until
from stepflow_sdk_tests.transports.scripted_http import Exchange, Scripted, scripted

HERE = Path(__file__).parent
COMPONENTS = [sys.executable, str(HERE / "components.py"), "--http"]
PROGRAM = [sys.executable, str(HERE / "http_program.py")]
READY = HealthCheck("/ready", retry_delay=0.001)


@pytest.fixture
async def started() -> AsyncGenerator[LocalRuntime, None]:
    """The tests' server, started by a command that announces its port."""
    async with LocalRuntime(http_command_plugin("server", COMPONENTS)) as runtime:
        yield runtime


# ---- a command that announces its port --------------------------------------------------------------------------


async def test_a_command_that_announces_its_port_is_driven_over_http(started: LocalRuntime) -> None:
    assert await started.execute("/add", {"a": 1, "b": 2}) == 3
    kept = await started.execute("/keep", {"é": [1]})
    assert kept["data"] == {"é": [1]}
    listed = {component.component for component in await started.list_components()}
    assert {"/add", "/nested"} <= listed


@pytest.mark.parametrize(("end", "how"), [("/exit", "ended with exit code 3"), ("/kill", "was ended by SIGKILL")])
async def test_a_step_whose_server_dies_fails_with_exit_code_and_last_words(end: str, how: str) -> None:
    plugin = http_command_plugin("frail", PROGRAM, health_check=READY)
    async with LocalRuntime(plugin, retry=RetryPolicy(0)) as runtime:
        outcome = await runtime.run({"steps": [{"id": "s", "component": end}], "output": {"$step": "s"}})
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32300, 'step "s" failed')
    data: Any = outcome.error.data
    cause = data["stack"][-1]["error"]
    assert how in cause
    assert "these are my last words" in cause


async def test_a_server_that_died_is_started_again_for_the_next_step(started: LocalRuntime) -> None:
    for _ in range(2):
        with pytest.raises(ServerLost, match="exit code 1"):
            await started.execute("/die", {"code": 1})
        assert await started.execute("/add", {"a": 1, "b": 1}) == 2


async def test_every_step_in_flight_in_a_dead_server_fails_and_others_go_on(started: LocalRuntime) -> None:
    steps = [
        {"id": "hangs", "component": "/wait_forever", "onError": {"action": "useDefault", "defaultValue": "freed"}},
        {"id": "dies", "component": "/die", "input": {"code": 1}, "onError": {"action": "useDefault"}},
        {"id": "after", "component": "/echo", "input": {"$step": "hangs"}},
    ]
    outcome = await started.run({"steps": steps, "output": [{"$step": "dies"}, {"$step": "after"}]})
    assert outcome.unwrap() == [None, "freed"]


async def test_a_hundred_steps_that_call_back_run_at_once(started: LocalRuntime) -> None:
    flow = {"steps": [{"id": "s", "component": "/keep", "input": {"$input": "$"}}], "output": {"$step": "s"}}
    outcomes = await started.run_batch(flow, list(range(100)), max_concurrency=100)
    assert [outcome.unwrap()["data"] for outcome in outcomes] == list(range(100))


async def test_a_server_that_always_dies_is_given_up_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_FIRST_DELAY", 0.0)
    plugin = http_command_plugin("frail", [sys.executable, "-c", "import sys; sys.exit('no config')"])
    async with LocalRuntime(plugin) as runtime:
        for _ in range(5):
            with pytest.raises(ServerLost, match=r"plugin 'frail'.*exit code 1(.|\n)*no config") as caught:
                await runtime.execute("/x")
            assert caught.value.flow_code == -32301
        with pytest.raises(ServerLost, match=r"'frail' is unavailable: 5 starts in 60 s(.|\n)*no config"):
            await runtime.execute("/x")


async def test_a_server_is_asked_for_its_health_until_it_is_well() -> None:
    plugin = http_command_plugin("slow", PROGRAM, health_check=READY, env={"KEY": "value"})
    async with LocalRuntime(plugin) as runtime:
        assert await runtime.execute("/checks") == 3
        assert await runtime.execute("/key") == "value"


async def test_a_server_that_is_never_well_does_not_start() -> None:
    for seconds in (0.2, 2.0, 20.0):
        check = HealthCheck("/nowhere", timeout=seconds, retry_delay=0.01)
        async with LocalRuntime(http_command_plugin("ill", PROGRAM, health_check=check)) as runtime:
            with pytest.raises(
                ServerLost, match=f"'ill' was not healthy within {seconds:g} s: GET /nowhere "
            ) as caught:
                await runtime.execute("/pid")
        # On a busy machine the server may not have come to its first answer.
        if "gave no answer" not in caught.value.message:
            break
    assert "GET /nowhere answered 503" in caught.value.message
    assert "loading the model" in caught.value.message
    assert caught.value.flow_code == -32301


async def test_a_server_that_dies_before_it_is_well_is_told_with_its_end() -> None:
    code = "import sys; print('{\"port\": 1}'); sys.exit('out of memory')"
    async with LocalRuntime(http_command_plugin("frail", [sys.executable, "-c", code])) as runtime:
        with pytest.raises(ServerLost, match=r"exit code 1(.|\n)*out of memory(.|\n)*GET /health gave no answer"):
            await runtime.execute("/x")


async def test_a_server_that_says_no_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_for = AnnouncingServer.announced

    async def announced(self: AnnouncingServer, timeout: float) -> None:
        await until(lambda: "hello" in self.describe_end())
        await waited_for(self, timeout)

    monkeypatch.setattr(AnnouncingServer, "announced", announced)
    code = "import time; print('hello', flush=True); time.sleep(600)"
    plugin = http_command_plugin("mute", [sys.executable, "-c", code], announce_timeout=0.1)
    async with LocalRuntime(plugin) as runtime:
        with pytest.raises(ServerLost, match=r"'mute' did not print \{\"port\": N\}(.|\n)*hello"):
            await runtime.execute("/x")


async def test_a_server_that_runs_but_cannot_be_reached_any_more_is_started_again() -> None:
    async with LocalRuntime(http_command_plugin("deaf", PROGRAM, health_check=READY)) as runtime:
        first = await runtime.execute("/pid")
        await runtime.execute("/deaf")
        with anyio.fail_after(60):
            # Until the listening socket is closed, connections may still be made, and then break.
            while True:
                try:
                    second = await runtime.execute("/pid")
                except ServerLost:
                    continue
                if second != first:
                    break


async def test_the_server_is_gone_with_the_runtime() -> None:
    async with LocalRuntime(http_command_plugin("server", PROGRAM, health_check=READY)) as runtime:
        pid = await runtime.execute("/pid")
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_runtime_that_is_cancelled_while_its_server_starts_leaves_none(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    os.mkfifo(note)
    code = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    pids: list[int] = []
    plugin = http_command_plugin("slow", [sys.executable, "-c", code])
    async with LocalRuntime(plugin) as runtime, anyio.create_task_group() as tasks:
        tasks.start_soon(runtime.execute, "/x")
        pids.append(int(await anyio.Path(note).read_text()))
        tasks.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


# ---- a server that runs already ---------------------------------------------------------------------------------


async def test_servers_at_urls_have_prefixes_like_others(http_url: str) -> None:
    async with LocalRuntime({"here": server, "there": http_url}) as runtime:
        assert await runtime.execute("/here/add", {"a": 1, "b": 2}) == 3
        assert await runtime.execute("/there/add", {"a": 1, "b": 2}) == 3


def test_a_url_works_with_the_blocking_runtime(http_url: str) -> None:
    with LocalRuntime(http_url) as runtime:
        assert runtime.execute("/keep", 1)["data"] == 1


async def test_a_server_is_not_stopped_by_a_runtime_that_did_not_start_it(http_url: str) -> None:
    for _ in range(2):
        async with LocalRuntime(http_url) as runtime:
            assert await runtime.execute("/add", {"a": 1, "b": 2}) == 3


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://here", "'ftp://here' is not the URL of a server, such as http://127.0.0.1:8080"),
        ("http://", "names no host"),
        ("http://host:0/", "names no port"),
        ("http://host/a b", "only in percent encoding"),
        ("http://host/\u00e9", "only in percent encoding"),
        ("http://host/x\x7f", "only in percent encoding"),
        ("http://host:70000/", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("python -m parts", r"write \['python', '-m', 'parts'\]"),
        ("python 'parts", "a command is a list"),
    ],
)
def test_a_text_that_is_no_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        LocalRuntime(url)


class FakeServer:
    """A server that is told how to answer, and what it was told."""

    def __init__(self, *, camel: bool = False, initialized: int = 202) -> None:
        self.told: list[str] = []
        self.knows_the_runtime = True
        self._camel = camel
        self._initialized = initialized

    async def answer(self, exchange: Exchange) -> None:
        message: dict[str, Any] = exchange.json
        method = message["method"]
        self.told.append(method)
        params = message["params"]
        if method == "initialized":
            await exchange.reply(b"", self._initialized)
        elif method == "initialize":
            self.knows_the_runtime = True
            if not self._camel:
                result = {"jsonrpc": "2.0", "id": message["id"], "result": {"server_protocol_version": 1}}
                await exchange.reply(result)
            elif "runtimeProtocolVersion" in params:
                result = {"jsonrpc": "2.0", "id": message["id"], "result": {"serverProtocolVersion": 1}}
                await exchange.reply(result)
            else:
                await exchange.reply({"error": {"code": -32600, "message": "what?"}}, 400)
        elif not self.knows_the_runtime:
            error = {"code": -32002, "message": "Server not initialized"}
            await exchange.reply({"jsonrpc": "2.0", "id": message["id"], "error": error}, 400)
        else:
            await exchange.result(params["component"])


@asynccontextmanager
async def driving(fake: FakeServer) -> AsyncGenerator[tuple[LocalRuntime, Scripted], None]:
    with anyio.fail_after(60):
        async with scripted(fake.answer) as scene, LocalRuntime(http_plugin("far", scene.url)) as runtime:
            yield runtime, scene


async def test_a_server_is_introduced_once() -> None:
    fake = FakeServer()
    async with driving(fake) as (runtime, _):
        assert [await runtime.execute("/x") for _ in range(3)] == ["/x"] * 3
    assert fake.told == ["initialize", "initialized", *["components/execute"] * 3]


async def test_a_server_of_the_newer_spelling_is_introduced_in_both() -> None:
    fake = FakeServer(camel=True)
    async with driving(fake) as (runtime, scene):
        assert await runtime.execute("/x") == "/x"
    first, second = scene.exchanges[:2]
    assert first.json["params"] == {"runtime_protocol_version": 1}
    told = second.json["params"]
    assert (told["runtime_protocol_version"], told["runtimeProtocolVersion"]) == (1, 1)
    assert fake.told == ["initialize", "initialize", "initialized", "components/execute"]


async def test_a_server_of_the_newer_spelling_is_told_where_blobs_are_over_http() -> None:
    fake = FakeServer(camel=True)
    async with driving(fake) as (runtime, scene):
        await runtime.execute("/x")
        url = scene.exchanges[1].json["params"]["capabilities"]["blobApiUrl"]
        async with aiohttp.ClientSession() as session:
            async with session.post(url, json={"data": {"b": 1.0, "a": "ü"}}) as answer:
                assert answer.status == 200
                blob_id = (await answer.json())["blobId"]
            async with session.get(f"{url}/{blob_id}") as answer:
                assert (await answer.json())["data"] == {"b": 1.0, "a": "ü"}
            address = urlsplit(url)
            assert len(address.path.split("/")[1]) > 20, "nobody guesses it"
            for wrong in ("/api/v1/blobs", "/x/api/v1/blobs"):
                async with session.get(f"http://{address.netloc}{wrong}/{blob_id}") as answer:
                    assert answer.status == 404
        assert await runtime.get_blob(blob_id) == {"b": 1.0, "a": "ü"}


async def test_a_server_that_has_forgotten_the_runtime_is_introduced_again() -> None:
    fake = FakeServer()
    async with driving(fake) as (runtime, _):
        await runtime.execute("/x")
        fake.knows_the_runtime = False
        assert await runtime.execute("/y") == "/y"
    assert fake.told.count("initialize") == fake.told.count("initialized") == 2


async def test_a_server_that_was_away_is_introduced_again_when_it_is_back() -> None:
    fake = FakeServer()
    async with scripted(fake.answer) as scene:
        url = scene.url
        plugin = http_plugin("far", url)
        runtime = LocalRuntime(plugin)
        await runtime.__aenter__()
        await runtime.execute("/x")
    try:
        for _ in range(20):
            with pytest.raises(ServerLost, match=r"http://127\.0\.0\.1:\d+/ (cannot be reached|closed)"):
                await runtime.execute("/x")
        async with scripted(fake.answer, int(url.rstrip("/").rpartition(":")[2])):
            assert await runtime.execute("/y") == "/y"
        assert fake.told == ["initialize", "initialized", "components/execute"] * 2
    finally:
        await runtime.__aexit__(None, None, None)


async def test_a_server_that_is_not_there_fails_its_steps_and_is_tried_again() -> None:
    fake = FakeServer()
    async with scripted(fake.answer) as scene:
        url = scene.url
    async with LocalRuntime(http_plugin("far", url)) as runtime:
        with pytest.raises(ServerLost, match=r"plugin 'far' could not be started.* cannot be reached") as caught:
            await runtime.execute("/x")
        assert caught.value.flow_code == -32301
        async with scripted(fake.answer, int(url.rstrip("/").rpartition(":")[2])):
            assert await runtime.execute("/x") == "/x"


@pytest.mark.parametrize(("status", "starts"), [(202, True), (200, True), (500, False)])
async def test_a_server_has_to_take_the_end_of_the_handshake(status: int, starts: bool) -> None:
    async with driving(FakeServer(initialized=status)) as (runtime, _):
        if starts:
            assert await runtime.execute("/x") == "/x"
            return
        with pytest.raises(
            ServerLost, match=r"plugin 'far': .* answered 500 to the notification 'initialized'"
        ) as caught:
            await runtime.execute("/x")
        assert caught.value.flow_code == -32303


async def test_a_web_page_is_no_component_server() -> None:
    async def page(exchange: Exchange) -> None:
        await exchange.reply(b"<html>Welcome</html>", 200, "text/html")

    async with scripted(page) as scene, LocalRuntime(scene.url) as runtime:
        with pytest.raises(ServerLost, match=r"no JSON-RPC message(.|\n)*Welcome"):
            await runtime.execute("/x")


# ---- configurations ---------------------------------------------------------------------------------------------


def config(plugin: dict[str, Any]) -> dict[str, Any]:
    return {
        "plugins": {"py": {"type": "stepflow", **plugin}},
        "routes": {"/py/{*component}": [{"plugin": "py"}]},
    }


async def test_a_configured_command_without_a_transport_announces_its_port() -> None:
    check = {"path": "/ready", "timeoutMs": 20000, "retryDelayMs": 1}
    plugin = {"command": PROGRAM[0], "args": PROGRAM[1:], "env": {"KEY": "k"}, "healthCheck": check}
    async with LocalRuntime.from_config(config(plugin)) as runtime:
        assert await runtime.execute("/py/key") == "k"


async def test_a_configured_url_is_posted_to_with_its_headers() -> None:
    fake = FakeServer()
    async with scripted(fake.answer) as scene:
        plugin = {"url": f"{scene.url}deep/path?x=1", "headers": {"Authorization": "Bearer ${TOKEN}"}}
        loaded = load_config(config(plugin), environ={"TOKEN": "secret"})
        assert "secret" not in repr(loaded.plugins)
        async with LocalRuntime.from_config(loaded) as runtime:
            assert await runtime.execute("/py/x") == "/x"
    assert {exchange.target for exchange in scene.exchanges} == {"/deep/path?x=1"}
    assert {exchange.headers["authorization"] for exchange in scene.exchanges} == {"Bearer secret"}


def test_configurations_of_http_servers_are_read() -> None:
    read = load_config(config({"url": "http://h:1/x", "transport": "http"})).plugins["py"]
    assert read == HttpConfig("http://h:1/x")
    read = load_config(config({"command": "a", "args": ["b", 1], "healthCheck": {"timeoutMs": 1500}})).plugins["py"]
    assert read == HttpCommandConfig(("a", "b", "1"), {}, HealthCheck("/health", 1.5, 0.1))


@pytest.mark.parametrize(
    ("plugin", "said"),
    [
        ({}, "needs 'command', such as command: python, or url: http://127.0.0.1:8080"),
        ({"url": "http://h", "command": "x"}, "has both 'url', for a server that runs, and 'command'"),
        ({"url": "localhost:80"}, r"\$\.plugins\.py\.url: 'url' of plugin 'py': 'localhost:80' is not the URL"),
        ({"url": 5}, "is a string, not the number 5"),
        ({"url": "http://h", "env": {"A": "b"}}, "'env' of plugin 'py' has no meaning for a server that runs already"),
        ({"url": "http://h", "transport": "stdio"}, "'url' of plugin 'py' has no meaning with transport: stdio"),
        ({"command": "x", "transport": "stdio", "healthCheck": {}}, "no meaning with transport: stdio"),
        ({"url": "http://h", "transport": "htpp"}, "'stdio' or 'http', not 'htpp'; did you mean 'http'"),
        ({"command": "x", "healthCheck": {"timeout": 1}}, "'timeout' of 'healthCheck'.*did you mean 'timeoutMs'"),
        ({"command": "x", "healthCheck": {"timeoutMs": "1"}}, "is an integer from 0 up, not the string '1'"),
        ({"command": "x", "healthCheck": {"path": "health"}}, "starts with a slash, unlike 'health'"),
        ({"url": "http://h", "headers": {"A": "${NOPE}"}}, "'NOPE' is not set"),
    ],
)
def test_what_is_wrong_in_the_configuration_of_an_http_server_is_told(plugin: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        load_config(config(plugin), environ={})
