"""Components whose ends depend on their input alone, for flows that two runtimes run; run as a program, by its path."""

import os
from typing import Annotated, Any, Literal

from msgspec import Meta

from stepflow_sdk import (
    BlockingContext,
    ComponentError,
    FlowFailed,
    InvalidValue,
    ResourceUnavailable,
    SkipStep,
    StepflowContext,
    StepflowServer,
)

server = StepflowServer("differential")


@server.component
def echo(input: Any) -> Any:
    return input


@server.component
def typed(count: Annotated[int, Meta(ge=0)], name: str = "nobody") -> dict[str, Any]:
    return {"name": name, "count": count}


@server.component
def fail(kind: Literal["error", "retryable", "exception", "value", "resource", "skip", "rubbish"]) -> Any:
    match kind:
        case "error":
            raise ComponentError("refused", data={"why": [1, 1.0, None]})
        case "retryable":
            raise ComponentError("refused for now", retryable=True)
        case "exception":
            raise RuntimeError("it broke")
        case "value":
            raise InvalidValue("not this value", data={"field": "kind"})
        case "resource":
            raise ResourceUnavailable("no room")
        case "skip":
            raise SkipStep("not today")
        case "rubbish":
            return object()


@server.component
def patient(attempts: int, ctx: BlockingContext) -> int:
    """Fail until it is called for this time."""
    if ctx.attempt < attempts:
        raise ComponentError(f"attempt {ctx.attempt}", retryable=True)
    return ctx.attempt


@server.component
async def keep(input: Any, ctx: StepflowContext) -> Any:
    blob_id = await ctx.put_blob(input)
    return [blob_id, await ctx.get_blob(blob_id)]


@server.component
async def nested(flow: dict[str, Any], input: Any, ctx: StepflowContext) -> Any:
    return await ctx.evaluate_flow(flow, input)


@server.component
async def nested_or_why(flow: dict[str, Any], input: Any, ctx: StepflowContext) -> Any:
    try:
        return {"value": await ctx.evaluate_flow(flow, input)}
    except FlowFailed as failure:
        return {"code": failure.code, "message": str(failure)}


@server.component
async def batch(flow: dict[str, Any], inputs: list[Any], ctx: StepflowContext) -> list[Any]:
    return await ctx.evaluate_batch(flow, inputs, 2)


@server.component
def pid() -> int:
    return os.getpid()


@server.component
def variable(name: str) -> str | None:
    return os.environ.get(name)


if __name__ == "__main__":
    server.run()
