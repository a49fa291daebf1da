"""What the commands show to whoever runs them: metrics, and the log as objects."""

import json
import urllib.request
from typing import Any

from stepflow_sdk_tests.cli.conftest import CommandLine
from stepflow_sdk_tests.cli.served import PATIENCE, Served, served
from stepflow_sdk_tests.prometheus import samples_of

FLOW: dict[str, Any] = {
    "name": "doubled",
    "steps": [{"id": "d", "component": "/double", "input": {"number": {"$input": "$"}}}],
    "output": {"$step": "d"},
}
BROKEN: dict[str, Any] = {**FLOW, "steps": [{**FLOW["steps"][0], "input": {"number": "many"}}]}
SLOW = """
import os, time
from stepflow_sdk import StepflowServer

server = StepflowServer("slow")


@server.component
def wait(input: str) -> None:
    while not os.path.exists("go"):
        time.sleep(0.01)
"""


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def metrics_of(service: Served) -> dict[str, float]:
    with urllib.request.urlopen(f"{service.url}/metrics", timeout=PATIENCE) as answer:
        return samples_of(answer.read().decode())


def test_a_service_shows_its_metrics_where_that_is_asked_for(cli: CommandLine) -> None:
    with served(cli.directory, "--server", "shop:server", "--metrics", "--state", "state.db") as service:
        service.start(FLOW, 1, 2, wait=True)
        found = metrics_of(service)
    assert found['stepflow_steps_total{component="/double",status="completed"}'] == 2
    assert found['stepflow_rest_requests_total{route="/api/v1/runs",method="POST",code="200"}'] == 1
    assert found["stepflow_store_commits_total"] > 0
    with served(cli.directory, "--server", "shop:server") as service:
        assert service.call("GET", "/metrics")[0] == 404


def test_the_log_of_a_service_is_objects_with_the_ids_of_runs_and_steps(cli: CommandLine) -> None:
    with served(cli.directory, "--server", "shop:server", "--log-format", "json") as service:
        good = service.start(FLOW, 1, wait=True)["runId"]
        bad = service.start(BROKEN, 1, wait=True)["runId"]
        service.process.terminate()
        assert service.wait() == 0
        found = records(service.stderr)
    assert all({"time", "level", "logger", "message"} <= record.keys() for record in found)
    steps = [record for record in found if "step_id" in record and record["logger"] == "stepflow_sdk.runtime.runs"]
    assert [(record["run_id"], record["step_id"], record["component"], record["level"]) for record in steps] == [
        (good, "d", "/double", "INFO"),
        (bad, "d", "/double", "WARNING"),
    ]
    assert "-32003" in steps[1]["message"]
    ended = [record["message"] for record in found if record.get("run_id") == bad and " after " in record["message"]]
    assert f"the run {bad} is failed after" in ended[-1]
    assert any(record["message"].startswith("serving http://") for record in found)


def test_a_service_warns_of_a_slow_step_while_it_runs_and_when_it_ends(cli: CommandLine) -> None:
    (cli.directory / "slow.py").write_text(SLOW)
    flow = {"steps": [{"id": "w", "component": "/wait", "input": ""}], "output": {"$step": "w"}}
    arguments = ("--server", "slow:server", "--slow", "0.05", "--log-format", "json", "--log-level", "warning")
    with served(cli.directory, *arguments) as service:
        run_id = service.start(flow, None)["runId"]
        service.call("GET", f"/api/v1/runs/{run_id}?wait=true&timeoutSecs=1")
        while "has not ended" not in service.stderr:
            service.call("GET", "/health")
        (cli.directory / "go").touch()
        service.call("GET", f"/api/v1/runs/{run_id}?wait=true&timeoutSecs=30")
        service.process.terminate()
        service.wait()
        told = [record for record in records(service.stderr) if record.get("step_id") == "w"]
    assert [record["message"].partition(" 0.05 s")[0].split(" after")[0] for record in told] == [
        "the step has not ended",
        "the step ended",
    ]
    assert all((record["run_id"], record["component"]) == (run_id, "/wait") for record in told)


def test_progress_and_errors_of_a_run_are_a_part_of_the_log(cli: CommandLine) -> None:
    (cli.directory / "d.json").write_text(json.dumps(FLOW))
    done = cli.process(
        "run", "--flow", "d.json", "--server", "shop:server", "--input-json", "4", "--log-format", "json"
    )
    assert json.loads(done.out) == {"outcome": "success", "result": 8}
    found = records(done.err)
    assert [record["message"].split(" after")[0] for record in found if record.get("step_id")] == [
        "the step is completed"
    ]
    wrong = cli.process("run", "--flow", "none.json", "--server", "shop:server", "--log-format", "json")
    (said,) = records(wrong.err)
    assert (wrong.code, said["level"], said["logger"]) == (2, "ERROR", "stepflow_sdk.cli")
    quiet = cli.process(
        "run",
        "--flow",
        "d.json",
        "--server",
        "shop:server",
        "--input-json",
        "4",
        "--log-format",
        "json",
        "--log-level",
        "warning",
    )
    assert quiet.err == ""


def test_what_components_log_does_not_move_the_cursor_of_a_terminal(cli: CommandLine) -> None:
    cli.write(
        "loud.py",
        "import logging\nfrom stepflow_sdk import StepflowServer\nserver = StepflowServer('loud')\n"
        "@server.component\ndef shout(text: str) -> None:\n    logging.getLogger('loud').warning('%s', text)\n",
    )
    said = cli.process("call", "/shout", "--server", "loud:server", "--input-json", r'{"text": "a\u001b[2Jb\u0007"}')
    assert "WARNING loud [/shout run=" in said.err
    assert "a\ufffd[2Jb\ufffd" in said.err
    assert "\x1b" not in said.err
