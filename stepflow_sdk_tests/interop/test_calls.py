"""Published orchestrators call components of ours: discovery, values, typed input, ids, metadata, sizes."""

import json
from collections.abc import Callable

import pytest
from jsonschema import Draft202012Validator

from stepflow_sdk_tests.interop.orchestrator import Told, told
from stepflow_sdk_tests.interop.stages import ECHO, INPUT, Stage, flow_of, step
from stepflow_sdk_tests.interop.values import VALUES

pytestmark = pytest.mark.interop


def test_components_are_listed_with_their_schemas(stage: Stage) -> None:
    answer = stage.orchestrator.ask("GET", "/components", includeSchemas="true")
    listed = {info["component"]: info for info in answer["components"]}
    assert {"/echo", "/order", "/nested", "/meet", "/crash_once"} <= set(listed)
    order = listed["/order"]
    assert order["description"] == "Take an order."
    schema = Draft202012Validator(order["input_schema"])
    schema.validate({"lines": [{"item": "nail", "quantity": 1}]})
    assert not schema.is_valid({"lines": [{"item": "nail", "quantity": 0}]})
    Draft202012Validator(order["output_schema"]).validate({"text": "t", "total": 1})


def test_values_of_every_kind_come_back_as_they_went_in(stage: Stage) -> None:
    outcomes = stage.orchestrator.outcomes(ECHO, *VALUES)
    assert [repr(outcome["result"]) for outcome in outcomes] == [repr(value) for value in VALUES]


def test_typed_input_is_taken_and_typed_output_returned(stage: Stage) -> None:
    lines = [{"item": "nail", "quantity": 3}, {"item": "bolt", "quantity": 4, "note": "fein"}]
    flow = flow_of("order", {"lines": INPUT, "customer": "Zoë"})
    assert stage.orchestrator.result(flow, lines) == {"text": "2 lines for Zoë", "total": 7}


def test_bad_input_is_refused_with_every_path_that_is_wrong(stage: Stage, known_limit: Callable[[str], None]) -> None:
    error = stage.orchestrator.error(flow_of("order", {"lines": INPUT}), [{"item": "nail", "quantity": "3"}, {}])
    said = told(error)
    assert said.code == -32003
    assert "$.lines[0].quantity" in said.message
    if stage.wraps_errors:
        known_limit("the data of a component's error are dropped: of several paths only that in the message arrives")
    else:
        assert "$.lines[1]" in json.dumps(error["data"])


def test_a_component_that_is_not_there_is_named_with_the_nearest(stage: Stage) -> None:
    said = told(stage.orchestrator.error(flow_of("ordre")))
    assert said.code == -32001
    assert "/ordre" in said.message
    assert "/order" in said.message


def test_a_component_is_told_run_flow_step_and_attempt(stage: Stage) -> None:
    flow = {"steps": [step("who", "ids")], "output": {"$step": "who"}}
    run_id = stage.orchestrator.start(flow, None)
    (item,) = stage.orchestrator.ask("GET", f"/runs/{run_id}/items")["items"]
    flow_id = stage.orchestrator.store(flow)
    told_ids = {"run_id": run_id, "flow_id": flow_id, "step_id": "who", "attempt": 1}
    assert item["result"] == {"outcome": "success", "result": told_ids}


def test_metadata_of_flow_and_step_are_found(stage: Stage) -> None:
    steps = [
        step("mine", "metadata", {}, metadata={"tries": 3}),
        step("other", "metadata", {"step_id": "mine"}),
        step("absent", "metadata", {"step_id": "nowhere"}),
    ]
    output = {id: {"$step": id} for id in ("mine", "other", "absent")}
    both = {"flow_metadata": {"team": "α"}, "step_metadata": {"tries": 3}}
    found = stage.orchestrator.result({"metadata": {"team": "α"}, "steps": steps, "output": output})
    assert found == {"mine": both, "other": both, "absent": {"flow_metadata": {"team": "α"}}}


def test_1_9_megabytes_go_in_and_5_megabytes_come_out(stage: Stage) -> None:
    assert stage.orchestrator.result(flow_of("length", {"text": INPUT}), "y" * 1_900_000) == 1_900_000
    assert stage.orchestrator.result(flow_of("big", {"size": INPUT}), 5_000_000) == "x" * 5_000_000


def test_blocking_steps_run_in_parallel(stage: Stage) -> None:
    # Each waits for all the others, so that one after the other they would never end.
    steps = [step(f"s{number}", "meet", {"name": "parallel", "parties": 8}) for number in range(8)]
    flow = {"steps": steps, "output": [{"$step": each["id"]} for each in steps]}
    assert stage.orchestrator.result(flow, maxConcurrency=8) == [True] * 8


def test_a_skip_is_null_because_these_runtimes_know_no_skipping(stage: Stage) -> None:
    flow = {
        "steps": [step("s", "skip", {"reason": "not today"}), step("t", "echo", {"got": {"$step": "s"}})],
        "output": {"$step": "t"},
    }
    assert stage.orchestrator.result(flow) == {"got": None}


def test_what_a_component_writes_anywhere_harms_nothing(stage: Stage) -> None:
    before = stage.orchestrator.result(flow_of("pid"))
    for _ in range(3):
        assert stage.orchestrator.result(flow_of("shout")) == "said"
    assert stage.orchestrator.result(flow_of("pid")) == before


def test_bytes_that_are_no_text_harm_nothing_either(stage: Stage) -> None:
    # These runtimes close both outputs of a server at the first line that is not UTF-8.
    before = stage.orchestrator.result(flow_of("pid"))
    for component in ("shout_bytes", "shout_bytes", "shout"):
        assert stage.orchestrator.result(flow_of(component)) == "said"
    assert stage.orchestrator.result(flow_of("pid")) == before


def test_wrong_output_is_an_error_of_the_component(stage: Stage) -> None:
    said = told(stage.orchestrator.error(flow_of("rubbish")))
    assert isinstance(said, Told)
    assert "object" in said.message
