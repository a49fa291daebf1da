"""``stepflow-sdk run``."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stepflow_sdk.flows import parse_yaml
from stepflow_sdk_tests.cli.conftest import CONFIG, FLOW, CommandLine

RUN = ("run", "--flow", "flow.yaml")
QUICK_RETRY = "retry: {transportMaxRetries: 2, backoff: {type: constant, delayMs: 0}}\n"
SHOP = ("--server", "shop:server")


def test_the_outcome_is_alone_on_stdout_and_the_steps_are_told_on_stderr(cli: CommandLine) -> None:
    done = cli(*RUN, *SHOP, "--input-json", '{"n": 4}')
    assert done.code == 0
    assert done.json == {"outcome": "success", "result": 8}
    for told in ("doubling", "start    twice", "done     twice", "/double", "completed in"):
        assert told in done.err


def test_a_configuration_beside_the_flow_is_found_from_elsewhere(cli: CommandLine, tmp_path: Path) -> None:
    cli.write("stepflow-config.yml", CONFIG)
    (elsewhere := tmp_path / "else where").mkdir()
    os.chdir(elsewhere)
    done = cli("run", "--flow", "../flow.yaml", "--input-json", '{"n": 4}')
    assert (done.code, done.json["result"]) == (0, 8)


def test_a_configuration_in_the_current_directory_is_found(cli: CommandLine, tmp_path: Path) -> None:
    cli.write("stepflow-config.yml", CONFIG)
    (tmp_path / "flows").mkdir()
    cli.write("flows/flow.yaml", FLOW)
    assert cli("run", "--flow", "flows/flow.yaml", "--input-json", '{"n": 4}').json["result"] == 8


def test_two_configurations_in_one_place_are_refused(cli: CommandLine) -> None:
    cli.write("stepflow-config.yml", CONFIG)
    cli.write("stepflow-config.yaml", CONFIG)
    done = cli(*RUN, "--input-json", '{"n": 4}')
    assert (done.code, done.out) == (2, "")
    assert "stepflow-config.yml" in done.err
    assert "stepflow-config.yaml" in done.err


def test_without_servers_the_builtin_components_can_be_called(cli: CommandLine) -> None:
    cli.write(
        "flow.yaml",
        "steps: [{id: p, component: /builtin/put_blob, input: {data: 1, blob_type: data}}]\noutput: {$step: p}",
    )
    done = cli(*RUN, "--input-json", "null")
    assert len(done.json["result"]["blob_id"]) == 64
    assert "only the components under /builtin/" in done.err


@pytest.mark.parametrize(("name", "text"), [("in.json", '{"n": 5}'), ("in.yaml", "n: 5"), ("in.yml", "# text\nn: 0x5")])
def test_the_input_comes_from_a_file(cli: CommandLine, name: str, text: str) -> None:
    cli.write(name, text)
    assert cli(*RUN, *SHOP, "--input", name).json["result"] == 10


def test_the_input_comes_from_yaml_text(cli: CommandLine) -> None:
    assert cli(*RUN, *SHOP, "--input-yaml", "n: 5").json["result"] == 10


@pytest.mark.parametrize(("form", "text"), [("json", '{"n": 5}'), ("yaml", "n: 5")])
def test_the_input_comes_from_stdin(cli: CommandLine, form: str, text: str) -> None:
    assert cli.process(*RUN, *SHOP, "--stdin-format", form, stdin=text).json["result"] == 10
    assert cli.process(*RUN, *SHOP, "--stdin-format", form, "--input", "-", stdin=text).json["result"] == 10


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--input", "none.json"), "there is no such file"),
        (("--input", "flow.yml"), "did you mean 'flow.yaml'?"),
        (("--input-json", '{"n": }'), "--input-json: line 1:7"),
        (("--input-json", "NaN"), "--input-json"),
        (("--input-yaml", "a: [1"), "--input-yaml: line 2"),
        (("--input-json", "1", "--input-yaml", "1"), "--input-json or --input-yaml"),
        ((), "stdin is empty"),
    ],
)
def test_a_wrong_input_is_a_usage_error_and_nothing_runs(
    cli: CommandLine, arguments: tuple[str, ...], told: str
) -> None:
    done = cli.process(*RUN, *SHOP, *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert "start" not in done.err


def test_a_terminal_without_an_input_option_is_told_the_options(cli: CommandLine) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "stepflow_sdk", *RUN, *SHOP]
    done = subprocess.run(command, cwd=cli.directory, stdin=theirs, capture_output=True, text=True, check=False)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert "--input-json" in done.stderr


@pytest.mark.parametrize("name", ["out.json", "out.yaml", "out.yml", "out"])
def test_the_outcome_goes_to_a_file_in_the_form_of_its_extension(cli: CommandLine, name: str) -> None:
    done = cli(*RUN, *SHOP, "--input-json", '{"n": 4}', "--output", name)
    assert done.out == ""
    assert name in done.err
    text = (cli.directory / name).read_text("utf-8")
    assert text.startswith("{") == (not name.endswith(("yaml", "yml")))
    assert parse_yaml(text).value == {"outcome": "success", "result": 8}


def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(cli: CommandLine) -> None:
    for place in ("no/such/directory/out.json", "."):
        done = cli(*RUN, *SHOP, "--input-json", '{"n": 4}', "--output", place)
        assert done.code == 2
        assert place in done.err
        assert "start" not in done.err


def test_an_interrupted_write_leaves_nothing_else_in_the_directory(cli: CommandLine) -> None:
    before = {path.name for path in cli.directory.iterdir()}
    cli(*RUN, *SHOP, "--input-json", '{"n": 4}', "--output", "out.json")
    assert {path.name for path in cli.directory.iterdir()} - before - {"__pycache__"} == {"out.json"}


def test_a_failed_flow_exits_with_1_and_with_zero_where_that_is_asked_for(cli: CommandLine) -> None:
    arguments = (*RUN, *SHOP, "--input-json", '{"n": "four"}')
    done = cli(*arguments)
    assert done.code == 1
    assert done.json["outcome"] == "failed"
    assert done.json["error"]["code"] == -32003
    assert "the flow failed: [-32003]" in done.err
    forgiven = cli(*arguments, "--exit-zero")
    assert (forgiven.code, forgiven.json) == (0, done.json)


def test_a_component_that_is_not_there_is_told_with_the_nearest_one(cli: CommandLine) -> None:
    cli.write("flow.yaml", FLOW.replace("/double", "/duble"))
    done = cli(*RUN, *SHOP, "--input-json", '{"n": 1}')
    assert done.code == 1
    assert "/double" in done.err


def test_a_refused_flow_is_an_invalid_outcome_with_its_diagnostics(cli: CommandLine) -> None:
    cli.write("flow.yaml", FLOW.replace("$step: twice", "$step: twise"))
    done = cli(*RUN, *SHOP, "--input-json", '{"n": 4}')
    assert done.code == 1
    assert done.json["outcome"] == "invalid"
    (fatal,) = [each for each in done.json["diagnostics"] if each["level"] == "fatal"]
    assert (fatal["code"], fatal["line"], fatal["path"]) == (3003, 11, "$.output.$step")
    assert "flow.yaml:11" in done.err
    assert "did you mean 'twice'?" in done.err


def test_a_flow_that_is_not_yaml_is_an_invalid_outcome(cli: CommandLine) -> None:
    cli.write("flow.yaml", "steps: [")
    done = cli(*RUN, *SHOP, "--input-json", "1", "--output", "out.json")
    assert (done.code, done.out) == (1, "")
    assert json.loads((cli.directory / "out.json").read_text())["outcome"] == "invalid"


def test_a_flow_that_is_not_there_is_a_usage_error(cli: CommandLine) -> None:
    done = cli("run", "--flow", "flow.yml", *SHOP)
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'flow.yaml'?" in done.err


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("transport:", "transprt:", "did you mean 'transport'?"),
        ("plugin: shop", "plugin: shpo", "did you mean 'shop'?"),
        ("type: stepflow", "type: stepflo", "shop"),
        ("plugins:", "plugins: [", "stepflow-config.yml:"),
    ],
)
def test_a_refused_configuration_exits_with_2_and_the_reason(cli: CommandLine, old: str, new: str, told: str) -> None:
    cli.write("stepflow-config.yml", CONFIG.replace(old, new))
    done = cli(*RUN, "--input-json", '{"n": 4}')
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_a_server_that_does_not_start_is_told_with_the_end_of_its_stderr(cli: CommandLine) -> None:
    cli.write("stepflow-config.yml", CONFIG.replace("[-m, shop]", "[-m, chop]") + "retry: {transportMaxRetries: 0}\n")
    done = cli(*RUN, "--input-json", '{"n": 4}')
    assert done.code == 1
    assert done.json["outcome"] == "failed"
    assert "No module named chop" in done.err


@pytest.mark.parametrize("config", [True, False])
def test_what_components_print_does_not_reach_stdout(cli: CommandLine, config: bool) -> None:
    cli.write("flow.yaml", "steps: [{id: n, component: /noise}]\noutput: {$step: n}")
    if config:
        cli.write("stepflow-config.yml", CONFIG)
    done = cli.process(*RUN, *([] if config else SHOP), "--input-json", "null", "--log-level", "info")
    assert done.json == {"outcome": "success", "result": "quiet"}
    for printed in ("a print", "a write", "a child"):
        assert printed in done.err


def test_progress_as_json_has_one_event_a_line(cli: CommandLine) -> None:
    done = cli(*RUN, *SHOP, "--input-json", '{"n": 4}', "--json")
    events = [json.loads(line) for line in done.err.splitlines()]
    names = ["runStarted", "stepStarted", "stepEnded", "itemEnded", "runEnded"]
    assert [event["event"] for event in events] == names
    assert len({event["run_id"] for event in events}) == 1
    assert events[2]["status"] == "completed"


def test_attempts_that_failed_are_told_with_the_reason(cli: CommandLine) -> None:
    cli.write("stepflow-config.yml", CONFIG.replace("[-m, shop]", "[-m, chop]") + QUICK_RETRY)
    done = cli(*RUN, "--input-json", '{"n": 4}')
    assert done.err.count("start    twice") == 1
    assert done.err.count("retry    twice") == 2
    assert done.err.count("failed   twice") == 1
    lines = cli(*RUN, "--input-json", '{"n": 4}', "--json").err.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["attempt"] for event in events if event["event"] == "stepStarted"] == [1, 2, 3]
    assert [event["attempt"] for event in events if event["event"] == "stepRetried"] == [1, 2]


def test_quiet_says_nothing(cli: CommandLine) -> None:
    assert cli(*RUN, *SHOP, "--input-json", '{"n": 4}', "--quiet").err == ""


def test_quiet_passes_over_a_missing_configuration(cli: CommandLine) -> None:
    cli.write("constant.json", '{"name": "n", "description": "d", "output": 1}')
    constant = ("run", "--flow", "constant.json", "--input-json", "null")
    assert cli(*constant).err.startswith("no configuration found")
    assert cli(*constant, "--quiet").err == ""


def test_a_failure_behind_a_default_is_told(cli: CommandLine) -> None:
    cli.write(
        "flow.yaml",
        "steps:\n"
        "  - {id: f, component: /fail, input: {message: no luck}, onError: {action: useDefault, defaultValue: 7}}\n"
        "output: {$step: f}",
    )
    done = cli(*RUN, *SHOP, "--input-json", "null")
    assert done.json == {"outcome": "success", "result": 7}
    assert "default  f" in done.err
    assert "no luck" in done.err


def test_nested_runs_are_told_with_the_index_of_the_input(cli: CommandLine) -> None:
    inner = "{name: inner, steps: [{id: d, component: /double, input: {number: {$input: $}}}], output: {$step: d}}"
    cli.write(
        "flow.yaml",
        f"steps: [{{id: m, component: /builtin/map, input: {{items: [1, x], workflow: {{$literal: {inner}}}}}}}]\n"
        "output: {$step: m, path: failed}",
    )
    done = cli(*RUN, *SHOP, "--input-json", "null")
    assert done.json["result"] == 1
    for told in ("inner on 2 inputs", "done     d[0]", "failed   d[1]"):
        assert told in done.err


def test_texts_of_others_cannot_write_lines_or_escapes_to_the_terminal(cli: CommandLine) -> None:
    cli.write(
        "flow.yaml",
        'name: "a\\nrun      forged\\e[2J"\n'
        'steps: [{id: "x\\ny", component: /fail, input: {message: "one\\ntwo\\e[31m\\rthree"}}]\n'
        'output: {$step: "x\\ny"}',
    )
    done = cli(*RUN, *SHOP, "--input-json", "null")
    assert done.json["error"]["message"] == "one\ntwo\x1b[31m\rthree"
    assert "\x1b" not in done.err
    assert not [line for line in done.err.splitlines() if line.startswith(("run      forged", "y"))]


def test_failures_deep_in_a_long_nested_run_are_told(cli: CommandLine) -> None:
    inner = "{steps: [{id: d, component: /double, input: {number: {$input: $}}}], output: {$step: d}}"
    items = ", ".join([*(str(number) for number in range(300)), "lost"])
    cli.write(
        "flow.yaml",
        f"steps: [{{id: m, component: /builtin/map, input: {{items: [{items}], workflow: {{$literal: {inner}}}}}}}]\n"
        "output: {$step: m, path: failed}",
    )
    done = cli(*RUN, *SHOP, "--input-json", "null")
    assert done.json["result"] == 1
    assert "failed   d[300]" in done.err


def test_long_nested_runs_do_not_flood_the_terminal(cli: CommandLine) -> None:
    inner = "{steps: [{id: d, component: /double, input: {number: {$input: $}}}], output: {$step: d}}"
    items = ", ".join(str(number) for number in range(500))
    cli.write(
        "flow.yaml",
        f"steps: [{{id: m, component: /builtin/map, input: {{items: [{items}], workflow: {{$literal: {inner}}}}}}}]\n"
        "output: {$step: m, path: successful}",
    )
    done = cli(*RUN, *SHOP, "--input-json", "null")
    assert done.json["result"] == 500
    assert len(done.err.splitlines()) < 120
    assert "501 steps" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("config", [True, False])
@pytest.mark.parametrize(
    ("number", "code", "told"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signals_stop_everything_that_was_started(
    cli: CommandLine, config: bool, number: signal.Signals, code: int, told: str
) -> None:
    cli.write("flow.yaml", "steps: [{id: w, component: /wait}]\noutput: {$step: w}")
    cli.write("stepflow-config.yml", CONFIG)
    command = [sys.executable, "-m", "stepflow_sdk", *RUN, *([] if config else SHOP), "--input-json", "null"]
    with subprocess.Popen(
        command, cwd=cli.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        while "start" not in process.stderr.readline():
            pass
        process.send_signal(number)
        # The ends of both pipes come only when the server, which has them too, is gone.
        err, out = process.stderr.read(), process.stdout.read()
        assert process.wait(60) == code
    assert out == ""
    assert told in err
    assert "Traceback" not in err
