"""The findings of the check of types: codes, levels, places and words."""

from typing import Any

import pytest

from stepflow_sdk.flows import ComponentSchemas, Diagnostic, TypeReport, check_types, load_flow, parse_flow, parse_yaml
from stepflow_sdk.flows.types import fitting_objects
from stepflow_sdk_tests.flows.types.schemas import is_valid

NUMBER = {"type": "number"}
INTEGER = {"type": "integer"}
STRING = {"type": "string"}
PERSON = {
    "type": "object",
    "properties": {"name": STRING, "age": {"anyOf": [INTEGER, {"type": "null"}]}, "tags": {"items": STRING}},
    "required": ["name", "age"],
}


def report(
    input: Any, wanted: Any, *, strict: bool = False, schemas: dict[str, Any] | None = None, **step: Any
) -> TypeReport:
    """Check a flow whose step ``b`` is called with ``input`` and wants ``wanted``; step ``a`` gives a person."""
    document = {
        "schemas": {"type": "object", "properties": {"input": PERSON, **(schemas or {})}},
        "steps": [
            {"id": "a", "component": "/a", "mustExecute": True},
            {"id": "b", "component": "/b", "input": input, "mustExecute": True, **step},
        ],
    }
    components = {"/a": ComponentSchemas(True, PERSON), "/b": ComponentSchemas(wanted, True)}
    return check_types(parse_flow(document), components, strict=strict)


def told(input: Any, wanted: Any, **more: Any) -> list[tuple[int, str, str | None]]:
    return [(found.code, found.level, found.path) for found in report(input, wanted, **more).diagnostics]


def message(input: Any, wanted: Any, **more: Any) -> str:
    (found,) = report(input, wanted, **more).diagnostics
    return found.formatted.partition(": ")[2]


A = {"$step": "a"}
NAME = {"$step": "a", "path": "name"}
AGE = {"$step": "a", "path": "age"}
HERE = "$.steps[1].input"


@pytest.mark.parametrize(
    ("input", "wanted"),
    [
        (1, NUMBER),
        (1.0, INTEGER),
        (NAME, STRING),
        (AGE, {"type": ["number", "null"]}),
        (AGE, {"anyOf": [NUMBER, {"type": "null"}]}),
        ({"$coalesce": [AGE, 0]}, INTEGER),
        ({"$if": AGE, "then": AGE, "else": 0}, INTEGER),
        ({"$if": {"$input": "nothing.at.all"}, "then": "a", "else": "b"}, {"enum": ["a", "b", "c"]}),
        ({"$if": False, "then": 1, "else": "x"}, STRING),
        ({"$if": True, "then": "x"}, STRING),
        ({"$coalesce": [None, "x", 1]}, STRING),
        ({"$input": "$"}, PERSON),
        (A, {"type": "object", "required": ["name"]}),
        ([NAME, {"$input": "name"}], {"type": "array", "items": STRING, "minItems": 2, "maxItems": 2}),
        ({"$literal": {"$step": "a"}}, {"const": {"$step": "a"}}),
        ({"x": 1}, {"type": "object", "additionalProperties": INTEGER, "propertyNames": {"maxLength": 1}}),
        (
            {"kind": "b", "n": 1},
            {"oneOf": [{"properties": {"kind": {"const": k}}, "required": ["kind"]} for k in "ab"]},
        ),
        ({"$variable": "nobody", "default": 3}, True),
        (None, True),
    ],
)
def test_what_fits_is_not_told_even_in_the_strict_sense(input: Any, wanted: Any) -> None:
    assert told(input, wanted, strict=True) == []


@pytest.mark.parametrize(
    ("input", "wanted", "path", "said"),
    [
        ("1", INTEGER, HERE, "an integer is wanted, and the string '1' comes"),
        (1.5, INTEGER, HERE, "an integer is wanted, and the number 1.5 comes"),
        (NAME, INTEGER, HERE, "an integer is wanted, and a string comes"),
        (AGE, STRING, HERE, "a string is wanted, and an integer or null comes"),
        (A, STRING, HERE, "a string is wanted, and an object with 'name', 'age', 'tags' comes"),
        (
            {"x": {"y": [0, NAME]}},
            {"properties": {"x": {"properties": {"y": {"items": INTEGER}}}}},
            f"{HERE}.x.y[1]",
            "",
        ),
        (
            {"x": {"$literal": {"y": 1}}},
            {"properties": {"x": {"properties": {"y": STRING}}}},
            f"{HERE}.x.$literal.y",
            "",
        ),
        ({"$literal": [1]}, {"items": STRING}, f"{HERE}.$literal[0]", "a string is wanted, and the number 1 comes"),
        ({"nmae": "x"}, PERSON, HERE, "the field 'name' is missing; was that 'nmae'?"),
        (
            {"nmae": "x"},
            {"type": "object", "properties": {"name": STRING}, "additionalProperties": False},
            f"{HERE}.nmae",
            "the field 'nmae' is not allowed; did you mean 'name'?",
        ),
        ("red", {"enum": ["green", "blue"]}, HERE, "one of the string 'green', the string 'blue' is wanted"),
        (3, {"minimum": 4}, HERE, "a number of at least 4 is wanted, and the number 3 comes"),
        ("abc", {"pattern": "^x"}, HERE, "a string that matches '^x' is wanted"),
        ([1, 2], {"type": "array", "maxItems": 1}, HERE, "at most 1 elements are wanted, and 2 come"),
        ([1, 1.0], {"uniqueItems": True}, HERE, "two elements are the same"),
        ({"$if": A, "then": 1, "else": 2}, STRING, HERE, "a string is wanted, and the number 1 or the number 2 comes"),
        (A, {"type": "object", "properties": {"name": INTEGER}}, f"{HERE}.name", "an integer is wanted"),
    ],
)
def test_what_never_fits_is_an_error_with_its_place_and_both_types(
    input: Any, wanted: Any, path: str, said: str
) -> None:
    found = [each for each in report(input, wanted).diagnostics if each.level == "error"]
    assert {each.code for each in found} == {2100}
    if "$if" in str(input):
        assert all(str(each.path).startswith(path) for each in found)
        return
    assert said in " ".join(each.formatted for each in found)
    assert path in [each.path for each in found]


@pytest.mark.parametrize(
    ("input", "wanted", "said"),
    [
        (AGE, INTEGER, "an integer is wanted, and an integer or null comes: null is not allowed"),
        ({"$input": "tags"}, True, ""),
        (
            A,
            {"type": "object", "required": ["height"]},
            "the field 'height' is wanted, and what comes does not declare it",
        ),
        ({"$if": A, "then": 1, "else": "x"}, INTEGER, "an integer is wanted, and the string 'x' comes"),
        (
            {"$step": "a", "path": "nam"},
            True,
            "field 'nam' of the result of step 'a' is not declared; did you mean 'name'?",
        ),
    ],
)
def test_what_may_not_fit_is_a_warning_and_an_error_in_the_strict_sense(input: Any, wanted: Any, said: str) -> None:
    loose = report(input, wanted).diagnostics
    strict = report(input, wanted, strict=True).diagnostics
    if said:
        assert [(each.code, each.level) for each in loose] == [(1101, "warning")]
        assert said in loose[0].formatted
        assert "error" in {each.level for each in strict}
    else:
        assert loose == []
        assert [(each.code, each.level) for each in strict] == [(1101, "warning")]


def test_a_number_may_have_a_fraction_where_an_integer_is_wanted() -> None:
    number = {"variables": {"type": "object", "properties": {"n": NUMBER}}}
    assert told({"$variable": "n"}, INTEGER, schemas=number) == [(1101, "warning", HERE)]
    assert told({"$variable": "n"}, NUMBER, schemas=number, strict=True) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("$.name.first", "the field 'first' is wanted of '$.name' of the result of step 'a', which is a string"),
        ("$[0]", "the element [0] is wanted of the result of step 'a', which is an object with 'name', 'age', 'tags'"),
        ("$.name[1]", "the element [1] is wanted of '$.name' of the result of step 'a', which is a string"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error(path: str, said: str) -> None:
    (found,) = report({"x": {"$step": "a", "path": path}}, True).diagnostics
    assert (found.code, found.kind, found.level, found.path) == (2101, "unknownPropertyInPath", "error", f"{HERE}.x")
    assert found.formatted == said


def test_a_closed_object_names_the_field_that_was_meant() -> None:
    closed = {"input": {"type": "object", "properties": {"name": STRING}, "additionalProperties": False}}
    (found,) = report({"$input": "nmae"}, True, schemas=closed).diagnostics
    assert (found.code, found.formatted) == (2101, "the input has no field 'nmae'; did you mean 'name'?")


def test_a_default_belongs_to_the_result_and_covers_a_wrong_input() -> None:
    on_error = {"action": "useDefault", "defaultValue": "none"}
    (found,) = report("x", INTEGER, onError=on_error).diagnostics
    assert (found.code, found.level) == (2100, "warning")
    assert "takes its default" in found.formatted
    checked = report(1, INTEGER, onError=on_error)
    assert checked.in_words()["b"] == ("the number 1", "any value")


def test_steps_that_never_run_are_left_out() -> None:
    assert told("x", INTEGER, mustExecute=False) == []


def test_a_result_without_a_schema_is_told_where_it_is_used() -> None:
    document = {"steps": [{"id": "a", "component": "/a"}], "output": {"$step": "a"}}
    for strict, level in ((False, "warning"), (True, "error")):
        found = check_types(parse_flow(document), {"/a": ComponentSchemas(input=True)}, strict=strict).diagnostics
        assert [(each.code, each.level, each.path) for each in found] == [(1100, level, "$.steps[0].component")]


def test_what_a_flow_declares_of_a_step_is_its_type_and_is_held_against_the_component() -> None:
    steps = {"steps": {"type": "object", "properties": {"a": {"$ref": "#/$defs/Text"}}}}
    document = {
        "schemas": {"type": "object", "$defs": {"Text": STRING}, "properties": {**steps, "output": INTEGER}},
        "steps": [{"id": "a", "component": "/a"}],
        "output": A,
    }
    (output,) = check_types(parse_flow(document), {}).diagnostics
    assert (output.code, output.level, output.path) == (2100, "error", "$.output")
    assert output.formatted == "the declared output of the flow: an integer is wanted, and a string comes"
    found = check_types(parse_flow(document), {"/a": ComponentSchemas(True, NUMBER)}).diagnostics
    assert ("$.schemas.properties.steps.properties.a", 2100) in [(each.path, each.code) for each in found]


def test_a_finding_has_its_line() -> None:
    text = "steps:\n- id: a\n  component: /a\n  mustExecute: true\n  input:\n    x:\n    - 1\n    - two\n"
    flow = load_flow(parse_yaml(text, file="flow.yaml"))
    wanted = {"properties": {"x": {"items": INTEGER}}}
    (found,) = check_types(flow, {"/a": ComponentSchemas(wanted)}).diagnostics
    assert (found.file, found.line, found.path) == ("flow.yaml", 8, "$.steps[0].input.x[1]")
    assert found.data == {"valuePath": "$.x[1]", "stepId": "a", "component": "/a"}


def test_types_of_old_documents_are_not_checked_and_that_is_said() -> None:
    old = {"steps": [{"id": "a", "component": "/a", "input": {"$from": {"workflow": "input"}}}]}
    (found,) = check_types(parse_flow(old), {}).diagnostics
    assert (found.code, found.level) == (1101, "warning")


def test_an_annotated_flow_is_a_flow_and_says_of_each_step_what_is_known() -> None:
    tree = {
        "$ref": "#/$defs/Tree",
        "$defs": {"Tree": {"properties": {"left": {"$ref": "#/$defs/Tree"}}, "type": "object"}},
    }
    document = {
        "name": "n",
        "schemas": {"type": "object", "$defs": {"Tree": STRING}, "properties": {"input": {"$ref": "#/$defs/Tree"}}},
        "steps": [
            {"id": "a", "component": "/a", "onError": {"action": "useDefault", "defaultValue": 0}},
            {"id": "b", "component": "/b", "input": A},
        ],
        "output": {"t": {"$step": "b"}, "i": {"$input": "$"}},
    }
    checked = check_types(
        parse_flow(document), {"/a": ComponentSchemas(True, tree), "/b": ComponentSchemas(True, tree)}
    )
    annotated = parse_flow(checked.annotated()).to_json()
    schemas = annotated["schemas"]
    assert schemas["$defs"]["Tree"] == STRING
    for step, good, bad in (("a", 0, 1), ("a", {"left": {}}, {"left": 1}), ("b", {"left": {}}, 0)):
        schema = {**schemas["properties"]["steps"]["properties"][step], "$defs": schemas["$defs"]}
        assert is_valid(schema, good)
        assert not is_valid(schema, bad)
    output = {**schemas["properties"]["output"], "$defs": schemas["$defs"]}
    assert is_valid(output, {"t": {}, "i": "x"})
    assert not is_valid(output, {"t": {}, "i": 1})
    assert {key: annotated[key] for key in ("name", "steps", "output")} == {
        key: parse_flow(document).to_json()[key] for key in ("name", "steps", "output")
    }


def _doubling(count: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {
        f"d{index}": {"anyOf": [{"$ref": f"#/$defs/d{index + 1}"}] * 2} for index in range(count)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{count}": STRING}}


def _wide(count: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {
        f"d{index}": {
            "type": "object",
            "properties": {f"p{number}": {"$ref": f"#/$defs/d{(index + number) % count}"} for number in range(count)},
        }
        for index in range(count)
    }
    return {"$ref": "#/$defs/d0", "$defs": definitions}


def _chain(count: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {f"d{index}": {"$ref": f"#/$defs/d{index + 1}"} for index in range(count)}
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{count}": STRING}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"anyOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}]},
        {"not": {"$ref": "#"}},
        {"$ref": "https://example.com/other.json"},
        {"$ref": 3, "type": 4, "properties": [], "required": {}, "items": "x", "enum": {}, "anyOf": 1, "minimum": "a"},
        {"type": ["strin", 3], "pattern": "(", "patternProperties": {"(": False}, "minItems": -1, "multipleOf": 0},
        _doubling(30),
        _wide(30),
        _chain(3000),
        {"allOf": [{"anyOf": [{"minimum": number}, {"maximum": number}]} for number in range(40)]},
    ],
)
def test_a_schema_that_is_endless_huge_or_malformed_does_no_harm(schema: Any) -> None:
    inputs: list[Any] = [A, AGE, {"p0": {"p0": {"p0": 1}}}, [1, "x"], "x", 3, None, {"$literal": [[[0]]] * 50}]
    for strict in (False, True):
        for input in inputs:
            checked = report(input, schema, strict=strict)
            assert all(isinstance(found, Diagnostic) for found in checked.diagnostics)
        document = {
            "steps": [{"id": "a", "component": "/a"}, {"id": "b", "component": "/a", "input": A}],
            "output": [{"$step": "b", "path": "$.p0.p1.p2"}, A],
        }
        checked = check_types(parse_flow(document), {"/a": ComponentSchemas(schema, schema)}, strict=strict)
        parse_flow(checked.annotated())
        assert checked.in_words()


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "a?" * 40 + "a" * 40, "(", "\\p{L}"])
def test_a_pattern_that_takes_for_ever_or_cannot_be_read_is_not_tried(pattern: str) -> None:
    assert told("a" * 39 + "!", {"pattern": pattern}) == []
    assert told("a" * 39 + "!", {"pattern": pattern}, strict=True) == [(1101, "warning", HERE)]
    assert told({"a" * 39 + "!": 1}, {"patternProperties": {pattern: STRING}}) == []


def test_a_slow_pattern_is_tried_on_short_texts() -> None:
    assert told("b", {"pattern": "^(a+)+$"}) == [(2100, "error", HERE)]
    assert told("aa", {"pattern": "^(a+)+$"}, strict=True) == []


@pytest.mark.parametrize(
    "reference",
    ["http://127.0.0.1:9/x", "file:///etc/passwd", "#/required/" + "9" * 5000, "#/properties/input", "//host/x", 5],
)
def test_a_reference_of_a_schema_leads_nowhere_but_into_its_document(reference: object) -> None:
    # The number is too long for Python to read, and the last one but two leads to itself.
    schema = {"$ref": reference}
    flow = load_flow(
        {
            "schemas": {"type": "object", "required": [], "properties": {"input": schema, "output": schema}},
            "output": {"$input": "$.name"},
        }
    )
    assert [finding.level for finding in check_types(flow, {}).diagnostics if finding.level != "warning"] == []


def test_what_was_meant_is_looked_for_in_an_object_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def look(name: str, known: Any) -> None:
        looked.append(name)

    monkeypatch.setattr(fitting_objects, "did_you_mean", look)
    fields = {f"name_{index}": STRING for index in range(100)}
    given = {"type": "object", "properties": {f"{name}x": STRING for name in fields}, "additionalProperties": False}
    wanted = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    flow = parse_flow(
        {
            "schemas": {"type": "object", "properties": {"input": given}},
            "steps": [{"id": "b", "component": "/b", "input": {"$input": "$"}, "mustExecute": True}],
        }
    )
    assert check_types(flow, {"/b": ComponentSchemas(wanted, True)}).diagnostics
    assert len([name for name in looked if name.endswith("x")]) == 50
    assert len([name for name in looked if not name.endswith("x")]) == 50
