"""Components of ours call back into published orchestrators: blobs, nested flows, batches, runs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from stepflow_sdk.flows import blob_id
from stepflow_sdk_tests.interop.orchestrator import told
from stepflow_sdk_tests.interop.stages import ECHO, FAIL, INPUT, Stage, flow_of, step

pytestmark = pytest.mark.interop

LONG_TEXT = "Größe 😀 ключ 値 " * 16_000
assert len(LONG_TEXT.encode()) > 400_000


@pytest.mark.parametrize("component", ["keep", "keep_blocking"])
def test_a_blob_is_stored_and_read_back(stage: Stage, component: str) -> None:
    value = {"b": 1, "a": [1.0, "hé😀", 2**63 - 1, None]}
    assert stage.orchestrator.result(flow_of(component, INPUT), value) == {"blob_id": blob_id(value), "data": value}


def test_a_blob_of_one_step_is_read_by_another_and_by_the_runtime(stage: Stage) -> None:
    kept = {"$step": "keep", "path": "$.blob_id"}
    builtin = {"id": "builtin", "component": "/builtin/get_blob", "input": {"blob_id": kept}}
    steps = [step("keep", "keep", INPUT), step("read", "read", {"blob_id": kept}), builtin]
    flow = {"steps": steps, "output": [{"$step": "read"}, {"$step": "builtin", "path": "$.data"}]}
    assert stage.orchestrator.result(flow, {"x": 1}) == [{"x": 1}, {"x": 1}]


def test_a_blob_that_is_not_there_is_an_error_that_says_so(stage: Stage) -> None:
    said = told(stage.orchestrator.error(flow_of("read", {"blob_id": INPUT}), "0" * 64))
    assert "blob" in said.message


def test_a_blob_of_3_megabytes_is_kept_or_refused_with_the_limit(
    stage: Stage, known_limit: Callable[[str], None]
) -> None:
    flow = flow_of("keep_made", {"size": INPUT})
    if stage.version == "0.9.0":
        assert stage.orchestrator.result(flow, 3_000_000) == 3_000_000
    else:
        known_limit("the blob API of 0.10 and 0.11 takes no more than 2 MiB")
        assert "2 MiB" in told(stage.orchestrator.error(flow, 3_000_000)).message


def test_long_texts_in_every_alphabet_survive_blobs_and_nested_flows(stage: Stage) -> None:
    steps = [
        step("keep", "keep", INPUT),
        step("nested", "nested", {"flow": {"$literal": ECHO}, "input": {"$step": "keep", "path": "$.data"}}),
    ]
    flow = {"steps": steps, "output": {"$step": "nested"}}
    for number in range(3):
        text = f"{number} {LONG_TEXT}"
        assert stage.orchestrator.result(flow, text) == text


def test_a_nested_flow_gives_its_result(stage: Stage) -> None:
    flow = flow_of("nested", {"flow": {"$literal": ECHO}, "input": INPUT})
    assert stage.orchestrator.result(flow, {"n": 2**53 + 1}) == {"n": 2**53 + 1}


def test_a_flow_is_nested_twice(stage: Stage) -> None:
    inner = flow_of("nested", {"flow": {"$literal": ECHO}, "input": {"deep": INPUT}})
    flow = flow_of("nested", {"flow": {"$literal": inner}, "input": INPUT})
    assert stage.orchestrator.result(flow, "ü") == {"deep": "ü"}


def test_a_component_in_a_nested_flow_is_told_of_the_nested_run(stage: Stage) -> None:
    inner = flow_of("ids")
    steps = [step("outer", "ids"), step("nested", "nested", {"flow": {"$literal": inner}, "input": None})]
    flow = {"steps": steps, "output": [{"$step": "outer"}, {"$step": "nested"}]}
    outer, nested = stage.orchestrator.result(flow)
    assert (nested["flow_id"], nested["step_id"]) == (blob_id(inner), "s")
    assert nested["run_id"] != outer["run_id"]
    assert nested["flow_id"] != outer["flow_id"]


def test_a_component_sees_why_a_nested_flow_failed(stage: Stage, known_limit: Callable[[str], None]) -> None:
    flow = flow_of("nested_or_why", {"flow": {"$literal": FAIL}, "input": INPUT})
    if stage.restarts_at_errors:
        known_limit("at the error of the nested step the runtime kills our server, and with it the one who waits")
        assert stage.orchestrator.outcome(flow, "no luck")["outcome"] == "failed"
    elif stage.wraps_errors:
        known_limit("the nested error arrives in a wrapper, its message only in the data")
        assert stage.orchestrator.result(flow, "no luck") == {"failed": 'step "s" failed', "code": 500}
    else:
        assert stage.orchestrator.result(flow, "no luck") == {"failed": "ValueError: no luck", "code": -32100}


def test_a_nested_flow_that_fails_fails_the_step_that_awaits_it(stage: Stage) -> None:
    flow = flow_of("nested", {"flow": {"$literal": FAIL}, "input": INPUT})
    assert stage.orchestrator.outcome(flow, "no luck")["outcome"] == "failed"
    assert stage.orchestrator.result(ECHO, "still there") == "still there"


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_a_batch_keeps_the_order_of_its_inputs(stage: Stage, limit: int | None) -> None:
    inputs = {"flow": {"$literal": ECHO}, "inputs": INPUT, "max_concurrency": limit}
    assert stage.orchestrator.result(flow_of("batch", inputs), list(range(20))) == list(range(20))


def test_a_run_is_started_and_asked_for_later(stage: Stage) -> None:
    flow = flow_of("runs", {"flow": {"$literal": ECHO}, "inputs": INPUT})
    results = {"same": True, "status": "completed", "results": [1, "zwei", None]}
    assert stage.orchestrator.result(flow, [1, "zwei", None]) == results


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_a_run_of_many_inputs_keeps_their_order(stage: Stage, limit: int | None) -> None:
    options = {} if limit is None else {"maxConcurrency": limit}
    outcomes = stage.orchestrator.outcomes(flow_of("keep", INPUT), *range(20), **options)
    assert [outcome["result"]["data"] for outcome in outcomes] == list(range(20))


@pytest.mark.parametrize("component", ["nested", "nested_blocking"])
def test_100_runs_at_once_with_calls_back_are_not_mixed_up(stage: Stage, component: str) -> None:
    steps = [
        step("keep", "keep", {"n": INPUT}),
        step("nested", component, {"flow": {"$literal": ECHO}, "input": {"$step": "keep", "path": "$.data"}}),
    ]
    flow = {"steps": steps, "output": {"$step": "nested"}}
    with ThreadPoolExecutor(100) as pool:
        results = list(pool.map(lambda number: stage.orchestrator.result(flow, number), range(100)))
    assert results == [{"n": number} for number in range(100)]
