"""Running flows of 0.7 and 0.8 (section c.10 of the flow format)."""

import warnings
from collections import Counter
from typing import Any

import anyio
import pytest

from stepflow_sdk import ComponentError, SkipStep, StepflowContext, StepflowServer
from stepflow_sdk.flows import load_flow
from stepflow_sdk.protocol import FlowResult, FlowResultFailed, FlowResultSkipped, FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime, StepEnded

pytestmark = pytest.mark.filterwarnings("ignore:.*stepflow-sdk upgrade:DeprecationWarning")

server = StepflowServer("old")
called: Counter[str] = Counter()


@server.component
def echo(input: Any) -> Any:
    called["echo"] += 1
    return input


@server.component
def broken(input: Any) -> Any:
    called["broken"] += 1
    raise ComponentError("no luck", data={"n": 1})


@server.component
def skipping(input: Any) -> Any:
    raise SkipStep("nothing to do")


@server.component
async def evaluate(input: Any, ctx: StepflowContext) -> Any:
    flow_id = await ctx.put_blob(input["flow"], "flow")
    return await ctx.evaluate_flow_by_id(flow_id, input["input"])


INPUT = {"$from": {"workflow": "input"}}
DEFAULT = {"action": "useDefault", "defaultValue": "default"}


def ref(step: str, path: str | None = None, **more: Any) -> dict[str, Any]:
    return {"$from": {"step": step}, **({} if path is None else {"path": path}), **more}


def step(name: str, input: Any = INPUT, component: str = "/echo", **more: Any) -> dict[str, Any]:
    return {"id": name, "component": component, "input": input, **more}


def flow(*steps: dict[str, Any], output: Any, **more: Any) -> dict[str, Any]:
    return {"schema": "s", "steps": list(steps), "output": output, **more}


async def run(document: dict[str, Any], input: Any = None, **how: Any) -> FlowResult:
    called.clear()
    async with LocalRuntime(server) as runtime:
        return await runtime.run(document, input, **how)


@pytest.mark.parametrize(
    ("condition", "skipped"),
    [
        *[(value, False) for value in (False, 0, 0.0, "", -0.0)],
        *[(value, True) for value in (True, 1, -1, 0.5, "false", "0", None, [], {}, [0], {"a": False})],
    ],
)
async def test_skip_if_takes_false_zero_and_the_empty_text_for_false(condition: Any, skipped: bool) -> None:
    result = await run(flow(step("a", 1, skipIf=INPUT), output=ref("a", onSkip=DEFAULT)), condition)
    assert result == FlowResultSuccess("default" if skipped else 1)
    assert called["echo"] == (not skipped)


async def test_a_condition_that_is_skipped_or_failed_does_not_skip() -> None:
    steps = [
        step("gone", 1, skipIf=True),
        step("failed", 1, "/broken"),
        step("a", "a", skipIf=ref("gone")),
        step("b", "b", skipIf=[ref("failed")]),
    ]
    assert await run(flow(*steps, output=[ref("a"), ref("b")])) == FlowResultSuccess(["a", "b"])


async def test_a_skip_spreads_to_whoever_refers_to_the_step() -> None:
    steps = [step("a", skipIf=True), step("b", [1, {"x": ref("a", "$.y")}]), step("c", ref("b"))]
    assert await run(flow(*steps, output=ref("c"))) == FlowResultSkipped("skipIf is true")
    assert not called


async def test_a_default_stops_the_spreading_and_the_path_is_not_applied_to_it() -> None:
    steps = [step("a", skipIf=True), step("b", {"x": ref("a", "$.y", onSkip=DEFAULT)})]
    assert await run(flow(*steps, output=ref("b"))) == FlowResultSuccess({"x": "default"})
    absent = ref("a", "$.y", onSkip={"action": "useDefault"})
    assert await run(flow(steps[0], output=[absent])) == FlowResultSuccess([None])


async def test_a_default_of_a_reference_is_a_literal() -> None:
    default = {"action": "useDefault", "defaultValue": INPUT}
    document = flow(step("a", skipIf=True), output=ref("a", onSkip=default))
    assert await run(document, 5) == FlowResultSuccess(INPUT)


@pytest.mark.parametrize(
    ("output", "outcome"),
    [([ref("a"), ref("f")], FlowResultSkipped), ({"x": ref("f"), "y": ref("a")}, FlowResultFailed)],
)
async def test_the_first_element_without_a_value_decides(output: Any, outcome: type) -> None:
    result = await run(flow(step("a", skipIf=True), step("f", 1, "/broken"), output=output))
    assert isinstance(result, outcome)


async def test_a_component_that_skips_spreads_like_a_condition() -> None:
    document = flow(step("a", 1, "/skipping"), step("b", ref("a")), output=ref("b"))
    assert await run(document) == FlowResultSkipped("nothing to do")
    document = flow(step("a", 1, "/skipping"), output=ref("a", onSkip=DEFAULT))
    assert await run(document) == FlowResultSuccess("default")


async def test_on_error_skip_skips_the_step() -> None:
    document = flow(step("a", 1, "/broken", onError={"action": "skip"}), step("b", ref("a")), output=ref("b"))
    assert await run(document) == FlowResultSkipped("no luck")
    assert called == {"broken": 1}


async def test_the_default_of_on_error_is_a_template() -> None:
    def failing(default: Any) -> dict[str, Any]:
        on_error = {"action": "useDefault", "defaultValue": default}
        return flow(
            step("a", {"x": 1}), step("s", skipIf=True), step("b", 1, "/broken", onError=on_error), output=[ref("b")]
        )

    assert await run(failing({"n": ref("a", "x"), "i": INPUT}), 5) == FlowResultSuccess([{"n": 1, "i": 5}])
    assert await run(failing(None)) == FlowResultSuccess([None])
    assert await run(failing([ref("s")])) == FlowResultSuccess([None])
    result = await run(failing(ref("a", "y")))
    assert isinstance(result, FlowResultFailed)
    assert result.error.message == "Path $.y not found"


@pytest.mark.parametrize("on_error", [None, {"action": "fail"}, {"action": "retry", "maxRetries": 5}])
async def test_a_failed_step_is_the_outcome_where_the_output_refers_to_it(on_error: Any) -> None:
    result = await run(flow(step("a", 1, "/broken", onError=on_error), output=[ref("a", "$.x")]))
    assert isinstance(result, FlowResultFailed)
    assert (result.error.message, result.error.data) == ("no luck", {"n": 1})
    assert called["broken"] == 1


async def test_a_failure_that_nobody_refers_to_does_not_count_in_0_7() -> None:
    assert await run(flow(step("a", 1, "/broken"), output=1)) == FlowResultSuccess(1)
    assert called["broken"] == 1


@pytest.mark.parametrize(
    ("broken", "code", "said"),
    [
        (ref("f"), None, "no luck"),
        (ref("a", "$.no"), -32200, "Path $.no not found"),
        (ref("none", "$.no"), -32200, "Path $.no not found"),
        ({**INPUT, "path": "$.no"}, -32200, "Input path $.no not found"),
    ],
)
async def test_an_input_that_cannot_be_resolved_fails_the_whole_run(broken: Any, code: int | None, said: str) -> None:
    steps = [step("a", {"x": 1}), step("none", None), step("f", 1, "/broken"), step("b", [broken])]
    result = await run(flow(*steps, output="independent"))
    assert isinstance(result, FlowResultFailed)
    assert result.error.message == said
    assert code in (None, result.error.code)


async def test_a_condition_with_a_path_that_leads_nowhere_fails_the_whole_run() -> None:
    result = await run(flow(step("a", 1, skipIf={**INPUT, "path": "flag"}), output=1), {})
    assert isinstance(result, FlowResultFailed)
    assert result.error.message == "Input path $.flag not found"


async def test_after_an_error_of_the_whole_run_nothing_more_is_called() -> None:
    entered, release = anyio.Event(), anyio.Event()
    slow = StepflowServer("slow")
    later: list[Any] = []

    @slow.component
    async def wait(input: Any) -> Any:
        entered.set()
        await release.wait()
        return input

    @slow.component
    def after(input: Any) -> Any:
        later.append(input)
        return input

    @slow.component
    async def fail(input: Any) -> Any:
        await entered.wait()
        raise ComponentError("no luck")

    events: list[Any] = []

    def watch(event: Any) -> None:
        events.append(event)
        if isinstance(event, StepEnded) and event.step_id == "bad":
            release.set()

    steps = [
        step("slow", 1, "/wait"),
        step("f", 1, "/fail"),
        step("bad", ref("f"), "/after"),
        step("next", ref("slow"), "/after"),
    ]
    async with LocalRuntime(slow, on_event=watch) as runtime:
        with anyio.fail_after(60):
            result = await runtime.run(flow(*steps, output=1))
    assert isinstance(result, FlowResultFailed)
    assert not later
    ended = {event.step_id: event.status for event in events if isinstance(event, StepEnded)}
    assert ended == {"slow": "completed", "f": "failed", "bad": "failed"}


async def test_every_step_runs_in_0_7() -> None:
    await run(flow(step("a"), step("b"), output=1))
    assert called["echo"] == 2


async def test_in_0_8_what_is_needed_runs_and_what_must() -> None:
    steps = [
        step("deep"),
        step("needed", ref("deep")),
        step("left"),
        step("condition", False),
        step("must", skipIf=ref("condition"), mustExecute=True),
    ]
    events: list[Any] = []
    async with LocalRuntime(server, on_event=events.append) as runtime:
        assert await runtime.run(flow(*steps, output=ref("needed")), 3) == FlowResultSuccess(3)
    assert {event.step_id for event in events if isinstance(event, StepEnded)} == {
        "deep", "needed", "condition", "must",
    }  # fmt: skip


async def test_in_0_8_a_failed_step_that_must_run_fails_the_flow() -> None:
    document = flow(step("a", 1, "/broken", mustExecute=True), output=1)
    result = await run(document)
    assert isinstance(result, FlowResultFailed)
    assert result.error.message == "no luck"


VARIABLES = {
    "type": "object",
    "properties": {"v": {"type": "string", "default": "schema"}, "implied": {"type": "integer"}},
    "required": ["v"],
}


@pytest.mark.parametrize(
    ("source", "given", "value"),
    [
        ({"variable": "v"}, {"v": "given"}, "given"),
        ({"variable": "v", "default": "inline"}, {"v": None}, None),
        ({"variable": "v", "default": "inline"}, {}, "inline"),
        ({"variable": "v", "default": None}, {}, "schema"),
        ({"variable": "v"}, {}, "schema"),
        ({"variable": "implied"}, {}, 0),
        ({"variable": "v", "default": INPUT}, {}, INPUT),
    ],
)
async def test_the_inline_default_of_a_variable_comes_before_that_of_its_schema(
    source: Any, given: dict[str, Any], value: Any
) -> None:
    document = flow(output=[{"$from": source}], variables=VARIABLES)
    assert await run(document, variables=given) == FlowResultSuccess([value])


async def test_a_path_leads_into_the_default_of_a_variable_too() -> None:
    reference = {"$from": {"variable": "v", "default": {"a": [1, 2]}}, "path": "$.a[1]"}
    assert await run(flow(output=reference)) == FlowResultSuccess(2)
    result = await run(flow(output=reference), variables={"v": {}})
    assert isinstance(result, FlowResultFailed)
    result = await run(flow(output={"$from": {"variable": "v"}}))
    assert isinstance(result, FlowResultFailed)
    assert result.error.message == "Undefined variable: v"


async def test_the_items_of_a_batch_end_each_on_its_own() -> None:
    document = flow(step("a", 1, skipIf={**INPUT, "path": "skip"}), output=ref("a"))
    async with LocalRuntime(server) as runtime:
        results = await runtime.run_batch(document, [{"skip": True}, {}, {"skip": False}])
    assert [type(result) for result in results] == [FlowResultSkipped, FlowResultFailed, FlowResultSuccess]


async def test_step_events_tell_skips_with_their_reasons() -> None:
    events: list[Any] = []
    async with LocalRuntime(server, on_event=events.append) as runtime:
        await runtime.run(flow(step("a", skipIf=True), step("b", ref("a")), step("c", 1, "/skipping"), output=1))
    told = {event.step_id: (event.status, event.reason) for event in events if isinstance(event, StepEnded)}
    reason = "skipIf is true"
    assert told == {"a": ("skipped", reason), "b": ("skipped", reason), "c": ("skipped", "nothing to do")}


SKIPPED = flow(step("a", skipIf=True), output=ref("a"))


async def test_old_flows_run_inside_of_old_and_new_ones() -> None:
    inner = flow(step("a", skipIf={**INPUT, "path": "skip"}), output=ref("a"))
    items = [{"skip": True}, {"skip": False}, {}]
    mapped = {"workflow": {"$literal": inner}, "items": items}
    outcomes = [
        {"outcome": "skipped", "reason": "skipIf is true"},
        {"outcome": "success", "result": {"skip": False}},
        {"outcome": "failed", "error": {"code": -32200, "message": "Input path $.skip not found"}},
    ]
    expected = {"results": outcomes, "successful": 1, "failed": 1}
    for document in (
        flow(step("m", mapped, "/builtin/map"), output=ref("m")),
        {"steps": [step("m", mapped, "/builtin/map")], "output": {"$step": "m"}},
    ):
        result = await run(document)
        assert result == FlowResultSuccess(expected)


async def test_an_old_flow_is_iterated_and_a_skipped_round_skips_the_step() -> None:
    inner = flow(step("s", skipIf=True), output={"result": [INPUT]})
    document = flow(step("i", {"flow": {"$literal": inner}, "initial_input": 4}, "/builtin/iterate"), output=ref("i"))
    assert await run(document) == FlowResultSuccess({"result": [4], "iterations": 1, "terminated": False})
    document = flow(step("i", {"flow": {"$literal": SKIPPED}, "initial_input": 4}, "/builtin/iterate"), output=ref("i"))
    assert await run(document) == FlowResultSkipped("skipIf is true")


async def test_a_stored_old_flow_is_evaluated_by_its_id_with_its_own_semantics() -> None:
    put = step("p", {"data": {"$literal": SKIPPED}, "blob_type": "flow"}, "/builtin/put_blob")
    called_flow = step("e", {"flow_id": ref("p", "blob_id"), "input": 1}, "/builtin/eval")
    result = await run(flow(put, called_flow, output=ref("e", "result")))
    assert result == FlowResultSuccess({"outcome": "skipped", "reason": "skipIf is true"})
    async with LocalRuntime(server) as runtime:
        loaded = load_flow(SKIPPED)
        blob = await runtime.put_blob(loaded.to_json(), "flow")
        assert blob == loaded.id
        document = {
            "steps": [step("e", {"flow_id": blob, "input": 1}, "/builtin/eval")],
            "output": {"$step": "e", "path": "result"},
        }
        assert await runtime.run(document) == FlowResultSuccess({"outcome": "skipped", "reason": "skipIf is true"})


async def test_a_component_evaluates_an_old_flow() -> None:
    inner = flow(step("s", skipIf=True), output=[INPUT, ref("s", onSkip=DEFAULT)])
    # The skip of what a component waits for leaves it as its own, and in a flow of 0.9 that is null.
    for evaluated, value in ((inner, [4, "default"]), (SKIPPED, None)):
        call = step("e", {"$literal": {"flow": evaluated, "input": 4}}, "/evaluate")
        assert await run({"steps": [call], "output": {"$step": "e"}}) == FlowResultSuccess(value)


async def test_overrides_change_old_steps_in_their_own_language() -> None:
    document = flow(step("a", 1, skipIf=True), output=ref("a"))
    assert await run(document, overrides={"a": {"value": {"skipIf": None}}}) == FlowResultSuccess(1)
    assert await run(document, 7, overrides={"a": {"value": {"skipIf": False, "input": INPUT}}}) == FlowResultSuccess(7)


async def test_a_flow_inside_that_was_never_checked_ends_in_a_failure() -> None:
    loop = flow(step("a", ref("b")), step("b", ref("a")), output=ref("a"))
    unknown = flow(step("a", ref("nowhere")), output=1)
    for inner, said in ((loop, "not completed"), (unknown, "Unknown step: nowhere")):
        mapped = {"workflow": {"$literal": inner}, "items": [1]}
        result = await run(flow(step("m", mapped, "/builtin/map"), output=ref("m", "results")))
        assert isinstance(result, FlowResultSuccess)
        assert said in result.result[0]["error"]["message"]


async def test_a_skipped_step_of_a_new_flow_is_null() -> None:
    steps = [step("a", 1, "/skipping"), step("b", {"x": {"$step": "a", "path": "$.y"}})]
    document = {"steps": steps, "output": [{"$step": "b"}, {"$coalesce": [{"$step": "a"}, "next"]}]}
    assert await run(document) == FlowResultSuccess([{"x": None}, "next"])


async def test_python_warns_once_of_an_old_flow_where_it_is_run() -> None:
    async with LocalRuntime(server) as runtime:
        with pytest.warns(DeprecationWarning, match="'stepflow-sdk upgrade' rewrites it") as caught:
            await runtime.run_batch(SKIPPED, [1, 2])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await runtime.run(SKIPPED)
    assert [warning.filename for warning in caught] == [__file__]
