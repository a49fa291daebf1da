"""What servers ask of the runtime, message by message."""

import uuid
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import msgspec
import pytest
from msgspec import Raw

from stepflow_sdk.errors import BlobNotFound, InvalidParams, InvalidValue, MethodNotFound, NotFound
from stepflow_sdk.flows import blob_id
from stepflow_sdk.protocol import METHODS, BlobType, FlowResultFailed, FlowResultSuccess, Method
from stepflow_sdk.protocol import messages as m
from stepflow_sdk.protocol import runs as r
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.transports import Connection
from stepflow_sdk_tests.runtime.components import server
from stepflow_sdk_tests.runtime.scripted import FakeServer, Scripted

DOUBLE = {
    "name": "double",
    "description": "doubles",
    "version": "1",
    "metadata": {"team": "a"},
    "steps": [
        {
            "id": "s",
            "component": "/x/add",
            "input": {"a": {"$input": "$"}, "b": {"$input": "$"}},
            "metadata": {"cost": 1},
        },
        {"id": "t", "component": "/x/echo", "input": {"$step": "s"}},
    ],
    "output": {"$step": "t"},
}


@pytest.fixture
async def gate() -> anyio.Event:
    return anyio.Event()


@pytest.fixture
async def wire(gate: anyio.Event) -> AsyncGenerator[Connection, None]:
    """The connection of a server that has been started by the runtime; ``/g/wait`` waits for the gate."""

    async def wait(input: Any) -> Any:
        if input != "now":
            await gate.wait()
        return input

    fake = FakeServer()
    async with LocalRuntime({"fake": fake, "x": server, "g": Scripted(wait=wait)}) as runtime:
        await runtime.execute("/fake/start")
        assert fake.connection is not None
        yield fake.connection


async def call(wire: Connection, method: str, params: msgspec.Struct) -> Any:
    return await wire.call(METHODS[method], params, timeout=30)


def raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


async def put_flow(wire: Connection, flow: Any) -> Any:
    return (await call(wire, "blobs/put", m.PutBlobParams(raw(flow), BlobType.flow))).blob_id


async def test_blobs_go_in_and_come_out_with_their_type(wire: Connection) -> None:
    for value, kind in (({"b": 1, "a": [1.0]}, BlobType.data), ("hé", BlobType.data), (DOUBLE, BlobType.flow)):
        put = await call(wire, "blobs/put", m.PutBlobParams(raw(value), kind))
        assert put.blob_id == blob_id(value)
        got = await call(wire, "blobs/get", m.GetBlobParams(put.blob_id))
        assert msgspec.json.decode(got.data) == value
        assert got.blob_type is kind


async def test_what_is_not_known_is_named(wire: Connection) -> None:
    nobody: Any = "0" * 64
    with pytest.raises(BlobNotFound, match="0000"):
        await call(wire, "blobs/get", m.GetBlobParams(nobody))
    with pytest.raises(NotFound, match="no flow with the id '0000"):
        await call(wire, "flows/evaluate", m.EvaluateFlowParams(nobody, raw(1)))
    with pytest.raises(NotFound, match="no batch with the id 'x'"):
        await call(wire, "flows/get_batch", m.GetBatchParams("x"))
    with pytest.raises(NotFound, match="no run with the id 'x'"):
        await call(wire, "runs/get", r.GetRunProtocolParams("x"))
    unknown = Method("blobs/git", "runtime", m.GetBlobParams, m.GetBlobResult)
    with pytest.raises(MethodNotFound, match="did you mean 'blobs/get'"):
        await wire.call(unknown, m.GetBlobParams(nobody), timeout=30)
    with pytest.raises(MethodNotFound, match="does not serve 'components/list'"):
        await call(wire, "components/list", m.ComponentListParams())


async def test_params_of_the_wrong_form_are_refused_with_their_path(wire: Connection) -> None:
    method = METHODS["blobs/put"]
    with pytest.raises(InvalidParams, match="blob_type"):
        await wire.call(method, m.PutBlobParams(raw(1), "nonsense"), timeout=30)  # type: ignore[arg-type]


async def test_a_flow_is_evaluated_to_its_outcome(wire: Connection) -> None:
    flow_id = await put_flow(wire, DOUBLE)
    answer = await call(wire, "flows/evaluate", m.EvaluateFlowParams(flow_id, raw(4)))
    assert answer.result == FlowResultSuccess(8)
    answer = await call(wire, "flows/evaluate", m.EvaluateFlowParams(flow_id, raw("4")))
    assert isinstance(answer.result, FlowResultFailed)
    assert answer.result.error.code == -32003


async def test_a_blob_that_is_no_flow_cannot_be_run(wire: Connection) -> None:
    for document, said in (
        ([1], "object"),
        ({"steps": [{"id": "a", "component": "/x", "input": {"$step": "a"}}]}, "itself"),
    ):
        flow_id = await put_flow(wire, document)
        with pytest.raises(InvalidValue, match=f"is no flow that can be run.*{said}"):
            await call(wire, "flows/evaluate", m.EvaluateFlowParams(flow_id, raw(1)))


async def test_metadata_are_those_of_the_flow_and_of_the_step(wire: Connection) -> None:
    flow_id = await put_flow(wire, DOUBLE)
    for step_id, metadata in (("s", {"cost": 1}), ("t", {}), ("nobody", None), (None, None)):
        answer = await call(wire, "flows/get_metadata", m.GetFlowMetadataParams(flow_id, step_id))
        assert answer.flow_metadata == {"team": "a"}
        assert answer.step_metadata == metadata


async def test_a_batch_is_started_and_asked_for_later(wire: Connection) -> None:
    flow_id = await put_flow(wire, DOUBLE)
    batch = await call(wire, "flows/submit_batch", m.SubmitBatchParams(flow_id, [raw(1), raw("x"), raw(3)], 2))
    assert batch.total_runs == 3
    answer = await call(wire, "flows/get_batch", m.GetBatchParams(batch.batch_id, wait=True, include_results=True))
    details = answer.details
    assert (details.flow_id, details.flow_name, details.status) == (flow_id, "double", "failed")
    assert (details.total_runs, details.completed_runs, details.failed_runs, details.running_runs) == (3, 2, 1, 0)
    assert [output.batch_input_index for output in answer.outputs] == [0, 1, 2]
    assert answer.outputs[2].result == FlowResultSuccess(6)
    assert (await call(wire, "flows/get_batch", m.GetBatchParams(batch.batch_id))).outputs is None


WAIT = {"steps": [{"id": "s", "component": "/g/wait", "input": {"$input": "$"}}], "output": {"$step": "s"}}


async def test_a_run_is_seen_while_it_runs_and_when_it_has_ended(wire: Connection, gate: anyio.Event) -> None:
    flow_id = await put_flow(wire, WAIT)
    params = r.SubmitRunProtocolParams(flow_id, [raw("later"), raw("now")], wait=True, timeout_secs=0)
    run = await call(wire, "runs/submit", params)
    assert uuid.UUID(run.run_id)
    assert run.status == "running"
    assert run.items.total == 2
    gate.set()
    run = await call(wire, "runs/get", r.GetRunProtocolParams(run.run_id, wait=True, result_order="by_completion"))
    assert (run.status, run.items.completed, run.items.running) == ("completed", 2, 0)
    assert [result.item_index for result in run.results] == [1, 0]
    run = await call(wire, "runs/get", r.GetRunProtocolParams(run.run_id, include_results=True))
    assert [result.result for result in run.results] == [FlowResultSuccess("later"), FlowResultSuccess("now")]
    assert run.completed_at >= run.created_at
    assert (await call(wire, "runs/get", r.GetRunProtocolParams(run.run_id))).results is None


async def test_a_run_that_is_waited_for_answers_with_results_in_order(wire: Connection) -> None:
    flow_id = await put_flow(wire, DOUBLE)
    run = await call(wire, "runs/submit", r.SubmitRunProtocolParams(flow_id, [raw(1), raw({}), raw(2)], wait=True))
    assert run.status == "failed"
    assert [result.status for result in run.results] == ["completed", "failed", "completed"]
    assert run.results[2].result == FlowResultSuccess(4)


async def test_a_run_without_inputs_is_complete(wire: Connection) -> None:
    flow_id = await put_flow(wire, DOUBLE)
    run = await call(wire, "runs/submit", r.SubmitRunProtocolParams(flow_id, [], wait=True, max_concurrency=0))
    assert (run.status, run.results, run.items.total) == ("completed", [], 0)


async def test_overrides_of_a_run_apply_or_are_refused(wire: Connection) -> None:
    flow_id = await put_flow(wire, DOUBLE)
    overrides = {"steps": {"t": {"value": {"input": "changed"}}}}
    params = r.SubmitRunProtocolParams(flow_id, [raw(1)], wait=True, overrides=overrides)
    assert (await call(wire, "runs/submit", params)).results[0].result == FlowResultSuccess("changed")
    refused: list[dict[str, Any]] = [{"nobody": {"value": {}}}, {"t": {"value": {"component": 1}}}]
    for wrong in refused:
        with pytest.raises(InvalidParams, match="runs/submit: "):
            await call(wire, "runs/submit", r.SubmitRunProtocolParams(flow_id, [raw(1)], overrides=wrong))


async def test_a_wrong_order_of_results_is_refused(wire: Connection) -> None:
    with pytest.raises(InvalidParams, match="by_completion"):
        await call(wire, "runs/get", r.GetRunProtocolParams("x", result_order="byIndex"))


async def test_calls_are_answered_while_others_wait(wire: Connection, gate: anyio.Event) -> None:
    flow_id = await put_flow(wire, WAIT)
    ended: list[str] = []

    async def evaluate(input: str) -> None:
        await call(wire, "flows/evaluate", m.EvaluateFlowParams(flow_id, raw(input)))
        ended.append(input)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(evaluate, "later")
        await evaluate("now")
        assert ended == ["now"]
        gate.set()
    assert ended == ["now", "later"]
