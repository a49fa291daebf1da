"""Rewriting documents of 0.7 and 0.8 in the language of 0.9."""

from typing import Any

import pytest
from hypothesis import given, settings

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows import OldFlow, canonical_json, parse_flow, parse_yaml, require_runnable
from stepflow_sdk.flows.upgrade import Upgrade, upgrade_flow
from stepflow_sdk_tests.flows.old_strategies import documents

INPUT = {"$from": {"workflow": "input"}}
FLAG = {**INPUT, "path": "flag"}
BOOLEAN = {"type": "object", "properties": {"flag": {"type": "boolean"}}, "required": ["flag"]}
ZERO = {"action": "useDefault", "defaultValue": 0}


def ref(step: str, path: str | None = None, **more: Any) -> dict[str, Any]:
    return {"$from": {"step": step}, **({} if path is None else {"path": path}), **more}


def step(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "component": f"/{name}", **more}


def upgraded(output: Any, *steps: dict[str, Any], **more: Any) -> Upgrade:
    return upgrade_flow({"schema": "s", "steps": list(steps), "output": output, **more})


def kept(output: Any, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    result = upgraded(output, *steps, **more)
    assert result.is_kept, result.findings
    document: dict[str, Any] = result.document
    assert "schema" not in document
    return document


def losses(output: Any, *steps: dict[str, Any], **more: Any) -> dict[str | None, str]:
    return {
        found.path: found.formatted for found in upgraded(output, *steps, **more).findings if found.level == "error"
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (INPUT, {"$input": "$"}),
        ({**INPUT, "path": "name"}, {"$input": "$.name"}),
        ({"a": [1, {**INPUT, "path": "$.x[0]"}]}, {"a": [1, {"$input": "$.x[0]"}]}),
        (ref("a"), {"$step": "a"}),
        (ref("a", "$.b", onSkip=ZERO), {"$step": "a", "path": "$.b"}),
        ({"$literal": ref("a")}, {"$literal": ref("a")}),
        ({"$ref": "#/x", "plain": None}, {"$ref": "#/x", "plain": None}),
    ],
)
def test_references_are_those_of_the_new_language(old: Any, new: Any) -> None:
    assert kept([ref("a"), old], step("a"))["output"] == [{"$step": "a"}, new]


@pytest.mark.parametrize(
    ("source", "new"),
    [
        ({"variable": "v"}, {"$variable": "v"}),
        ({"variable": "a b"}, {"$variable": "a b"}),
        ({"variable": "a.b"}, {"$variable": '$["a.b"]'}),
        ({"variable": "w", "default": {"x": 1}}, {"$variable": "w", "default": {"x": 1}}),
        ({"variable": "w", "default": {"$step": 1}}, {"$variable": "w", "default": {"$literal": {"$step": 1}}}),
    ],
)
def test_variables_are_those_of_the_new_language(source: Any, new: Any) -> None:
    assert kept({"$from": source})["output"] == new


def test_a_variable_whose_name_no_path_can_have_is_told() -> None:
    assert "cannot be written in 0.9" in losses({"$from": {"variable": """a."]b']"""}})["$.output"]


def test_the_path_into_a_variable_becomes_a_part_of_it() -> None:
    assert kept({"$from": {"variable": "v"}, "path": "a.b"})["output"] == {"$variable": "$.v.a.b"}
    told = losses({"$from": {"variable": "v", "default": {"a": 1}}, "path": "a"})
    assert "also stands for a path that leads nowhere" in told["$.output"]


def test_a_default_beside_that_of_the_schema_is_no_more_the_first() -> None:
    variables = {"type": "object", "properties": {"v": {"type": "integer"}, "w": {"default": 1}}}
    assert (
        "comes before that of the schema of variable 'v'"
        in losses({"$from": {"variable": "v", "default": 5}}, variables=variables)["$.output"]
    )
    same = [{"$from": {"variable": "v", "default": 0}}, {"$from": {"variable": "w", "default": 1}}]
    assert kept(same, variables=variables)["output"][0] == {"$variable": "v", "default": 0}


def test_a_step_with_a_boolean_condition_is_referred_to_under_it() -> None:
    document = kept(
        ref("b", onSkip=ZERO), step("a", skipIf=FLAG), step("b", input=[ref("a", "$.x")]), inputSchema=BOOLEAN
    )
    assert document["output"] == {"$if": {"$input": "$.flag"}, "then": 0, "else": {"$step": "b"}}
    assert document["steps"] == [step("a"), step("b", input=[{"$step": "a", "path": "$.x"}])]
    assert document["schemas"]["properties"]["input"] == BOOLEAN


def test_two_conditions_become_one_after_the_other() -> None:
    schema = {
        "type": "object",
        "properties": {"f": {"type": "boolean"}, "g": {"type": "boolean"}},
        "required": ["f", "g"],
    }
    document = kept(
        [ref("a", onSkip=ZERO), ref("b", onSkip=ZERO)],
        step("a", skipIf={**INPUT, "path": "f"}),
        step("b", skipIf={**INPUT, "path": "g"}, input=ref("a")),
        inputSchema=schema,
    )
    both = {"$if": {"$input": "$.g"}, "then": True, "else": {"$input": "$.f"}}
    assert document["output"][1] == {"$if": both, "then": 0, "else": {"$step": "b"}}


def test_a_condition_that_would_be_skipped_does_not_skip() -> None:
    document = kept(
        ref("a", onSkip=ZERO),
        step("t", skipIf=FLAG, outputSchema={"type": "boolean"}),
        step("a", skipIf=ref("t")),
        inputSchema=BOOLEAN,
    )
    condition = {"$if": {"$input": "$.flag"}, "then": False, "else": {"$step": "t"}}
    assert document["output"] == {"$if": condition, "then": 0, "else": {"$step": "a"}}


@pytest.mark.parametrize(
    ("constant", "output"),
    [
        (False, {"$step": "a"}),
        (0, {"$step": "a"}),
        ("", {"$step": "a"}),
        (1, {"$if": True, "then": 0, "else": {"$step": "a"}}),
    ],
)
def test_a_condition_that_is_a_constant_is_known(constant: Any, output: Any) -> None:
    assert kept(ref("a", onSkip=ZERO), step("a", skipIf=constant))["output"] == output


def test_a_condition_that_may_be_no_boolean_is_told_and_null_stays_true() -> None:
    result = upgraded(ref("a", onSkip=ZERO), step("a", skipIf=FLAG))
    (loss,) = result.findings
    assert (loss.path, loss.level) == ("$.steps[0].skipIf", "error")
    assert "takes false, 0 and '' for false" in loss.formatted
    assert result.document["output"]["$if"] == {"$coalesce": [{"$input": "$.flag"}, True]}


@pytest.mark.parametrize(
    ("arguments", "path", "said"),
    [
        (([ref("a")], step("a", skipIf=FLAG)), "$.output[0]", "which no flow of 0.9 is"),
        (([ref("a")], step("a", onError={"action": "skip"})), "$.output[0]", "which no flow of 0.9 is"),
        (
            (ref("b"), step("a", onError={"action": "skip"}), step("b", input=[ref("a")])),
            "$.steps[1].input[0]",
            "in 0.9 goes on with null",
        ),
        ((ref("a", onSkip=ZERO), step("a", onError={"action": "skip"})), "$.output", "'$coalesce' cannot tell"),
        ((1, step("a", skipIf=FLAG)), "$.steps[0]", "in 0.9 only need makes a step run"),
        (
            (ref("a", onSkip=ZERO), step("a", skipIf=FLAG, mustExecute=True)),
            "$.steps[0]",
            "in 0.9 only need makes a step run",
        ),
        ((1, step("a", mustExecute=True)), "$.steps[0].mustExecute", "the flow fails when this step does"),
        ((1, step("a", input=FLAG)), "$.steps[0].input", "a failure of what its input refers to (input, flag)"),
        ((1, step("a"), step("b", input=ref("a"))), "$.steps[1].input", "(step: a)"),
        (
            (ref("a"), step("a", onError={"action": "useDefault", "defaultValue": INPUT})),
            "$.steps[0].onError.defaultValue",
            "a literal in 0.9",
        ),
    ],
)
def test_what_cannot_be_kept_is_told_with_its_place(arguments: Any, path: str, said: str) -> None:
    assert said in losses(*arguments, inputSchema=BOOLEAN)[path]


def test_a_skip_after_a_failure_is_kept_where_it_is_null() -> None:
    document = kept(ref("a", "$.x", onSkip={"action": "useDefault"}), step("a", onError={"action": "skip"}))
    assert document["output"] == {"$step": "a", "path": "$.x"}
    assert document["steps"][0]["onError"] == {"action": "useDefault", "defaultValue": None}


def test_steps_that_nobody_needs_must_run_after_0_7_and_not_after_0_8() -> None:
    steps = [step("a", input=INPUT), step("b", input=ref("a")), step("c", input=[])]
    document = kept(ref("a"), *steps)
    assert [each.get("mustExecute") for each in document["steps"]] == [None, True, True]
    document = kept(ref("a"), *steps, variables={})
    assert [each.get("mustExecute") for each in document["steps"]] == [None, None, None]


def test_a_default_for_a_skip_that_only_the_component_can_say_is_left_out_with_a_remark() -> None:
    """A SkipStep is null in 0.9, and `$coalesce` would take the default for any other null as well."""
    result = upgraded({**ref("a"), "onSkip": {"action": "useDefault", "defaultValue": 4}}, step("a"))
    assert result.document["output"] == {"$step": "a"}
    assert {found.path: found.level for found in result.findings} == {"$.output": "warning"}


def test_retries_that_were_never_done_are_left_out_with_a_remark() -> None:
    result = upgraded(ref("a"), step("a", onError={"action": "retry"}, inputSchema={}))
    assert result.document["steps"] == [step("a")]
    assert {found.path: found.level for found in result.findings} == {
        "$.steps[0].onError": "warning",
        "$.steps[0].inputSchema": "warning",
    }


def test_a_template_without_references_is_a_literal() -> None:
    on_error = {"action": "useDefault", "defaultValue": {"$literal": {"$step": 1}}}
    (rewritten,) = kept(ref("a"), step("a", onError=on_error))["steps"]
    assert rewritten["onError"] == {"action": "useDefault", "defaultValue": {"$step": 1}}


def test_schemas_find_their_places_and_share_their_definitions() -> None:
    document = kept(
        ref("a"),
        step("a", outputSchema={"$ref": "#/$defs/T", "$defs": {"T": {"type": "string"}}}),
        inputSchema={"$defs": {"T": {"type": "string"}, "U": True}},
        outputSchema={"type": "string"},
        variables={"type": "object"},
    )
    assert document["schemas"] == {
        "type": "object",
        "properties": {
            "input": {},
            "output": {"type": "string"},
            "variables": {"type": "object"},
            "steps": {"type": "object", "properties": {"a": {"$ref": "#/$defs/T"}}},
        },
        "$defs": {"T": {"type": "string"}, "U": True},
    }
    told = losses(1, inputSchema={"$defs": {"T": {}}, "$ref": "#/definitions/X"}, outputSchema={"$defs": {"T": True}})
    assert "write it as '#/$defs/NAME'" in told["$.inputSchema"]
    assert "two schemas define 'T'" in told["$"]


def test_a_case_that_expects_a_skip_expects_nothing() -> None:
    cases = [
        {"name": "n", "input": 1, "output": {"outcome": "skipped"}},
        {"name": "m", "input": 1, "output": {"outcome": "success", "result": 1}},
    ]
    result = upgraded(INPUT, test={"cases": cases})
    assert [found.path for found in result.findings] == ["$.test.cases[0].output"]
    assert result.document["test"]["cases"] == [{"name": "n", "input": 1}, cases[1]]


def test_flows_inside_of_builtin_components_are_rewritten_too() -> None:
    inner = {"schema": "s", "steps": [step("x", skipIf=FLAG)], "output": [INPUT]}
    builtin = {"id": "m", "component": "/builtin/map", "input": {"workflow": {"$literal": inner}, "items": []}}
    result = upgraded([ref("m"), ref("d")], builtin, step("d", input={"flow": {"$literal": inner}}))
    assert result.document["steps"][0]["input"]["workflow"]["$literal"]["output"] == [{"$input": "$"}]
    assert result.document["steps"][1]["input"] == {"flow": {"$literal": inner}}
    place = "$.steps[0].input.workflow.$literal.steps[0]"
    assert {found.path for found in result.findings} == {f"{place}.skipIf", place}


def test_findings_have_the_lines_of_the_file() -> None:
    text = """\
schema: s
steps:
- id: a
  component: /a
  skipIf: {$from: {workflow: input}}
output:
  x: {$from: {step: a}}
"""
    found = upgrade_flow(parse_yaml(text, file="old.yaml")).findings
    assert {(each.file, each.line, each.path) for each in found} == {
        ("old.yaml", 5, "$.steps[0].skipIf"),
        ("old.yaml", 7, "$.output.x"),
    }


def test_a_document_of_the_new_language_is_left_alone() -> None:
    document = {"name": "n", "output": {"$input": "$"}}
    assert upgrade_flow(document) == (document, [])


def test_what_is_no_flow_is_refused() -> None:
    with pytest.raises(InvalidFlow, match="exactly one of them"):
        upgrade_flow({"output": {"$from": {}}})


def test_an_old_flow_that_cannot_be_run_is_refused_with_its_findings() -> None:
    with pytest.raises(InvalidFlow, match=r"there is no step 'b' to refer to") as caught:
        upgraded(ref("b"), step("a"))
    (fatal,) = (finding for finding in caught.value.diagnostics if finding["level"] == "fatal")
    assert fatal["path"] == "$.output.$from.step"


@settings(max_examples=200, deadline=None)
@given(documents())
def test_every_old_document_becomes_one_of_0_9_that_can_run(document: dict[str, Any]) -> None:
    flow = parse_flow(upgrade_flow(document).document)
    assert not isinstance(flow, OldFlow)
    require_runnable(flow)


def test_conditions_that_pile_up_are_told_and_do_not_grow_without_bound() -> None:
    boolean = {"type": "boolean"}
    steps = [
        step(
            f"s{number}",
            skipIf=ref(f"s{number - 1}") if number else FLAG,
            input=[ref(f"s{before}") for before in range(number)],
            outputSchema=boolean,
        )
        for number in range(40)
    ]
    result = upgraded([ref("s39", onSkip=ZERO)], *steps, inputSchema=BOOLEAN)
    assert any("too long to be written" in found.formatted for found in result.findings)
    assert len(canonical_json(result.document)) < 1_000_000


def test_conditions_of_many_steps_are_each_written_once() -> None:
    steps = [
        step(f"s{number}", skipIf={**INPUT, "path": f"f{number}"}, input=[ref(f"s{n}") for n in range(number)])
        for number in range(20)
    ]
    names = [f"f{number}" for number in range(20)]
    schema = {"type": "object", "properties": {key: {"type": "boolean"} for key in names}, "required": names}
    document = upgraded([ref("s19", onSkip=ZERO)], *steps, inputSchema=schema).document
    condition = canonical_json(document["output"][0]["$if"])
    assert all(condition.count(f'$.{name}"'.encode()) == 1 for name in names)
