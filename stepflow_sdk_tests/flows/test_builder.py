from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows import FlowBuilder, OnError, Reference, Value, dump_yaml, load_flow, parse_flow, parse_yaml
from stepflow_sdk_tests.flows.strategies import documents


def test_a_flow_built_in_python_is_the_flow_of_the_document() -> None:
    builder = FlowBuilder("welcome", description="greets", version="2", input_schema={"type": "object"})
    language = builder.variable("lang", {"type": "string"}, default="en", secret=True, env_var="LANG", required=True)
    greet = builder.step(
        "greet",
        "/python/greet",
        {"name": Value.input("name"), "tags": (1, [Value.input()["tags"][0]]), "lang": language},
        on_error=OnError.use_default({"text": None}),
        output_schema={"type": "object"},
        metadata={"x": 1},
    )
    builder.step("log", "/python/log", greet, must_execute=True, on_error=OnError.retry(2))
    builder.example("ann", {"name": "Ann"})
    flow = builder.build(
        output={
            "text": greet["text"]["a.b"][0],
            "either": Value.cond(greet["ok"], 1, Value.coalesce(None, Value.variable("lang")["x"])),
            "data": Value.literal({"$step": "greet"}),
        }
    )
    assert flow.to_json() == {
        "name": "welcome",
        "description": "greets",
        "version": "2",
        "schemas": {
            "type": "object",
            "properties": {
                "input": {"type": "object"},
                "variables": {
                    "type": "object",
                    "properties": {"lang": {"type": "string", "default": "en", "is_secret": True, "env_var": "LANG"}},
                    "required": ["lang"],
                },
                "steps": {"type": "object", "properties": {"greet": {"type": "object"}}},
            },
        },
        "steps": [
            {
                "id": "greet",
                "component": "/python/greet",
                "onError": {"action": "useDefault", "defaultValue": {"text": None}},
                "input": {
                    "name": {"$input": "$.name"},
                    "tags": [1, [{"$input": "$.tags[0]"}]],
                    "lang": {"$variable": "$.lang"},
                },
                "metadata": {"x": 1},
            },
            {
                "id": "log",
                "component": "/python/log",
                "onError": {"action": "retry", "maxRetries": 2},
                "input": {"$step": "greet"},
                "mustExecute": True,
            },
        ],
        "output": {
            "text": {"$step": "greet", "path": '$.text["a.b"][0]'},
            "either": {
                "$if": {"$step": "greet", "path": "$.ok"},
                "then": 1,
                "else": {"$coalesce": [None, {"$variable": "$.lang.x"}]},
            },
            "data": {"$literal": {"$step": "greet"}},
        },
        "examples": [{"name": "ann", "input": {"name": "Ann"}}],
    }
    assert flow == parse_flow(flow.to_json()) == load_flow(parse_yaml(dump_yaml(flow.to_json())))


def test_the_names_of_stepflow_py_build_the_same_flow() -> None:
    old = FlowBuilder("n")
    handle = old.add_step(id="a", component="/a", input_data={"x": Value.input("$.x")})
    old.set_output({"y": Value.step("a", "$.y"), "z": handle})
    new = FlowBuilder("n")
    step = new.step("a", "/a", {"x": Value.input("x")})
    assert old.build() == new.build(output={"y": step["y"], "z": step})


def test_a_plain_dict_means_what_it_means_in_a_document() -> None:
    builder = FlowBuilder()
    builder.step("a", "/a", {"x": {"$input": "name"}})
    document = builder.build(output={"$step": "a"}).to_json()
    assert document["steps"][0]["input"] == {"x": {"$input": "$.name"}}
    assert document["output"] == {"$step": "a"}


def test_changing_an_input_after_the_step_was_added_changes_nothing() -> None:
    data = {"x": [1]}
    builder = FlowBuilder()
    step = builder.step("a", "/a", data)
    data["x"].append(2)
    assert builder.build(output=step).to_json()["steps"][0]["input"] == {"x": [1]}


def test_a_builder_can_go_on_after_it_built() -> None:
    builder = FlowBuilder()
    first = builder.step("a", "/a")
    one = builder.build(output=first)
    builder.step("b", "/b", first)
    assert len(one.steps) == 1
    assert len(builder.build(output=Value.step("b")).steps) == 2


def test_a_variable_may_bring_its_default() -> None:
    assert Value.variable("v", "a[0]", default=Value.input("x")).to_json() == {
        "$variable": "$.v.a[0]",
        "default": {"$input": "$.x"},
    }
    assert Value.variable("a.b", default=None)["c"].to_json() == {"$variable": '$["a.b"].c', "default": None}


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda builder: builder.step("a", "/again"), "the flow has a step 'a' already"),
        (lambda builder: builder.step("b", "/b", {"x": [object()]}), r"the input of step 'b' at \$\.x\[0\]: "),
        (lambda builder: builder.step("b", "/b", {1: 2}), "the key 1 is the number 1; keys are strings"),
        (
            lambda builder: builder.build(output=Value.step("first_sep")),
            r"there is no step 'first_sep' to refer to; did you mean 'first_step'\?",
        ),
        (lambda builder: builder.build(output={"$if": 1}), r"\$\.output: '\$if' needs a 'then'"),
        (lambda builder: builder.build(output=float("nan")), "the output at .*: JSON has no nan"),
        (lambda builder: Value.literal([Value.input()]), r"a literal at \$\[0\]: an instance of Reference"),
        (lambda builder: Value.input("$x"), "is not a path"),
        (lambda builder: Value.step("a")[""], "a field whose name is empty"),
    ],
)
def test_a_mistake_is_refused_where_it_is_made(build: Callable[[FlowBuilder], object], said: str) -> None:
    builder = FlowBuilder()
    builder.step("a", "/a")
    builder.step("first_step", "/a")
    with pytest.raises(InvalidFlow, match=said):
        build(builder)


@pytest.mark.parametrize(
    "use",
    [
        bool,
        list,
        lambda value: f"{value}",
        lambda value: "x" in value,
        lambda value: value[1.5],
        lambda value: value[True],
    ],
)
def test_a_value_that_is_not_known_yet_cannot_be_used_as_one(use: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        use(Value.input("x"))


def test_an_index_counts_from_the_start() -> None:
    with pytest.raises(IndexError):
        Value.input()[-1]


def rebuilt(expression: Any) -> Any:
    """The same expression with a `Value` for every special object of the document."""
    if isinstance(expression, list):
        return [rebuilt(item) for item in expression]
    if not isinstance(expression, dict):
        return expression
    match expression:
        case {"$literal": value}:
            return Value.literal(value)
        case {"$if": condition, "then": then, "else": None}:
            # `Value.cond` writes no `else` of null: it is the same as none, but for the id of the flow.
            return {"$if": rebuilt(condition), "then": rebuilt(then), "else": None}
        case {"$if": condition, "then": then}:
            return Value.cond(rebuilt(condition), rebuilt(then), rebuilt(expression.get("else")))
        case {"$coalesce": operands}:
            return Value.coalesce(*map(rebuilt, operands))
        case {"$step": step_id}:
            return Value.step(step_id, expression.get("path"))
        case {"$input": path}:
            return Value.input(path)
        case {"$variable": path}:
            default = {"default": rebuilt(expression["default"])} if "default" in expression else {}
            return Value.variable(path[3:-2], **default)
        case _:
            return {key: rebuilt(item) for key, item in expression.items()}


@given(documents())
@settings(max_examples=60, deadline=None)
def test_every_document_can_be_built_in_python(document: dict[str, Any]) -> None:
    head = {key: document[key] for key in ("name", "description", "version") if key in document}
    builder = FlowBuilder(head.pop("name", None), **head)
    for step in document["steps"]:
        on_error = step.get("onError")
        builder.step(
            step["id"],
            step["component"],
            rebuilt(step["input"]),
            on_error=on_error and OnError(on_error["action"], on_error.get("defaultValue"), on_error.get("maxRetries")),
            must_execute=step.get("mustExecute"),
            metadata=step.get("metadata"),
        )
    flow = builder.build(output=rebuilt(document["output"]))
    assert repr(flow.to_json()) == repr(parse_flow(document).to_json())


def test_a_reference_is_typed_as_one() -> None:
    reference: Reference = Value.input("a")
    assert repr(reference) == "<Reference {'$input': '$.a'}>"
