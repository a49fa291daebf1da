"""Servers that hang, flood, speak rubbish or ignore their end, over each way to start one."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from stepflow_sdk.errors import RequestTimeout, ServerLost
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import Backoff, LocalRuntime, RetryPolicy, RunEvent, StepEnded, StepStarted
from stepflow_sdk.runtime.plugins import remote
from stepflow_sdk.runtime.plugins.http import http_command_plugin
from stepflow_sdk.runtime.plugins.mcp import mcp_command_plugin
from stepflow_sdk.runtime.plugins.remote import RemotePlugin
from stepflow_sdk.runtime.plugins.stdio import stdio_plugin
from stepflow_sdk.transports import guard
from stepflow_sdk_tests.reliability.memory import linux_only, memory
from stepflow_sdk_tests.runtime.scripted import stack_of
from stepflow_sdk_tests.runtime.waiting import PATIENCE, spoken_to_after

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups and named pipes are POSIX things")

PROGRAM = str(Path(__file__).with_name("misbehaving.py"))
WAYS = ["stdio", "http", "mcp"]
AT_ONCE = RetryPolicy(3, Backoff.constant(0.0))
PLUGINS: dict[str, Callable[..., RemotePlugin]] = {
    "stdio": stdio_plugin,
    "http": http_command_plugin,
    "mcp": mcp_command_plugin,
}


def plugin(way: str, *more: str, **options: Any) -> RemotePlugin:
    return PLUGINS[way]("bad", [sys.executable, PROGRAM, way, *more], **options)


async def pid_of(runtime: LocalRuntime) -> int:
    output: Any = await runtime.execute("/pid", {})
    return int(output if isinstance(output, int) else output[0]["text"])


@asynccontextmanager
async def held(tmp_path: Path) -> AsyncGenerator[tuple[Path, Callable[[], Any]], None]:
    """A named pipe, and what waits until nobody holds its other end any more."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)

    async def let_go() -> None:
        with anyio.fail_after(60):
            assert await anyio.to_thread.run_sync(os.read, reading, 1, abandon_on_cancel=True) == b""

    try:
        yield pipe, let_go
    finally:
        os.close(reading)


# ---- steps that never end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stdio", "mcp"])
@pytest.mark.promise("D3", "D4")
async def test_a_server_that_hangs_is_killed_with_its_children_and_the_next_call_gets_a_new_one(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_ALIVE_SECONDS", 0.2)
    async with held(tmp_path) as (pipe, let_go):
        bad = plugin(way, str(pipe))
        async with LocalRuntime(bad) as runtime:
            first = await pid_of(runtime)
            bad._step_timeout = 0.2
            with pytest.raises(RequestTimeout, match=r"hang .*within 0\.2 s, and the server was killed"):
                await runtime.execute("/hang", {})
            bad._step_timeout = None
            assert await pid_of(runtime) != first
        await let_go()


async def test_a_server_over_http_that_hangs_is_killed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_ALIVE_SECONDS", 0.2)
    bad = plugin("http")
    async with LocalRuntime(bad) as runtime:
        first = await pid_of(runtime)
        # Nothing of it runs any more, and its socket still takes connections.
        os.kill(first, signal.SIGSTOP)
        await anyio.to_thread.run_sync(os.waitpid, first, os.WUNTRACED)
        bad._step_timeout = 0.2
        with pytest.raises(RequestTimeout, match="and the server was killed"):
            await runtime.execute("/pid", {})
        bad._step_timeout = None
        assert await pid_of(runtime) != first


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_a_server_that_only_forgot_one_call_goes_on(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_ALIVE_SECONDS", PATIENCE)
    bad = plugin(way)
    async with LocalRuntime(bad) as runtime:
        first = await pid_of(runtime)
        bad._step_timeout = 0.1
        with pytest.raises((RequestTimeout, ServerLost)) as caught:
            await runtime.execute("/hang" if way == "http" else "/forget", {})
        assert "killed" not in caught.value.message
        bad._step_timeout = None
        assert await pid_of(runtime) == first


async def test_other_steps_of_a_server_that_hangs_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_ALIVE_SECONDS", 0.1)
    bad = plugin("stdio", step_timeout=None)
    flow = {"steps": [{"id": "s", "component": "/forget"}], "output": {"$step": "s"}}
    outcomes: list[Any] = []
    started = anyio.Event()

    def observe(event: RunEvent) -> None:
        if isinstance(event, StepStarted):
            started.set()

    async with LocalRuntime(bad, retry=AT_ONCE, on_event=observe) as runtime, anyio.create_task_group() as tasks:
        await pid_of(runtime)

        async def run() -> None:
            outcomes.append(await runtime.run(flow))

        tasks.start_soon(run)
        await started.wait()
        bad._step_timeout = 0.1
        with pytest.raises(RequestTimeout):
            await runtime.execute("/hang", {})
        bad._step_timeout = None
    assert [outcome.unwrap() for outcome in outcomes] == [2]


async def test_the_step_of_a_flow_that_hangs_fails_as_one_that_took_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_ALIVE_SECONDS", 0.1)
    steps = [{"id": "s", "component": "/hang"}]
    async with LocalRuntime(plugin("stdio", step_timeout=0.5)) as runtime:
        outcome = await runtime.run({"steps": steps, "output": {"$step": "s"}})
    assert isinstance(outcome, FlowResultFailed)
    assert outcome.error.message == "/hang was not answered within 0.5 s, and the server was killed"


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_no_step_is_lost_with_a_server_that_is_killed_under_load(way: str) -> None:
    command = [sys.executable, str(Path(PROGRAM).with_name("components.py")), *(["--http"] if way == "http" else [])]
    served = PLUGINS[way]("served", command)
    ended = 0

    def observe(event: RunEvent) -> None:
        nonlocal ended
        ended += isinstance(event, StepEnded)
        if ended in {50, 100, 150} and isinstance(event, StepEnded):
            link = served._link
            assert link is not None
            assert link.child is not None
            os.kill(link.child.pid, signal.SIGKILL)

    flow = {"steps": [{"id": "s", "component": "/keep", "input": {"$input": "$"}}], "output": {"$step": "s"}}
    async with LocalRuntime(served, retry=RetryPolicy(10, Backoff.constant(0.01)), on_event=observe) as runtime:
        outcomes = await runtime.run_batch(flow, list(range(200)), max_concurrency=20)
    assert [outcome.unwrap()["data"] for outcome in outcomes] == list(range(200))


@pytest.mark.parametrize("way", ["stdio", "http"])
@pytest.mark.promise("D3")
async def test_steps_that_come_to_a_server_that_is_ending_go_to_the_next_one(way: str) -> None:
    command = [sys.executable, str(Path(PROGRAM).with_name("components.py")), *(["--http"] if way == "http" else [])]
    served = PLUGINS[way]("served", command)
    echoing = {"steps": [{"id": "s", "component": "/echo", "input": {"$input": "$"}}], "output": {"$step": "s"}}
    waiting = {"steps": [{"id": "w", "component": "/wait_forever"}], "output": {"$step": "w"}}
    nesting = {"flow": {"$literal": waiting}, "input": None}
    outer = {"steps": [{"id": "n", "component": "/nested", "input": nesting}], "output": {"$step": "n"}}
    waits = anyio.Event()

    def observe(event: RunEvent) -> None:
        # The server has called back, so it is in the middle of the outer step, and will not end before it.
        if isinstance(event, StepStarted) and event.step_id == "w":
            waits.set()

    async with LocalRuntime(served, retry=AT_ONCE, on_event=observe) as runtime, anyio.create_task_group() as tasks:
        tasks.start_soon(runtime.run, outer)
        await waits.wait()
        first = served._link
        assert first is not None
        assert first.child is not None
        os.kill(first.child.pid, signal.SIGTERM)
        with anyio.fail_after(60):
            while served._link is first:
                assert (await runtime.run(echoing, 1)).unwrap() == 1
        assert (await runtime.run(echoing, 2)).unwrap() == 2
        first.child.kill("it has been told to end, and need not take its time")
        tasks.cancel_scope.cancel()


# ---- floods and rubbish -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
async def test_a_flood_on_stderr_neither_blocks_a_server_nor_fills_the_memory(way: str) -> None:
    async with LocalRuntime(plugin(way), retry=RetryPolicy(0)) as runtime:
        assert "flooded" in str(await runtime.execute("/flood", {}))
        with pytest.raises(ServerLost, match=r"ended with exit code 3(.|\n)*the end of the flood") as caught:
            await runtime.execute("/flood and die", {})
        assert len(caught.value.message) < 10_000


@pytest.mark.parametrize("way", WAYS)
async def test_rubbish_on_stdout_does_no_harm_to_a_server_that_answers(way: str) -> None:
    async with LocalRuntime(plugin(way)) as runtime:
        first = await pid_of(runtime)
        assert "rubbish" in str(await runtime.execute("/rubbish", {}))
        assert await pid_of(runtime) == first


@linux_only
@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_a_line_of_200_megabytes_on_stdout_does_no_harm_to_a_server_that_answers(way: str) -> None:
    async with LocalRuntime(plugin(way)) as runtime:
        first = await pid_of(runtime)
        growth = 0

        async def watch() -> None:
            nonlocal growth
            while True:
                growth = max(growth, memory(os.getpid()) - before)
                await anyio.sleep(0.005)

        before = memory(os.getpid())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            assert "line" in str(await runtime.execute("/line", {}))
            tasks.cancel_scope.cancel()
        assert growth < 150_000_000
        assert await pid_of(runtime) == first


async def test_a_line_of_200_megabytes_from_an_mcp_server_is_its_end() -> None:
    async with LocalRuntime(plugin("mcp"), retry=RetryPolicy(0)) as runtime:
        first = await pid_of(runtime)
        with pytest.raises(ServerLost, match="killed by the runtime: it sent a message of more than 67108864 bytes"):
            await runtime.execute("/line", {})
        assert await pid_of(runtime) != first


async def test_a_server_that_answers_http_with_rubbish_is_told_with_its_stderr() -> None:
    flow = {"steps": [{"id": "s", "component": "/forget"}], "output": {"$step": "s"}}
    async with LocalRuntime(plugin("http"), retry=RetryPolicy(0)) as runtime:
        await runtime.execute("/flood", {})
        outcome = await runtime.run(flow)
    assert isinstance(outcome, FlowResultFailed)
    cause = stack_of(outcome)[-1]["error"]
    assert "answered 200 (no content type) with no JSON-RPC message" in cause
    assert "the body: 'rubbish'" in cause
    assert "the end of the flood" in cause


@pytest.mark.parametrize("way", ["stdio", "mcp"])
async def test_a_server_that_speaks_only_rubbish_is_told_with_what_it_said(way: str) -> None:
    code = (
        "import sys; print('Usage: serve [x]', flush=True); print('oh', file=sys.stderr, flush=True); sys.stdin.read()"
    )
    bad = PLUGINS[way]("bad", [sys.executable, "-c", code], handshake_timeout=0.1)
    async with LocalRuntime(spoken_to_after(bad, "Usage", "oh")) as runtime:
        with pytest.raises(ServerLost, match=r"did not answer `initialize`|initialize of the server") as caught:
            await runtime.execute("/x", {})
    assert "are no messages (1), the last: 'Usage: serve [x]'" in caught.value.message
    assert "the end of its stderr:\noh" in caught.value.message


# ---- starts -----------------------------------------------------------------------------------------------------

MEETS = f"""
import pathlib, runpy, sys, time
mine, other = map(pathlib.Path, sys.argv[2:])
mine.touch()
while not other.exists():
    time.sleep(0.01)
del sys.argv[2:]
runpy.run_path({PROGRAM!r}, run_name="__main__")
"""


async def test_servers_start_at_the_same_time(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    servers = {
        name: [sys.executable, "-c", MEETS, "stdio", str(mine), str(other)]
        for name, mine, other in (("a", a, b), ("b", b, a))
    }
    steps = [{"id": name, "component": f"/{name}/pid"} for name in servers]
    with anyio.fail_after(60):
        async with LocalRuntime(servers) as runtime:
            outcome = await runtime.run({"steps": steps, "output": [{"$step": "a"}, {"$step": "b"}]})
    assert len(set(outcome.unwrap())) == 2


# ---- ends -------------------------------------------------------------------------------------------------------

RUNTIME = """
import asyncio, os, sys, time
from pathlib import Path
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk_tests.runtime.test_misbehaving import plugin

async def main():
    async with LocalRuntime(plugin(*sys.argv[1:])) as runtime:
        await runtime.execute("/pid", {})
        forked = os.fork()
        if not forked:
            time.sleep(600)
        print(forked, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.promise("D4", "R9")
async def test_no_server_and_no_child_of_one_outlives_a_runtime_that_is_killed(way: str, tmp_path: Path) -> None:
    # What the runtime forked, as multiprocessing does, is not a server, and keeps none alive.
    async with held(tmp_path) as (pipe, let_go):
        command = [sys.executable, "-c", RUNTIME, way, str(pipe)]
        async with await anyio.open_process(command, stderr=None) as runtime:
            assert runtime.stdout is not None
            forked = int(await runtime.stdout.receive())
            runtime.kill()
            try:
                await let_go()
            finally:
                os.kill(forked, signal.SIGKILL)


NO_CHILDREN = """
import os, sys
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk_tests.runtime.test_misbehaving import plugin

for _ in range(2):
    with LocalRuntime({way: plugin(way) for way in ("stdio", "http", "mcp")}) as runtime:
        for way in ("stdio", "http", "mcp"):
            runtime.execute(f"/{way}/pid", {})
    try:
        print(os.waitpid(-1, os.WNOHANG))
    except ChildProcessError:
        print("none")
"""


@pytest.mark.promise("D4")
def test_nothing_is_left_of_what_a_runtime_started() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", NO_CHILDREN], capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("none\nnone\n", "")


async def test_a_guard_that_was_killed_is_replaced(tmp_path: Path) -> None:
    async with LocalRuntime({"a": plugin("stdio"), "b": plugin("stdio")}) as runtime:
        await runtime.execute("/a/pid", {})
        shell = guard._guard._shell
        assert shell is not None
        shell.kill()
        await anyio.to_thread.run_sync(shell.wait)
        await runtime.execute("/b/pid", {})
        assert guard._guard._shell not in {None, shell}
        assert len(guard._guard._groups) == 2
    assert guard._guard._groups == set()
    assert guard._guard._shell is None
