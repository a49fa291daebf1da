import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepflow_sdk.errors import ResourceUnavailable, ServerLost
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import LocalRuntime, RetryPolicy
from stepflow_sdk.runtime.plugins import remote
from stepflow_sdk.runtime.plugins.inprocess import inprocess_plugin
from stepflow_sdk.runtime.plugins.stdio import stdio_plugin
from stepflow_sdk.server import StepflowServer
from stepflow_sdk_tests.runtime.components import server
from stepflow_sdk_tests.runtime.scripted import stack_of
from stepflow_sdk_tests.runtime.waiting import PATIENCE

COMMAND = [sys.executable, str(Path(__file__).with_name("components.py"))]

DIE = {"steps": [{"id": "s", "component": "/die", "input": {"$input": "$"}}], "output": {"$step": "s"}}


@pytest.fixture
async def stdio() -> AsyncGenerator[LocalRuntime, None]:
    async with LocalRuntime(COMMAND) as runtime:
        yield runtime


@pytest.mark.parametrize(("code", "how"), [(3, "ended with exit code 3"), (None, "was ended by SIGKILL")])
@pytest.mark.promise("D3")
async def test_a_step_whose_server_dies_fails_with_exit_code_and_last_words(code: int | None, how: str) -> None:
    async with LocalRuntime(COMMAND, retry=RetryPolicy(0)) as runtime:
        outcome = await runtime.run(DIE, {"code": code})
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32300, 'step "s" failed')
    cause = stack_of(outcome)[-1]["error"]
    assert how in cause
    assert "these are my last words" in cause


async def test_a_server_that_died_is_started_again_for_the_next_step(stdio: LocalRuntime) -> None:
    for _ in range(2):
        with pytest.raises(ServerLost, match="exit code 1"):
            await stdio.execute("/die", {"code": 1})
        assert await stdio.execute("/add", {"a": 1, "b": 1}) == 2


@pytest.mark.promise("D3")
async def test_every_step_in_flight_in_a_dead_server_fails_and_others_go_on(stdio: LocalRuntime) -> None:
    steps = [
        {"id": "hangs", "component": "/wait_forever", "onError": {"action": "useDefault", "defaultValue": "freed"}},
        {"id": "dies", "component": "/die", "input": {"code": 1}, "onError": {"action": "useDefault"}},
        {"id": "after", "component": "/echo", "input": {"$step": "hangs"}},
    ]
    outcome = await stdio.run({"steps": steps, "output": [{"$step": "dies"}, {"$step": "after"}]})
    assert outcome.unwrap() == [None, "freed"]


@pytest.mark.promise("D3")
async def test_a_server_that_always_dies_is_given_up_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_FIRST_DELAY", 0.0)
    seconds = 0.0
    plugin = stdio_plugin("frail", [sys.executable, "-c", "import sys; sys.exit('no config')"])
    plugin.clock = lambda: seconds
    async with LocalRuntime(plugin) as runtime:
        for _ in range(5):
            with pytest.raises(ServerLost, match=r"plugin 'frail' could not be started.*exit code 1(.|\n)*no config"):
                await runtime.execute("/x")
        with pytest.raises(ServerLost, match=r"'frail' is unavailable: 5 starts in 60 s(.|\n)*no config"):
            await runtime.execute("/x")
        seconds = 61.0
        with pytest.raises(ServerLost, match="could not be started"):
            await runtime.execute("/x")


@pytest.mark.parametrize(
    ("code", "seconds", "said"),
    [
        ("import sys; sys.exit('no config')", PATIENCE, r"exit code 1(.|\n)*no config"),
        ("raise ValueError('a bug')", PATIENCE, r"exit code 1(.|\n)*ValueError: a bug"),
        ('print(\'{"jsonrpc": "2.0", "id": null}\'); import sys; sys.stdin.read()', 0.2, "did not answer `initialize`"),
        ("print('hello'); import sys; sys.stdin.read()", 0.2, r"did not answer `initialize` within 0\.2 s"),
    ],
)
async def test_a_server_that_does_not_start_is_told_with_the_reason(code: str, seconds: float, said: str) -> None:
    plugin = stdio_plugin("broken", [sys.executable, "-c", code], handshake_timeout=seconds)
    async with LocalRuntime({"x": plugin}) as runtime:
        with pytest.raises(ServerLost, match="plugin 'broken'") as caught:
            await runtime.execute("/x/y")
        assert caught.match(said)


ANSWER = """
import json, sys
message = json.loads(sys.stdin.readline())
print("I speak my own protocol", file=sys.stderr, flush=True)
print(json.dumps({{"jsonrpc": "2.0", "id": message["id"], {answer}}}), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('"result": {"server_protocol_version": 2}', "speaks version 2 of the protocol"),
        ('"result": {}', "does not speak the protocol"),
        ('"result": 5', "does not speak the protocol"),
        ('"error": {"code": -32601, "message": "what?"}', "does not speak the protocol.*what?"),
    ],
)
async def test_a_server_of_another_protocol_is_refused(answer: str, said: str) -> None:
    plugin = stdio_plugin("other", [sys.executable, "-c", ANSWER.format(answer=answer)])
    async with LocalRuntime(plugin) as runtime:
        with pytest.raises(ServerLost, match=said) as caught:
            await runtime.execute("/y")
        assert caught.value.flow_code == -32303
        assert "I speak my own protocol" in caught.value.message


async def test_a_command_that_is_not_there_fails_its_steps_by_name() -> None:
    async with LocalRuntime(["no-such-program"], retry=RetryPolicy(0)) as runtime:
        outcome = await runtime.run(DIE)
    assert isinstance(outcome, FlowResultFailed)
    assert outcome.error.code == -32301
    assert "no-such-program" in stack_of(outcome)[-1]["error"]


async def test_a_server_is_started_once_for_all_who_need_it_at_first(caplog: pytest.LogCaptureFixture) -> None:
    entered = 0

    @asynccontextmanager
    async def lifespan(_: StepflowServer[Any]) -> AsyncGenerator[str, None]:
        nonlocal entered
        entered += 1
        async with anyio.create_task_group():  # a lifespan may hold what must be left where it was entered
            yield "state"

    counted: StepflowServer = StepflowServer("counted", lifespan=lifespan)

    @counted.component
    async def one() -> int:
        return 1

    steps = [{"id": f"s{n}", "component": "/one"} for n in range(20)]
    async with LocalRuntime(counted) as runtime:
        outcome = await runtime.run({"steps": steps, "output": [{"$step": f"s{n}"} for n in range(20)]})
        assert outcome.unwrap() == [1] * 20
    assert entered == 1


async def test_a_server_that_is_not_needed_is_not_started() -> None:
    async with LocalRuntime({"a": server, "b": ["no-such-program"]}) as runtime:
        assert await runtime.execute("/a/add", {"a": 1, "b": 1}) == 2


async def test_a_lifespan_that_fails_is_told_as_what_it_is() -> None:
    @asynccontextmanager
    async def lifespan(_: StepflowServer[Any]) -> AsyncGenerator[None, None]:
        raise RuntimeError("no database")
        yield

    broken: StepflowServer = StepflowServer("broken", lifespan=lifespan)
    async with LocalRuntime(broken) as runtime:
        with pytest.raises(ServerLost, match="could not be started: RuntimeError: no database"):
            await runtime.execute("/x")


async def test_a_component_that_says_that_it_is_busy_is_not_a_lost_server() -> None:
    busy: StepflowServer = StepflowServer("busy")

    @busy.component
    async def one() -> int:
        raise ResourceUnavailable("try later", data={"limit": 1})

    async with LocalRuntime(busy) as runtime:
        with pytest.raises(ResourceUnavailable, match=r"^try later$") as caught:
            await runtime.execute("/one")
        assert type(caught.value) is ResourceUnavailable
        outcome = await runtime.run({"steps": [{"id": "s", "component": "/one"}], "output": {"$step": "s"}})
        assert isinstance(outcome, FlowResultFailed)
        assert outcome.error.code == -32102


async def test_what_a_server_writes_to_stderr_is_logged_under_its_name(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with LocalRuntime({"talker": COMMAND}) as runtime:
        with pytest.raises(ServerLost):
            await runtime.execute("/talker/die", {"code": 1})
    assert "these are my last words" in [r.message for r in caplog.records if r.name == "stepflow_sdk.server.talker"]


async def test_leaving_while_a_server_starts_does_not_hang() -> None:
    never = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with anyio.fail_after(60):
        async with LocalRuntime(never) as runtime:
            with anyio.move_on_after(0.1) as scope:
                await runtime.execute("/x")
            assert scope.cancelled_caught
        async with anyio.create_task_group() as tasks, LocalRuntime(never) as runtime:

            async def call(task_status: anyio.abc.TaskStatus[None]) -> None:
                task_status.started()
                with pytest.raises(ServerLost, match="stopped while it started"):
                    await runtime.execute("/x")

            await tasks.start(call)
            await anyio.lowlevel.checkpoint()


async def test_a_component_that_takes_too_long_fails_its_step_alone() -> None:
    async with LocalRuntime(server, step_timeout=None) as runtime:
        assert await runtime.execute("/add", {"a": 1, "b": 1}) == 2
    plugin = inprocess_plugin("server", server, step_timeout=0.1)
    async with LocalRuntime(plugin) as runtime:
        outcome = await runtime.run({"steps": [{"id": "s", "component": "/wait_forever"}], "output": {"$step": "s"}})
        assert isinstance(outcome, FlowResultFailed)
        assert outcome.error.code == -32102
        plugin._step_timeout = None
        assert await runtime.execute("/add", {"a": 1, "b": 1}) == 2


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


LINGERS = """
import json, os, sys, time
for line in sys.stdin:
    message = json.loads(line)
    if message.get("params", {}).get("component") == "/linger":
        os.close(1)
        open(message["params"]["input"]).read()
        sys.exit()
    if "id" in message:
        result = {"server_protocol_version": 1, "output": os.getpid()}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are POSIX things")
async def test_a_server_that_takes_its_time_to_end_does_not_disturb_the_next_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with LocalRuntime([sys.executable, "-c", LINGERS]) as runtime:
        first = await runtime.execute("/pid")
        with pytest.raises(ServerLost, match="closed its stdout but still runs"):
            await runtime.execute("/linger", str(pipe))
        second = await runtime.execute("/pid")
        assert second != first
        await anyio.Path(pipe).write_text("go")
        with anyio.fail_after(PATIENCE):
            while is_alive(first):
                assert await runtime.execute("/pid") == second
        for _ in range(20):
            assert await runtime.execute("/pid") == second
