"""A component server for the tests: served in process, and over stdio as a program."""

import asyncio
import os
import signal
import sys
from typing import Any

from stepflow_sdk.context import StepflowContext
from stepflow_sdk.errors import ComponentError, SkipStep
from stepflow_sdk.server import StepflowServer

server: StepflowServer = StepflowServer("tests")


@server.component(run_in_thread=False)
def echo(input: Any) -> Any:
    """Give back the input."""
    return input


@server.component(run_in_thread=False)
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@server.component(run_in_thread=False)
def fail(message: str = "no luck") -> None:
    """Fail."""
    raise ComponentError(message, data={"why": message})


@server.component(run_in_thread=False)
def skip(reason: str | None = None) -> None:
    """Skip."""
    raise SkipStep(reason)


@server.component
async def ids(ctx: StepflowContext) -> dict[str, Any]:
    """Tell what the component is told of its step."""
    return {"run_id": ctx.run_id, "flow_id": ctx.flow_id, "step_id": ctx.step_id, "attempt": ctx.attempt}


@server.component
async def keep(data: Any, ctx: StepflowContext) -> Any:
    """Store data as a blob and read it back."""
    blob_id = await ctx.put_blob(data)
    return {"id": blob_id, "data": await ctx.get_blob(blob_id)}


@server.component
async def nested(flow: dict[str, Any], input: Any, ctx: StepflowContext) -> Any:
    """Run a flow."""
    return await ctx.evaluate_flow(flow, input)


@server.component
async def wait_forever() -> None:
    """Never end."""
    await asyncio.Event().wait()


@server.component
async def die(code: int | None = None) -> None:
    """End the server."""
    print("these are my last words", file=sys.stderr, flush=True)
    if code is None:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(code or 0)


if __name__ == "__main__":
    server.run()
