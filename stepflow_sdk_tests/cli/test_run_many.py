"""``stepflow-sdk run`` with --inputs, --variables, --env-variables and --overrides."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk.cli.batch_progress import BatchProgress
from stepflow_sdk.protocol import FlowError, FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import ItemEnded, RunEnded, RunStarted
from stepflow_sdk_tests.cli.conftest import CONFIG, CommandLine

RUN = ("run", "--flow", "flow.yaml", "--server", "shop:server")

VARIABLES = """\
schemas:
  type: object
  properties:
    variables:
      type: object
      properties:
        plain: {type: string, default: unset}
        named: {type: string, default: unset, env_var: MY_NAME}
output: [{$variable: plain}, {$variable: named}]
"""


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_many_inputs_give_one_outcome_a_line_in_their_order(cli: CommandLine) -> None:
    cli.write("in.jsonl", '{"n": 1}\n{"n": "two"}\n\n{"n": 3}')
    done = cli(*RUN, "--inputs", "in.jsonl")
    first, second, third = lines(done.out)
    assert (done.code, first, third) == (
        1,
        {"outcome": "success", "result": 2},
        {"outcome": "success", "result": 6},
    )
    assert (second["outcome"], second["error"]["code"]) == ("failed", -32003)
    for told in ("doubling on 3 inputs", "failed   [1]  [-32003]", "3 of 3 items, 1 failed"):
        assert told in done.err
    assert "start" not in done.err
    assert cli(*RUN, "--inputs", "in.jsonl", "--exit-zero").code == 0


def test_the_outcomes_of_many_inputs_go_to_a_file(cli: CommandLine) -> None:
    cli.write("in.jsonl", "\ufeff" + "".join(f'{{"n": {number}}}\r\n' for number in range(500)))
    done = cli(*RUN, "--inputs", "in.jsonl", "--output", "out.jsonl", "--max-concurrency", "3")
    assert (done.code, done.out) == (0, "")
    written = lines((cli.directory / "out.jsonl").read_text())
    assert [line["result"] for line in written] == [2 * number for number in range(500)]
    assert "out.jsonl" in done.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_file_that_takes_no_more_outcomes_ends_the_run(cli: CommandLine) -> None:
    cli.write("in.jsonl", '{"n": 1}\n' * 10)
    done = cli(*RUN, "--inputs", "in.jsonl", "--output", "/dev/full")
    assert (done.code, done.out) == (2, "")
    assert "--output /dev/full: cannot be written: No space left" in done.err


def test_a_reader_that_goes_away_ends_the_run(cli: CommandLine) -> None:
    cli.write("in.jsonl", '{"n": 1}\n' * 100_000)
    command = [sys.executable, "-m", "stepflow_sdk", *RUN, "--inputs", "in.jsonl", "--quiet"]
    with subprocess.Popen(command, cwd=cli.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_no_inputs_give_no_outcomes(cli: CommandLine) -> None:
    cli.write("in.jsonl", "\n")
    done = cli(*RUN, "--inputs", "in.jsonl")
    assert (done.code, done.out) == (0, "")


def test_an_outcome_is_written_as_soon_as_those_before_it_are(cli: CommandLine) -> None:
    flow = "steps: [{id: w, component: /wait}]\noutput: {$if: {$input: wait}, then: {$step: w}, else: {$input: n}}\n"
    cli.write("flow.yaml", flow)
    cli.write("in.jsonl", '{"wait": false, "n": 1}\n{"wait": false, "n": 2}\n{"wait": true}\n{"wait": false, "n": 4}\n')
    command = [sys.executable, "-m", "stepflow_sdk", *RUN, "--inputs", "in.jsonl", "--quiet"]
    with subprocess.Popen(command, cwd=cli.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        # The third never ends, and the fourth waits for it.
        assert [json.loads(process.stdout.readline())["result"] for _ in range(2)] == [1, 2]
        process.terminate()
        assert process.stdout.read() == b""
        assert process.wait(60) == (143 if os.name != "nt" else 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"n": 1}\n{"n": }\n', "--inputs in.jsonl:2:7: "),
        ('{"n": 1}\n\n{"n": 1} {"n": 2}\n', "--inputs in.jsonl:3"),
        ('{"n": 1}\nNaN', "--inputs in.jsonl:2"),
        (b'{"n": 1}\n"\xff"\n', "--inputs in.jsonl:2"),
    ],
)
def test_a_wrong_line_is_named_before_anything_runs(cli: CommandLine, text: str | bytes, told: str) -> None:
    (cli.directory / "in.jsonl").write_bytes(text.encode() if isinstance(text, str) else text)
    done = cli(*RUN, "--inputs", "in.jsonl", "--output", "out.jsonl")
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert not (cli.directory / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--inputs", "none.jsonl"), "--inputs none.jsonl: cannot be read: No such file"),
        (("--inputs", "."), "not a regular file"),
        (("--inputs", "in.jsonl", "--input-json", "1"), "--inputs is for many and --input-json for one"),
        (("--inputs", "in.jsonl", "--output", "out.yaml"), "JSON lines; name it .jsonl"),
        (("--variables-json", "{}", "--variables-yaml", "{}"), "--variables-json and --variables-yaml"),
        (("--variables-json", "[1]"), "--variables-json: an object is wanted, not an array"),
        (("--variables-json", "{"), "--variables-json: line 1"),
        (("--variables", "flow.yml"), "--variables: flow.yml: there is no such file; did you mean 'flow.yaml'?"),
        (("--overrides-yaml", "twise: {value: {}}"), "--overrides-yaml: $.twise: the flow has no step 'twise'"),
        (("--overrides-yaml", "twise: {value: {}}"), "did you mean 'twice'?"),
        (("--overrides-json", '{"twice": 1}'), "--overrides-json: $.twice: an override is"),
        (("--overrides-json", '{"twice": {"$type": "json_patch", "value": {}}}'), "'merge_patch'"),
    ],
)
def test_wrong_options_are_told_and_nothing_runs(cli: CommandLine, arguments: tuple[str, ...], told: str) -> None:
    cli.write("in.jsonl", "1\n")
    more = () if "--inputs" in arguments else ("--input-json", '{"n": 4}')
    done = cli(*RUN, *more, *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "run  " not in done.err


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--variables", "values.yaml"),
        ("--variables", "values.json"),
        ("--variables-json", '{"plain": {"a": 1}}'),
        ("--variables-yaml", "plain: {a: 1}"),
    ],
)
def test_variables_come_from_a_file_or_the_command_line(cli: CommandLine, flag: str, text: str) -> None:
    cli.write("flow.yaml", VARIABLES)
    cli.write("values.yaml", "plain: {a: 1}")
    cli.write("values.json", '{"plain": {"a": 1}}')
    assert cli(*RUN, "--input-json", "1", flag, text).json["result"] == [{"a": 1}, "unset"]


def test_variables_come_from_the_environment_where_that_is_asked_for(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.write("flow.yaml", VARIABLES)
    arguments = (*RUN, "--input-json", "1")
    monkeypatch.setenv("STEPFLOW_VAR_PLAIN", '{"a": [1.0]}')
    monkeypatch.setenv("STEPFLOW_VAR_NAMED", "second")
    monkeypatch.setenv("STEPFLOW_VAR_UNKNOWN", "not declared")
    assert cli(*arguments).json["result"] == ["unset", "unset"]
    assert cli(*arguments, "--env-variables").json["result"] == [{"a": [1.0]}, "second"]
    monkeypatch.setenv("MY_NAME", "not: json")
    assert cli(*arguments, "--env-variables").json["result"] == [{"a": [1.0]}, "not: json"]
    given = cli(*arguments, "--env-variables", "--variables-json", '{"plain": null, "named": 2}')
    assert given.json["result"] == [None, 2]


def test_a_variable_that_is_not_declared_is_warned_of(cli: CommandLine) -> None:
    cli.write("flow.yaml", VARIABLES)
    done = cli(*RUN, "--input-json", "1", "--variables-json", '{"plane": 1}')
    assert (done.code, done.json["result"]) == (0, ["unset", "unset"])
    assert "did you mean 'plain'?" in done.err


@pytest.mark.parametrize("form", ['{"twice": %s}', '{"steps": {"twice": %s}}'])
def test_overrides_change_steps_for_all_inputs(cli: CommandLine, form: str) -> None:
    patch = form % '{"$type": "merge_patch", "value": {"input": {"number": 50}}}'
    cli.write("changes.json", patch)
    cli.write("in.jsonl", '{"n": 1}\n{"n": 2}\n')
    assert cli(*RUN, "--input-json", '{"n": 1}', "--overrides-json", patch).json["result"] == 100
    done = cli(*RUN, "--inputs", "in.jsonl", "--overrides", "changes.json")
    assert [line["result"] for line in lines(done.out)] == [100, 100]


@pytest.mark.parametrize("patch", ["{component: 5}", "{input: {$step: none}}"])
def test_a_flow_that_overrides_break_is_an_invalid_outcome(cli: CommandLine, patch: str) -> None:
    done = cli(*RUN, "--input-json", "1", "--overrides-yaml", f"twice: {{value: {patch}}}")
    assert (done.code, done.json["outcome"]) == (1, "invalid")


def test_many_inputs_run_over_a_server_of_a_configuration(cli: CommandLine) -> None:
    cli.write("stepflow-config.yml", CONFIG)
    cli.write("in.jsonl", "".join(f'{{"n": {number}}}\n' for number in range(50)))
    done = cli("run", "--flow", "flow.yaml", "--inputs", "in.jsonl", "--json")
    assert [line["result"] for line in lines(done.out)] == [2 * number for number in range(50)]
    assert sum(event["event"] == "itemEnded" for event in lines(done.err)) == 50


def test_progress_over_many_items_tells_how_far_it_is_and_the_first_failures(tmp_path: Path) -> None:
    told: list[str] = []
    seconds = 0.0
    progress = BatchProgress(told.append, 1000, seconds=2.0, clock=lambda: seconds)
    progress(RunStarted("run", "flow", "name\nforged", None))
    progress(RunStarted("nested", "flow", "inner", 1, "run"))
    for item in range(1000):
        seconds = item / 100
        failed = FlowResultFailed(FlowError(-1, "one\ntwo"))
        progress(ItemEnded("run", item, failed if item % 2 else FlowResultSuccess(None)))
        progress(ItemEnded("nested", 0, failed))
    progress(RunEnded("nested", "failed", 1.0))
    progress(RunEnded("run", "failed", 10.0))
    assert told[:3] == ["flow     name forged on 1000 inputs", "run      run", "  failed   [1]  [-1] one two"]
    assert len([line for line in told if "[-1]" in line]) == 100
    assert "  … further failures are counted" in told
    assert [line for line in told if line.startswith("  201")] == ["  201 of 1000 items, 100 failed"]
    assert told[-1] == "failed in 10.000 s: 1000 of 1000 items, 500 failed"
    assert len(told) == 2 + 100 + 1 + 4 + 1
