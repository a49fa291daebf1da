"""What a service counts, and shows to Prometheus."""

import sys
from pathlib import Path

import anyio
import pytest

from stepflow_sdk import ComponentError, PathParam, StepflowContext, StepflowServer
from stepflow_sdk.runtime import LocalRuntime, RetryPolicy, RuntimeMetrics
from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk_tests.prometheus import samples_of
from stepflow_sdk_tests.runtime.service.api import Api, flow_of, serving

V1 = "/api/v1"
MORTAL = """
import os
from stepflow_sdk import StepflowServer

server = StepflowServer("mortal")
server.component(path="die")(lambda: os._exit(3))
server.component(path="live")(lambda: 1)
server.run()
"""


async def metrics_of(api: Api) -> dict[str, float]:
    answer = await api.call("GET", "//metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return samples_of(answer.text.decode())


async def test_runs_items_and_steps_are_counted_by_what_came_of_them() -> None:
    async with serving(metrics=RuntimeMetrics()) as api:
        await api.start(flow_of("/echo"), 1, 2, 3, wait=True)
        await api.start(flow_of("/fail", {"message": "no"}), None, wait=True)
        await api.start(flow_of("/nobody"), None, wait=True)
        await api.start(
            {"steps": [{**flow_of("/skip", {})["steps"][0], "onError": {"action": "useDefault"}}]}, 0, wait=True
        )
        found = await metrics_of(api)
    assert found['stepflow_runs_total{status="completed"}'] == 2
    assert found['stepflow_runs_total{status="failed"}'] == 2
    assert found["stepflow_runs_started_total"] == 4
    assert found['stepflow_run_duration_seconds_count{status="failed"}'] == 2
    assert found['stepflow_items_total{outcome="failed"}'] == 2
    assert found['stepflow_items_total{outcome="success"}'] == 4
    assert found['stepflow_steps_total{component="/echo",status="completed"}'] == 3
    assert found['stepflow_steps_total{component="/fail",status="failed"}'] == 1
    # What nobody serves is not a name of its own: whoever sends flows could make up any number.
    assert found['stepflow_steps_total{component="",status="failed"}'] == 1
    assert found['stepflow_step_duration_seconds_count{component="/echo"}'] == 3
    assert found["stepflow_steps_in_flight"] == found["stepflow_steps_waiting"] == found["stepflow_runs_in_flight"] == 0


async def test_what_is_under_way_is_read_when_somebody_asks() -> None:
    async with serving(metrics=RuntimeMetrics()) as api:
        run_id = (await api.start(flow_of("/hold"), *range(5), maxConcurrency=2))["runId"]
        with anyio.fail_after(60):
            while (found := await metrics_of(api))["stepflow_steps_in_flight"] < 2:
                await anyio.lowlevel.checkpoint()
        assert found["stepflow_runs_in_flight"] == 1
        assert found["stepflow_rest_requests_in_flight"] == 1  # this one
        assert (await api.call("POST", f"/runs/{run_id}/cancel")).status == 200
        await api.runtime.engine.wait(run_id)
        found = await metrics_of(api)
        assert found['stepflow_runs_total{status="cancelled"}'] == 1
        assert found["stepflow_steps_in_flight"] == found["stepflow_runs_in_flight"] == 0


async def test_requests_are_counted_by_route_and_status() -> None:
    async with serving(HttpPolicy(token="s3cret"), metrics=RuntimeMetrics()) as api:
        headers = {"Authorization": "Bearer s3cret"}
        for run_id in ("0" * 8, "1" * 8):
            await api.call("GET", f"/runs/{run_id}", headers=headers)
        await api.call("GET", "//health")
        await api.call("PURGE", "//health")
        await api.call("GET", "/runs")
        await api.call("GET", "//any/thing", headers=headers)
        assert (await api.call("GET", "//metrics")).status == 401
        answer = await api.call("GET", "//metrics", headers=headers)
        found = samples_of(answer.text.decode())
    counted = {key.partition("{")[2]: value for key, value in found.items() if "rest_requests_total" in key}
    assert counted == {
        f'route="{V1}/runs/{{run_id}}",method="GET",code="400"}}': 2,
        'route="/health",method="GET",code="200"}': 1,
        'route="",method="other",code="405"}': 1,
        'route="",method="GET",code="401"}': 2,
        'route="",method="GET",code="404"}': 1,
    }
    assert found['stepflow_rest_request_duration_seconds_count{route="/health"}'] == 1
    assert "s3cret" not in answer.text.decode()


async def test_there_are_no_metrics_where_nobody_asked_for_them(api: Api) -> None:
    assert (await api.call("GET", "//metrics")).status == 404


async def test_a_state_file_is_watched(tmp_path: Path) -> None:
    async with serving(metrics=RuntimeMetrics(), state=tmp_path / "state.db") as api:
        before = await metrics_of(api)
        await api.start(flow_of("/echo"), 1, 2, 3, wait=True)
        found = await metrics_of(api)
    assert found["stepflow_store_commits_total"] > before["stepflow_store_commits_total"]
    assert found["stepflow_store_writable"] == 1
    assert found["stepflow_store_queue"] == 0
    assert found["stepflow_store_bytes"] > 4096


async def test_calls_back_and_retries_are_counted() -> None:
    server: StepflowServer = StepflowServer("careful")

    @server.component
    async def remember(input: int, ctx: StepflowContext) -> str:
        if ctx.attempt == 1:
            raise ComponentError("not yet", retryable=True)
        return await ctx.put_blob(input)

    metrics = RuntimeMetrics()
    async with LocalRuntime(server, metrics=metrics, retry=RetryPolicy()) as runtime:
        step = {"id": "s", "component": "/remember", "input": {"$input": "$"}, "onError": {"action": "retry"}}
        (await runtime.run({"steps": [step], "output": {"$step": "s"}}, 1)).unwrap()
        found = samples_of(metrics.text())
        assert found['stepflow_plugin_up{plugin="server"}'] == 1
    assert found['stepflow_step_retries_total{component="/remember"}'] == 1
    assert found['stepflow_calls_total{method="blobs/put",code="ok"}'] == 1


async def test_the_server_of_a_plugin_that_dies_is_seen() -> None:
    metrics = RuntimeMetrics()
    async with LocalRuntime({"x": [sys.executable, "-c", MORTAL]}, metrics=metrics) as runtime:
        assert samples_of(metrics.text())['stepflow_plugin_up{plugin="x"}'] == 0
        assert await runtime.execute("/x/live") == 1
        assert samples_of(metrics.text())['stepflow_plugin_restarts_total{plugin="x"}'] == 0
        with pytest.raises(Exception, match="code 3"):
            await runtime.execute("/x/die")
        assert await runtime.execute("/x/live") == 1
        found = samples_of(metrics.text())
    assert found['stepflow_plugin_restarts_total{plugin="x"}'] == 1
    assert found['stepflow_plugin_up{plugin="x"}'] == 1


def _nothing(up: PathParam[str]) -> None:
    pass


async def test_made_up_names_do_not_make_new_lines_without_end() -> None:
    metrics = RuntimeMetrics()
    server: StepflowServer = StepflowServer("wide")
    server.component(path="made/{*up}")(_nothing)
    async with LocalRuntime(server, metrics=metrics) as runtime:
        steps = [{"id": f"s{n}", "component": f"/made/up/{n}", "mustExecute": True} for n in range(700)]
        await runtime.run({"steps": steps})
        found = samples_of(metrics.text())
    counted = {key: value for key, value in found.items() if key.startswith("stepflow_steps_total")}
    assert len(counted) == 501
    assert counted['stepflow_steps_total{component="other",status="completed"}'] == 200


async def test_above_the_limit_runs_are_shed_and_nothing_of_them_is_kept() -> None:
    async with serving(metrics=RuntimeMetrics(), max_runs=2) as api:
        flow_id = await api.store(flow_of("/hold"))
        body = {"flowId": flow_id, "input": [1]}
        for _ in range(2):
            assert (await api.call("POST", "/runs", body)).status == 202
        await api.reached.wait()
        for _ in range(20):
            shed = await api.call("POST", "/runs", body)
            assert (shed.status, shed.headers["retry-after"]) == (503, "1")
            assert shed.message == "2 runs are under way; try again later"
        ready = await api.call("GET", "//ready")
        assert (ready.status, ready.json, ready.headers["retry-after"]) == (503, {"status": "overloaded"}, "1")
        found = await metrics_of(api)
        assert found["stepflow_runs_in_flight"] == 2
        assert found['stepflow_rest_requests_total{route="/api/v1/runs",method="POST",code="503"}'] == 20
        assert len((await api.ask("GET", "/runs"))["runs"]) == 2
        api.gate.set()
        for run in (await api.ask("GET", "/runs"))["runs"]:
            await api.runtime.engine.wait(run["runId"])
        assert (await api.call("GET", "//ready")).status == 200
        assert (await api.call("POST", "/runs", {**body, "wait": True})).status == 200
