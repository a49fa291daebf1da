"""The soak itself: it counts, it finds, and nothing is left of it however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from stepflow_sdk_tests.reliability.memory import linux_only
from stepflow_sdk_tests.soak.fuzzing.fuzz import fuzz
from stepflow_sdk_tests.soak.fuzzing.targets import TARGETS
from stepflow_sdk_tests.soak.report import Report
from stepflow_sdk_tests.soak.supervisor import Result
from stepflow_sdk_tests.soak.table import table

PATIENCE = 60.0

SUPERVISED = """
import sys
from stepflow_sdk_tests.soak.processes import adopt_orphans
from stepflow_sdk_tests.soak.supervisor import Result, run_form
adopt_orphans()
result = Result("it")
run_form(result, [sys.executable, "-c", sys.argv[1]], 0.0, grace=float(sys.argv[2]), patience=1.0)
print(result.report, *result.finds, sep="\\n")
"""
TELL = 'print(\'[3, "things", [], [], ""]\', flush=True);'


def marked(mark: str) -> Iterator[int]:
    """The processes that have inherited an environment with this mark."""
    for directory in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if directory.name.isdigit() and mark.encode() in (directory / "environ").read_bytes():
                yield int(directory.name)


def supervised(code: str, grace: float) -> list[str]:
    # In a process of its own: what is below that one is ended.
    run = subprocess.run(
        [sys.executable, "-c", SUPERVISED, code, str(grace)], stdout=subprocess.PIPE, text=True, check=True
    )
    return run.stdout.splitlines()


@linux_only
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_soak_that_is_told_to_end_prints_what_it_has_and_leaves_no_process(number: signal.Signals) -> None:
    mark = uuid.uuid4().hex
    soak = [sys.executable, "-m", "stepflow_sdk_tests.soak", "600", "--only", "faults", "--only", "kills"]
    with subprocess.Popen(
        soak, env={**os.environ, "SOAK_MARK": mark}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        told = ""
        while "soak: faults: " not in told:
            told = process.stderr.readline()
            assert told, "it ended by itself"
        assert len(list(marked(mark))) > 1
        process.send_signal(number)
        out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert list(marked(mark)) == []
    (row,) = (line for line in out.splitlines() if line.startswith("faults "))
    assert row.endswith("stopped, held so far")
    assert "1 long test," in out
    assert "no violations" in out


@linux_only
def test_a_form_that_leaves_a_process_behind_is_wrong_and_the_process_is_ended() -> None:
    mark = uuid.uuid4().hex
    options = f"env={{'SOAK_MARK': {mark!r}}}, stdout=subprocess.DEVNULL, start_new_session=True"
    left = f"import subprocess; subprocess.Popen(['sleep', '600'], {options})"
    said = supervised(f"{TELL}{left}", 60.0)
    assert said[1:] == ["a process outlived it: sleep 600 "]
    assert list(marked(mark)) == []


@linux_only
def test_a_form_that_hangs_is_ended_and_wrong() -> None:
    # On a busy machine it may not come so far as to tell anything in the shorter times.
    for grace in (1, 5, 25):
        began = time.monotonic()
        said = supervised(f"{TELL}import subprocess; subprocess.run(['sleep', '600'])", grace)
        assert said[1:] == [f"it hung: {grace} s were not enough"]
        assert time.monotonic() - began < grace + PATIENCE
        if said[0] != "None":
            break
    assert said[0].startswith("Report(total=3, unit='things'")


def test_a_form_that_fails_is_wrong_with_what_it_told_before() -> None:
    said = supervised(f"{TELL}raise SystemExit(7)", 60.0)
    assert said[0].startswith("Report(total=3, unit='things'")
    assert said[1:] == ["it ended with code 7; what it wrote to stderr says why"]


def test_the_table_says_what_held_what_did_not_and_what_was_left_out() -> None:
    held = Result("a", 12.3, Report(1234, "requests", ["+0.1 MB"]))
    violated = Result("long name", 1.0, Report(1, "kills", finds=["a run is lost"]), ["it hung"])
    left_out = Result("b", 0.0, Report(0, "flows", left_out="there is no network"))
    lines = list(table([held, violated, left_out], {"a": "sends", "long name": "kills", "b": "compares"}))
    assert [line.rstrip("-") for line in lines] == [
        "",
        "what       time  how many        violations  verdict",
        "",
        "a          12 s  1,234 requests  0           held",
        "    sends",
        "    - +0.1 MB",
        "long name  1 s   1 kills         2           VIOLATED",
        "    kills",
        "b          0 s   0 flows         0           left out: there is no network",
        "    compares",
        "",
        "long name, violation 1: a run is lost",
        "long name, violation 2: it hung",
        "3 long tests, 13 s, 2 violations",
    ]


WITHOUT_ATHERIS = """
import sys
from stepflow_sdk_tests.soak.fuzzing import program, targets
program.importlib.util.find_spec = lambda name: None
if sys.argv[4:]:
    targets.TARGETS["paths"].check = lambda data: 1 / 0
program.main()
"""


@pytest.mark.parametrize("is_broken", [False, True])
def test_where_the_fuzzer_is_not_to_be_had_inputs_are_made_at_random(is_broken: bool, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "seed").write_bytes(b"$.a")
    command = [sys.executable, "-c", WITHOUT_ATHERIS, "paths", str(tmp_path), "1", *(["broken"] if is_broken else [])]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    (executed,) = (line for line in run.stdout.splitlines() if "number_of_executed_units" in line)
    finds = list((tmp_path / "finds").iterdir())
    if is_broken:
        assert run.returncode == 1
        assert executed.endswith(": 1")
        assert "ZeroDivisionError" in run.stdout
        assert len(finds) == 1
    else:
        assert run.returncode == 0
        assert int(executed.split()[-1]) > 10
        assert finds == []


@pytest.mark.slow
def test_a_target_is_fuzzed_and_what_it_came_to_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepflow_sdk_tests.soak.fuzzing.fuzz.TARGETS", {"paths": TARGETS["paths"]})
    (report,) = fuzz(2.0)
    assert report.total > 100
    assert report.finds == []
    assert report.figures[1].startswith(f"paths: {report.total:,} inputs")


@linux_only
@pytest.mark.slow
@pytest.mark.parametrize("name", ["kills", "faults", "requests"])
def test_a_long_test_holds_when_it_is_short(name: str) -> None:
    form = [sys.executable, "-m", "stepflow_sdk_tests.soak.form", name, "8"]
    run = subprocess.run(form, stdout=subprocess.PIPE, check=True)
    report = msgspec.json.decode(run.stdout.splitlines()[-1], type=Report)
    assert report.total > 0
    assert list(report.finds) == []
