"""New outputs of test cases in the text of a flow."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows import canonical_json, dump_yaml, parse_json, parse_yaml
from stepflow_sdk.flows.rewriting import replace_outputs
from stepflow_sdk.flows.values import plain
from stepflow_sdk_tests.flows.strategies import JSON

NEW = {"outcome": "success", "result": [1, {"a": "x: # y"}]}
BLOCK = """\
# top
name:   spaced    # kept
test:
  cases:
    # before one
    - name: one  # kept
      input: {n: 1}
      output:    # of the old output
        outcome: success
        result: 3
      # before description

      description: "d"

    # before two
    - {name: two, input: 1}   # behind two
    - { name: three, output: {outcome: success, result: 1}, input: [1,
          2] }
    - name: four
      input: |+
        text

      # behind four
    - input: >-
        folded
        text
      name: five   # behind five
    - name: six
      output:
      input:
# end
steps: []
"""


def comments(text: str) -> list[str]:
    return [line.partition("#")[2].strip() for line in text.replace("x: # y", "").splitlines() if "#" in line]


@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_one_output_is_replaced_and_every_line_elsewhere_stays(index: int, line_break: str) -> None:
    before = BLOCK.replace("\n", line_break)
    after = replace_outputs(before, {index: NEW}, is_json=False)
    old, new = parse_yaml(before).value, parse_yaml(after).value
    old["test"]["cases"][index]["output"] = NEW
    assert old == new
    assert after.count("\r\n") == (after.count("\n") if line_break == "\r\n" else 0)
    # Only a comment inside of the old output may go with it.
    assert [text for text in comments(before) if text != "of the old output"] == [
        text for text in comments(after) if text != "of the old output"
    ]


def test_all_outputs_are_replaced_at_once() -> None:
    after = replace_outputs(BLOCK, dict.fromkeys(range(6), NEW), is_json=False)
    assert [case["output"] for case in parse_yaml(after).value["test"]["cases"]] == [NEW] * 6
    assert after.startswith("# top\nname:   spaced    # kept\n")
    assert after.endswith("# end\nsteps: []\n")


def test_a_text_without_a_last_line_break_and_with_a_mark_works() -> None:
    text = "\ufefftest:\n  cases:\n  - name: a\n    input: 1"
    after = replace_outputs(text, {0: NEW}, is_json=False)
    assert after.startswith("\ufefftest:")
    assert parse_yaml(after).value["test"]["cases"][0] == {"name": "a", "input": 1, "output": NEW}


@given(st.dictionaries(st.integers(0, 5), JSON.map(lambda value: {"outcome": "success", "result": value}), min_size=1))
@settings(max_examples=100, deadline=None)
def test_whatever_is_written_is_what_is_read(outputs: dict[int, Any]) -> None:
    cases = parse_yaml(replace_outputs(BLOCK, outputs, is_json=False)).value["test"]["cases"]
    for index, output in outputs.items():
        assert canonical_json(cases[index]["output"]) == canonical_json(output)


@given(
    st.lists(st.fixed_dictionaries({"name": st.text(max_size=5), "input": JSON}, optional={"output": JSON}), min_size=1)
)
@settings(max_examples=60, deadline=None)
def test_the_last_case_of_any_file_can_be_updated(cases: list[Any]) -> None:
    document = {"name": "n", "test": {"cases": cases}, "output": 1}
    in_one_line: str = yaml.dump(plain(document), default_flow_style=True, allow_unicode=True, width=40)
    for text in (dump_yaml(document), in_one_line):
        after = parse_yaml(replace_outputs(text, {len(cases) - 1: NEW}, is_json=False)).value
        assert after["test"]["cases"][-1]["output"] == NEW


@pytest.mark.parametrize("indent", ["", "  ", "    ", "\t"])
def test_json_keeps_its_indentation(indent: str) -> None:
    document = {"name": "é", "test": {"cases": [{"name": "a", "input": 1.0}]}}
    text = json.dumps(document, indent=indent or None, ensure_ascii=False) + "\n"
    after = replace_outputs(text, {0: NEW}, is_json=True)
    cases = [{"name": "a", "input": 1.0, "output": NEW}]
    wanted = {"name": "é", "test": {"cases": cases}}
    assert after == json.dumps(wanted, indent=indent or None, ensure_ascii=False) + "\n"
    assert canonical_json(parse_json(after).value) == canonical_json(wanted)


@pytest.mark.parametrize(
    "text",
    [
        "a: &c [{name: x, input: 1}]\ntest: {cases: *c}",
        "a: &c {name: x, input: 1}\ntest:\n  cases:\n  - *c",
        "test:\n  cases:\n  - name: x\n    input: 1\n    output: &o {outcome: success, result: 1}\na: *o",
    ],
)
def test_an_output_that_has_no_place_of_its_own_is_refused(text: str) -> None:
    with pytest.raises(InvalidDocument):
        replace_outputs(text, {0: NEW}, is_json=False)
