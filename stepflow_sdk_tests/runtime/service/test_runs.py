import sys
import uuid
from pathlib import Path
from typing import Any

import anyio
import pytest

from stepflow_sdk.errors import SkipStep
from stepflow_sdk_tests.runtime.service.api import INPUT, NO_RUN, Api, flow_of, serving


async def test_a_run_that_is_waited_for_is_answered_with_its_outcomes(kept: Api) -> None:
    answer = await kept.start(flow_of("/echo", name="twice"), {"x": 1.0}, "é", wait=True)
    assert (answer["status"], answer["flowName"]) == ("completed", "twice")
    assert answer["items"] == {"total": 2, "completed": 2, "running": 0, "failed": 0, "cancelled": 0}
    assert [item["result"] for item in answer["results"]] == [
        {"outcome": "success", "result": {"x": 1.0}},
        {"outcome": "success", "result": "é"},
    ]
    assert answer["rootRunId"] == answer["runId"]
    assert "parentRunId" not in answer


async def test_a_run_that_is_not_waited_for_is_accepted_at_once_and_found_later(kept: Api) -> None:
    flow_id = await kept.store(flow_of("/hold"))
    accepted = await kept.call("POST", "/runs", {"flowId": flow_id, "input": [5]})
    assert (accepted.status, accepted.json["status"]) == (202, "running")
    assert "results" not in accepted.json
    run_id = accepted.json["runId"]
    await kept.reached.wait()
    running = await kept.ask("GET", f"/runs/{run_id}")
    assert [(item["status"], item["input"]) for item in running["itemDetails"]] == [("running", 5)]
    assert running["itemDetails"][0]["steps"] == [{"stepId": "s", "status": "running"}]
    kept.gate.set()
    ended = await kept.ask("GET", f"/runs/{run_id}?wait=true")
    assert (ended["status"], ended["completedAt"] is not None) == ("completed", True)
    items = await kept.ask("GET", f"/runs/{run_id}/items")
    assert items["items"][0]["result"] == {"outcome": "success", "result": 5}


async def test_a_wait_that_is_over_tells_the_state_of_the_run(api: Api) -> None:
    answer = await api.start(flow_of("/hold"), 1, wait=True, timeoutSecs=0)
    assert (answer["status"], answer["results"]) == ("running", [{"itemIndex": 0, "status": "running"}])
    run_id = answer["runId"]
    assert (await api.ask("GET", f"/runs/{run_id}?wait=true&timeoutSecs=0"))["status"] == "running"


async def test_failed_items_are_results_with_code_message_and_data(kept: Api) -> None:
    answer = await kept.start(flow_of("/fail", {"message": INPUT}), "no luck", 5, wait=True)
    assert (answer["status"], answer["items"]["failed"]) == ("failed", 2)
    first, second = (item["result"]["error"] for item in answer["results"])
    assert first["message"] == "ValueError: no luck"
    assert "$.message" in second["message"]


async def test_steps_are_told_with_state_attempt_and_outcome(kept: Api) -> None:
    steps: list[Any] = [
        {"id": "good", "component": "/echo", "input": {"$input": "$.x"}},
        {"id": "bad", "component": "/fail", "input": {"message": "no"}, "mustExecute": True},
        {"id": "never", "component": "/echo", "input": 1},
    ]
    run = await kept.start({"steps": steps, "output": {"$step": "good"}}, {"x": 1}, {"x": 2}, wait=True)
    steps_of_all = (await kept.ask("GET", f"/runs/{run['runId']}/steps"))["steps"]
    assert steps_of_all == {
        "good": {"stepId": "good", "component": "/echo", "status": "completed"},
        "bad": {"stepId": "bad", "component": "/fail", "status": "failed"},
    }
    of_second = (await kept.ask("GET", f"/runs/{run['runId']}/steps?itemIndex=1"))["steps"]
    assert of_second["good"]["result"] == {"outcome": "success", "result": 2}
    assert (of_second["bad"]["attempt"], of_second["bad"]["result"]["outcome"]) == (1, "failed")


async def test_a_step_that_asks_for_it_is_skipped(kept: Api) -> None:
    run = await kept.start(flow_of("/skip"), None, wait=True)
    assert run["results"][0]["result"] == {"outcome": "success", "result": None}
    step = (await kept.ask("GET", f"/runs/{run['runId']}/steps"))["steps"]["s"]
    assert (step["status"], step["result"]) == ("skipped", {"outcome": "skipped", "reason": "there is nothing to do"})
    with pytest.raises(SkipStep):
        await kept.runtime.execute("/skip")


async def test_overrides_in_both_spellings_and_variables_take_effect(kept: Api) -> None:
    flow = flow_of("/echo", {"a": INPUT, "v": {"$variable": "v", "default": 0}})
    change = {"s": {"value": {"input": {"$variable": "v"}}}}
    for overrides in (change, {"steps": change}):
        run = await kept.start(flow, 1, wait=True, overrides=overrides, variables={"v": "given"})
        assert run["results"][0]["result"]["result"] == "given"
        assert (await kept.ask("GET", f"/runs/{run['runId']}"))["overrides"] == overrides


async def test_a_run_without_inputs_is_complete(kept: Api) -> None:
    run = await kept.start(flow_of("/echo"), wait=True)
    assert (run["status"], run["results"]) == ("completed", [])


async def test_a_thousand_inputs_keep_their_order(api: Api) -> None:
    run = await api.start(flow_of("/echo"), *range(1000), wait=True, maxConcurrency=20)
    assert [item["result"]["result"] for item in run["results"]] == list(range(1000))


async def test_runs_are_listed_newest_first_and_by_what_is_asked_for(kept: Api) -> None:
    first = (await kept.start(flow_of("/echo", name="a"), 1, wait=True))["runId"]
    second = (await kept.start(flow_of("/fail", {"message": "no"}, name="b"), 1, wait=True))["runId"]
    inner = flow_of("/echo", name="inner")
    nested = {"id": "m", "component": "/builtin/map", "input": {"workflow": {"$literal": inner}, "items": [1]}}
    third = (await kept.start({"steps": [nested], "output": {"$step": "m"}}, 1, wait=True))["runId"]

    async def listed(query: str) -> list[str]:
        return [run["runId"] for run in (await kept.ask("GET", f"/runs?{query}"))["runs"]]

    (child,) = await listed(f"parentRunId={third}")
    assert await listed("") == [child, third, second, first]
    assert await listed("limit=2&offset=1") == [third, second]
    assert await listed("status=failed") == [second]
    assert await listed("flowName=a") == [first]
    assert await listed("rootsOnly=true") == await listed("maxDepth=0") == [third, second, first]
    assert await listed(f"rootRunId={third}") == [child, third]


async def test_a_cancelled_run_ends_at_once(kept: Api) -> None:
    run_id = await kept.held(1)
    answer = await kept.ask("POST", f"/runs/{run_id}/cancel")
    assert (answer["status"], answer["items"]["cancelled"]) == ("cancelled", 1)
    assert (await kept.ask("GET", f"/runs/{run_id}/items"))["items"] == [{"itemIndex": 0, "status": "cancelled"}]
    again = await kept.call("POST", f"/runs/{run_id}/cancel")
    assert again.status == 409
    assert "it is cancelled" in again.message


async def test_a_run_is_deleted_when_it_has_ended_and_not_before(kept: Api) -> None:
    run_id = await kept.held()
    refused = await kept.call("DELETE", f"/runs/{run_id}")
    assert refused.status == 409
    assert "cancel it first" in refused.message
    kept.gate.set()
    await kept.ask("GET", f"/runs/{run_id}?wait=true")
    assert (await kept.call("DELETE", f"/runs/{run_id}")).status == 200
    assert (await kept.call("GET", f"/runs/{run_id}")).status == 404
    assert (await kept.ask("GET", "/runs"))["runs"] == []


async def test_a_caller_that_goes_away_leaves_the_run_alone(api: Api) -> None:
    flow_id = await api.store(flow_of("/hold"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(api.call, "POST", "/runs", {"flowId": flow_id, "input": [1], "wait": True})
        await api.reached.wait()
        tasks.cancel_scope.cancel()
    api.gate.set()
    (run,) = (await api.ask("GET", "/runs"))["runs"]
    assert (await api.ask("GET", f"/runs/{run['runId']}?wait=true"))["status"] == "completed"


@pytest.mark.skipif(sys.platform == "win32", reason="files that are open cannot be deleted there")
async def test_a_service_whose_state_file_is_gone_refuses_runs_and_says_that_it_has_failed(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with serving(state=path) as api:
        flow_id = await api.store(flow_of("/echo"))
        run = await api.start(flow_of("/echo"), 1, wait=True)
        assert (await api.call("GET", "//ready")).json == {"status": "ready"}
        path.unlink()
        for _ in range(2):
            refused = await api.call("POST", "/runs", {"flowId": flow_id, "input": [1]})
            assert refused.status == 503
            assert refused.message.startswith("the state file: it was deleted or replaced while in use")
        ready = await api.call("GET", "//ready")
        assert (ready.status, ready.json) == (503, {"status": "failed"})
        assert (await api.ask("GET", f"/runs/{run['runId']}"))["status"] == "completed"


async def test_a_stopping_service_takes_no_runs_and_lets_those_it_has_end(api: Api) -> None:
    run_id = await api.held()
    flow_id = await api.store(flow_of("/echo"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(api.service.drain, 60)
        while (await api.call("GET", "//ready")).status == 200:
            await anyio.lowlevel.checkpoint()
        refused = await api.call("POST", "/runs", {"flowId": flow_id, "input": [1]})
        assert refused.status == 503
        assert "stopping" in refused.message
        api.gate.set()
    assert (await api.ask("GET", f"/runs/{run_id}"))["status"] == "completed"


async def test_a_stopped_service_answers_those_who_wait(api: Api) -> None:
    run_id = await api.held()
    answers: list[Any] = []

    async def wait() -> None:
        answers.append(await api.ask("GET", f"/runs/{run_id}?wait=true"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        api.service.stop()
    assert answers[0]["status"] == "running"


WRONG_RUNS: list[tuple[Any, int, str]] = [
    ({}, 422, "the field is missing: `flowId`"),
    ({"flowId": 5, "input": []}, 422, "the field 'flowId': expected `str`, got `int`"),
    ({"flowId": "x", "input": {}}, 422, "the field 'input': expected `array`, got `object`"),
    ({"flowId": "x", "inputs": []}, 422, "unknown field 'inputs'; did you mean 'input'?"),
    ({"flowId": "x", "input": [], "wait": "yes"}, 422, "the field 'wait': expected `bool | null`, got `str`"),
    ({"flowId": "x", "input": [], "timeoutSecs": -1}, 422, "the field 'timeoutSecs': expected `int` >= 0"),
    ({"flowId": "x", "input": []}, 404, "there is no flow 'x'; POST /api/v1/flows stores one and tells its id"),
    ([1], 422, "expected `object`, got `array`"),
]

WRONG_PARAMETERS = [
    ("stat=running", "unknown parameter 'stat'; did you mean 'status'?"),
    ("limit=ten", "the parameter 'limit': expected `int` (given: 'ten')"),
    ("limit=5000", "the parameter 'limit': expected `int` <= 1000 (given: '5000')"),
    (
        "status=runing",
        (
            "the parameter 'status': expected one of running, completed, failed, cancelled, paused, recoveryFailed, "
            "not 'runing'; did you mean 'running'?"
        ),
    ),
    ("limit=1&limit=2", "the parameter 'limit' is given twice"),
]


async def test_a_request_of_another_form_is_told_what_is_wrong(api: Api) -> None:
    for body, status, message in WRONG_RUNS:
        refused = await api.call("POST", "/runs", body)
        assert (refused.status, refused.message) == (status, message)


async def test_a_parameter_that_is_wrong_is_named(api: Api) -> None:
    for query, message in WRONG_PARAMETERS:
        refused = await api.call("GET", f"/runs?{query}")
        assert (refused.status, refused.message) == (400, message)


async def test_unknown_overrides_are_refused_before_anything_runs(api: Api) -> None:
    flow_id = await api.store(flow_of("/echo"))
    body = {"flowId": flow_id, "input": [1], "overrides": {"steps": {"t": {"value": {}}}}}
    refused = await api.call("POST", "/runs", body)
    assert (refused.status, refused.message) == (400, "overrides: $.steps.t: the flow has no step 't'; steps are: s")
    assert (await api.ask("GET", "/runs"))["runs"] == []


async def test_an_unknown_run_is_told_by_every_operation(api: Api) -> None:
    for path in ("", "/items", "/steps", "/flow", "/events", "/cancel"):
        method = "POST" if path == "/cancel" else "GET"
        missing = await api.call(method, f"/runs/{NO_RUN}{path}")
        assert (missing.status, missing.message) == (404, f"there is no run {NO_RUN}")
        malformed = await api.call(method, f"/runs/7{path}")
        assert (malformed.status, malformed.message) == (400, "the id of a run is a UUID, not '7'")


async def test_an_id_in_capitals_is_the_same_id(api: Api) -> None:
    run_id = (await api.start(flow_of("/echo"), 1, wait=True))["runId"]
    assert (await api.ask("GET", f"/runs/{run_id.upper()}"))["runId"] == str(uuid.UUID(run_id))
