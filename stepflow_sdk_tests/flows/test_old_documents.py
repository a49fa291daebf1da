"""Reading documents of 0.7 and 0.8."""

from typing import Any

import pytest
from hypothesis import given, settings

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows import OldFlow, as_mermaid, check_flow, load_flow, parse_flow, parse_yaml, require_runnable
from stepflow_sdk_tests.flows.old_strategies import documents

FLOW = """\
schema: https://stepflow.org/schemas/v1/flow.json
name: old
description: d
inputSchema: {type: object, properties: {flag: {type: boolean}}}
variables: {type: object, properties: {limit: {type: integer, default: 3}}}
steps:
- id: a
  component: /a
  skipIf: {$from: {workflow: input}, path: flag}
  input: {$from: {variable: limit}}
  outputSchema: {type: string}
- id: b
  component: /b
  input: {x: {$from: {step: a}, path: $.y, onSkip: {action: useDefault, defaultValue: 7}}}
  onError: {action: useDefault, defaultValue: [{$from: {workflow: input}}]}
output: {$from: {step: b}}
"""


def old(document: Any) -> OldFlow:
    flow = load_flow(document)
    assert isinstance(flow, OldFlow)
    return flow


def refused(document: Any) -> dict[str, str]:
    with pytest.raises(InvalidFlow) as caught:
        load_flow(document)
    return {found["path"]: found["formatted"] for found in caught.value.diagnostics if found["level"] != "warning"}


def test_an_old_document_is_read_with_a_warning_that_names_the_upgrade() -> None:
    flow = old(parse_yaml(FLOW, file="old.yaml"))
    (warning,) = [found for found in check_flow(flow) if found.kind == "deprecatedLanguage"]
    assert (warning.level, warning.file, warning.line) == ("warning", "old.yaml", 1)
    assert "Stepflow 0.8 (schema, inputSchema, variables, skipIf, …)" in warning.formatted
    assert "'stepflow-sdk upgrade'" in warning.formatted


@pytest.mark.parametrize(
    ("document", "language"),
    [
        ({"schema": "s"}, "0.7"),
        ({"output": {"$from": {"workflow": "input"}}}, "0.7"),
        ({"steps": [{"id": "a", "component": "/a", "skipIf": False}]}, "0.7"),
        ({"variables": {}}, "0.8"),
        ({"schema": "s", "variables": None}, "0.7"),
        ({"schema": "s", "steps": [{"id": "a", "component": "/a", "mustExecute": False}]}, "0.8"),
        ({"output": [{"x": {"$from": {"variable": "v"}}}]}, "0.8"),
        ({"schema": "s", "output": {"$literal": {"$from": {"variable": "v"}}}}, "0.7"),
    ],
)
def test_a_document_with_variables_or_must_execute_is_one_of_0_8(document: dict[str, Any], language: str) -> None:
    assert old(document).language == language
    assert old(old(document).to_json()).language == language


def test_the_schemas_of_an_old_document_are_those_of_the_flow() -> None:
    flow = old(parse_yaml(FLOW))
    assert flow.schemas == {
        "type": "object",
        "properties": {
            "input": {"type": "object", "properties": {"flag": {"type": "boolean"}}},
            "variables": {"type": "object", "properties": {"limit": {"type": "integer", "default": 3}}},
            "steps": {"type": "object", "properties": {"a": {"type": "string"}}},
        },
    }
    assert flow.variables["limit"].default == 3


@settings(max_examples=150, deadline=None)
@given(documents())
def test_the_normal_form_of_an_old_document_is_the_same_flow_again(document: dict[str, Any]) -> None:
    flow = old(document)
    again = old(flow.to_json())
    assert again.to_json() == flow.to_json()
    assert (again.id, again.language) == (flow.id, flow.language)
    require_runnable(flow)


@pytest.mark.parametrize(
    ("value", "path", "said"),
    [
        ({"$from": "a"}, "$.output.$from", "not the string 'a'; to hand the object on as data, put '$literal'"),
        ({"$from": {}}, "$.output.$from", "exactly one of them"),
        ({"$from": {"step": "a", "workflow": "input"}}, "$.output.$from", "exactly one of them"),
        ({"$from": {"step": 3}}, "$.output.$from", "{step: id}"),
        ({"$from": {"workflow": "output"}}, "$.output.$from.workflow", "'input', not 'output'"),
        ({"$from": {"variable": ""}}, "$.output.$from.variable", "must not be empty"),
        ({"$from": {"step": "a"}, "path": 3}, "$.output.path", "a path is a string"),
        ({"$from": {"step": "a"}, "path": "$["}, "$.output.path", "never closed"),
        ({"$from": {"step": "a"}, "onSkip": "x"}, "$.output.onSkip", "{action: skip} or"),
        ({"$from": {"step": "a"}, "onSkip": {"action": "fail"}}, "$.output.onSkip", "not action the string 'fail'"),
    ],
)
def test_an_ill_formed_reference_is_refused_with_its_place(value: Any, path: str, said: str) -> None:
    assert said in refused({"schema": "s", "output": value})[path]


@pytest.mark.parametrize(
    ("step", "path", "said"),
    [
        ({"onError": {"action": "stop"}}, "$.steps[0].onError.action", "'fail', 'skip', 'useDefault' or 'retry'"),
        ({"onError": {}}, "$.steps[0].onError", "needs 'action'"),
        ({"inputSchema": 3}, "$.steps[0].inputSchema", "a JSON Schema"),
        ({"mustExecute": 1}, "$.steps[0].mustExecute", "true or false"),
    ],
)
def test_an_ill_formed_step_is_refused_with_its_place(step: dict[str, Any], path: str, said: str) -> None:
    assert said in refused({"schema": "s", "steps": [{"id": "a", "component": "/a", **step}]})[path]


def test_references_of_every_kind_are_checked() -> None:
    step = {
        "id": "b",
        "component": "/b",
        "skipIf": {"$from": {"step": "x"}},
        "input": {"$from": {"step": "b"}},
        "onError": {"action": "useDefault", "defaultValue": {"$from": {"step": "y"}}},
    }
    with pytest.raises(InvalidFlow) as caught:
        require_runnable(old({"steps": [step], "output": {"$from": {"step": "z"}}}))
    found = {each["path"]: each["code"] for each in caught.value.diagnostics if each["level"] == "fatal"}
    assert found == {
        "$.steps[0].input.$from.step": 3002,
        "$.steps[0].skipIf.$from.step": 3003,
        "$.steps[0].onError.defaultValue.$from.step": 3003,
        "$.output.$from.step": 3003,
    }


@pytest.mark.parametrize(("more", "codes"), [({}, set[int]()), ({"variables": {}}, {1000})])
def test_a_step_that_nobody_needs_runs_in_0_7_alone(more: dict[str, Any], codes: set[int]) -> None:
    flow = old({"schema": "s", "steps": [{"id": "a", "component": "/a"}], "output": 1, **more})
    assert {found.code for found in check_flow(flow)} & {1000} == codes


def test_keys_that_mean_nothing_are_warned_of() -> None:
    document = {
        "schema": "s",
        "steps": [{"id": "a", "component": "/a", "skip_if": True, "depends_on": []}],
        "output": {"$from": {"step": "a", "of": 1}, "on_skip": {}, "onSkip": {"action": "skip", "default": 1}},
    }
    told = {found.path: found.formatted for found in old(document).warnings}
    assert "did you mean 'skipIf'?" in told["$.steps[0].skip_if"]
    assert "refer to, and for nothing else" in told["$.steps[0].depends_on"]
    assert "did you mean 'onSkip'?" in told["$.output.on_skip"]
    assert {"$.output.$from.of", "$.output.onSkip.default"} <= set(told)


def test_tests_may_expect_a_skip_in_old_documents_alone() -> None:
    case = {"name": "n", "input": None, "output": {"outcome": "skipped", "reason": "r"}}
    flow = old({"schema": "s", "test": {"cases": [case]}})
    assert flow.test is not None
    assert flow.test["cases"] == [case]
    told = refused({"test": {"cases": [case]}})
    assert "only flows of 0.7 and 0.8 are skipped" in told["$.test.cases[0].output.outcome"]
    wrong = {"name": "n", "input": None, "output": {"outcome": "skiped"}}
    assert (
        "'success', 'skipped' or 'failed'"
        in refused({"schema": "s", "test": {"cases": [wrong]}})["$.test.cases[0].output.outcome"]
    )


def test_servers_of_tests_are_refused_with_what_to_write_instead() -> None:
    test = {"servers": {"x": {"command": "python"}}, "cases": []}
    assert "plugin under test.config.plugins" in refused({"schema": "s", "test": test})["$.test.servers"]
    assert old({"schema": "s", "test": {"servers": {}, "cases": []}}).test == {}


def test_an_old_flow_can_be_drawn() -> None:
    text = as_mermaid(old(parse_yaml(FLOW)))
    assert "may be skipped" in text


def test_a_flow_of_the_new_language_is_no_old_one() -> None:
    assert not isinstance(parse_flow({"output": {"$input": "$"}}), OldFlow)
