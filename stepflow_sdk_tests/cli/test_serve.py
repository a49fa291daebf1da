"""``stepflow-sdk serve`` and ``submit``, as programs."""

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepflow_sdk.tuning import Tuning
from stepflow_sdk_tests.cli.conftest import CommandLine
from stepflow_sdk_tests.cli.served import PATIENCE, Served, served

GATED = '''
import asyncio
import os
from pathlib import Path

from stepflow_sdk import StepflowContext, StepflowServer

server = StepflowServer("gated")


@server.component
async def through(input: int, ctx: StepflowContext) -> int:
    """Note the attempt, and wait until the file `open` is there."""
    with open("attempts", "a") as file:
        file.write(f"{ctx.step_id} {ctx.attempt}\\n")
    while not os.path.exists("open"):
        await asyncio.sleep(0.01)
    return input + 1


@server.component
def once(input: int) -> int:
    with open("attempts", "a") as file:
        file.write("once 1\\n")
    return input * 10
'''
TELLING = """
import gc
import os
import sys
from typing import Any

from stepflow_sdk import StepflowServer

server = StepflowServer("telling")


@server.component
def told() -> list[Any]:
    return [os.getpid(), list(gc.get_threshold()), sys.getswitchinterval()]
"""
FLOW = {
    "steps": [
        {"id": "first", "component": "/once", "input": {"$input": "$"}},
        {"id": "second", "component": "/through", "input": {"$step": "first"}},
    ],
    "output": {"$step": "second"},
}
SUBMIT = ("submit", "--flow", "flow.yaml", "--input-json", '{"n": 4}')


@pytest.fixture
def shop(cli: CommandLine) -> Iterator[Served]:
    with served(cli.directory, "--server", "shop:server") as service:
        yield service


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "gated.py").write_text(GATED, "utf-8")
    return tmp_path


def until_second(directory: Path) -> None:
    """Wait until the second step is under way."""
    while "second" not in (directory / "attempts").read_text() if (directory / "attempts").exists() else True:
        threading.Event().wait(0.01)


def test_the_port_is_alone_on_stdout_and_a_signal_ends_it_in_order(shop: Served) -> None:
    assert shop.call("GET", "/health")[1]["status"] == "healthy"
    assert f"serving {shop.url}/api/v1" in shop.stderr
    shop.process.send_signal(signal.SIGTERM)
    assert shop.wait() == 0
    assert shop.process.stdout is not None
    assert shop.process.stdout.read() == ""
    assert "Traceback" not in shop.stderr


def test_a_run_under_way_comes_to_its_end_when_the_service_is_stopped(directory: Path) -> None:
    with served(directory, "--server", "gated:server", "--drain", "60") as service:
        answers: list[object] = []
        waiting = threading.Thread(target=lambda: answers.append(service.start(FLOW, 1, wait=True)["status"]))
        waiting.start()
        until_second(directory)
        service.process.send_signal(signal.SIGINT)
        while "1 running" not in service.stderr:
            threading.Event().wait(0.01)
        (directory / "open").touch()
        waiting.join()
        assert answers == ["completed"]
        assert service.wait() == 0


def test_what_does_not_end_is_given_up_after_the_drain(directory: Path) -> None:
    with served(directory, "--server", "gated:server", "--drain", "0") as service:
        service.start(FLOW, 1)
        until_second(directory)
        service.process.terminate()
        assert service.wait() == 0


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_a_service_that_was_killed_finishes_its_runs_when_it_is_started_again(directory: Path) -> None:
    arguments = ("--server", "gated:server", "--state", "state.db")
    with served(directory, *arguments) as service:
        run_id = service.start(FLOW, 1)["runId"]
        until_second(directory)
        service.process.kill()
        service.wait()
    (directory / "open").touch()
    with served(directory, *arguments) as service:
        status, run = service.call("GET", f"/api/v1/runs/{run_id}?wait=true&timeoutSecs=60")
        assert (status, run["status"]) == (200, "completed")
        items = service.call("GET", f"/api/v1/runs/{run_id}/items")[1]["items"]
        assert items[0]["result"] == {"outcome": "success", "result": 11}
        steps = service.call("GET", f"/api/v1/runs/{run_id}/steps")[1]["steps"]
        assert (steps["first"]["attempt"], steps["second"]["attempt"]) == (1, 2)
    assert (directory / "attempts").read_text().split("\n") == ["once 1", "second 1", "second 2", ""]


@pytest.mark.parametrize("more", [[], ["--no-tuning"]])
def test_the_process_is_set_up_for_speed_unless_it_is_told_not_to(tmp_path: Path, more: list[str]) -> None:
    tuning = Tuning(uvloop=False)
    (tmp_path / "told.py").write_text(TELLING, "utf-8")
    flow = {"steps": [{"id": "told", "component": "/told"}], "output": {"$step": "told"}}
    with served(tmp_path, "--server", "told:server", *more) as service:
        run = service.start(flow, None, wait=True)
        pid, *told = run["results"][0]["result"]["result"]
        assert pid == service.process.pid
    assert (told == [list(tuning.gc_thresholds or ()), tuning.switch_interval]) is not bool(more)
    assert (told == [list(gc.get_threshold()), sys.getswitchinterval()]) is bool(more)


def test_a_second_service_on_the_same_state_is_refused_with_the_first_ones_pid(
    cli: CommandLine, directory: Path
) -> None:
    with served(directory, "--server", "gated:server", "--state", "state.db") as service:
        done = cli.process("serve", "--server", "shop:server", "--state", "state.db", "--port", "0")
        assert (done.code, done.out) == (2, "")
        assert str(service.process.pid) in done.err


def test_an_address_that_is_taken_or_reaches_others_is_refused(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = cli("serve", "--server", "shop:server", "--port", str(taken.getsockname()[1]))
    assert done.code == 2
    assert "cannot listen on 127.0.0.1" in done.err
    done = cli("serve", "--server", "shop:server", "--host", "0.0.0.0")
    assert done.code == 2
    assert "give --token-env NAME, or --insecure" in done.err
    done = cli("serve", "--server", "shop:server", "--token-env", "NOT_THERE")
    assert (done.code, "NOT_THERE" in done.err) == (2, True)


def test_a_token_of_the_environment_is_demanded_and_sent(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cret")
    with served(cli.directory, "--server", "shop:server", "--token-env", "API_TOKEN") as service:
        assert service.call("GET", "/api/v1/runs")[0] == 401
        refused = cli(*SUBMIT, "--url", service.url)
        assert (refused.code, "401" in refused.err) == (1, True)
        done = cli(*SUBMIT, "--url", service.url, "--token-env", "API_TOKEN")
        assert (done.code, done.json) == (0, {"outcome": "success", "result": 8})


# ---- submit -----------------------------------------------------------------------------------------------------


def test_a_submitted_flow_has_its_outcome_alone_on_stdout(cli: CommandLine, shop: Served) -> None:
    done = cli(*SUBMIT, "--url", shop.url)
    assert (done.code, done.json) == (0, {"outcome": "success", "result": 8})
    run_id = done.err.split()[-1]
    assert shop.call("GET", f"/api/v1/runs/{run_id}")[1]["status"] == "completed"
    assert cli("run", *SUBMIT[1:], "--engine", shop.url).json == done.json


def test_a_submitted_flow_that_fails_exits_with_1(cli: CommandLine, shop: Served) -> None:
    done = cli(*SUBMIT[:-1], "{}", "--url", shop.url)
    assert (done.code, done.json["outcome"]) == (1, "failed")
    assert "Input path $.n not found" in done.err


def test_a_submission_that_is_not_waited_for_tells_the_run(cli: CommandLine, shop: Served) -> None:
    done = cli(*SUBMIT, "--url", shop.url, "--no-wait")
    assert done.code == 0
    assert set(done.json) == {"runId", "status"}
    answer = shop.call("GET", f"/api/v1/runs/{done.json['runId']}?wait=true")[1]
    assert answer["status"] == "completed"


def test_many_inputs_are_submitted_and_their_outcomes_come_in_order(cli: CommandLine, shop: Served) -> None:
    cli.write("inputs.jsonl", "".join(f'{{"n": {number}}}\n' for number in range(700)) + "{}\n")
    done = cli("submit", "--flow", "flow.yaml", "--inputs", "inputs.jsonl", "--url", shop.url, "--quiet")
    outcomes = [json.loads(line) for line in done.out.splitlines()]
    assert [outcome.get("result") for outcome in outcomes] == [*range(0, 1400, 2), None]
    assert (done.code, outcomes[-1]["outcome"]) == (1, "failed")


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGINT for one process")
@pytest.mark.parametrize(("command", "status"), [("run", "cancelled"), ("submit", "running")])
def test_an_interrupted_wait_ends_a_run_but_not_a_submission(directory: Path, command: str, status: str) -> None:
    (directory / "flow.json").write_text(json.dumps(FLOW), "utf-8")
    with served(directory, "--server", "gated:server", "--drain", "0") as service:
        words = [command, "--flow", "flow.json", "--input-json", "1", "--engine", service.url]
        command_line = [sys.executable, "-m", "stepflow_sdk", *words]
        with subprocess.Popen(command_line, cwd=directory, stderr=subprocess.PIPE, text=True) as waiting:
            assert waiting.stderr is not None
            # Until it has been told the id of the run, it has nothing to end.
            assert any(line.startswith("run ") for line in waiting.stderr)
            until_second(directory)
            waiting.send_signal(signal.SIGINT)
            assert waiting.wait(PATIENCE) == 130
        (run,) = service.call("GET", "/api/v1/runs")[1]["runs"]
        assert run["status"] == status


def test_the_cases_of_flows_run_on_a_service(cli: CommandLine, shop: Served) -> None:
    case = "test: {cases: [{name: four, input: {n: 4}, output: {outcome: success, result: 8}}]}\n"
    cli.write("flow.yaml", (cli.directory / "flow.yaml").read_text() + case)
    done = cli("test", "flow.yaml", "--engine", shop.url)
    assert (done.code, "1 passed" in done.out) == (0, True)


def test_a_service_that_is_not_there_is_told_in_one_line(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    done = cli(*SUBMIT, "--url", f"http://127.0.0.1:{port}")
    assert done.code == 1
    assert f"http://127.0.0.1:{port}/api/v1 cannot be reached" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", *SUBMIT[1:], "--engine", "orchestrater"), "did you mean 'orchestrator'?"),
        (("run", *SUBMIT[1:], "--engine", "ftp://x"), "is not the URL of a service"),
        (("run", *SUBMIT[1:], "--engine", "http://x", "--server", "shop:server"), "--server has no meaning"),
        (("run", *SUBMIT[1:], "--engine", "orchestrator", "--state", "x.db"), "--state is for the local engine"),
        (("run", *SUBMIT[1:], "--token-env", "X", "--server", "shop:server"), "--token-env is for --engine URL"),
        ((*SUBMIT, "--url", "http://x", "--engine", "http://x"), "say the same thing"),
        ((*SUBMIT, "--no-wait", "--engine", "local"), "--no-wait needs a service"),
    ],
)
def test_what_does_not_go_together_is_refused(cli: CommandLine, arguments: tuple[str, ...], told: str) -> None:
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
