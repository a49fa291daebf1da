import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows import (
    Flow,
    OldFlow,
    OnError,
    dump_yaml,
    load_flow,
    parse_flow,
    parse_json,
    parse_yaml,
    read_document,
)
from stepflow_sdk_tests.flows.strategies import JSON, documents


def refusal(source: Any) -> list[dict[str, Any]]:
    """What a refused flow tells, without the warnings."""
    with pytest.raises(InvalidFlow) as caught:
        load_flow(source)
    for finding in caught.value.diagnostics:
        if finding["level"] != "warning":
            assert finding["formatted"] in str(caught.value)
    return [finding for finding in caught.value.diagnostics if finding["level"] != "warning"]


def problems(source: Any) -> dict[str | None, str]:
    return {finding.get("path"): finding["formatted"] for finding in refusal(source)}


def warnings(document: Any) -> dict[str | None, str]:
    return {finding.path: finding.formatted for finding in load_flow(document).warnings}


def test_the_empty_document_is_a_flow() -> None:
    flow = parse_flow({})
    assert (flow.name, flow.steps, flow.to_json()) == (None, (), {})


def test_a_yaml_and_a_json_file_of_the_same_flow_are_the_same_flow(tmp_path: Path) -> None:
    document = {"name": "n", "steps": [{"id": "a", "component": "/a"}], "output": {"$step": "a"}}
    (tmp_path / "flow.json").write_text(json.dumps(document))
    (tmp_path / "flow.yaml").write_text(dump_yaml(document))
    (tmp_path / "flow.YML").write_text(dump_yaml(document))
    flows = [load_flow(tmp_path / name) for name in ("flow.json", "flow.yaml", "flow.YML")]
    assert len({flow.id for flow in flows}) == 1
    assert flows[0] == flows[1] == load_flow(document) == load_flow(flows[2])
    assert load_flow(str(tmp_path / "flow.json")).to_json() == document


def test_every_field_of_the_format_is_read() -> None:
    document: dict[str, Any] = {
        "name": "n",
        "description": "d",
        "version": "1",
        "schemas": {"type": "object", "properties": {"input": True, "output": {}, "steps": {"type": "object"}}},
        "steps": [
            {
                "id": "a",
                "component": "/a",
                "onError": {"action": "useDefault", "defaultValue": {"$step": "x"}},
                "input": {"$input": "$"},
                "mustExecute": True,
                "metadata": {"k": None},
            },
            {"id": "b", "component": "/b", "onError": {"action": "retry", "maxRetries": 5}},
        ],
        "output": [{"$step": "a"}],
        "test": {
            "configFile": "c.yml",
            "cases": [
                {"name": "t", "description": "d", "input": None, "output": {"outcome": "success", "result": None}},
                {"name": "u", "input": 1, "output": {"outcome": "failed", "error": {"code": 1, "message": "m"}}},
            ],
        },
        "examples": [{"name": "e", "input": None}],
        "metadata": {"k": {"$from": "data"}},
    }
    flow = parse_flow(document)
    assert flow.to_json() == document
    assert list(flow.to_json()) == list(document)
    assert flow.steps[0].on_error == OnError.use_default({"$step": "x"})
    assert flow.steps[1].on_error == OnError.retry(5)
    assert (flow.steps[0].must_execute, flow.steps[1].must_execute) == (True, None)
    assert flow.warnings == ()


def test_an_explicit_null_is_the_same_as_nothing() -> None:
    keys = ("name", "description", "version", "schemas", "steps", "output", "test", "examples", "metadata")
    assert parse_flow(dict.fromkeys(keys)).to_json() == {}
    step = {"id": "a", "component": "/a", **dict.fromkeys(("input", "onError", "mustExecute", "metadata"))}
    document = {"steps": [step], "test": {"cases": None, "config": None}}
    assert parse_flow(document).to_json() == {"steps": [{"id": "a", "component": "/a"}], "test": {}}


def test_changing_the_document_afterwards_does_not_change_the_flow() -> None:
    document: dict[str, Any] = {"output": {"a": [1]}}
    flow = parse_flow(document)
    document["output"]["a"].append(2)
    assert flow.to_json() == {"output": {"a": [1]}}


def test_variables_are_declared_by_their_schemas() -> None:
    properties = {"key": {"type": "string", "is_secret": True, "env_var": "KEY"}, "n": {"default": 3}}
    variables = {"type": "object", "properties": properties, "required": ["key"]}
    flow = parse_flow({"schemas": {"type": "object", "properties": {"variables": variables}}})
    key, number = flow.variables["key"], flow.variables["n"]
    assert (key.required, key.is_secret, key.env_var) == (True, True, "KEY")
    assert (number.required, number.is_secret, number.env_var, number.default) == (False, False, None, 3)


@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        ([], "$", "a flow is an object with 'steps' and 'output', not an array"),
        (None, "$", "not null"),
        ({"name": 1}, "$.name", "'name' of the flow is a string, not the number 1"),
        ({"steps": {}}, "$.steps", "'steps' of the flow is a list, not an object"),
        ({"steps": ["a"]}, "$.steps[0]", "a step is an object, not the string 'a'"),
        ({"steps": [{"component": "/a"}]}, "$.steps[0]", "a step needs 'id'"),
        ({"steps": [{"id": "a"}]}, "$.steps[0]", "a step needs 'component'"),
        ({"steps": [{"id": "a", "componnet": "/a"}]}, "$.steps[0]", "did you write 'componnet' for it?"),
        ({"steps": [{"id": None, "component": "/a"}]}, "$.steps[0]", "a step needs 'id'"),
        ({"steps": [{"id": 1, "component": "/a"}]}, "$.steps[0].id", "a string, not the number 1"),
        ({"steps": [{"id": "a", "component": "/a", "mustExecute": 1}]}, "$.steps[0].mustExecute", "true or false"),
        ({"steps": [{"id": "a", "component": "/a", "metadata": []}]}, "$.steps[0].metadata", "an object, not an array"),
        ({"steps": [{"id": "a", "component": "/a", "onError": "fail"}]}, "$.steps[0].onError", "is an object"),
        ({"steps": [{"id": "a", "component": "/a", "onError": {}}]}, "$.steps[0].onError", "needs 'action'"),
        (
            {"steps": [{"id": "a", "component": "/a", "onError": {"action": "continue"}}]},
            "$.steps[0].onError.action",
            "'fail', 'useDefault' or 'retry', not the string 'continue'",
        ),
        (
            {"steps": [{"id": "a", "component": "/a", "onError": {"action": "retry", "maxRetries": -1}}]},
            "$.steps[0].onError.maxRetries",
            "an integer from 0",
        ),
        ({"schemas": {"input": {}}}, "$.schemas.input", "write it as schemas.properties.input"),
        ({"schemas": {"properties": {}}}, "$.schemas", "schemas needs 'type', such as type: object"),
        ({"schemas": {"type": "array"}}, "$.schemas.type", "'object', not the string 'array'"),
        ({"schemas": {"type": "object", "properties": {"input": 1}}}, "$.schemas.properties.input", "a JSON Schema"),
        (
            {"schemas": {"type": "object", "properties": {"variables": []}}},
            "$.schemas.properties.variables",
            "an object, not an array",
        ),
        ({"examples": [{"name": "e"}]}, "$.examples[0]", "an example needs 'input'"),
        ({"test": {"cases": [{"input": 1}]}}, "$.test.cases[0]", "a test case needs 'name'"),
        ({"test": {"config": {}, "configFile": "c"}}, "$.test", "test has 'configFile' and 'config'"),
        (
            {"test": {"cases": [{"name": "t", "input": 1, "output": {"outcome": "failed", "error": {"code": 1}}}]}},
            "$.test.cases[0].output.error",
            "needs 'message'",
        ),
        (
            {"test": {"cases": [{"name": "t", "input": 1, "output": {"outcome": "lost"}}]}},
            "$.test.cases[0].output.outcome",
            "'success' or 'failed'",
        ),
        ({"output": {"$if": True}}, "$.output", "'$if' needs a 'then'"),
        ({"output": {"$coalesce": {}}}, "$.output.$coalesce", "takes a list of values, not an object"),
        ({"output": {"$step": {"id": "a"}}}, "$.output.$step", "the id of a step, a string, not an object"),
        ({"output": {"a": [{"$input": "$x"}]}}, "$.output.a[0].$input", "'$x' is not a path"),
        ({"output": {"$input": 3}}, "$.output.$input", "a path is a string such as '$.name', not the number 3"),
        ({"output": {"$step": "a", "path": ["x"]}}, "$.output.path", "not an array"),
        ({"output": {"$variable": "v", "default": {"$input": "$["}}}, "$.output.default.$input", "never closed"),
        ({"output": {"a": ...}}, "$.output.a", "an instance of ellipsis is not a JSON value"),
        ({"output": {"a": {1: 2}}}, "$.output.a", "the key 1 is the number 1; keys are strings"),
        ({"output": [float("nan")]}, "$.output[0]", "JSON has no nan"),
        ({"output": ["\ud800"]}, "$.output[0]", "half a surrogate pair"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_shape_is_named_with_its_path(document: object, path: str, said: str) -> None:
    with pytest.raises(InvalidFlow) as caught:
        parse_flow(document)
    found = {finding["path"]: finding["formatted"] for finding in caught.value.diagnostics}
    assert said in found[path]
    assert f"{path}: {found[path]}" in str(caught.value)


def test_all_problems_of_a_document_are_told_at_once() -> None:
    text = """\
name: 7
steps:
  - id: a
    componnet: /a
    input:
      deep: [{$input: $x}]
  - id: b
    component: /b
    onError: {action: give up}
output: {$if: 1}
"""
    found = refusal(parse_yaml(text, file="flow.yaml"))
    assert [(finding["path"], finding["line"]) for finding in found] == [
        ("$.name", 1),
        ("$.steps[0]", 3),
        ("$.steps[0].input.deep[0].$input", 6),
        ("$.steps[1].onError.action", 9),
        ("$.output", 10),
    ]
    assert all(finding["file"] == "flow.yaml" for finding in found)
    with pytest.raises(InvalidFlow, match=r"5 problems in flow\.yaml:\n  flow\.yaml:1: \$\.name: "):
        load_flow(parse_yaml(text, file="flow.yaml"))


def test_a_problem_in_a_json_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text('{\n "steps": [\n  {"id": "a", "component": "/a"},\n  {"id": "b"}\n ]\n}')
    assert refusal(tmp_path / "f.json")[0]["line"] == 4


@pytest.mark.parametrize(
    ("document", "path", "said"),
    [
        ({"nmae": 1}, "$.nmae", "did you mean 'name'?"),
        ({"input_schema": {}}, "$.input_schema", "schemas.properties.input"),
        ({"steps": [{"id": "a", "component": "/a", "on_error": {}}]}, "$.steps[0].on_error", "did you mean 'onError'?"),
        ({"steps": [{"id": "a", "component": "/a", "must_execute": 1}]}, "$.steps[0].must_execute", "'mustExecute'?"),
        ({"steps": [{"id": "a", "component": "/a", "depends_on": []}]}, "$.steps[0].depends_on", "waits for the steps"),
        ({"output": {"$input": "$", "path": "x"}}, "$.output.path", "write the path as the value of '$input'"),
        ({"output": {"$step": "a", "pth": "x"}}, "$.output.pth", "did you mean 'path'?"),
        ({"output": {"$inptu": "x"}}, "$.output.$inptu", "handed on as data; did you mean '$input'?"),
        ({"test": {"servers": {}}}, "$.test.servers", "plugins of the configuration"),
    ],
)
def test_a_key_that_means_nothing_is_a_warning(document: object, path: str, said: str) -> None:
    found = warnings(document)
    assert said in found[path]
    assert len(found) == 1


def test_schema_keys_and_other_dollar_keys_in_data_are_no_warning() -> None:
    assert warnings({"output": {"$ref": "#/x", "$schema": "s", "$blob": "b", "$price": 5}}) == {}


OLD: list[tuple[dict[str, Any], str, str]] = [
    ({"schema": "https://stepflow.org/schemas/v1/flow.json"}, "$.schema", "remove it"),
    ({"inputSchema": {}}, "$.inputSchema", "schemas.properties.input"),
    ({"outputSchema": {}}, "$.outputSchema", "schemas.properties.output"),
    ({"variables": {}}, "$.variables", "schemas.properties.variables"),
    ({"output": {"$from": {"workflow": "input"}, "path": "x"}}, "$.output.$from", "use {$input: x}"),
    ({"output": [{"$from": {"step": "a"}}]}, "$.output[0].$from", "use {$step: a}"),
    ({"output": {"$from": {"step": "a"}, "path": "$.b"}}, "$.output.$from", "use {$step: a, path: $.b}"),
    ({"output": {"$from": {"variable": "v", "default": 1}}}, "$.output.$from", "use {$variable: v, default: …}"),
    ({"output": {"$from": "a"}}, "$.output.$from", "put '$literal' around it"),
    ({"output": {"$from": {"step": "a"}, "onSkip": {"action": "skip"}}}, "$.output.onSkip", "$coalesce"),
    ({"steps": [{"id": "a", "component": "/a", "skipIf": True}]}, "$.steps[0].skipIf", "'$if' around"),
    ({"steps": [{"id": "a", "component": "/a", "inputSchema": {}}]}, "$.steps[0].inputSchema", "remove it"),
    ({"steps": [{"id": "a", "component": "/a", "outputSchema": {}}]}, "$.steps[0].outputSchema", "properties.steps"),
    (
        {"steps": [{"id": "a", "component": "/a", "onError": {"action": "skip"}}]},
        "$.steps[0].onError.action",
        "{action: useDefault, defaultValue: null}",
    ),
    (
        {
            "steps": [
                {"id": "a", "component": "/a", "onError": {"action": "useDefault", "defaultValue": [{"$from": 1}]}}
            ]
        },
        "$.steps[0].onError.defaultValue[0].$from",
        "0.7 and 0.8",
    ),
]


@pytest.mark.parametrize(("document", "path", "replacement"), OLD, ids=lambda value: str(value)[:40])
def test_a_construct_of_0_7_in_a_document_of_0_9_is_refused_with_its_replacement(
    document: dict[str, Any], path: str, replacement: str
) -> None:
    found = refusal({**document, "schemas": {"type": "object"}})
    assert {finding["code"] for finding in found} == {4002}
    told = {finding["path"]: finding for finding in found}
    assert replacement in told[path]["formatted"]
    assert "'schemas' (at $.schemas) that of 0.9" in told[path]["formatted"]
    assert set(told[path]["data"]) == {"construct", "replacement", "beside"}


CURRENT: list[tuple[Any, str, str]] = [
    ([{"$step": "a"}], "$step", "$.output[1][0].$step"),
    ({"x": {"$input": "$"}}, "$input", "$.output[1].x.$input"),
    ({"$variable": "v"}, "$variable", "$.output[1].$variable"),
    ({"$if": True, "then": 1}, "$if", "$.output[1].$if"),
    ({"$coalesce": []}, "$coalesce", "$.output[1].$coalesce"),
]


@pytest.mark.parametrize(("value", "name", "place"), CURRENT)
def test_a_mixed_document_is_refused_by_the_names_of_both(value: Any, name: str, place: str) -> None:
    (found,) = refusal({"output": [{"$from": {"step": "a"}}, value]})
    assert (found["code"], found["path"]) == (4002, "$.output[0].$from")
    assert f"{name!r} (at {place}) that of 0.9" in found["formatted"]


def test_a_new_expression_inside_a_literal_does_not_make_a_document_mixed() -> None:
    flow = parse_flow({"output": [{"$from": {"workflow": "input"}}, {"$literal": {"$step": "a"}}]})
    assert isinstance(flow, OldFlow)


def test_every_old_construct_of_a_document_is_told() -> None:
    text = """\
schema: s
steps:
- id: a
  component: /a
  skipIf: {$from: {workflow: input}, path: x}
output: [{$from: {step: a}}, {$step: a}]
"""
    assert [(finding["path"], finding["line"]) for finding in refusal(parse_yaml(text))] == [
        ("$.schema", 1),
        ("$.steps[0].skipIf", 5),
        ("$.steps[0].skipIf.$from", 5),
        ("$.output[0].$from", 6),
    ]


def test_old_keys_inside_literals_and_data_are_data() -> None:
    data = {"$from": {"step": "a"}, "skipIf": True}
    flow = parse_flow({"output": {"$literal": data}, "metadata": data, "examples": [{"name": "e", "input": data}]})
    assert flow.to_json()["output"] == {"$literal": data}


def test_a_repeated_key_of_the_format_is_refused_and_one_in_data_is_a_warning() -> None:
    assert problems(parse_yaml("name: a\nname: b\n"))["$.name"] == "the key 'name' stands here twice (lines 1 and 2)"
    text = "steps:\n- id: a\n  component: /a\n  onError:\n    action: fail\n    action: fail\n"
    assert set(problems(parse_yaml(text))) == {"$.steps[0].onError.action"}
    assert warnings(parse_yaml("output:\n  x: 1\n  x: 2\n")) == {
        "$.output.x": "the key 'x' stands here twice (lines 2 and 3); the last one counts"
    }


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("flow.toml", b"", "a .json, .yaml or .yml file, and this one has the extension '.toml'"),
        ("flow", b"", "has no extension"),
        ("flow.yaml", b"a: [", "not YAML"),
        ("flow.json", b"{", "not JSON"),
        ("flow.json", b"\xff", "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_by_its_name(tmp_path: Path, name: str, text: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(text)
    (found,) = refusal(tmp_path / name)
    assert said in found["formatted"]
    assert (found["code"], found["file"]) == (4000, str(tmp_path / name))


def test_a_missing_file_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("{}")
    assert refusal(tmp_path / "pipline.yaml")[0]["formatted"] == (
        "there is no such file; did you mean 'pipeline.yaml'?"
    )
    assert "is a directory" in refusal(_folder(tmp_path / "x.yaml"))[0]["formatted"].lower()
    assert "there is no such file" in refusal(tmp_path / "no" / "way.yaml")[0]["formatted"]
    assert "cannot be read" in refusal("a\0b.yaml")[0]["formatted"]


def test_the_text_of_a_flow_is_not_taken_for_a_path() -> None:
    (found,) = refusal("name: x\noutput: 1\n")
    assert "this is the text of a document" in found["formatted"]


def test_a_mass_of_mistakes_is_told_within_bounds() -> None:
    document = {"output": [{"$inptu": index} for index in range(5000)] + [{"$input": "$x"}] * 5000}
    with pytest.raises(InvalidFlow, match="and 950 more") as caught:
        parse_flow(document)
    assert len(caught.value.diagnostics) == 2000
    assert len(str(caught.value)) < 10_000


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_document_that_contains_itself_or_is_too_deep_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidFlow, match="nested deeper than 128 levels"):
        parse_flow({"output": loop})
    deep: Any = None
    for _ in range(5000):
        deep = {"$if": deep, "then": 1}
    with pytest.raises(InvalidFlow, match="nested deeper than 128 levels"):
        parse_flow({"output": deep})


@pytest.mark.promise("S10")
def test_a_flow_of_too_many_steps_is_refused() -> None:
    steps = [{"id": "a", "component": "/c"}] * 100_001
    assert problems({"steps": steps})["$.steps"] == "a flow has at most 100,000 steps, not 100,001"


def test_a_document_that_multiplies_itself_is_refused() -> None:
    value: list[Any] = ["x"] * 10
    for _ in range(8):
        value = [value] * 10
    with pytest.raises(InvalidFlow, match="too many values"):
        parse_flow({"output": value})


@given(documents())
@settings(max_examples=60, deadline=None)
def test_the_normal_form_is_stable_and_survives_json_and_yaml(document: dict[str, Any]) -> None:
    flow = parse_flow(document)
    normal = flow.to_json()
    for again in (
        parse_flow(normal),
        load_flow(parse_json(json.dumps(normal))),
        load_flow(parse_yaml(dump_yaml(normal))),
    ):
        assert repr(again.to_json()) == repr(normal)
        assert again.id == flow.id
        assert again == flow


def flow_or_refusal(source: Any) -> Flow | InvalidFlow:
    try:
        return load_flow(source) if isinstance(source, Path) else parse_flow(source)
    except InvalidFlow as error:
        return error


@given(JSON | st.dictionaries(st.sampled_from(["name", "steps", "output", "schemas", "test", "examples"]), JSON))
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_flow_or_refused(value: object) -> None:
    flow = flow_or_refusal(value)
    if isinstance(flow, Flow):
        assert parse_flow(flow.to_json()).id == flow.id
    else:
        assert flow.diagnostics


ALPHABET = "{}[]:,\"' -\n?&*!|#abc01.$"
FRAGMENTS = st.sampled_from(["steps:", "output:", "$step", "$input", "id: a", "component", "&a", "*a", "\n- ", "\n  "])


@given(
    st.sampled_from(["json", "yaml"]),
    st.binary(max_size=60)
    | st.lists(FRAGMENTS | st.text(ALPHABET, max_size=4)).map(lambda parts: "".join(parts).encode()),
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_a_file_are_a_flow_or_refused(tmp_path: Path, kind: str, text: bytes) -> None:
    file = tmp_path / f"flow.{kind}"
    file.write_bytes(text)
    flow = flow_or_refusal(file)
    if isinstance(flow, InvalidFlow):
        assert str(file) in str(flow)
        assert all(finding["file"] == str(file) for finding in flow.diagnostics)


def test_other_documents_are_read_by_the_same_rules(tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text("plugins:\n  a: {type: builtin}\n")
    document = read_document(tmp_path / "config.yml")
    assert document.value == {"plugins": {"a": {"type": "builtin"}}}
    assert document.line(("plugins", "a", "type")) == 2
