"""A runtime that is killed: it resumes what it finds, and starts runs until it is.

``python kill_program.py STATE LOG GENERATION RUNS``. Each line of the log is written in one piece: ``call`` with the
run, the item, the step and the attempt, ``accepted`` with a run, ``blob`` with the id of one that was stored, and
``idle`` when everything has ended.
"""

import asyncio
import json
import os
import random
import sys
import time
from typing import Any

from stepflow_sdk import StepflowContext, StepflowServer
from stepflow_sdk.flows import load_flow
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.engine import RunOptions

ITEMS = 3
"""How many inputs each run has; each is its own index, which is what the log calls an item."""
FAN = [
    {"id": "first", "component": "/work", "input": {"item": {"$input": "$"}, "sum": 0}},
    *(
        {"id": f"fan{n}", "component": "/work", "input": {"item": {"$input": "$"}, "sum": {"$step": "first"}}}
        for n in range(18)
    ),
]
LAST = {
    "id": "last",
    "component": "/join",
    "input": {"item": {"$input": "$"}, "all": [{"$step": f"fan{n}"} for n in range(18)]},
}
FLOW: dict[str, Any] = {"name": "fan out", "steps": [*FAN, LAST], "output": {"$step": "last"}}
SMALL: dict[str, Any] = {
    "name": "small",
    "steps": [
        {"id": "one", "component": "/work", "input": {"item": {"$input": "$"}, "sum": 0}},
        {"id": "two", "component": "/work", "input": {"item": {"$input": "$"}, "sum": {"$step": "one"}}},
    ],
    "output": {"$step": "two"},
}
NESTED: dict[str, Any] = {
    "name": "nested",
    "steps": [
        {"id": "evaluated", "component": "/evaluate", "input": {"item": {"$input": "$"}}},
        {
            "id": "mapped",
            "component": "/builtin/map",
            "input": {"workflow": {"$literal": SMALL}, "items": [0, 1]},
        },
    ],
    "output": [{"$step": "evaluated"}, {"$step": "mapped", "path": "$.successful"}],
}
BATCH: dict[str, Any] = {
    "name": "batch",
    "steps": [{"id": "batched", "component": "/batch", "input": {"item": {"$input": "$"}}}],
    "output": {"$step": "batched"},
}
SUBMITS: dict[str, Any] = {
    "name": "submits",
    "steps": [{"id": "submitted", "component": "/submit", "input": {"item": {"$input": "$"}}}],
    "output": {"$step": "submitted"},
}
FLOWS = [FLOW, NESTED, BATCH, SUBMITS]
EXPECTED = {"fan out": 36, "small": 2, "nested": [2, 2], "batch": [2, 2, 2], "submits": 3}
"""What each item of a flow comes to."""


def main() -> None:
    state, log, generation, runs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    descriptor = os.open(log, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

    def tell(*words: Any) -> None:
        os.write(descriptor, (json.dumps([generation, *words]) + "\n").encode())

    server: StepflowServer = StepflowServer("killed")

    @server.component
    async def work(item: int, sum: int, ctx: StepflowContext) -> int:
        tell("call", ctx.run_id, item, ctx.step_id, ctx.attempt)
        await asyncio.sleep(random.random() * 0.003)
        return sum + 1

    @server.component
    async def join(item: int, all: list[int], ctx: StepflowContext) -> int:
        tell("call", ctx.run_id, item, ctx.step_id, ctx.attempt)
        return sum(all)

    @server.component
    async def evaluate(item: int, ctx: StepflowContext) -> Any:
        tell("call", ctx.run_id, item, ctx.step_id, ctx.attempt)
        return await ctx.evaluate_flow(SMALL, 0)

    @server.component
    async def batch(item: int, ctx: StepflowContext) -> list[Any]:
        tell("call", ctx.run_id, item, ctx.step_id, ctx.attempt)
        return await ctx.evaluate_batch(SMALL, range(3))

    @server.component
    async def submit(item: int, ctx: StepflowContext) -> int:
        tell("call", ctx.run_id, item, ctx.step_id, ctx.attempt)
        tell("blob", await ctx.put_blob({"text": os.urandom(1000).hex()}))
        # A run of its own: it was accepted, whatever becomes of this step.
        tell("accepted", (await ctx.submit_run(SMALL, range(3))).run_id)
        return 3

    async def serve() -> None:
        began = time.perf_counter()
        flows = [load_flow(flow) for flow in FLOWS]
        async with LocalRuntime(server, state=state) as runtime:
            tell("opened", time.perf_counter() - began)
            for flow in flows:
                await runtime.engine.store_flow(flow)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(runtime.resume())
                for number in range(runs):
                    flow = flows[(number + generation) % len(flows)]
                    tell("accepted", await runtime.engine.submit(flow, list(range(ITEMS)), RunOptions()))
            for run in await runtime.engine.runs.unfinished(limit=10_000):
                await runtime.engine.wait(run.run_id)
            tell("idle")

    asyncio.run(serve())


if __name__ == "__main__":
    main()
