"""What components ask of a runtime, and what they get from runtimes of both kinds."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest

from stepflow_sdk import (
    BlobId,
    BlockingContext,
    FlowFailed,
    InvalidValue,
    MethodNotFound,
    NotFound,
    RequestTimeout,
    ResourceUnavailable,
    SkipStep,
    StepflowContext,
    StepflowError,
    StepflowServer,
    current_context,
    errors,
)
from stepflow_sdk.protocol import Notification, Request, exception_of, methods
from stepflow_sdk.protocol.messages import ComponentExecuteParams, InitializeParams
from stepflow_sdk.protocol.values import ObservabilityContext, decode_value
from stepflow_sdk.transports import Connection

IDS = ObservabilityContext(run_id="run-1", flow_id=BlobId("f" * 64), step_id="step-1")
FLOW = {"steps": [], "output": {"$input": "$"}}


class ScriptedRuntime:
    """A runtime that knows some methods, each with its answer, and records what it was asked."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Any]] = []

    def request(self, connection: Connection, request: Request) -> None:
        params = decode_value(request.params)
        self.asked.append((request.method, params))
        answer = self.answers.get(request.method)
        if answer is None:
            connection.fail(request, MethodNotFound(request.method))
        elif isinstance(answer, Exception):
            connection.fail(request, answer)
        elif answer is not ...:
            connection.reply(request, answer(params) if callable(answer) else answer)

    def notification(self, connection: Connection, notification: Notification) -> None: ...

    def closed(self, connection: Connection) -> None: ...


def outcome(params: Any) -> dict[str, Any]:
    return {"outcome": "success", "result": params}


def run_status(inputs: list[Any] | None, status: str = "completed") -> dict[str, Any]:
    results = None
    if inputs is not None:
        results = [{"itemIndex": n, "status": "completed", "result": outcome(value)} for n, value in enumerate(inputs)]
    items = {"total": 2, "completed": 2, "running": 0, "failed": 0, "cancelled": 0}
    run = {"runId": "r9", "flowId": "f", "status": status, "items": items, "createdAt": "2026-01-01T00:00:00Z"}
    return {**run, "results": results} if results is not None else run


BATCH = {
    "batch_id": "b9",
    "flow_id": "f",
    "total_runs": 2,
    "status": "completed",
    "created_at": "2026-01-01T00:00:00Z",
    "completed_runs": 2,
    "running_runs": 0,
    "failed_runs": 0,
    "cancelled_runs": 0,
    "paused_runs": 0,
}
OUTPUTS = [{"batch_input_index": n, "status": "completed", "result": outcome(n + 1)} for n in (1, 0)]
BLOBS = {"blobs/put": {"blob_id": "blob-1"}}
FLOWS: dict[str, Any] = {
    **BLOBS,
    "flows/evaluate": lambda params: {"result": outcome(params["input"])},
    "flows/get_metadata": {"flow_metadata": {"a": 1}, "step_metadata": {"b": 2}},
    "flows/submit_batch": {"batch_id": "b9", "total_runs": 2},
    "flows/get_batch": lambda params: {"details": BATCH, "outputs": OUTPUTS if params.get("include_results") else None},
}
FLOW_BLOB = {"steps": [{"id": "step-1", "metadata": {"b": 2}}, {"id": "bare"}], "metadata": {"a": 1}}
RUNS: dict[str, Any] = {
    **BLOBS,
    "blobs/get": {"data": FLOW_BLOB, "blob_type": "flow"},
    "runs/submit": lambda params: run_status(params["inputs"] if params.get("wait") else None),
    "runs/get": lambda params: run_status([2, 1] if params.get("includeResults") else None),
}


@asynccontextmanager
async def calling(
    server: StepflowServer[Any], answers: Mapping[str, Any]
) -> AsyncGenerator[tuple[Callable[..., Any], ScriptedRuntime]]:
    """A function that executes a component of the server under a scripted runtime."""
    runtime = ScriptedRuntime(answers)
    async with server.open_memory(runtime) as connection:
        await connection.call(methods.INITIALIZE, InitializeParams(1))

        async def execute(component: str, input: Any = None, ids: ObservabilityContext = IDS) -> Any:
            params = ComponentExecuteParams(component, msgspec.Raw(msgspec.json.encode(input)), 3, ids)
            return msgspec.json.decode((await connection.call(methods.EXECUTE, params)).output)

        yield execute, runtime


@dataclass
class Point:
    x: int
    y: float = 0.5


def server_of_both(name: str, use: Callable[[Any], Any]) -> StepflowServer[Any]:
    """A server whose components "async" and "thread" do the same with their contexts."""
    server = StepflowServer(name, call_timeout=60)

    @server.component("async")
    async def asynchronous(ctx: StepflowContext) -> Any:
        return await use(ctx)

    @server.component("thread")
    def blocking(ctx: BlockingContext) -> Any:
        return use(ctx)

    return server


@pytest.mark.parametrize("kind", ["async", "thread"])
@pytest.mark.parametrize("answers", [FLOWS, RUNS], ids=["flows", "runs"])
@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (lambda ctx: ctx.put_blob({"x": 1}), "blob-1"),
        (lambda ctx: ctx.evaluate_flow(FLOW, {"x": 1}), {"x": 1}),
        (lambda ctx: ctx.evaluate_flow_by_id("f", [1]), [1]),
        (lambda ctx: ctx.evaluate_flow(FLOW, {"x": 1}, type=Point), {"x": 1, "y": 0.5}),
        (lambda ctx: ctx.get_metadata(), {"flow_metadata": {"a": 1}, "step_metadata": {"b": 2}}),
        (lambda ctx: ctx.evaluate_batch(FLOW, [1, 2], 4), [1, 2]),
        (lambda ctx: ctx.evaluate_batch_by_id("f", [1, 2]), [1, 2]),
    ],
    ids=["put", "evaluate", "by_id", "typed", "metadata", "batch", "batch_by_id"],
)
async def test_a_call_works_whichever_methods_the_runtime_serves(
    kind: str, answers: Mapping[str, Any], use: Any, expected: Any
) -> None:
    if answers is RUNS and expected == [1, 2]:
        answers = {**RUNS, "runs/get": run_status([1, 2])}
    async with calling(server_of_both("both", use), answers) as (execute, _):
        assert await execute(f"/{kind}") == expected


@pytest.mark.parametrize("kind", ["async", "thread"])
@pytest.mark.parametrize("answers", [FLOWS, RUNS], ids=["flows", "runs"])
async def test_batches_and_runs_have_the_same_shape_from_both_kinds_of_runtime(
    kind: str, answers: Mapping[str, Any]
) -> None:
    server = StepflowServer("shapes")

    @server.component("async")
    async def asynchronous(ctx: StepflowContext) -> list[Any]:
        batch_id = await ctx.submit_batch(FLOW, [1, 2])
        details, outputs = await ctx.get_batch(batch_id, wait=True, include_results=True)
        run = await ctx.submit_run(FLOW, [1, 2])
        run = await ctx.get_run(run.run_id, wait=True, include_results=True)
        return [details.total_runs, len(outputs or []), run.status, run.items.completed, len(run.results or [])]

    @server.component("thread")
    def blocking(ctx: BlockingContext) -> list[Any]:
        batch_id = ctx.submit_batch_by_id("f", [1, 2])
        details, outputs = ctx.get_batch(batch_id, wait=True, include_results=True)
        run = ctx.submit_run_by_id("f", [1, 2])
        run = ctx.get_run(run.run_id, wait=True, include_results=True)
        return [details.total_runs, len(outputs or []), run.status, run.items.completed, len(run.results or [])]

    async with calling(server, answers) as (execute, _):
        assert await execute(f"/{kind}") == [2, 2, "completed", 2, 2]


async def test_which_methods_a_runtime_serves_is_learned_once() -> None:
    async with calling(server_of_both("learn", lambda ctx: ctx.evaluate_flow_by_id("f", 1)), RUNS) as (
        execute,
        runtime,
    ):
        await execute("/async")
        await execute("/async")
        assert [method for method, _ in runtime.asked] == ["flows/evaluate", "runs/submit", "runs/submit"]


async def test_the_key_of_a_submission_is_the_same_when_the_step_is_executed_again() -> None:
    async def use(ctx: Any) -> None:
        await ctx.evaluate_flow_by_id("f", 1)
        await ctx.evaluate_flow_by_id("f", 1)

    async with calling(server_of_both("keys", use), RUNS) as (execute, runtime):
        await execute("/async")
        await execute("/async")
        keys = [params["subflowKey"] for method, params in runtime.asked if method == "runs/submit"]
        assert keys[:2] == keys[2:]
        assert keys[0] != keys[1]


async def test_a_runtime_that_serves_neither_is_named() -> None:
    async with calling(server_of_both("none", lambda ctx: ctx.evaluate_flow_by_id("f", 1)), BLOBS) as (execute, _):
        with pytest.raises(MethodNotFound, match=r"neither flows/evaluate nor runs/submit"):
            await execute("/async")


async def test_metadata_of_a_named_step_and_outside_a_flow() -> None:
    async with calling(server_of_both("metadata", lambda ctx: ctx.get_metadata("bare")), RUNS) as (execute, _):
        assert await execute("/async") == {"flow_metadata": {"a": 1}, "step_metadata": {}}
        with pytest.raises(NotFound):
            await execute("/async", ids=ObservabilityContext())


@pytest.mark.parametrize("answers", [FLOWS, RUNS], ids=["flows", "runs"])
@pytest.mark.parametrize(
    ("result", "error"),
    [
        ({"outcome": "failed", "error": {"code": -32100, "message": "inner", "data": {"a": 1}}}, FlowFailed),
        ({"outcome": "skipped", "reason": "no need"}, SkipStep),
    ],
)
async def test_the_outcome_of_a_nested_flow_is_raised(answers: Any, result: Any, error: type[Exception]) -> None:
    seen: list[Exception] = []

    async def use(ctx: Any) -> None:
        try:
            await ctx.evaluate_flow_by_id("f", 1)
        except Exception as raised:
            seen.append(raised)

    run = {**run_status(None), "results": [{"itemIndex": 0, "status": "completed", "result": result}]}
    changed = {"flows/evaluate": {"result": result}} if answers is FLOWS else {"runs/submit": run}
    async with calling(server_of_both("outcomes", use), changed) as (execute, _):
        await execute("/async")
    (raised,) = seen
    assert isinstance(raised, error)
    if isinstance(raised, FlowFailed):
        assert (raised.code, raised.message, raised.data) == (-32100, "inner", {"a": 1})


async def test_a_nested_failure_that_nobody_handles_fails_the_step() -> None:
    result = {"outcome": "failed", "error": {"code": 7, "message": "inner"}}
    server = server_of_both("unhandled", lambda ctx: ctx.evaluate_flow_by_id("f", 1))
    async with calling(server, {"flows/evaluate": {"result": result}}) as (execute, _):
        with pytest.raises(errors.ComponentError) as caught:
            await execute("/async")
    assert caught.value.message == "inner"
    assert caught.value.data["error"] == {"code": 7, "message": "inner", "data": None}


async def test_a_blob_is_decoded_into_the_type_that_was_asked_for() -> None:
    async def use(ctx: Any) -> Any:
        point = await ctx.get_blob("b", type=Point)
        assert isinstance(point, Point)
        with pytest.raises(InvalidValue, match=r"\$\.x"):
            await ctx.get_blob("b", type=dict[str, bool])
        return point

    answers = {"blobs/get": {"data": {"x": 3}, "blob_type": "data"}}
    async with calling(server_of_both("typed", use), answers) as (execute, _):
        assert await execute("/async") == {"x": 3, "y": 0.5}


async def test_types_are_taken_again_and_again_whether_or_not_they_can_be_a_key() -> None:
    async def use(ctx: Any) -> Any:
        # The first three can be no member of a set, or their values cannot; of the others each is a new one.
        types = [Annotated[dict[str, float], ["a list"]], dict[str, float], Point]
        types += [msgspec.defstruct(f"Point{number}", [("x", float)]) for number in range(1100)]
        found = [msgspec.to_builtins(await ctx.get_blob("b", type=type_)) for type_ in [*types, *types[:3]]]
        return [value["x"] for value in found]

    answers = {"blobs/get": {"data": {"x": 3}, "blob_type": "data"}}
    async with calling(server_of_both("kept", use), answers) as (execute, _):
        assert await execute("/async") == [3.0] * 1106


@pytest.mark.parametrize("value", [float("nan"), object(), {"a": [1, 2**65]}])
async def test_what_is_not_json_is_refused_before_it_is_sent(value: Any) -> None:
    async def use(ctx: Any) -> None:
        with pytest.raises(InvalidValue, match=r"\$"):
            await ctx.put_blob(value)

    async with calling(server_of_both("bad", use), FLOWS) as (execute, runtime):
        await execute("/async")
        assert runtime.asked == []


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_bytes_travel_as_base64_where_a_runtime_knows_no_binary_blobs(kind: str) -> None:
    kept: dict[str, Any] = {}
    answers = {
        "blobs/put": lambda params: kept.update(params) or {"blob_id": "b"},
        "blobs/get": lambda params: {"data": kept["data"], "blob_type": "data"},
    }
    server = StepflowServer("bytes")

    @server.component("async")
    async def asynchronous(ctx: StepflowContext) -> bool:
        return await ctx.get_blob(await ctx.put_blob(b"\xff\x00", "binary"), type=bytes) == b"\xff\x00"

    @server.component("thread")
    def blocking(ctx: BlockingContext) -> bool:
        return ctx.get_blob(ctx.put_blob(b"\xff\x00", "binary"), type=bytes) == b"\xff\x00"

    async with calling(server, answers) as (execute, _):
        assert await execute(f"/{kind}") is True
        assert kept["data"] == "/wA="


async def test_a_call_that_is_not_answered_times_out() -> None:
    server = StepflowServer("deaf", call_timeout=0.02)

    @server.component
    async def ask(ctx: StepflowContext) -> None:
        await ctx.put_blob(1)

    async with calling(server, {"blobs/put": ...}) as (execute, _):
        with pytest.raises(RequestTimeout):
            await execute("/ask")


async def test_a_context_is_closed_when_its_component_has_ended() -> None:
    kept: list[StepflowContext] = []

    async def use(ctx: Any) -> None:
        kept.append(ctx)
        assert not ctx.cancelled

    async with calling(server_of_both("kept", use), FLOWS) as (execute, _):
        await execute("/async")
        assert kept[0].cancelled
        with pytest.raises(ResourceUnavailable, match="ended"):
            await kept[0].put_blob(1)


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_context_knows_where_it_runs(kind: str) -> None:
    def facts(ctx: Any) -> list[Any]:
        assert current_context() is ctx
        return [ctx.component, ctx.run_id, ctx.flow_id, ctx.step_id, ctx.attempt, ctx.state]

    async def use_async(ctx: Any) -> Any:
        return facts(ctx)

    server = server_of_both("facts", use_async if kind == "async" else facts)
    async with calling(server, FLOWS) as (execute, _):
        assert await execute(f"/{kind}") == [f"/{kind}", "run-1", "f" * 64, "step-1", 3, None]
    with pytest.raises(StepflowError):
        current_context()


async def test_a_thread_that_nobody_waits_for_can_see_it() -> None:
    gave_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = StepflowServer("cancel")

    @server.component(timeout=0.02)
    def work(ctx: BlockingContext) -> None:
        import time

        while not ctx.cancelled:
            time.sleep(0.001)
        loop.call_soon_threadsafe(gave_up.set)

    async with calling(server, FLOWS) as (execute, _):
        with pytest.raises(RequestTimeout):
            await execute("/work")
        await asyncio.wait_for(gave_up.wait(), 60)


async def test_lifespan_state_reaches_components_and_is_left_once() -> None:
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(server: StepflowServer[Any]) -> AsyncGenerator[dict[str, str]]:
        events.append(f"enter {server.name}")
        async with asyncio.TaskGroup():
            yield {"database": "open"}
        events.append("leave")

    server: StepflowServer[dict[str, str]] = StepflowServer("alive", lifespan=lifespan)

    @server.component
    async def look(ctx: StepflowContext[dict[str, str]]) -> str:
        return ctx.state["database"]

    async with calling(server, FLOWS) as (first, _), calling(server, FLOWS) as (second, _):
        assert [await first("/look"), await second("/look")] == ["open", "open"]
    assert events == ["enter alive", "leave"]


async def test_a_lifespan_that_fails_is_raised_where_the_server_is_opened() -> None:
    @asynccontextmanager
    async def lifespan(server: StepflowServer[Any]) -> AsyncGenerator[None]:
        raise ValueError("no database")
        yield

    with pytest.raises(ValueError, match="no database"):
        async with calling(StepflowServer("dead", lifespan=lifespan), FLOWS):
            pass


def test_the_error_of_every_code_is_made_from_the_wire() -> None:
    from stepflow_sdk.protocol.values import Error

    for code, cls in errors.WIRE_ERRORS.items():
        assert type(exception_of(Error(code, "m", {"a": 1}))) is cls
