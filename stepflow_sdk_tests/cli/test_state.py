import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stepflow_sdk_tests.cli.conftest import CONFIG, CommandLine
from stepflow_sdk_tests.cli.conftest import FLOW as FLOW_OF_SHOP

SERVER = """
import asyncio
import os
from pathlib import Path

from stepflow_sdk import StepflowServer

server = StepflowServer("slow")


@server.component
async def step(input: object) -> object:
    with open("calls", "a") as calls:
        calls.write(f"{input}\\n")
    if Path("hold").exists() and input == 2:
        Path("held").touch()
        await asyncio.Event().wait()
    return input


@server.component
def fail() -> None:
    raise ValueError("no luck")
"""

FLOW = """\
name: two steps
steps:
  - {id: a, component: /step, input: {$input: $}}
  - {id: b, component: /step, input: {$step: a}}
output: {$step: b}
"""
TARGET = ("--flow", "two.yaml", "--server", "slow:server")
RESUME = ("resume", "--server", "slow:server", "--state", "s.db")


@pytest.fixture
def held(cli: CommandLine) -> CommandLine:
    """A directory in which the input 2 waits as long as there is a file called hold."""
    cli.write("slow.py", SERVER)
    cli.write("two.yaml", FLOW)
    cli.write("inputs.jsonl", "0\n1\n2\n3\n")
    cli.write("hold", "")
    return cli


@contextmanager
def _running(cli: CommandLine, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A command that has come as far as the input 2."""
    command = [sys.executable, "-m", "stepflow_sdk", *arguments]
    with subprocess.Popen(
        command, cwd=cli.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (cli.directory / "held").exists():
            assert process.poll() is None, process.stderr
            os.sched_yield()
        yield process


def _killed(cli: CommandLine, *arguments: str) -> str:
    with _running(cli, *arguments) as process:
        process.kill()
    (cli.directory / "hold").unlink()
    listed = cli("runs", "--state", "s.db", "--json")
    assert listed.code == 0
    (run,) = [json.loads(line) for line in listed.out.splitlines()]
    assert run["status"] == "running"
    return str(run["runId"])


def test_a_run_that_was_killed_is_finished_by_resume(held: CommandLine) -> None:
    run_id = _killed(held, "run", *TARGET, "--input-json", "2", "--state", "s.db")
    done = held(*RESUME)
    assert done.code == 0
    assert json.loads(done.out) == {
        "runId": run_id,
        "flowName": "two steps",
        "status": "completed",
        "items": 1,
        "failed": 0,
        "outcome": {"outcome": "success", "result": 2},
    }
    assert held("runs", "--state", "s.db", run_id).out == '{"outcome":"success","result":2}\n'
    assert "completed" in held("runs", "--state", "s.db").out
    again = held(*RESUME)
    assert (again.code, again.out) == (0, "")
    assert "no run was interrupted" in again.err
    named = held(*RESUME, run_id)
    assert (named.code, named.out) == (0, "")
    assert "has ended already" in named.err


def test_many_inputs_that_were_interrupted_are_finished_by_resume(held: CommandLine) -> None:
    command = ("run", *TARGET, "--inputs", "inputs.jsonl", "--max-concurrency", "1", "--state", "s.db")
    run_id = _killed(held, *command)
    assert held("runs", "--state", "s.db", run_id).out.count("\n") == 2
    done = held(*RESUME, "-q", run_id)
    assert done.code == 0
    assert json.loads(done.out) == {
        "runId": run_id, "flowName": "two steps", "status": "completed", "items": 4, "failed": 0
    }  # fmt: skip
    outcomes = [json.loads(line)["result"] for line in held("runs", "--state", "s.db", run_id).out.splitlines()]
    assert outcomes == [0, 1, 2, 3]
    calls = (held.directory / "calls").read_text().split()
    assert calls == ["0", "0", "1", "1", "2", "2", "2", "3", "3"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_was_interrupted_by_a_signal_is_left_to_resume(
    held: CommandLine, number: signal.Signals, code: int
) -> None:
    with _running(held, "run", *TARGET, "--input-json", "2", "--state", "s.db") as process:
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "interrupted" in err
    assert "stepflow-sdk resume --state s.db" in err
    (held.directory / "hold").unlink()
    assert json.loads(held(*RESUME).out)["status"] == "completed"


def test_a_second_command_is_told_which_process_has_the_file(held: CommandLine) -> None:
    with _running(held, "run", *TARGET, "--input-json", "2", "--state", "s.db") as process:
        refused = held(*RESUME)
        assert refused.code == 2
        assert f"is in use by process {process.pid}" in refused.err
        assert held("runs", "--state", "s.db").out.count("running") == 1
        (held.directory / "hold").unlink()
        process.kill()
    assert held(*RESUME, "--state-wait", "30").code == 0


def test_a_run_that_fails_when_it_is_resumed_is_told_by_the_exit_code(held: CommandLine) -> None:
    held.write("two.yaml", FLOW.replace("component: /step, input: {$step: a}", "component: /fail, input: {}"))
    held.write(
        "two.yaml",
        FLOW.replace(
            "{id: b, component: /step, input: {$step: a}}", "{id: b, component: /fail, input: {x: {$step: a}}}"
        ),
    )
    _killed(held, "run", *TARGET, "--input-json", "2", "--state", "s.db")
    done = held(*RESUME, "-q")
    assert done.code == 1
    assert json.loads(done.out)["outcome"]["outcome"] == "failed"


def test_the_configuration_may_name_the_file(cli: CommandLine) -> None:
    config = CONFIG.replace("command: python", f"command: {sys.executable}")
    cli.write("stepflow-config.yml", config + "storageConfig: {type: sqlite, databaseUrl: 'sqlite:kept.db?mode=rwc'}\n")
    assert cli("run", "--flow", "flow.yaml", "--input-json", '{"n": 4}').code == 0
    assert "doubling" in cli("runs", "--state", "kept.db").out
    assert cli("resume", "--config", "stepflow-config.yml").code == 0


def test_cases_leave_the_file_of_the_configuration_alone(cli: CommandLine) -> None:
    config = CONFIG.replace("command: python", f"command: {sys.executable}")
    cli.write("stepflow-config.yml", config + "stateStore: {type: sqlite, databaseUrl: 'sqlite:kept.db?mode=rwc'}\n")
    cli.write("cases.yaml", FLOW_OF_SHOP + "test: {cases: [{name: one, input: {n: 1}}]}\n")
    assert cli("test", "cases.yaml").code == 0
    assert cli("test", "cases.yaml", "--config", "stepflow-config.yml").code == 0
    assert not (cli.directory / "kept.db").exists()
    assert cli("test", "cases.yaml", "--state", "tests.db").code == 0
    assert cli("runs", "--state", "tests.db").out.count("\n") == 1


def test_wrong_files_are_told_in_one_line(cli: CommandLine) -> None:
    cli.write("letter.db", "this is a letter")
    run = ("run", "--flow", "flow.yaml", "--server", "shop:server", "--input-json", '{"n": 1}', "--state")
    for command in ([*run, "letter.db"], ["runs", "--state", "letter.db"]):
        refused = cli(*command)
        assert refused.code == 3
        assert "letter.db: is not a state file" in refused.err
    assert (cli.directory / "letter.db").read_text() == "this is a letter"
    with sqlite3.connect(cli.directory / "other.db") as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    assert cli(*run, "other.db").code == 2
    resume = ["resume", "--server", "shop:server", "--state"]
    for command in (
        ["runs", "--state", "none.db"],
        ["recover", "none.db", "-o", "new.db"],
        ["resume"],
        [*resume, "none.db"],
    ):
        refused = cli(*command)
        assert refused.code == 2
        assert len([line for line in refused.err.splitlines() if line.startswith("stepflow-sdk:")]) == 1
    assert not (cli.directory / "none.db").exists()
    for command in (["runs", "--state", "."], ["recover", ".", "-o", "new.db"], [*resume, "."]):
        assert "this is no file" in cli(*command).err
    for name, code in (("letter.db", 3), ("other.db", 2)):
        refused = cli("recover", name, "-o", "new.db")
        assert (refused.code, name in refused.err) == (code, True)
    assert not (cli.directory / "new.db").exists()
    cli("run", "--flow", "flow.yaml", "--server", "shop:server", "--input-json", '{"n": 1}', "--state", "good.db")
    unknown = cli("resume", "--state", "good.db", "--server", "shop:server", "nobody")
    assert unknown.code == 2
    assert "no run with the id 'nobody'" in unknown.err
    assert cli("runs", "--state", "good.db", "nobody").code == 2
    assert cli("runs", "--state", "good.db", "--status", "failed").out == ""


def test_recover_says_what_it_has_copied(cli: CommandLine) -> None:
    for number in range(3):
        cli(
            "run",
            "--flow",
            "flow.yaml",
            "--server",
            "shop:server",
            "--input-json",
            f'{{"n": {number}}}',
            "--state",
            "a.db",
        )
    file = cli.directory / "a.db"
    whole = file.read_bytes()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE runs SET head_sum = 1 WHERE key = 1")
    connection.close()
    listed = cli("runs", "--state", "a.db")
    assert listed.code == 3
    assert "damaged" in listed.err
    done = cli("recover", "a.db", "-o", "b.db")
    assert done.code == 0
    assert done.json["runs"] == 2
    assert done.json["lost"] == {"runs": 1}
    assert cli("runs", "--state", "b.db").out.count("completed") == 2
    assert cli("recover", "a.db", "-o", "b.db").code == 2
    latest = cli("runs", "--state", "b.db", "--limit", "1")
    assert (latest.out.count("\n"), "there are older runs" in latest.err) == (1, True)
    assert "older" not in cli("runs", "--state", "b.db", "--limit", "2").err
    nowhere = cli("recover", "a.db", "-o", "b.db/c.db")
    assert (nowhere.code, "b.db/c.db: cannot be made" in nowhere.err.replace(os.sep, "/")) == (2, True)
    # As where the directory cannot be written: the log cannot be opened.
    shutil.copy(cli.directory / "b.db", cli.directory / "d.db")
    (cli.directory / "d.db-wal").mkdir()
    for command in (("runs", "--state", "d.db"), ("recover", "d.db", "-o", "e.db")):
        refused = cli(*command)
        assert (refused.code, "needs a directory that it can write to" in refused.err) == (2, True)
    assert not (cli.directory / "e.db").exists()
    file.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    assert cli("runs", "--state", "a.db").code == 3


def test_results_end_up_in_the_file_only_for_its_owner(cli: CommandLine) -> None:
    cli("run", "--flow", "flow.yaml", "--server", "shop:server", "--input-json", '{"n": 1}', "--state", "a.db")
    file: Path = cli.directory / "a.db"
    if sys.platform != "win32":
        assert file.stat().st_mode & 0o777 == 0o600
