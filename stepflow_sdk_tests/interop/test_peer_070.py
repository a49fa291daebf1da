"""Our runtime drives a component server written with stepflow-py 0.7.0, over stdio and HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from stepflow_sdk.errors import ComponentNotFound, ServerLost, WireError
from stepflow_sdk.flows import blob_id
from stepflow_sdk.protocol import FlowResultFailed
from stepflow_sdk.runtime import BlockingRuntime, LocalRuntime
from stepflow_sdk_tests.interop.environments import PEER_070, PEER_070_HTTP, python_of
from stepflow_sdk_tests.interop.peers import ECHO, FAIL, PEER_EXECUTION_FAILED
from stepflow_sdk_tests.interop.values import VALUES

pytestmark = pytest.mark.interop

SCRIPT = Path(__file__).parent / "peers" / "stepflow_py_070.py"


def configuration(transport: str) -> dict[str, Any]:
    if transport == "stdio":
        plugin = {"transport": "stdio", "command": str(python_of(PEER_070)), "args": ["-I", str(SCRIPT)]}
    else:
        plugin = {"command": str(python_of(PEER_070_HTTP)), "args": ["-I", str(SCRIPT), "--http"]}
    return {"plugins": {"peer": {"type": "stepflow", **plugin}}, "routes": {"/{*component}": [{"plugin": "peer"}]}}


@pytest.fixture(scope="module", params=["stdio", "http"])
def runtime(request: pytest.FixtureRequest) -> Iterator[BlockingRuntime]:
    with LocalRuntime.from_config(configuration(request.param)) as running:
        yield running


def test_the_components_of_the_peer_are_listed_with_their_schemas(runtime: BlockingRuntime) -> None:
    listed = {info.component: info for info in runtime.list_components()}
    assert {"/order", "/echo", "/keep", "/nested", "/batch", "/metadata", "/fail"} <= set(listed)
    assert listed["/order"].description == "Take an order."
    assert listed["/echo"].description == "Give back what came."
    schema = listed["/order"].input_schema
    assert schema is not None
    Draft202012Validator(schema).validate({"item": "nail", "quantity": 3})
    assert not Draft202012Validator(schema).is_valid({"item": "nail", "quantity": "3"})


def test_a_flow_is_checked_against_what_the_peer_reports(runtime: BlockingRuntime) -> None:
    order = {"id": "o", "component": "/order", "input": {"item": "nail", "quantity": "three"}}
    report = runtime.check_types({"steps": [order], "output": {"$step": "o"}})
    assert [(found.code, found.path) for found in report.diagnostics] == [(2100, "$.steps[0].input.quantity")]


def test_a_component_of_the_peer_takes_and_returns_typed_values(runtime: BlockingRuntime) -> None:
    assert runtime.execute("/order", {"item": "nail", "quantity": 3}) == {"text": "3 x nail", "total": 21}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_a_value_comes_back_from_the_peer_as_it_went_out(runtime: BlockingRuntime, value: Any) -> None:
    assert repr(runtime.execute("/echo", {"value": value})) == repr(value)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_a_blob_of_the_peer_has_the_id_that_every_runtime_gives_it(runtime: BlockingRuntime, value: Any) -> None:
    kept = runtime.execute("/keep", {"value": value})
    assert kept["blob_id"] == blob_id(value)
    assert kept["same"] is True
    assert repr(kept["data"]) == repr(value)


def test_the_peer_reads_a_blob_that_the_runtime_stored(runtime: BlockingRuntime) -> None:
    stored = runtime.put_blob({"text": "naïve " * 5000})
    assert runtime.execute("/read", {"blob_id": stored}) == {"text": "naïve " * 5000}


def test_the_peer_is_told_that_a_blob_is_not_there(runtime: BlockingRuntime) -> None:
    with pytest.raises(WireError, match="there is no blob '0000") as caught:
        runtime.execute("/read", {"blob_id": "0" * 64})
    assert caught.value.code == PEER_EXECUTION_FAILED


def test_bad_input_comes_back_as_the_error_of_the_peer(runtime: BlockingRuntime) -> None:
    with pytest.raises(WireError, match=r"Expected `int`, got `str` - at `\$\.quantity`") as caught:
        runtime.execute("/order", {"item": "nail", "quantity": "3"})
    assert caught.value.code == PEER_EXECUTION_FAILED


def test_an_exception_in_the_peer_comes_back_with_its_message(runtime: BlockingRuntime) -> None:
    with pytest.raises(WireError, match="keine Lösung") as caught:
        runtime.execute("/fail", {"text": "keine Lösung"})
    assert caught.value.code == PEER_EXECUTION_FAILED


def test_a_component_that_the_peer_does_not_have_is_not_found(runtime: BlockingRuntime) -> None:
    with pytest.raises(ComponentNotFound, match="/nothing"):
        runtime.execute("/nothing", {})


def test_the_peer_evaluates_a_flow_on_its_own_components(runtime: BlockingRuntime) -> None:
    assert runtime.execute("/nested", {"flow": ECHO, "input": {"x": "ü"}}) == {"value": {"x": "ü"}}


def test_the_peer_evaluates_a_flow_that_evaluates_a_flow(runtime: BlockingRuntime) -> None:
    inner = {"flow": {"$literal": ECHO}, "input": {"$input": "$.x"}}
    outer = {"steps": [{"id": "s", "component": "/nested", "input": inner}], "output": [{"$step": "s"}]}
    assert runtime.execute("/nested", {"flow": outer, "input": {"x": 2**53 + 1}}) == [{"value": 2**53 + 1}]


def test_the_peer_learns_why_a_nested_flow_failed(runtime: BlockingRuntime) -> None:
    with pytest.raises(WireError, match="no luck today"):
        runtime.execute("/nested", {"flow": FAIL, "input": "no luck today"})


@pytest.mark.parametrize(
    ("output", "skip", "outcome"),
    [
        ("spread", True, "skipped"),
        ("spread", 0, {"inner": 5}),
        ("default", True, [[1], {"output": "default", "skip": True, "value": 5}, {"$from": 1}]),
        ("default", "", [5, {"output": "default", "skip": "", "value": 5}, {"$from": 1}]),
    ],
)
def test_a_flow_of_the_builder_of_the_peer_runs_with_the_semantics_of_its_version(
    runtime: BlockingRuntime, output: str, skip: Any, outcome: Any
) -> None:
    told = runtime.execute("/old_language", {"value": {"output": output, "skip": skip, "value": 5}})
    assert told == {"outcome": outcome}


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_a_batch_of_the_peer_keeps_the_order_of_its_inputs(runtime: BlockingRuntime, limit: int | None) -> None:
    results = runtime.execute("/batch", {"flow": ECHO, "inputs": list(range(20)), "max_concurrency": limit})
    assert results == [{"value": number} for number in range(20)]


def test_a_failed_item_of_a_batch_is_told_to_the_peer(runtime: BlockingRuntime) -> None:
    with pytest.raises(WireError, match=r"Run at index 0.*first"):
        runtime.execute("/batch", {"flow": FAIL, "inputs": ["first", "second"]})


def test_the_peer_reads_every_detail_of_a_batch(runtime: BlockingRuntime) -> None:
    found = runtime.execute("/batch_details", {"flow": ECHO, "inputs": [1, 2, 3]})
    early, late, outputs = found["early"], found["late"], found["outputs"]
    assert (early["batch_id"], early["total_runs"], found["none"]) == (found["batch_id"], 3, None)
    assert (late["flow_name"], late["total_runs"], late["completed_runs"], late["failed_runs"]) == ("echo", 3, 3, 0)
    assert late["status"] == "completed"
    assert late["completed_at"] >= late["created_at"]
    assert [output["batch_input_index"] for output in outputs] == [0, 1, 2]
    assert outputs[1]["result"] == {"outcome": "success", "result": {"value": 2}}


def test_the_peer_reads_the_metadata_of_flow_and_step(runtime: BlockingRuntime) -> None:
    steps = [
        {"id": "mine", "component": "/metadata", "input": {}, "metadata": {"tries": 3}},
        {"id": "other", "component": "/metadata", "input": {"step_id": "mine"}},
        {"id": "absent", "component": "/metadata", "input": {"step_id": "nowhere"}},
    ]
    output = {step["id"]: {"$step": step["id"]} for step in steps}
    flow = {"metadata": {"team": "α"}, "steps": steps, "output": output}
    both = {"flow_metadata": {"team": "α"}, "step_metadata": {"tries": 3}}
    absent = {"flow_metadata": {"team": "α"}}
    assert runtime.run(flow).unwrap() == {"mine": both, "other": both, "absent": absent}


def test_the_peer_is_told_run_flow_step_and_attempt(runtime: BlockingRuntime) -> None:
    flow = {"steps": [{"id": "who", "component": "/ids", "input": {"value": 0}}], "output": {"$step": "who"}}
    run_id = "0a6dbd8e-0d3f-4fd5-9d0f-1f6f0a2c7e11"
    told = runtime.run(flow, run_id=run_id).unwrap()
    assert told == {"run_id": run_id, "flow_id": blob_id(flow), "step_id": "who", "attempt": 1}


def test_a_failed_component_of_the_peer_fails_its_flow_or_takes_the_default(runtime: BlockingRuntime) -> None:
    outcome = runtime.run(FAIL, "gone")
    assert isinstance(outcome, FlowResultFailed)
    assert (outcome.error.code, "gone" in outcome.error.message) == (PEER_EXECUTION_FAILED, True)
    (step,) = FAIL["steps"]
    tolerant = {**FAIL, "steps": [{**step, "onError": {"action": "useDefault", "defaultValue": 7}}]}
    assert runtime.run(tolerant, "gone").unwrap() == 7


def test_a_skip_of_the_peer_is_data_because_its_wire_has_no_other_word_for_it(runtime: BlockingRuntime) -> None:
    assert runtime.execute("/skip", {"text": "not today"}) == {"outcome": "skipped", "reason": "not today"}


def test_many_runs_at_once_with_calls_back_are_not_mixed_up(runtime: BlockingRuntime) -> None:
    steps = [
        {"id": "keep", "component": "/keep", "input": {"value": {"n": {"$input": "$"}}}},
        {"id": "read", "component": "/read", "input": {"blob_id": {"$step": "keep", "path": "$.blob_id"}}},
    ]
    outcomes = runtime.run_batch({"steps": steps, "output": {"$step": "read"}}, range(100), max_concurrency=50)
    assert [outcome.unwrap() for outcome in outcomes] == [{"n": number} for number in range(100)]


def test_a_peer_that_dies_is_told_with_its_exit_code_and_started_again(runtime: BlockingRuntime) -> None:
    with pytest.raises(ServerLost, match="3"):
        runtime.execute("/die", {"value": 3})
    assert runtime.execute("/echo", {"value": "back"}) == "back"
