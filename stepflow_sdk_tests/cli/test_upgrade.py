"""``stepflow-sdk upgrade``, and what other commands say of old flows."""

import json

import pytest

from stepflow_sdk.flows import load_flow
from stepflow_sdk_tests.cli.conftest import CommandLine

pytestmark = pytest.mark.filterwarnings("ignore:.*stepflow-sdk upgrade:DeprecationWarning")

OLD = """\
schema: https://stepflow.org/schemas/v1/flow.json
name: doubling
description: d
steps:
# twice
- id: twice  # the step
  component: /double
  input: {number: {$from: {workflow: input}, path: number}}
output: {$from: {step: twice}}
"""
NEW = """\
name: doubling
description: d
steps:
# twice
- id: twice  # the step
  component: /double
  input: {number: {$input: $.number}}
output: {$step: twice}
"""
SKIPPING = OLD.replace("  component", "  skipIf: {$from: {workflow: input}, path: skip}\n  component")


def test_an_upgraded_flow_goes_to_stdout_with_its_comments(cli: CommandLine) -> None:
    file = cli.write("old.yaml", OLD)
    done = cli("upgrade", "old.yaml")
    assert (done.code, done.out, done.err) == (0, NEW, "")
    assert file.read_text() == OLD


def test_an_upgraded_flow_is_written_in_place_or_elsewhere(cli: CommandLine) -> None:
    file = cli.write("old.yaml", OLD)
    assert cli("upgrade", "old.yaml", "--output", "new.json").code == 0
    assert json.loads((file.parent / "new.json").read_text())["output"] == {"$step": "twice"}
    assert cli("upgrade", "old.yaml", "-o", "new.yaml").code == 0
    assert (file.parent / "new.yaml").read_text() == NEW
    done = cli("upgrade", "old.yaml", "--write")
    assert (done.code, done.out, file.read_text()) == (0, "", NEW)
    done = cli("upgrade", "old.yaml", "--write")
    assert (done.code, file.read_text()) == (0, NEW)
    assert "this is the language of 0.9 already" in done.err


def test_what_would_mean_something_else_is_told_and_not_written(cli: CommandLine) -> None:
    file = cli.write("old.yaml", SKIPPING)
    done = cli("upgrade", "old.yaml", "--write")
    assert (done.code, done.out, file.read_text()) == (1, "", SKIPPING)
    assert "error   4200  old.yaml:7: $.steps[0].skipIf: skipIf takes false, 0 and ''" in done.err
    assert "error   4200  old.yaml:10: $.output: the flow is skipped where step 'twice' is" in done.err
    assert "not written, for it would mean something else in 2 places" in done.err
    done = cli("upgrade", "old.yaml", "--write", "--force")
    assert done.code == 0
    assert "skipIf" not in file.read_text()
    load_flow(file)


def test_findings_for_programs_are_json(cli: CommandLine) -> None:
    cli.write("old.yaml", SKIPPING)
    done = cli("upgrade", "old.yaml", "--json")
    assert (done.code, done.json["kept"], done.json["written"]) == (1, False, False)
    assert {each["line"] for each in done.json["diagnostics"]} == {7, 10}
    cli.write("old.yaml", OLD)
    done = cli("upgrade", "old.yaml", "--json")
    assert (done.code, done.json["kept"]) == (0, True)
    assert done.json["document"]["output"] == {"$step": "twice"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "FLOW"),
        (["nothing.yaml"], "no such file"),
        (["old.yaml", "--write", "-o", "x.yaml"], "give one of them"),
        (["old.yaml", "-o", "x.txt"], "a .yaml, .yml or .json file"),
        (["old.yaml", "-o", "no/x.yaml"], "directory does not exist"),
    ],
)
def test_a_wrong_command_line_is_told(cli: CommandLine, arguments: list[str], said: str) -> None:
    cli.write("old.yaml", OLD)
    done = cli("upgrade", *arguments)
    assert done.code == 2
    assert said in done.err


def test_a_flow_that_cannot_be_read_is_refused(cli: CommandLine) -> None:
    cli.write("old.yaml", OLD.replace("{step: twice}", "{stpe: twice}"))
    done = cli("upgrade", "old.yaml")
    assert done.code == 1
    assert "old.yaml:9: $.output.$from" in done.err


def test_aliases_may_cost_the_layout_and_that_is_told(cli: CommandLine) -> None:
    text = OLD.replace("{$from: {workflow: input}, path", "{$from: &i {workflow: input}, path")
    cli.write("old.yaml", f"{text}metadata: {{i: *i}}\n")
    done = cli("upgrade", "old.yaml")
    assert done.code == 0
    assert "comments and style are lost" in done.err
    assert "# twice" not in done.out
    assert "metadata:\n  i:\n    workflow: input\n" in done.out


def test_mock_components_are_kept_in_yaml_and_told_for_json(cli: CommandLine) -> None:
    behaviors = "behaviors: {{number: 3}: {outcome: success, result: 6}}"
    component = f"{{input_schema: {{}}, output_schema: {{}}, {behaviors}}}"
    test = f"test: {{config: {{plugins: {{m: {{type: mock, components: {{/double: {component}}}}}}}, routes: {{}}}}}}\n"
    cli.write("old.yaml", OLD + test)
    done = cli("upgrade", "old.yaml")
    assert (done.code, done.out) == (0, NEW + test)
    done = cli("upgrade", "old.yaml", "-o", "new.json")
    assert done.code == 2
    assert "write it as YAML" in done.err


def test_an_old_flow_runs_with_a_warning(cli: CommandLine) -> None:
    cli.write("old.yaml", OLD)
    done = cli("run", "--flow", "old.yaml", "--server", "shop:server", "--input-json", '{"number": 4}')
    assert (done.code, done.json) == (0, {"outcome": "success", "result": 8})
    assert "warning: old.yaml:1: $.schema: this is the flow language of Stepflow 0.7" in done.err
    assert "'stepflow-sdk upgrade'" in done.err


def test_a_skipped_outcome_is_no_failure(cli: CommandLine) -> None:
    cli.write("old.yaml", SKIPPING)
    done = cli("run", "--flow", "old.yaml", "--server", "shop:server", "--input-json", '{"number": 4, "skip": 1}', "-q")
    assert (done.code, done.json) == (0, {"outcome": "skipped", "reason": "skipIf is true"})
    cli.write("inputs.jsonl", '{"number": 4, "skip": 1}\n{"number": 4, "skip": 0}\n')
    done = cli("run", "--flow", "old.yaml", "--server", "shop:server", "--inputs", "inputs.jsonl")
    assert done.code == 0
    assert [json.loads(line)["outcome"] for line in done.out.splitlines()] == ["skipped", "success"]


def test_validate_warns_of_an_old_flow(cli: CommandLine) -> None:
    cli.write("old.yaml", OLD)
    done = cli("validate", "--flow", "old.yaml", "--server", "shop:server")
    assert done.code == 0
    assert "warning 4102  old.yaml:1: $.schema: this is the flow language" in done.out


CASES = """\
test:
  cases:
  - name: skipped
    input: {number: 4, skip: true}
    output: {outcome: skipped}
  - name: not skipped
    input: {number: 4, skip: false}
    output: {outcome: OUTCOME, REST}
"""


def test_cases_of_old_flows_may_expect_a_skip(cli: CommandLine) -> None:
    cli.write("old.yaml", SKIPPING + CASES.replace("OUTCOME", "success").replace("REST", "result: 8"))
    done = cli("test", "old.yaml", "--server", "shop:server")
    assert done.code == 0
    assert "2 passed" in done.out


def test_a_case_that_was_not_skipped_is_told_and_updated(cli: CommandLine) -> None:
    text = SKIPPING + CASES.replace("OUTCOME", "skipped").replace("REST", "reason: no")
    file = cli.write("old.yaml", text)
    done = cli("test", "old.yaml", "--server", "shop:server", "--junit", "report.xml")
    assert done.code == 1
    assert "$.outcome: expected skipped, got success" in done.out
    assert "expected skipped, got success" in (file.parent / "report.xml").read_text()
    assert cli("test", "old.yaml", "--server", "shop:server", "--update").code == 0
    assert "outcome: success" in file.read_text()
    assert cli("test", "old.yaml", "--server", "shop:server").code == 0


def test_cases_of_old_flows_run_with_a_warning(cli: CommandLine) -> None:
    cli.write("old.yaml", SKIPPING + CASES.replace("OUTCOME", "success").replace("REST", "result: 8"))
    done = cli("test", "old.yaml", "--server", "shop:server")
    assert "warning: old.yaml:1: $.schema: this is the flow language of Stepflow 0.7" in done.err


def test_nothing_is_inferred_for_an_old_flow(cli: CommandLine) -> None:
    cli.write("old.yaml", OLD)
    done = cli("infer", "--flow", "old.yaml", "--server", "shop:server")
    assert (done.code, done.out) == (1, "")
    assert "'stepflow-sdk upgrade old.yaml' rewrites it" in done.err
