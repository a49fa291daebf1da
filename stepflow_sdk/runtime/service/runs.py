"""The operations on runs."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio

from stepflow_sdk.errors import InvalidFlow, InvalidValue, NotFound, ResourceUnavailable
from stepflow_sdk.flows.values import plain
from stepflow_sdk.runtime.engine import Engine, RunOptions
from stepflow_sdk.runtime.runs import RunQuery, RunRecord
from stepflow_sdk.runtime.service.flows import flow_answer, stored_flow
from stepflow_sdk.runtime.service.messages import (
    FlowAnswer,
    ItemList,
    ReadyState,
    RunAnswer,
    RunDetails,
    RunList,
    RunRequest,
    RunsQuery,
    RunSummary,
    RunWait,
    StepList,
    StepsQuery,
)
from stepflow_sdk.runtime.service.operations import API, JSON, Answer, Asked, Operation, json_answer
from stepflow_sdk.runtime.service.problems import Conflict
from stepflow_sdk.runtime.service.run_views import item_details, item_results, step_runs, summary_fields
from stepflow_sdk.transports.http.policy import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["MAX_RUNS", "RunOperations"]

MAX_RUNS = 10_000
"""So many runs may be under way at once unless the service is told otherwise."""

_WAIT_SECONDS = 300
"""How long an answer waits for the end of a run unless the request says otherwise, as upstream has it."""

_TURN_SECONDS = 0.25

_CANCEL_SECONDS = 10.0
"""How long the answer to a cancellation waits for the components to end."""


class RunOperations:
    """Runs, their items and their steps.

    Args:
        engine: Runs the flows.
        readiness: Whether runs are taken.
        max_runs: How many may be there at once; for the message.
        stopping: Returns when the service ends: then nobody waits for a run any more.
    """

    def __init__(
        self,
        engine: Engine,
        readiness: Callable[[], ReadyState],
        max_runs: int,
        stopping: Callable[[], Awaitable[object]],
    ) -> None:
        self._engine = engine
        self._readiness = readiness
        self._max_runs = max_runs
        self._stopping = stopping

    def operations(self) -> list[Operation]:
        """What is offered."""
        one = f"{API}/runs/{{run_id}}"
        return [
            Operation(
                "POST",
                f"{API}/runs",
                "createRun",
                "Run a stored flow on one or more inputs",
                self.create,
                {
                    200: Answer("What came of it, or its state when the time to wait was over", {JSON: RunAnswer}),
                    202: Answer("It is accepted, and runs", {JSON: RunAnswer}),
                },
                body={JSON: RunRequest},
                errors=[404, 503],
                tag="runs",
            ),
            Operation(
                "GET",
                f"{API}/runs",
                "listRuns",
                "Runs, newest first",
                self.find,
                {200: Answer("The runs", {JSON: RunList})},
                query=RunsQuery,
                tag="runs",
            ),
            Operation(
                "GET",
                one,
                "getRun",
                "The state of a run, with its inputs",
                self.get,
                {200: Answer("The run", {JSON: RunDetails})},
                query=RunWait,
                errors=[404],
                tag="runs",
            ),
            Operation(
                "DELETE",
                one,
                "deleteRun",
                "Forget a run that has ended",
                self.delete,
                {200: Answer("It is forgotten")},
                errors=[404, 409],
                tag="runs",
            ),
            Operation(
                "POST",
                f"{one}/cancel",
                "cancelRun",
                "End a run, and those that it has started",
                self.cancel,
                {200: Answer("Its state", {JSON: RunSummary})},
                errors=[404, 409],
                tag="runs",
            ),
            Operation(
                "GET",
                f"{one}/items",
                "getRunItems",
                "The outcomes of a run, by the index of the input",
                self.items,
                {200: Answer("The items", {JSON: ItemList})},
                errors=[404],
                tag="runs",
            ),
            Operation(
                "GET",
                f"{one}/steps",
                "getRunSteps",
                "The steps of a run that have begun",
                self.steps,
                {200: Answer("The steps", {JSON: StepList})},
                query=StepsQuery,
                errors=[404],
                tag="runs",
            ),
            Operation(
                "GET",
                f"{one}/flow",
                "getRunFlow",
                "The flow of a run",
                self.flow,
                {200: Answer("The flow", {JSON: FlowAnswer})},
                errors=[404],
                tag="runs",
            ),
        ]

    def _require_ready(self) -> None:
        match self._readiness():
            case "stopping":
                raise ResourceUnavailable("the service is stopping and takes no more runs")
            case "overloaded":
                error = ResourceUnavailable(f"{self._max_runs} runs are under way; try again later")
                raise Refusal(503, error, [(b"retry-after", b"1")])
            case "ready" | "failed":
                return  # a store that has failed says why

    async def create(self, asked: Asked) -> "Response":
        """The run is kept as safely as the store keeps runs when this answers."""
        body: RunRequest = asked.body
        self._require_ready()
        flow = await stored_flow(self._engine, body.flow_id)
        options = RunOptions(
            variables={} if body.variables is None else plain(body.variables),
            overrides=body.overrides,
            max_concurrency=body.max_concurrency,
        )
        inputs = [plain(value) for value in body.input]
        try:
            run_id = await self._engine.submit(flow, inputs, options, flow_id=body.flow_id)
        except InvalidFlow as error:
            raise InvalidValue(f"overrides: {error}") from None
        if body.wait:
            await self._wait(asked.request, run_id, body.timeout_secs)
        run = await self._run(run_id)
        answer = RunAnswer(**summary_fields(run))
        if body.wait:
            answer.results = item_results(run, await self._engine.runs.items(run_id))
        return json_answer(answer, 200 if body.wait else 202)

    async def find(self, asked: Asked) -> "Response":
        """As many as the limit allows."""
        query: RunsQuery = asked.query
        wanted = RunQuery(
            status=query.status,
            flow_name=query.flow_name,
            root_run_id=query.root_run_id,
            parent_run_id=query.parent_run_id,
            max_depth=query.max_depth,
            roots_only=bool(query.roots_only),
            limit=query.limit,
            offset=query.offset,
        )
        found = await self._engine.runs.find(wanted)
        return json_answer(RunList([RunSummary(**summary_fields(run)) for run in found]))

    async def get(self, asked: Asked) -> "Response":
        """With ``wait``, when it has ended or the time is over."""
        run_id, query = asked.path["run_id"], asked.query
        await self._run(run_id)
        if query.wait:
            await self._wait(asked.request, run_id, query.timeout_secs)
        run = await self._run(run_id)
        store = self._engine.runs
        details = item_details(run, await store.inputs(run_id), await store.items(run_id), await store.steps(run_id))
        answer = RunDetails(**summary_fields(run), item_details=details)
        if run.overrides:
            answer.overrides = run.overrides
        return json_answer(answer)

    async def delete(self, asked: Asked) -> "Response":
        """Upstream answers likewise and forgets nothing."""
        from starlette.responses import Response

        run = await self._run(asked.path["run_id"])
        if run.status == "running":
            raise Conflict(f"the run {run.run_id} is running and cannot be deleted; cancel it first")
        await self._engine.runs.delete(run.run_id)
        return Response(status_code=200)

    async def cancel(self, asked: Asked) -> "Response":
        """Nothing more of it is called. Components over HTTP are told, by the end of the connection; others run on."""
        run = await self._run(asked.path["run_id"])
        if run.status != "running":
            raise Conflict(f"the run {run.run_id} cannot be cancelled: it is {run.status}")
        if not self._engine.cancel(run.run_id):
            raise Conflict(f"the run {run.run_id} cannot be cancelled yet: it was interrupted, and waits for its turn")
        await self._engine.wait(run.run_id, _CANCEL_SECONDS)
        return json_answer(RunSummary(**summary_fields(await self._run(run.run_id))))

    async def items(self, asked: Asked) -> "Response":
        """Items without an outcome run still, or were cancelled."""
        run = await self._run(asked.path["run_id"])
        results = item_results(run, await self._engine.runs.items(run.run_id))
        return json_answer(ItemList(len(results), results))

    async def steps(self, asked: Asked) -> "Response":
        """With outcomes where they are those of one item."""
        run, index = await self._run(asked.path["run_id"]), asked.query.item_index
        if index is not None and run.items is not None and index >= run.items:
            raise NotFound(f"the run {run.run_id} has no item {index}; it has {run.items}")
        steps = await self._engine.runs.steps(run.run_id, item=index)
        return json_answer(StepList(step_runs(run, steps, with_results=index is not None or run.items == 1)))

    async def flow(self, asked: Asked) -> "Response":
        """The flow as it is stored, without the overrides of the run."""
        run = await self._run(asked.path["run_id"])
        return json_answer(await flow_answer(self._engine, run.flow_id))

    async def _run(self, run_id: str) -> RunRecord:
        run = await self._engine.runs.get(run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}", data={"kind": "run"})
        return run

    async def _wait(self, request: "Request", run_id: str, seconds: int | None) -> None:
        """Wait for the end of a run, or of the time, the service or the caller."""
        async with anyio.create_task_group() as tasks:

            async def until(over: Callable[[], Awaitable[object]]) -> None:
                await over()
                tasks.cancel_scope.cancel()

            tasks.start_soon(until, self._stopping)
            tasks.start_soon(until, lambda: _disconnected(request))
            with anyio.move_on_after(_WAIT_SECONDS if seconds is None else seconds):
                await self._end_of(run_id)
            tasks.cancel_scope.cancel()

    async def _end_of(self, run_id: str) -> None:
        while True:
            await self._engine.wait(run_id)
            run = await self._engine.runs.get(run_id)
            if run is None or run.status != "running":
                return
            # It is one of many that were interrupted, and its turn has not come.
            await anyio.sleep(_TURN_SECONDS)


async def _disconnected(request: "Request") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
