"""Our runtime drives a component server written with stepflow-py 0.10.0, over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk.errors import ComponentNotFound, ServerLost, WireError
from stepflow_sdk.flows import blob_id
from stepflow_sdk.runtime import BlockingRuntime, LocalRuntime
from stepflow_sdk_tests.interop.environments import PEER_0100_HTTP, python_of
from stepflow_sdk_tests.interop.peers import ECHO, FAIL, PEER_EXECUTION_FAILED
from stepflow_sdk_tests.interop.values import VALUES

pytestmark = pytest.mark.interop

SCRIPT = Path(__file__).parent / "peers" / "stepflow_py_0100.py"


@pytest.fixture(scope="module")
def runtime() -> Iterator[BlockingRuntime]:
    plugin = {"type": "stepflow", "command": str(python_of(PEER_0100_HTTP)), "args": ["-I", str(SCRIPT)]}
    config = {"plugins": {"peer": plugin}, "routes": {"/{*component}": [{"plugin": "peer"}]}}
    with LocalRuntime.from_config(config) as running:
        yield running


def test_the_components_of_the_peer_are_listed(runtime: BlockingRuntime) -> None:
    listed = {info.component: info for info in runtime.list_components()}
    assert {"/order", "/echo", "/by_id", "/many"} <= set(listed)
    assert (listed["/order"].description or "").startswith("Take an order.")
    assert listed["/order"].input_schema is not None


def test_a_flow_is_checked_against_what_the_peer_reports_and_infers(runtime: BlockingRuntime) -> None:
    order = {"id": "o", "component": "/order", "input": {"item": "nail", "quantity": "three"}}
    report = runtime.check_types({"steps": [order], "output": {"$step": "o", "path": "$.total.net"}})
    assert [(found.code, found.path) for found in report.diagnostics] == [
        (2100, "$.steps[0].input.quantity"),
        (2101, "$.output"),
    ]


def test_a_component_of_the_peer_takes_and_returns_typed_values(runtime: BlockingRuntime) -> None:
    assert runtime.execute("/order", {"item": "nail", "quantity": 3}) == {"text": "3 x nail", "total": 21}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_a_value_comes_back_from_the_peer_as_it_went_out(runtime: BlockingRuntime, value: Any) -> None:
    assert repr(runtime.execute("/echo", {"value": value})) == repr(value)


def test_the_peer_runs_a_stored_flow(runtime: BlockingRuntime) -> None:
    flow_id = runtime.put_blob(ECHO, "flow")
    assert runtime.execute("/by_id", {"flow_id": flow_id, "input": {"x": "ü"}}) == {"value": {"x": "ü"}}


def test_the_peer_runs_a_stored_flow_that_runs_a_stored_flow(runtime: BlockingRuntime) -> None:
    inner = {"flow_id": runtime.put_blob(ECHO, "flow"), "input": {"$input": "$"}}
    outer = {"steps": [{"id": "s", "component": "/by_id", "input": inner}], "output": [{"$step": "s"}]}
    flow_id = runtime.put_blob(outer, "flow")
    assert runtime.execute("/by_id", {"flow_id": flow_id, "input": 2**53 + 1}) == [{"value": 2**53 + 1}]


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_a_run_of_the_peer_keeps_the_order_of_its_inputs(runtime: BlockingRuntime, limit: int | None) -> None:
    flow_id = runtime.put_blob(ECHO, "flow")
    found = runtime.execute("/many", {"flow_id": flow_id, "inputs": list(range(20)), "max_concurrency": limit})
    assert found == [{"value": number} for number in range(20)]


def test_the_peer_reads_every_detail_of_a_run(runtime: BlockingRuntime) -> None:
    flow_id = runtime.put_blob(ECHO, "flow")
    found = runtime.execute("/run_details", {"flow_id": flow_id, "inputs": [1, 2]})
    started, ended = found["started"], found["ended"]
    assert started["runId"] == ended["runId"]
    assert (ended["flowId"], ended["flowName"], ended["status"]) == (flow_id, "echo", "completed")
    assert ended["items"] == {"total": 2, "completed": 2, "running": 0, "failed": 0, "cancelled": 0}
    assert [item["result"] for item in ended["results"]] == [
        {"outcome": "success", "result": {"value": 1}},
        {"outcome": "success", "result": {"value": 2}},
    ]


def test_the_peer_learns_why_a_run_failed(runtime: BlockingRuntime) -> None:
    flow_id = runtime.put_blob(FAIL, "flow")
    with pytest.raises(WireError, match="no luck today") as caught:
        runtime.execute("/by_id", {"flow_id": flow_id, "input": "no luck today"})
    assert caught.value.code == PEER_EXECUTION_FAILED


def test_the_peer_is_told_that_there_is_no_such_flow(runtime: BlockingRuntime) -> None:
    with pytest.raises(WireError, match="there is no flow with the id '0000"):
        runtime.execute("/by_id", {"flow_id": "0" * 64, "input": 1})


def test_the_peer_is_told_run_flow_step_and_attempt(runtime: BlockingRuntime) -> None:
    flow = {"steps": [{"id": "who", "component": "/ids", "input": {"value": 0}}], "output": {"$step": "who"}}
    run_id = "0a6dbd8e-0d3f-4fd5-9d0f-1f6f0a2c7e12"
    told = runtime.run(flow, run_id=run_id).unwrap()
    assert told == {"run_id": run_id, "flow_id": blob_id(flow), "step_id": "who", "attempt": 1}


def test_a_component_that_the_peer_does_not_have_is_not_found(runtime: BlockingRuntime) -> None:
    with pytest.raises(ComponentNotFound, match="/nothing"):
        runtime.execute("/nothing", {})


def test_many_runs_at_once_with_calls_back_are_not_mixed_up(runtime: BlockingRuntime) -> None:
    inner = {"flow_id": runtime.put_blob(ECHO, "flow"), "input": {"$input": "$"}}
    flow = {"steps": [{"id": "s", "component": "/by_id", "input": inner}], "output": {"$step": "s"}}
    outcomes = runtime.run_batch(flow, range(100), max_concurrency=20)
    assert [outcome.unwrap() for outcome in outcomes] == [{"value": number} for number in range(100)]


def test_a_peer_that_dies_is_told_with_its_exit_code_and_started_again(runtime: BlockingRuntime) -> None:
    with pytest.raises(ServerLost, match="exit code 3"):
        runtime.execute("/die", {"value": 3})
    assert runtime.execute("/echo", {"value": "back"}) == "back"


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_a_blob_of_the_peer_is_kept_by_the_runtime(runtime: BlockingRuntime, value: Any) -> None:
    kept = runtime.execute("/keep", {"value": value})
    assert kept == {"blob_id": blob_id(value), "data": value}
    assert repr(runtime.get_blob(kept["blob_id"])) == repr(value)


def test_the_peer_stores_a_flow_and_runs_it(runtime: BlockingRuntime) -> None:
    assert runtime.execute("/nested", {"flow": ECHO, "input": 7}) == {"value": 7}
