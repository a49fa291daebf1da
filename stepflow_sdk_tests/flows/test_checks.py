from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows import Diagnostic, Flow, check_flow, load_flow, parse_flow, parse_yaml, require_runnable
from stepflow_sdk.flows.schema_forms import malformed_schemas
from stepflow_sdk_tests.flows.strategies import JSON, documents

METASCHEMA = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)
KEYWORDS = [
    "$comment",
    "$defs",
    "$id",
    "$ref",
    "allOf",
    "additionalProperties",
    "anyOf",
    "const",
    "contains",
    "default",
    "dependentSchemas",
    "description",
    "enum",
    "exclusiveMaximum",
    "format",
    "if",
    "items",
    "maxItems",
    "maximum",
    "minContains",
    "minProperties",
    "multipleOf",
    "not",
    "oneOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "properties",
    "propertyNames",
    "required",
    "title",
    "type",
    "unevaluatedItems",
    "uniqueItems",
]


def step(step_id: str = "a", input: object = None, **more: object) -> dict[str, Any]:
    return {"id": step_id, "component": "/x", "input": input, **more}


def findings(steps: list[Any] | None = None, output: object = None, **more: object) -> list[Diagnostic]:
    flow = parse_flow({"name": "n", "description": "d", "steps": steps or [], "output": output, **more})
    return check_flow(flow)


def variables(**declared: object) -> dict[str, object]:
    properties = {"variables": {"type": "object", "properties": declared}}
    return {"type": "object", "properties": properties}


def subflow(flow: object, **more: object) -> list[Any]:
    data = {"data": {"$literal": flow}, "blob_type": "flow"}
    return [{"id": "a", "component": "/builtin/put_blob", "input": data, "mustExecute": True, **more}]


A = {"$step": "a"}
BAD = {"name": "n", "description": "d", "output": {"$step": "zz"}}


@pytest.mark.parametrize(
    ("steps", "output", "more", "expected"),
    [
        ([], None, {"name": None, "description": None}, [(1001, "warning", "$"), (1002, "warning", "$")]),
        ([step()], None, {}, [(1000, "warning", "$.steps[0]")]),
        ([step(), step("b", A)], None, {}, [(1000, "warning", "$.steps[0]"), (1000, "warning", "$.steps[1]")]),
        ([step(), step("b", A, mustExecute=True)], None, {}, []),
        ([step(), step("b", A)], {"$if": True, "then": 1, "else": [{"$step": "b"}]}, {}, []),
        ([step()], {"$literal": A}, {}, [(1000, "warning", "$.steps[0]")]),
        ([step()], {"$step": "a", "path": "x"}, {}, [(1003, "warning", "$.output")]),
        ([], {"$input": "x"}, {}, [(1003, "warning", "$.output")]),
        ([], {"$input": "x"}, {"schemas": {"type": "object", "properties": {"input": {}}}}, []),
        (
            [step()],
            {"$step": "a", "path": "x"},
            {"schemas": {"type": "object", "properties": {"steps": {"type": "object", "properties": {"a": {}}}}}},
            [],
        ),
        ([], {"$variable": "v"}, {}, [(1004, "warning", "$.output.$variable")]),
        ([], {"$variable": "v"}, {"schemas": variables(v={})}, []),
        ([], {"$variable": "$.w.x"}, {"schemas": variables(v={})}, [(2005, "error", "$.output.$variable")]),
        ([], {"$variable": "w", "default": 1}, {"schemas": variables(v={})}, [(2004, "error", "$.output.$variable")]),
        ([step(component="x")], A, {}, [(2500, "error", "$.steps[0].component")]),
        ([step(), step()], A, {}, [(3000, "fatal", "$.steps[1].id")]),
        (
            [step(), step("a", A)],
            A,
            {},
            [(3000, "fatal", "$.steps[1].id"), (3002, "fatal", "$.steps[1].input.$step")],
        ),
        ([step(" \t")], {"$step": " \t"}, {}, [(3001, "fatal", "$.steps[0].id")]),
        ([step("a", [A])], A, {}, [(3002, "fatal", "$.steps[0].input[0].$step")]),
        ([step("b", A), step()], {"$step": "b"}, {}, [(3003, "fatal", "$.steps[0].input.$step")]),
        ([], A, {}, [(3003, "fatal", "$.output.$step")]),
        ([], {"$if": False, "then": {"$coalesce": [1, A]}}, {}, [(3003, "fatal", "$.output.then.$coalesce[1].$step")]),
        (
            [],
            {"$variable": "v", "default": A},
            {"schemas": variables(v={})},
            [(3003, "fatal", "$.output.default.$step")],
        ),
        (subflow({"steps": 1}), None, {}, [(2003, "error", "$.steps[0].input.data.$literal")]),
        (subflow(None), None, {}, [(2003, "error", "$.steps[0].input.data.$literal")]),
        (subflow(BAD), None, {}, [(3003, "fatal", "$.steps[0].input.data.$literal")]),
        (
            subflow({**BAD, "steps": subflow(BAD, id="zz")}),
            None,
            {},
            [(3003, "fatal", "$.steps[0].input.data.$literal")],
        ),
        (subflow(BAD, component="/other"), None, {}, []),
        (
            [
                {
                    "id": "a",
                    "component": "/builtin/put_blob",
                    "input": {"data": {"$literal": BAD}, "blob_type": "flow", "more": {"$input": "$"}},
                    "mustExecute": True,
                }
            ],
            None,
            {},
            [(3003, "fatal", "$.steps[0].input.data.$literal")],
        ),
        ([step("a", {"data": {"$literal": BAD}, "blob_type": "data"}, component="/builtin/put_blob")], A, {}, []),
    ],
)
def test_each_finding_has_its_code_level_and_place(
    steps: list[Any], output: object, more: dict[str, object], expected: list[tuple[int, str, str]]
) -> None:
    assert [(found.code, found.level, found.path) for found in findings(steps, output, **more)] == expected


@pytest.mark.parametrize(
    ("steps", "output", "hint"),
    [
        ([step("fetch_page")], {"$step": "fetch-pge"}, "did you mean 'fetch_page'?"),
        ([step("one"), step("two")], [{"$step": "one"}, {"$step": "two"}, {"$step": "zzz"}], "'one', 'two'"),
        ([step("b", A, mustExecute=True), step("a")], None, "it comes later in the list"),
    ],
)
def test_a_reference_to_nothing_is_told_with_what_was_meant(steps: list[Any], output: object, hint: str) -> None:
    (found,) = [found for found in findings(steps, output) if found.code == 3003]
    assert hint in found.formatted


@pytest.mark.promise("S10")
def test_what_was_meant_is_looked_for_at_the_first_mistakes_alone() -> None:
    many = [{"$step": f"fetch_{index}x"} for index in range(2000)]
    found = [found for found in findings([step("fetch_1")], many) if found.code == 3003]
    assert len(found) == 1000
    assert ["did you mean" in finding.formatted for finding in found] == [True] * 50 + [False] * 950


@pytest.mark.parametrize(
    ("schema", "path", "said"),
    [
        ({"type": 5}, ".type", "'type' of a JSON Schema is one of array, boolean"),
        ({"type": ["string", "strnig"]}, ".type", "not a list with something else in it"),
        ({"properties": [1]}, ".properties", "an object of schemas, not an array"),
        ({"properties": {"a": {"items": {"minimum": "x"}}}}, ".properties.a.items.minimum", "is a number"),
        ({"anyOf": {"type": "string"}}, ".anyOf", "a list of schemas, not an object"),
        ({"prefixItems": [True, 3]}, ".prefixItems[1]", "an object, true or false, not the number 3"),
        ({"required": "name"}, ".required", "a list of names, not the string 'name'"),
        ({"maxLength": -1}, ".maxLength", "an integer from 0 up"),
        ({"$ref": 1}, '["$ref"]', "is a string"),
        ({"is_secret": "yes"}, ".is_secret", "is true or false, not the string 'yes'"),
    ],
)
def test_a_malformed_schema_is_told_with_its_path(schema: Any, path: str, said: str) -> None:
    schemas = {"type": "object", "properties": {"input": {"type": "object"}, "output": schema}}
    (found,) = [found for found in findings([], {"$input": "$"}, schemas=schemas) if found.code == 4103]
    assert (found.level, found.kind) == ("warning", "malformedSchema")
    assert found.path is not None
    assert found.path.replace('["$ref"]', ".$ref") == f"$.schemas.properties.output{path}".replace('["$ref"]', ".$ref")
    assert said in found.formatted


def test_a_malformed_schema_of_an_old_flow_is_told_where_it_stands() -> None:
    document = {"inputSchema": {"type": 1}, "steps": [{"id": "a", "component": "/c", "outputSchema": {"items": 2}}]}
    found = check_flow(parse_flow(document))
    assert [finding.path for finding in found if finding.code == 4103] == [
        "$.inputSchema.type",
        "$.steps[0].outputSchema.items",
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.dictionaries(st.sampled_from(KEYWORDS), JSON, max_size=2),
        lambda inner: st.dictionaries(st.sampled_from(KEYWORDS), inner | st.lists(inner, max_size=2), max_size=2),
        max_leaves=5,
    )
)
def test_keywords_are_malformed_only_where_the_metaschema_refuses_them(schema: Any) -> None:
    if METASCHEMA.is_valid(schema):
        assert list(malformed_schemas(Flow(schemas={"properties": {"input": schema}}))) == []


def test_a_finding_has_file_and_line_and_is_json_for_programs() -> None:
    text = "name: n\ndescription: d\noutput:\n  a:\n    $step: b\n"
    (found,) = check_flow(load_flow(parse_yaml(text, file="flow.yaml")))
    assert found.to_json() == {
        "kind": "undefinedStepReference",
        "code": 3003,
        "level": "fatal",
        "formatted": "there is no step 'b' to refer to; steps before it: none",
        "path": "$.output.a.$step",
        "file": "flow.yaml",
        "line": 5,
        "data": {"referencedStep": "b"},
    }
    assert str(found).startswith("flow.yaml:5: $.output.a.$step: there is no step 'b'")


def test_a_check_that_may_cry_wolf_says_so() -> None:
    (found,) = findings([], {"$input": "x"})
    assert found.experimental
    assert found.to_json()["experimental"] is True


def test_what_parsing_warned_of_is_among_the_findings() -> None:
    assert [found.kind for found in findings([], None, nmae=1)] == ["unknownKey"]


def test_a_flow_is_refused_for_what_is_fatal_and_on_demand_for_errors() -> None:
    warned = parse_flow({"output": 1})
    assert [found.code for found in require_runnable(warned, refuse_errors=True)] == [1001, 1002]
    erring = parse_flow({"steps": [{"id": "a", "component": "x"}], "output": A})
    assert 2500 in [found.code for found in require_runnable(erring)]
    with pytest.raises(InvalidFlow, match="does not start with '/'"):
        require_runnable(erring, refuse_errors=True)
    with pytest.raises(InvalidFlow, match="there is no step 'a'") as caught:
        require_runnable(parse_flow({"output": A}))
    assert [finding["code"] for finding in caught.value.diagnostics] == [1001, 1002, 3003]


@given(documents())
@settings(max_examples=40, deadline=None)
def test_a_flow_that_refers_backwards_only_has_nothing_fatal(document: dict[str, Any]) -> None:
    assert all(found.code < 2000 for found in check_flow(parse_flow(document)))
