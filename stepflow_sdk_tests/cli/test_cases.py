"""``stepflow-sdk test``."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from stepflow_sdk.flows import parse_yaml
from stepflow_sdk_tests.cli.conftest import CONFIG, FLOW, CommandLine

SHOP = ("--server", "shop:server")
CASES = """\
test:
  cases:
    - {name: right, input: {n: 1}, output: {outcome: success, result: 2}}
    - name: wrong
      input: {n: 2}
      output: {outcome: success, result: 5}
    - name: refused  # by the component
      input: {n: two}
      output:
        outcome: failed
        error:
          code: -32003
          message: 'invalid input: $.number: expected an integer, got "two"'
    - name: open
      input: {n: 4}
"""
GOOD = "test: {cases: [{name: right, input: {n: 1}, output: {outcome: success, result: 2}}]}\n"


def statuses(done: Any) -> dict[str, str]:
    return {case["name"]: case["status"] for file in done.json["files"] for case in file["cases"]}


def test_each_case_is_told_and_one_that_differs_fails(cli: CommandLine) -> None:
    cli.write("flow.yaml", FLOW + CASES)
    done = cli("test", "flow.yaml", *SHOP)
    assert done.code == 1
    assert done.out.splitlines() == [
        "flow.yaml",
        "  ok      right",
        "  FAILED  wrong",
        "          $.result: expected 5, got 4",
        "  ok      refused",
        "  ok      open  (no output to compare with)",
        "3 passed, 1 failed in 1 file",
    ]


def test_programs_get_one_object(cli: CommandLine) -> None:
    cli.write("flow.yaml", FLOW + CASES)
    done = cli("test", "flow.yaml", *SHOP, "--json")
    assert (done.code, done.json["success"], done.json["passed"], done.json["failed"]) == (1, False, 3, 1)
    right, wrong, *_ = done.json["files"][0]["cases"]
    assert right["outcome"] == {"outcome": "success", "result": 2}
    assert wrong["mismatches"] == [{"path": "$.result", "message": "expected 5, got 4"}]
    assert right["line"] == FLOW.count("\n") + 3


def test_cases_that_all_pass_exit_with_0(cli: CommandLine) -> None:
    cli.write("flow.yaml", FLOW + GOOD)
    assert cli("test", *SHOP).code == 0
    assert cli.process("test", *SHOP).out.endswith("1 passed in 1 file\n")


def test_single_cases_are_chosen_by_name(cli: CommandLine) -> None:
    cli.write("flow.yaml", FLOW + CASES)
    done = cli("test", *SHOP, "--json", "--case", "open", "--case", "right")
    assert (done.code, statuses(done)) == (0, {"right": "passed", "open": "passed"})
    done = cli("test", *SHOP, "--case", "rihgt")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'right'?" in done.err


def test_a_diff_shows_what_the_case_speaks_of_and_nothing_else(cli: CommandLine) -> None:
    cli.write(
        "flow.yaml",
        "output: {a: 1, b: [1, 2], c: not told}\n"
        "test: {cases: [{name: x, input: 1, output: {outcome: success, result: {b: [1, 3], a: 1}}}]}\n",
    )
    done = cli("test", "--diff")
    changed = [line.strip() for line in done.out.splitlines() if line.strip().startswith(("-  ", "+  "))]
    assert changed == ["-  - 3", "+  - 2"]
    assert "not told" not in done.out


def test_an_update_writes_what_differs_and_what_is_missing(cli: CommandLine) -> None:
    text = f"# at the top\n{FLOW}{CASES}# at the end\n"
    file = cli.write("flow.yaml", text)
    file.chmod(0o640)
    done = cli("test", *SHOP, "--update")
    assert done.code == 0
    assert "2 passed, 2 updated in 1 file" in done.out
    after = file.read_text("utf-8")
    assert file.stat().st_mode & 0o777 == 0o640
    kept = [
        "# at the top\n",
        "name: refused  # by the component\n",
        "# at the end\n",
        "{name: right, input: {n: 1}, output",
    ]
    assert all(part in after for part in kept)
    cases = {case["name"]: case for case in parse_yaml(after).value["test"]["cases"]}
    assert cases["wrong"]["output"] == {"outcome": "success", "result": 4}
    assert cases["open"]["output"] == {"outcome": "success", "result": 8}
    assert "data" not in cases["refused"]["output"]["error"]
    assert cli("test", *SHOP).code == 0
    assert {path.name for path in cli.directory.iterdir()} <= {"flow.yaml", "shop.py", "__pycache__"}


def test_an_update_with_nothing_to_write_leaves_the_file_alone(cli: CommandLine) -> None:
    file = cli.write("flow.yaml", FLOW + GOOD)
    before = file.stat().st_mtime_ns
    assert cli("test", *SHOP, "--update").code == 0
    assert file.stat().st_mtime_ns == before


def test_json_flows_are_tested_and_updated(cli: CommandLine) -> None:
    flow = {"output": {"$input": "$.n"}, "test": {"cases": [{"name": "one", "input": {"n": 1}}]}}
    file = cli.write("flow.json", json.dumps(flow, indent=4))
    assert cli("test", "flow.json", "--update").code == 0
    assert json.loads(file.read_text())["test"]["cases"][0]["output"] == {"outcome": "success", "result": 1}
    assert file.read_text().startswith('{\n    "output"')


def test_an_output_that_cannot_be_replaced_is_an_error(cli: CommandLine) -> None:
    file = cli.write("flow.yaml", "output: 2\nmetadata: {c: &m [{name: x, input: 1}]}\ntest: {cases: *m}\n")
    before = file.read_text()
    done = cli("test", "--update")
    assert done.code == 1
    assert "flow.yaml: " in done.out
    assert file.read_text() == before


def test_junit_has_a_suite_for_each_file(cli: CommandLine) -> None:
    cli.write("flow.yaml", FLOW + CASES.replace("name: open", 'name: "op\\u0001en <&>"'))
    cli.write("broken.yaml", "test: {cases: [{name: x}]}\n")
    assert cli("test", *SHOP, "--junit", "report.xml").code == 1
    root = ET.parse(cli.directory / "report.xml").getroot()
    assert {name: root.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "5",
        "failures": "1",
        "errors": "1",
    }
    assert [suite.get("name") for suite in root] == ["broken.yaml", "flow.yaml"]
    assert [case.get("name") for case in root[1]] == ["right", "wrong", "refused", "op\ufffden <&>"]
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == "$.result: expected 5, got 4"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("output: 1\ntest:\n  cases: [\n", "not YAML"),
        ("output: 1\ntest: {cases: [{input: 1}]}", "needs 'name'"),
        (
            "output: 1\ntest: {cases: [{name: x, input: 1, output: {outcome: failed, error: {code: 1}}}]}",
            "needs 'message'",
        ),
        ("output: {$step: a}\ntest: {cases: [{name: x, input: 1}]}", "there is no step 'a'"),
        ("output: 1\ntest: {configFile: c.yml}", "the flow has no test cases"),
        ("output: 1\ntest: {configFile: none.yml, cases: [{name: x, input: 1}]}", "the configuration cannot be used"),
        ("output: 1\ntest: {config: {plugins: 1, routes: {}}, cases: [{name: x, input: 1}]}", "'plugins'"),
    ],
)
@pytest.mark.parametrize("path", [".", "flow.yaml"])
def test_what_upstream_would_skip_in_silence_is_an_error(cli: CommandLine, text: str, told: str, path: str) -> None:
    cli.write("flow.yaml", text)
    cli.write("good.yaml", "output: 1\ntest: {cases: [{name: good, input: 1, output: {outcome: success, result: 1}}]}")
    done = cli("test", path, "good.yaml")
    assert done.code == 1
    assert told in done.out
    assert "1 passed, 1 error in 2 files" in done.out


def test_other_files_in_a_folder_are_passed_over(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / ".hidden").mkdir()
    cli.write("inner/flow.yaml", FLOW + GOOD)
    cli.write(".hidden/flow.yaml", "not: [a flow, with test cases")
    cli.write("package.json", '{"scripts": {"test": "x"}, "test": "y"}')
    cli.write("several.yaml", "a: 1\n---\nb: 2\n")
    done = cli("test", *SHOP, "--json")
    assert [file["file"] for file in done.json["files"]] == ["inner/flow.yaml"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("none",), "there is no 'none'"),
        (("flow.yml",), "did you mean 'flow.yaml'?"),
        (("--max-concurrency", "0"), "--max-concurrency"),
        (("--junit", "no/such/directory/report.xml"), "--junit no/such/directory"),
        (("--config", "none.yml"), "none.yml"),
        (("--config", "c.yml", "--server", "shop:server"), "give one of them"),
        (("--updaet",), "did you mean --update?"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(cli: CommandLine, arguments: tuple[str, ...], told: str) -> None:
    done = cli("test", *arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err


def test_a_folder_without_test_cases_and_a_flow_without_any_fail(cli: CommandLine) -> None:
    done = cli("test", *SHOP)
    assert (done.code, done.out) == (1, "no test cases in 0 files\n")
    assert "no flow here has a 'test' section" in done.err
    done = cli("test", *SHOP, "flow.yaml")
    assert done.code == 1
    assert "the flow has no test cases" in done.out


# ---- configurations -----------------------------------------------------------------------------------------------

INLINE = """\
plugins: {shop: {type: inprocess, server: 'shop:server'}}
routes: {"/{*component}": [{plugin: shop}]}
"""
NOWHERE = "plugins: {builtin: {type: builtin}}\nroutes: {}\n"


@pytest.mark.parametrize(
    ("files", "section"),
    [
        ({"stepflow-config.yml": INLINE}, ""),
        ({"stepflow-config.yml": CONFIG}, ""),
        ({"stepflow_config.test.yaml": INLINE, "stepflow-config.yml": NOWHERE}, ""),
        ({"flows/stepflow-config.test.yml": INLINE, "stepflow-config.test.yml": NOWHERE}, ""),
        ({"other.yml": INLINE, "stepflow-config.test.yml": NOWHERE}, "configFile: ../other.yml, "),
        ({"stepflow-config.test.yml": NOWHERE}, f"config: {json.dumps(parse_yaml(INLINE).value)}, "),
        ({"stepflow-config.test.yml": NOWHERE}, f"stepflow_config: {json.dumps(parse_yaml(INLINE).value)}, "),
    ],
)
def test_the_configuration_of_a_test_is_found(
    cli: CommandLine, tmp_path: Path, files: dict[str, str], section: str
) -> None:
    (tmp_path / "flows").mkdir()
    for name, text in files.items():
        cli.write(name, text)
    cli.write("flows/flow.yaml", FLOW + GOOD.replace("{cases", f"{{{section}cases"))
    done = cli.process("test", "flows")
    assert (done.code, done.out.splitlines()[-1]) == (0, "1 passed in 1 file")


MOCKED = """\
steps: [{id: s, component: /ask, input: {$input: $}}]
output: {$step: s}
test:
  config:
    plugins:
      model:
        type: mock
        components:
          /ask:
            input_schema: {}
            output_schema: {}
            behaviors:
              {question: why}: {outcome: success, result: because}
              ? [1, {deep: [null]}]
              : {outcome: success, result: listed}
              1: {outcome: success, result: one}
              "1": {outcome: success, result: text}
    routes:
      "/{*component}": [{plugin: model}]
  cases:
    - {name: object, input: {question: why}, output: {outcome: success, result: because}}
    - {name: list, input: [1, {deep: [null]}], output: {outcome: success, result: listed}}
    - {name: number, input: 1, output: {outcome: success, result: one}}
    - {name: text, input: "1", output: {outcome: success, result: wrong}}
"""


def test_a_configuration_in_the_flow_may_mock_components_by_any_input(cli: CommandLine) -> None:
    path = cli.write("flow.yaml", MOCKED)
    done = cli("test", "flow.yaml", "--json")
    assert statuses(done) == {"object": "passed", "list": "passed", "number": "passed", "text": "failed"}
    cli("test", "flow.yaml", "--update")
    updated = MOCKED.replace("{outcome: success, result: wrong}", '{"outcome": "success", "result": "text"}')
    assert path.read_text() == updated


def test_a_configuration_on_the_command_line_wins(cli: CommandLine) -> None:
    cli.write("stepflow-config.test.yml", NOWHERE)
    cli.write("mine.yml", INLINE)
    cli.write("flow.yaml", FLOW + GOOD)
    assert cli.process("test", "--config", "mine.yml").code == 0
    assert cli.process("test").code == 1


def test_two_configurations_for_tests_are_an_error_of_the_file(cli: CommandLine) -> None:
    cli.write("stepflow-config.test.yml", INLINE)
    cli.write("stepflow-config.test.yaml", INLINE)
    cli.write("flow.yaml", FLOW + GOOD)
    done = cli("test")
    assert done.code == 1
    assert "more than one configuration for tests" in done.out


def test_files_with_one_configuration_share_its_server(cli: CommandLine) -> None:
    cli.write(
        "counting.py",
        "import os\nfrom stepflow_sdk import StepflowServer\nserver = StepflowServer('c')\n"
        "@server.component\ndef pid() -> int:\n    return os.getpid()\nserver.run()\n",
    )
    cli.write(
        "stepflow-config.yml",
        "plugins: {c: {type: stepflow, transport: stdio, command: python, args: [counting.py]}}\n"
        'routes: {"/{*component}": [{plugin: c}]}\n',
    )
    flow = "steps: [{id: p, component: /pid}]\noutput: {$step: p}\ntest: {cases: [{name: x, input: 1}]}\n"
    for name in ("a.yaml", "b.yaml"):
        cli.write(name, flow)
    done = cli("test", "--json")
    first, second = (file["cases"][0]["outcome"]["result"] for file in done.json["files"])
    assert first == second


def test_a_hundred_cases_end_in_the_order_of_the_file(cli: CommandLine) -> None:
    cases = [
        {"name": f"n{n}", "input": {"n": n}, "output": {"outcome": "success", "result": 2 * n}} for n in range(100)
    ]
    cli.write("flow.yaml", FLOW + f"test: {json.dumps({'cases': cases})}\n")
    for most in ("1", "50"):
        done = cli("test", *SHOP, "--max-concurrency", most, "--json")
        assert list(statuses(done)) == [f"n{n}" for n in range(100)]
        assert done.json["passed"] == 100
