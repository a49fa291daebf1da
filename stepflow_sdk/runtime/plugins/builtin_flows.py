"""The builtin components that run nested flows."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from stepflow_sdk.errors import InvalidFlow, InvalidInput, RemoteError, SkipStep
from stepflow_sdk.flows import Flow, parse_flow
from stepflow_sdk.flows.values import is_object
from stepflow_sdk.protocol import (
    FlowResult,
    FlowResultFailed,
    FlowResultSkipped,
    FlowResultSuccess,
    ObservabilityContext,
)
from stepflow_sdk.runtime.plugins.plugin import Host

_BAD_REQUEST = -32103


class Eval(Struct):
    """Input of ``/eval``."""

    flow_id: str
    input: Any


class Evaluated(Struct):
    """Output of ``/eval``; ``run_id`` is that of the run that this step belongs to."""

    result: Any
    run_id: str | None


async def evaluate(host: Host, input: Eval, ids: ObservabilityContext) -> Evaluated:
    """Run a stored flow; that it fails is a result like any other."""
    flow = await host.flows.flow(input.flow_id)
    (result,) = await host.flows.run_nested(flow, [input.input], parent_run_id=ids.run_id)
    return Evaluated(_json_of(result), ids.run_id)


class Map(Struct):
    """Input of ``/map``; the flow stands in a ``$literal``, or its expressions are evaluated outside."""

    workflow: Any
    items: list[Any]
    max_concurrency: Annotated[int, Meta(ge=1)] | None = None


class Mapped(Struct):
    """Output of ``/map``: the outcomes in the order of the items, and how many were of which kind.

    A skipped one, of a flow of 0.7 or 0.8, is neither.
    """

    results: list[Any]
    successful: int
    failed: int


async def map_flow(host: Host, input: Map, ids: ObservabilityContext) -> Mapped:
    """Run a flow on each item of a list."""
    flow = _flow(input.workflow, "workflow")
    limit = input.max_concurrency
    results = await host.flows.run_nested(flow, input.items, parent_run_id=ids.run_id, max_concurrency=limit)
    successful = sum(isinstance(result, FlowResultSuccess) for result in results)
    failed = sum(isinstance(result, FlowResultFailed) for result in results)
    return Mapped([_json_of(result) for result in results], successful, failed)


class Iterate(Struct):
    """Input of ``/iterate``."""

    flow: Any
    initial_input: Any
    max_iterations: Annotated[int, Meta(ge=0)] = 1000


class Iterated(Struct):
    """Output of ``/iterate``; at the limit ``terminated`` is true and ``result`` the input of the next round."""

    result: Any
    iterations: int
    terminated: bool


async def iterate(host: Host, input: Iterate, ids: ObservabilityContext) -> Iterated:
    """Run a flow again and again: ``{"next": input}`` asks for another round, ``{"result": value}`` ends it."""
    flow = _flow(input.flow, "flow")
    value = input.initial_input
    for done in range(1, input.max_iterations + 1):
        (outcome,) = await host.flows.run_nested(flow, [value], parent_run_id=ids.run_id)
        output = _output(outcome)
        if "result" in output:
            return Iterated(output["result"], done, terminated=False)
        if "next" not in output:
            raise RemoteError("Workflow result must contain either 'result' or 'next' field", code=_BAD_REQUEST)
        value = output["next"]
    return Iterated(value, input.max_iterations, terminated=True)


def _output(outcome: FlowResult) -> dict[str, Any]:
    if isinstance(outcome, FlowResultFailed):
        error = outcome.error
        raise RemoteError(error.message, code=error.code, data=error.data)
    if isinstance(outcome, FlowResultSkipped):
        raise SkipStep(outcome.reason)
    value = outcome.result
    return value if is_object(value) else {}


def _flow(document: Any, field: str) -> Flow:
    try:
        return parse_flow(document)
    except InvalidFlow as error:
        problem = {"path": f"$.{field}", "message": str(error)}
        raise InvalidInput(f"$.{field} is no flow: {error}", data={"problems": [problem]}) from None


def _json_of(result: FlowResult) -> dict[str, Any]:
    match result:
        case FlowResultSuccess():
            return {"outcome": "success", "result": result.result}
        case FlowResultSkipped():
            reason = {} if result.reason is None else {"reason": result.reason}
            return {"outcome": "skipped", **reason}
        case FlowResultFailed():
            error: dict[str, Any] = {"code": result.error.code, "message": result.error.message}
            if result.error.data is not None:
                error["data"] = result.error.data
            return {"outcome": "failed", "error": error}
