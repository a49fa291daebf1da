"""Rules of the flow format that need a run and little else."""

from typing import Any

import anyio
import pytest

from stepflow_sdk import ComponentError, InvalidValue, ResourceUnavailable, StepflowServer
from stepflow_sdk.protocol import FlowResult, FlowResultFailed, FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime, RunEnded, RunEvent
from stepflow_sdk_tests.runtime.scripted import Scripted

server = StepflowServer("rules")


@server.component
def echo(input: Any) -> Any:
    return input


@server.component
def fail(how: str) -> Any:
    match how:
        case "exception":
            raise RuntimeError("no")
        case "retryable":
            raise ComponentError("no", retryable=True)
        case "resource":
            raise ResourceUnavailable("no")
        case "value":
            raise InvalidValue("no")
        case _:
            raise ComponentError("no")


def step(component: str, input: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": "s", "component": component, "input": input, **more}


def flow_of(component: str, input: Any = None, **more: Any) -> dict[str, Any]:
    return {"steps": [step(component, input, **more)], "output": {"$step": "s"}}


async def run(flow: dict[str, Any], input: Any = None, **options: Any) -> FlowResult:
    async with LocalRuntime(server) as runtime:
        return await runtime.run(flow, input, **options)


async def test_a_step_without_an_input_is_called_with_null() -> None:
    flow = {"steps": [{"id": "s", "component": "/echo"}], "output": [{"$step": "s"}]}
    assert await run(flow) == FlowResultSuccess([None])


async def test_schemas_are_not_enforced_and_defaults_of_the_input_not_filled_in() -> None:
    number = {"type": "number"}
    properties = {
        "input": {"type": "object", "properties": {"x": {"type": "integer", "default": 5}}, "required": ["y"]},
        "output": number,
        "steps": {"type": "object", "properties": {"s": number}},
    }
    flow = {**flow_of("/echo", {"$input": "$"}), "schemas": {"type": "object", "properties": properties}}
    assert await run(flow, {"z": "text"}) == FlowResultSuccess({"z": "text"})


async def test_the_default_of_on_error_is_a_literal() -> None:
    default = {"$input": "$.x", "more": [{"$step": "s"}]}
    flow = flow_of("/fail", {"how": "error"}, onError={"action": "useDefault", "defaultValue": default})
    assert await run(flow, {"x": 1}) == FlowResultSuccess(default)
    assert await run(flow_of("/fail", {"how": "error"}, onError={"action": "useDefault"})) == FlowResultSuccess(None)


async def test_use_default_does_not_cover_a_component_without_a_route() -> None:
    async with LocalRuntime({"known": server}) as runtime:
        outcome = await runtime.run(flow_of("/unknown/echo", onError={"action": "useDefault", "defaultValue": 1}))
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32202, "error routing component")


async def test_ten_steps_run_at_once_by_default() -> None:
    running = most = 0
    full = anyio.Event()

    async def wait(input: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 10:
            full.set()
        await full.wait()
        await anyio.lowlevel.checkpoint()
        running -= 1

    steps = [{"id": f"s{index}", "component": "/wait"} for index in range(50)]
    async with LocalRuntime(Scripted(wait=wait)) as runtime:
        await runtime.run({"steps": steps, "output": [{"$step": step["id"]} for step in steps]})
    assert most == 10


async def test_a_run_has_failed_when_one_of_its_items_has() -> None:
    events: list[RunEvent] = []
    must = step("/fail", {"how": "error"}, mustExecute=True)
    async with LocalRuntime(server, on_event=events.append) as runtime:
        outcomes = await runtime.run_batch({"output": {"$input": "$.x"}}, [{"x": 1}, {}, {"x": 3}])
        # A failed step that the output does not show is no failure.
        await runtime.run({"steps": [must], "output": 1})
    assert [isinstance(outcome, FlowResultSuccess) for outcome in outcomes] == [True, False, True]
    assert [event.status for event in events if isinstance(event, RunEnded)] == ["failed", "completed"]


@pytest.mark.parametrize(
    ("how", "code"),
    [("exception", -32100), ("retryable", -32100), ("resource", -32102), ("value", -32004), ("error", -32000)],
)
async def test_the_failure_of_a_component_has_a_code_of_the_0_11_family(how: str, code: int) -> None:
    outcome = await run(flow_of("/fail", {"how": how}))
    assert isinstance(outcome, FlowResultFailed)
    assert outcome.error.code == code


async def test_a_required_variable_that_nobody_reads_may_be_missing() -> None:
    variables = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}
    schemas = {"type": "object", "properties": {"variables": variables}}
    assert await run({"schemas": schemas, "output": 1}) == FlowResultSuccess(1)
    outcome = await run({"schemas": schemas, "output": {"$variable": "key"}})
    assert isinstance(outcome, FlowResultFailed)
    assert outcome.error.message == "Undefined variable: key"


async def test_overrides_and_variables_do_not_reach_nested_flows() -> None:
    inner = {"steps": [step("/echo", {"$variable": "v", "default": "none"})], "output": {"$step": "s"}}
    outer = step("/builtin/map", {"workflow": {"$literal": inner}, "items": [1]}) | {"id": "outer"}
    own = step("/echo", {"$variable": "v"})
    flow = {"steps": [outer, own], "output": [{"$step": "outer", "path": "$.results[0].result"}, {"$step": "s"}]}
    overrides = {"s": {"value": {"input": ["changed", {"$variable": "v"}]}}}
    assert await run(flow, variables={"v": 1}, overrides=overrides) == FlowResultSuccess(["none", ["changed", 1]])


async def test_a_condition_on_a_path_that_is_not_there_fails_the_routing() -> None:
    plugin = {"type": "mock", "components": {"/m": {"input_schema": {}, "output_schema": {}, "behaviors": {}}}}
    rules = [{"plugin": "mock", "conditions": [{"path": "$.x", "value": 1}]}, {"plugin": "mock"}]
    config = {"plugins": {"mock": plugin}, "routes": {"/{component}": rules}}
    async with LocalRuntime.from_config(config) as runtime:
        outcome = await runtime.run(flow_of("/m", {"y": 1}))
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, outcome.error.message) == (-32202, "error routing component")
    assert "$.x" in str(outcome.error.data)
