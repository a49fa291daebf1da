"""Components written with stepflow-py 0.10.0; run by the interpreter of its own environment, never imported.

It serves HTTP on a free port, which it announces.
"""

import asyncio
import os
from typing import Any

import msgspec
from stepflow_py.worker import (  # type: ignore[import-not-found]  # lives in an environment of its own
    StepflowContext,
    StepflowServer,
)

server = StepflowServer()


class Order(msgspec.Struct):
    item: str
    quantity: int


class Receipt(msgspec.Struct):
    text: str
    total: int


class Anything(msgspec.Struct):
    value: Any


class Text(msgspec.Struct):
    text: str


class ById(msgspec.Struct):
    flow_id: str
    input: Any


class Many(msgspec.Struct):
    flow_id: str
    inputs: list[Any]
    max_concurrency: int | None = None


class Nested(msgspec.Struct):
    flow: dict[str, Any]
    input: Any


@server.component
def order(input: Order) -> Receipt:
    """Take an order."""
    return Receipt(f"{input.quantity} x {input.item}", input.quantity * 7)


@server.component
def echo(input: Anything) -> Any:
    return input.value


@server.component
async def ids(input: Anything, context: StepflowContext) -> dict[str, Any]:
    return {
        "run_id": context.run_id,
        "flow_id": context.flow_id,
        "step_id": context.step_id,
        "attempt": context.attempt,
    }


@server.component
async def by_id(input: ById, context: StepflowContext) -> Any:
    return await context.evaluate_flow_by_id(input.flow_id, input.input)


@server.component
async def many(input: Many, context: StepflowContext) -> Any:
    return await context.evaluate_run_by_id(input.flow_id, input.inputs, input.max_concurrency)


@server.component
async def run_details(input: Many, context: StepflowContext) -> Any:
    started = await context.submit_run_by_id(input.flow_id, input.inputs)
    ended = await context.get_run(started.runId, wait=True, include_results=True)
    return {"started": started, "ended": ended}


@server.component
async def keep(input: Anything, context: StepflowContext) -> Any:
    blob_id = await context.put_blob(input.value)
    return {"blob_id": blob_id, "data": await context.get_blob(blob_id)}


@server.component
async def nested(input: Nested, context: StepflowContext) -> Any:
    flow_id = await context.put_blob(input.flow, "flow")
    return await context.evaluate_flow_by_id(flow_id, input.input)


@server.component
def fail(input: Text) -> Any:
    raise ValueError(input.text)


@server.component
def die(input: Anything) -> Any:
    os._exit(input.value)


if __name__ == "__main__":
    asyncio.run(server.run())
