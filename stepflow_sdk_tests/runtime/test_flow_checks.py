"""What is found of a flow before it runs, held against what happens when it runs."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from stepflow_sdk import PathParam, StepflowServer
from stepflow_sdk.errors import InvalidFlow, InvalidInput
from stepflow_sdk.flows import ComponentQuestion, ComponentSchemas, check_types, parse_flow, parse_yaml
from stepflow_sdk.protocol import FlowResultSuccess
from stepflow_sdk.protocol.messages import ComponentExecuteParams, ComponentInfo
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.config_checks import check_config
from stepflow_sdk.runtime.events import StepEnded
from stepflow_sdk.runtime.plugins.plugin import Host
from stepflow_sdk_tests.flows.types.schemas import NAMES, PLAIN, VALUES, is_valid, samples
from stepflow_sdk_tests.transports.scripted_http import Exchange, scripted

# ---- against runs -------------------------------------------------------------------------------------------------


class Recorder:
    """A plugin whose components return what they are told to, and remember what they were called with."""

    name = "recorder"
    wraps_errors = False

    def __init__(self, outputs: Mapping[str, Any]) -> None:
        self._outputs = outputs
        self.inputs: dict[str, Any] = {}

    def start(self, host: Host) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def execute(self, call: ComponentExecuteParams) -> Any:
        self.inputs[call.component] = call.input
        return self._outputs[call.component]

    async def list_components(self) -> list[ComponentInfo]:
        return []


class Case(NamedTuple):
    document: dict[str, Any]
    input: Any
    variables: dict[str, Any]
    schemas: dict[str, ComponentSchemas]
    outputs: dict[str, Any]


PATHS = st.lists(NAMES | st.integers(0, 1), max_size=2).map(
    lambda parts: "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
)


def expressions(steps: list[str]) -> st.SearchStrategy[Any]:
    leaves: list[st.SearchStrategy[Any]] = [
        VALUES,
        st.fixed_dictionaries({"$input": PATHS}),
        st.fixed_dictionaries({"$literal": VALUES}),
    ]
    if steps:
        leaves += [st.fixed_dictionaries({"$step": st.sampled_from(steps)}, optional={"path": PATHS})] * 2
    return st.recursive(
        st.one_of(leaves),
        lambda inner: st.one_of(
            st.lists(inner, max_size=2),
            st.dictionaries(NAMES, inner, max_size=3),
            st.fixed_dictionaries({"$if": inner, "then": inner}, optional={"else": inner}),
            st.fixed_dictionaries({"$coalesce": st.lists(inner, max_size=3)}),
            st.fixed_dictionaries({"$variable": st.just("v")}, optional={"default": inner}),
        ),
        max_leaves=6,
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A flow, its input, and what its components take and give; some take exactly what the flow hands to them."""
    input_schema, variable = draw(PLAIN), draw(PLAIN)
    names = ["s0", "s1", "s2"][: draw(st.integers(1, 3))]
    steps: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        step = {"id": name, "component": f"/{name}", "input": draw(expressions(names[:index])), "mustExecute": True}
        if draw(st.integers(0, 5)) == 0:
            step["onError"] = {"action": "useDefault", "defaultValue": draw(VALUES)}
        steps.append(step)
    outputs = {f"/{name}": draw(PLAIN) for name in names}
    document = {
        "schemas": {
            "type": "object",
            "properties": {"input": input_schema, "variables": {"type": "object", "properties": {"v": variable}}},
        },
        "steps": steps,
        "output": draw(expressions(names)),
    }
    exact = draw(st.sets(st.sampled_from(names)))
    schemas: dict[str, ComponentSchemas] = {}

    def answer(question: ComponentQuestion) -> ComponentSchemas:
        wanted = question.input_schema if question.step in exact else draw(PLAIN)
        schemas[question.component] = ComponentSchemas(wanted, outputs[question.component])
        return schemas[question.component]

    check_types(parse_flow(document), answer)
    values = {component: draw(samples(schema)) for component, schema in outputs.items()}
    has_default = variable.get("type") in ("null", "boolean", "integer", "number", "string") and draw(st.booleans())
    variables = {} if has_default else {"v": draw(samples(variable))}
    return Case(document, draw(samples(input_schema)), variables, schemas, values)


@given(cases())
@settings(max_examples=50, deadline=None)
def test_what_is_found_is_what_happens(case: Case) -> None:
    flow = parse_flow(case.document)
    recorder = Recorder(case.outputs)
    with LocalRuntime(recorder) as runtime:
        outcome = runtime.run(flow, case.input, variables=case.variables)
    sure = check_types(flow, case.schemas).diagnostics
    strict = check_types(flow, case.schemas, strict=True).diagnostics
    for index, step in enumerate(flow.steps):
        if step.component not in recorder.inputs:
            continue
        place = f"$.steps[{index}].input"
        accepted = is_valid(case.schemas[step.component].input, recorder.inputs[step.component])
        mismatches = [each for each in sure if each.code == 2100 and (each.path or "").startswith(place)]
        assert not (mismatches and accepted)
        assert accepted or any((each.path or "").startswith(place) for each in strict)
    if not strict:
        assert isinstance(outcome, FlowResultSuccess)


# ---- against servers ----------------------------------------------------------------------------------------------


class Point(Struct):
    x: int
    y: float = 0.0
    tags: list[str] = []


server = StepflowServer("shop")


@server.component
def price(article: str, count: int = 1) -> dict[str, float]:
    return {article: 2.5 * count}


@server.component
def total(prices: list[float], currency: str | None = None) -> float:
    return sum(prices)


@server.component
def ready() -> bool:
    return True


@server.component("models/{*model}")
def ask(prompt: str, model: PathParam[str]) -> str:
    return f"{model}: {prompt}"


@server.component
def scale(point: Point, factor: float = 1.0) -> Point:
    return Point(point.x, point.y * factor, point.tags)


@server.component
def paint(kind: Literal["red", "green"], times: Annotated[int, Meta(ge=0)] = 1) -> Literal["green"]:
    return "green"


@server.component
def mirror(point: Point) -> Point | None:
    return None if point.x == 0 else Point(-point.x, point.y)


@server.component
def spell(values: list[int], names: dict[str, bool] | None = None) -> dict[str, int]:
    return {"a": len(values), "b": len(names or {})}


FIELDS = ["article", "count", "prices", "currency", "point", "factor", "kind", "times", "x", "y", "values", "names"]
FIXED: list[Any] = [0, 1, 2.0, 2.5, -1, "red", "green", "tea", True, None, [], [1], [1.5], {}, {"a": True}]


def typed_inputs(steps: list[str]) -> st.SearchStrategy[Any]:
    """What a component could be called with, more or less."""
    reference = st.fixed_dictionaries(
        {"$step": st.sampled_from(steps or ["none"])},
        optional={"path": st.sampled_from(["x", "y", "a", "tea", "$[0]", "$.tags[0]"])},
    )
    value = st.sampled_from(FIXED) | (reference if steps else st.just(1))
    value |= st.fixed_dictionaries({"x": value}, optional={"y": value, "tags": st.lists(value, max_size=2)})
    value |= st.fixed_dictionaries({"$coalesce": st.lists(value, min_size=1, max_size=2)})
    value |= st.fixed_dictionaries({"$if": value, "then": value}, optional={"else": value})
    return value | st.dictionaries(st.sampled_from(FIELDS), value, max_size=3)


CALLS = {
    "price": ["article", "count"],
    "total": ["prices", "currency"],
    "ready": [],
    "scale": ["point", "factor"],
    "paint": ["kind", "times"],
    "mirror": ["x", "y"],
    "spell": ["values", "names"],
}


@st.composite
def typed_flows(draw: st.DrawFn) -> dict[str, Any]:
    names = ["s0", "s1", "s2", "s3"][: draw(st.integers(1, 4))]
    steps: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        component = draw(st.sampled_from(sorted(CALLS)))
        value = typed_inputs(names[:index])
        fields = st.fixed_dictionaries({}, optional=dict.fromkeys(CALLS[component], value))
        steps.append({"id": name, "component": f"/{component}", "input": draw(fields | value), "mustExecute": True})
    return {"steps": steps, "output": None}


@given(typed_flows())
@settings(max_examples=50, deadline=None)
def test_what_is_found_is_what_a_server_refuses(document: dict[str, Any]) -> None:
    ended: dict[str, StepEnded] = {}

    def note(event: object) -> None:
        if isinstance(event, StepEnded) and event.attempt:
            ended[event.step_id] = event

    with LocalRuntime(server, on_event=note) as runtime:
        runtime.run(document)
        sure = runtime.check_types(document).diagnostics
        strict = runtime.check_types(document, strict=True).diagnostics
    for index, step in enumerate(document["steps"]):
        event = ended.get(step["id"])
        # A step that failed before its component was called says nothing of types.
        if event is None or (event.failure is not None and event.failure.code != InvalidInput.code):
            continue
        place = f"$.steps[{index}].input"
        is_refused = event.failure is not None
        assert is_refused or not [each for each in sure if each.code == 2100 and (each.path or "").startswith(place)]
        assert not is_refused or any((each.path or "").startswith(place) for each in strict)


def flow_of(*steps: dict[str, Any], output: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": "n", "description": "d", "steps": list(steps), "output": output, **more}


def found(document: dict[str, Any], *, strict: bool = False) -> list[tuple[int, str, str | None, str]]:
    with LocalRuntime({"shop": server}) as runtime:
        told = runtime.check_types(document, strict=strict).diagnostics
    return [(each.code, each.level, each.path, each.formatted) for each in told]


def test_the_schemas_of_servers_are_asked_for() -> None:
    document = flow_of(
        {"id": "p", "component": "/shop/price", "input": {"article": 3, "cuont": 2}},
        {"id": "t", "component": "/shop/total", "input": {"prices": [1, {"$step": "p", "path": "$.tea"}]}},
        output={"$step": "t", "path": "$.sum"},
    )
    (mismatch, path) = found(document)
    assert mismatch[:3] == (2100, "error", "$.steps[0].input.article")
    assert "$.article: a string is wanted, and the number 3 comes" in mismatch[3]
    assert path[:3] == (2101, "error", "$.output")
    assert path[3] == "the field 'sum' is wanted of the result of step 't', which is a number"


def test_an_integer_is_a_number_and_null_may_come_where_it_is_allowed() -> None:
    steps = (
        {"id": "r", "component": "/shop/ready", "input": None, "mustExecute": True},
        {"id": "m", "component": "/shop/models/one/two", "input": {"prompt": "x"}, "mustExecute": True},
        {"id": "t", "component": "/shop/total", "input": {"prices": [1, 2.5], "currency": None}, "mustExecute": True},
    )
    assert found(flow_of(*steps), strict=True) == []


def test_a_component_that_no_server_has_is_told_with_the_one_that_was_meant() -> None:
    (missing,) = found(flow_of({"id": "p", "component": "/shop/prise", "mustExecute": True}))
    assert missing[:3] == (2500, "error", "$.steps[0].component")
    assert "did you mean '/price'?" in missing[3]


def test_only_the_servers_that_a_flow_needs_are_started() -> None:
    servers: dict[str, Any] = {"shop": server, "broken": ["/no/such/program"]}
    step = {"id": "r", "component": "/shop/ready", "mustExecute": True}
    with LocalRuntime(servers) as runtime:
        assert runtime.check_types(flow_of(step)).diagnostics == []


def test_the_types_of_a_flow_that_cannot_run_are_not_checked() -> None:
    with LocalRuntime() as runtime, pytest.raises(InvalidFlow, match="there is no step 'x'"):
        runtime.check_types(flow_of(output={"$step": "x"}))


def test_a_component_without_a_route_is_an_error() -> None:
    runtime = LocalRuntime.from_config(
        {
            "plugins": {"builtin": {"type": "builtin"}},
            "routes": {
                "/builtin/{*component}": [{"plugin": "builtin", "componentDeny": ["openai"]}],
                "/when/{component}": [{"plugin": "builtin", "conditions": [{"path": "$.a", "value": 1}]}],
            },
        }
    )
    names = ["/builtin/eval", "/builtin/openai", "/bultin/eval", "/when/eval", "no-slash"]
    steps = [{"id": name, "component": name} for name in names]
    told = runtime.check_routes(flow_of(*steps))
    assert [(each.code, each.level, each.path) for each in told] == [
        (2500, "error", "$.steps[1].component"),
        (2500, "error", "$.steps[2].component"),
    ]
    assert "every rule of the route" in told[0].formatted
    assert "did you mean '/builtin/eval'?" in told[1].formatted


# ---- servers that infer schemas -----------------------------------------------------------------------------------


class Inferring:
    """A server of 0.9 whose component gives back what it takes, and says so; or one that does not know the question."""

    def __init__(self, *, knows: bool) -> None:
        self.asked: list[Any] = []
        self._knows = knows

    async def answer(self, exchange: Exchange) -> None:
        message = exchange.json
        result: Any = None
        match message["method"]:
            case "initialize":
                result = {"server_protocol_version": 1}
            case "initialized":
                return await exchange.reply(b"", 202)
            case "components/list":
                result = {"components": [{"component": "/same", "input_schema": {}, "output_schema": {}}]}
            case "components/infer_schema":
                self.asked.append(message["params"])
                result = {"output_schema": message["params"]["input_schema"]} if self._knows else None
        if result is None:
            error = {"code": -32601, "message": "Method not found"}
            return await exchange.reply({"jsonrpc": "2.0", "id": message["id"], "error": error})
        return await exchange.reply({"jsonrpc": "2.0", "id": message["id"], "result": result})


INFERRED = flow_of(
    {"id": "a", "component": "/same", "input": {"n": 1}},
    {"id": "b", "component": "/same", "input": [{"$step": "a", "path": "n"}]},
    output={"$step": "b", "path": "$[0].x"},
)


async def test_a_server_that_infers_schemas_is_asked_step_by_step() -> None:
    fake = Inferring(knows=True)
    async with scripted(fake.answer) as scene, LocalRuntime(scene.url) as runtime:
        report = await runtime.check_types(INFERRED)
    assert [asked["component"] for asked in fake.asked] == ["/same", "/same"]
    assert fake.asked[0]["input_schema"] == {"const": {"n": 1}}
    (path,) = report.diagnostics
    assert path.formatted == "the field 'x' is wanted of '$[0]' of the result of step 'b', which is the number 1"


async def test_a_server_that_does_not_know_the_question_is_asked_once() -> None:
    fake = Inferring(knows=False)
    async with scripted(fake.answer) as scene, LocalRuntime(scene.url) as runtime:
        report = await runtime.check_types(INFERRED)
    assert len(fake.asked) == 1
    assert report.diagnostics == []


# ---- configurations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [(1200, "warning", "$.plugins"), (1201, "warning", "$.routes")]),
        ({"plugins": {"a": {"type": "builtin"}}}, [(1201, "warning", "$.routes"), (1202, "warning", "$.plugins.a")]),
        (
            {"plugins": {"a": {"type": "builtin"}}, "routes": {"/x": []}},
            [(1201, "warning", "$.routes"), (1202, "warning", "$.plugins.a")],
        ),
        ({"plugins": {"a": {"type": "builtin"}}, "routes": {"/x": [{"plugin": "a"}]}}, []),
        (
            {"plugins": {"python": {}}, "routes": {"/x": [{"plugin": "python"}, {"plugin": "pyton"}]}},
            [(2200, "error", "$.routes./x[1].plugin")],
        ),
        ({"plugins": 1, "routes": [2]}, [(1200, "warning", "$.plugins"), (1201, "warning", "$.routes")]),
    ],
)
def test_plugins_and_routes_that_lead_nowhere_are_told(
    config: dict[str, Any], expected: list[tuple[int, str, str]]
) -> None:
    assert [(each.code, each.level, each.path) for each in check_config(config)] == expected


def test_a_finding_about_a_configuration_has_its_line_and_what_was_meant() -> None:
    text = "plugins:\n  python: {type: builtin}\nroutes:\n  /x:\n  - plugin: pyhton\n"
    unused, unknown = sorted(check_config(parse_yaml(text, file="c.yml")), key=lambda each: each.code)
    assert (unused.code, unused.line) == (1202, 2)
    assert str(unknown).startswith("c.yml:5: ")
    assert "did you mean 'python'?" in unknown.formatted
