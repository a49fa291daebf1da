"""What somebody is told was flushed to the disk before, as the system calls of real programs show."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.cli.served import served
from stepflow_sdk_tests.runtime.power.syscalls import Call, recorded, traced, why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

SERVER = """
import uuid

from stepflow_sdk import StepflowContext, StepflowServer

server = StepflowServer("marks")
INNER = {"steps": [{"id": "m", "component": "/mark", "input": {"all": []}}], "output": {"$step": "m"}}


@server.component
async def mark(all: list, ctx: StepflowContext) -> str:
    return str(uuid.uuid4())


@server.component
async def keep(all: list, ctx: StepflowContext) -> dict:
    blob = await ctx.put_blob({"mark": str(uuid.uuid4())})
    run = await ctx.submit_run(INNER, [1])
    batch = await ctx.submit_batch(INNER, [1, 2])
    return {"blob": blob, "run": run.run_id, "batch": batch}


if __name__ == "__main__":
    server.run()
"""

CONFIG = """\
plugins:
  builtin: {type: builtin}
  marks: {type: stepflow, transport: stdio, command: python, args: [-m, marks]}
routes:
  "/builtin/{*component}": [{plugin: builtin}]
  "/{*component}": [{plugin: marks}]
storageConfig:
  type: sqlite
  databaseUrl: "sqlite:disk/state.db?mode=rwc"
  synchronous: MODE
"""

FLOW: dict[str, Any] = {
    "steps": [
        {"id": "a", "component": "/mark", "input": {"all": [{"$input": "$"}]}},
        {"id": "b", "component": "/mark", "input": {"all": [{"$step": "a"}]}},
        {"id": "c", "component": "/keep", "input": {"all": [{"$step": "a"}, {"$step": "b"}]}},
    ],
    "output": {"a": {"$step": "a"}, "b": {"$step": "b"}, "c": {"$step": "c"}},
}


class Place:
    """A directory with a server and a configuration; the state file is in a folder of its own that is watched."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.folder = directory / "disk"
        self.folder.mkdir()
        (directory / "marks.py").write_text(SERVER, "utf-8")
        (directory / "flow.json").write_text(json.dumps(FLOW), "utf-8")
        self.mode("full")

    def mode(self, synchronous: str) -> None:
        (self.directory / "config.yml").write_text(CONFIG.replace("MODE", synchronous), "utf-8")

    @property
    def tracer(self) -> list[str]:
        return traced(self.directory / "record", self.folder)

    def calls(self) -> list[Call]:
        return recorded(self.directory / "record")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def sent(calls: Iterable[Call], mark: str) -> int:
    """When something was first told to anybody."""
    return min(call.began for call in calls if call.name == "send" and mark.encode() in call.data)


def written(calls: Iterable[Call], mark: str, before: int) -> bool:
    return any(call.name == "write" and mark.encode() in call.data and call.ended < before for call in calls)


def flushed(calls: list[Call], mark: str, before: int) -> bool:
    """Whether it was written into a file that was flushed after that, and before a time."""
    flushes = [call for call in calls if call.name == "sync" and call.ended < before]
    return any(
        flush.path == call.path and flush.began > call.ended
        for call in calls
        if call.name == "write" and mark.encode() in call.data
        for flush in flushes
    )


def serve_marks(place: Place) -> list[str]:
    """What a service has told its clients and its component server, in a life of its own."""
    with served(place.directory, "--config", "config.yml", under=place.tracer) as service:
        flow_id = service.call("POST", "/api/v1/flows", {"flow": FLOW})[1]["flowId"]
        run = service.call("POST", "/api/v1/runs", {"flowId": flow_id, "input": ["x"]})[1]["runId"]
        blob = service.call("POST", "/api/v1/blobs", {"data": {"mark": str(uuid.uuid4())}})[1]["blobId"]
        ended = service.call("POST", "/api/v1/runs", {"flowId": flow_id, "input": ["x", "y"], "wait": True})[1]
        assert service.call("GET", f"/api/v1/runs/{run}?wait=true")[1]["status"] == "completed"
        first = service.call("GET", f"/api/v1/runs/{run}/items")[1]["items"]
        second = service.call("GET", f"/api/v1/runs/{ended['runId']}/items")[1]["items"]
        service.process.terminate()
        assert service.wait() == 0
    outcomes = [item["result"]["result"] for item in (*first, *second)]
    assert len(outcomes) == 3
    return [
        *(flow_id, run, blob, ended["runId"]),
        *(mark for outcome in outcomes for mark in (outcome["a"], outcome["b"], *outcome["c"].values())),
    ]


@pytest.mark.promise("D1")
def test_what_a_service_tells_clients_and_components_is_on_the_disk_before(place: Place) -> None:
    marks = serve_marks(place)
    calls = place.calls()
    assert [mark for mark in marks if not flushed(calls, mark, sent(calls, mark))] == []


@pytest.mark.promise("D1")
def test_with_normal_what_is_told_was_written_before_and_is_flushed_later(place: Place) -> None:
    place.mode("normal")
    marks = serve_marks(place)
    calls = place.calls()
    assert [mark for mark in marks if not written(calls, mark, sent(calls, mark))] == []
    assert not any(flushed(calls, mark, sent(calls, mark)) for mark in marks)
    end = calls[-1].ended + 1
    assert all(flushed(calls, mark, end) for mark in marks)


@pytest.mark.promise("D1")
def test_what_a_command_prints_is_on_the_disk_before_and_so_is_the_name_of_the_file(place: Place) -> None:
    inputs = [str(uuid.uuid4()) for _ in range(5)]
    (place.directory / "inputs.jsonl").write_text("".join(f"{json.dumps(input)}\n" for input in inputs), "utf-8")
    command = ["run", "--flow", "flow.json", "--config", "config.yml", "--inputs", "inputs.jsonl", "--quiet"]
    done = subprocess.run(
        [*place.tracer, sys.executable, "-m", "stepflow_sdk", *command],
        cwd=place.directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line)["result"] for line in done.stdout.splitlines()]
    marks = [mark for outcome in outcomes for mark in (outcome["a"], outcome["b"], *outcome["c"].values())]
    assert len(marks) == 5 * len(inputs)
    calls = place.calls()
    assert [mark for mark in marks if not flushed(calls, mark, sent(calls, mark))] == []
    # The run is accepted with all its inputs before a component hears of it.
    told = sent(calls, "components/execute")
    assert [input for input in inputs if not flushed(calls, input, told)] == []
    for name in ("state.db", "state.db-wal"):
        named = max(call.ended for call in calls if str(place.folder / name) in _names(call) and call.ended < told)
        assert any(
            call.name == "sync" and call.path == str(place.folder) and named < call.began
            for call in calls
            if call.ended < told
        ), name


def _names(call: Call) -> list[str]:
    """What has a new name by this call."""
    return {"create": [call.path], "rename": [call.target]}.get(call.name, [])
