"""Components written with stepflow-py 0.7.0; run by the interpreter of its own environment, never imported.

Without arguments it serves stdio, with ``--http`` HTTP.
"""

import asyncio
import json
import os
import socket
import sys
from typing import Any

import msgspec
from stepflow_py import (  # type: ignore[import-not-found]  # lives in an environment of its own
    FlowBuilder,
    SkipStep,
    StepflowContext,
    StepflowServer,
    Value,
)
from stepflow_py.exceptions import StepflowSkipped  # type: ignore[import-not-found]  # as above
from stepflow_py.generated_flow import OnErrorDefault, OnSkipDefault  # type: ignore[import-not-found]  # as above

server = StepflowServer()


class Order(msgspec.Struct):
    item: str
    quantity: int
    note: str | None = None


class Receipt(msgspec.Struct):
    text: str
    total: int


class Anything(msgspec.Struct):
    value: Any


class Text(msgspec.Struct):
    text: str


class Nested(msgspec.Struct):
    flow: dict[str, Any]
    input: Any


class Batch(msgspec.Struct):
    flow: dict[str, Any]
    inputs: list[Any]
    max_concurrency: int | None = None


class Wanted(msgspec.Struct):
    blob_id: str


class OneStep(msgspec.Struct):
    step_id: str | None = None


@server.component
def order(input: Order) -> Receipt:
    """Take an order."""
    return Receipt(f"{input.quantity} x {input.item}", input.quantity * 7)


@server.component(name="echo", description="Give back what came.")
def echo(input: Anything) -> Any:
    return input.value


@server.component
async def keep(input: Anything, context: StepflowContext) -> dict[str, Any]:
    """Store a value twice and read it back."""
    blob_id = await context.put_blob(input.value)
    again = await context.put_blob(input.value)
    return {"blob_id": blob_id, "same": blob_id == again, "data": await context.get_blob(blob_id)}


@server.component
async def read(input: Wanted, context: StepflowContext) -> Any:
    return await context.get_blob(input.blob_id)


@server.component
async def nested(input: Nested, context: StepflowContext) -> Any:
    return await context.evaluate_flow(input.flow, input.input)


@server.component
async def old_language(input: Anything, context: StepflowContext) -> Any:
    """Run a flow built with this version's own builder, in the flow language of this version."""
    builder = FlowBuilder(name="old")
    builder.add_step(
        id="one",
        component="/echo",
        input_data={"value": {"inner": Value.input.add_path("value")}},
        skip_if=Value.input.add_path("skip"),
    )
    builder.add_step(
        id="two",
        component="/fail",
        input_data={"text": "no luck"},
        on_error=OnErrorDefault(action="useDefault", defaultValue=Value.input().to_value_template()),
    )
    default = OnSkipDefault(action="useDefault", defaultValue=[1])
    outputs = {
        "spread": Value.step("one"),
        "default": [Value.step("one", "$.inner", default), Value.step("two"), Value.literal({"$from": 1})],
    }
    builder.set_output(outputs[input.value["output"]])
    try:
        return {"outcome": await context.evaluate_flow(builder.build(), input.value)}
    except StepflowSkipped:
        return {"outcome": "skipped"}


@server.component
async def batch(input: Batch, context: StepflowContext) -> Any:
    return await context.evaluate_batch(input.flow, input.inputs, input.max_concurrency)


@server.component
async def batch_details(input: Batch, context: StepflowContext) -> Any:
    batch_id = await context.submit_batch(input.flow, input.inputs, input.max_concurrency)
    early, none = await context.get_batch(batch_id)
    late, outputs = await context.get_batch(batch_id, wait=True, include_results=True)
    return {"batch_id": batch_id, "early": early, "none": none, "late": late, "outputs": outputs}


@server.component
async def metadata(input: OneStep, context: StepflowContext) -> Any:
    return await context.get_metadata(input.step_id)


@server.component
async def ids(input: Anything, context: StepflowContext) -> dict[str, Any]:
    return {
        "run_id": context.run_id,
        "flow_id": context.flow_id,
        "step_id": context.step_id,
        "attempt": context.attempt,
    }


@server.component
def fail(input: Text) -> Any:
    raise ValueError(input.text)


@server.component
def skip(input: Text) -> Any:
    raise SkipStep(input.text)


@server.component
def die(input: Anything) -> Any:
    os._exit(input.value)


def serve_http() -> None:
    """Serve HTTP on a free port and announce it, which this version does not do itself."""
    import uvicorn

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(json.dumps({"port": self.servers[0].sockets[0].getsockname()[1]}), flush=True)

    uvicorn.Server = Announcing  # type: ignore[misc]  # where the peer looks it up
    asyncio.run(server.start_http(host="127.0.0.1", port=0))


if __name__ == "__main__":
    if "--http" in sys.argv:
        serve_http()
    else:
        server.start_stdio()
