"""A runtime with a state file that says on stdout what it has promised: ``program.py STATE full|normal [RUNS_KEPT]``.

Each line is a list in JSON, written in one piece: ``opened``; ``accepted`` or ``ended`` and a run; ``blob`` and its id;
``called`` with the run, the item, the step and the attempt; ``forgets`` before runs that have ended are forgotten.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, Literal, cast

from stepflow_sdk import StepflowContext, StepflowServer
from stepflow_sdk.flows import load_flow
from stepflow_sdk.runtime import LocalRuntime, StateOptions
from stepflow_sdk.runtime.engine import RunOptions
from stepflow_sdk.runtime.stores.options import Retention

RUNS: Final = 3
INPUTS: Final = [{"n": n, "text": text} for n, text in enumerate(("x" * 500, "y" * 20_000, ""))]
FAN: Final = [f"fan{n}" for n in range(4)]
BEFORE: Final = {"first": [], **{name: ["first"] for name in FAN}, "last": FAN}
"""The steps whose results a step is given."""
FLOW: Final[dict[str, Any]] = {
    "name": "fan out",
    "steps": [
        {
            "id": name,
            "component": "/work",
            "input": {"item": {"$input": "$.n"}, "all": [{"$step": other} for other in before]},
        }
        for name, before in BEFORE.items()
    ],
    "output": {"$step": "last"},
}
RESULT: Final = 1 + 4 * 2
"""What every item comes to."""


def tell(*words: Any) -> None:
    os.write(1, (json.dumps(words) + "\n").encode())


def make_server(tell: Callable[..., None] = lambda *_: None) -> StepflowServer[None]:
    """The components of the flow; ``tell`` hears of each call."""
    server: StepflowServer[None] = StepflowServer("power")

    @server.component
    async def work(item: int, all: list[int], ctx: StepflowContext) -> int:
        tell("called", ctx.run_id, item, ctx.step_id, ctx.attempt)
        return sum(all) + 1

    return server


async def _pieces(count: int) -> AsyncIterator[bytes]:
    for n in range(count):
        yield bytes([n]) * 100_000


async def serve(path: str, mode: str, kept: int | None) -> None:
    retention = None if kept is None else Retention(max_runs=kept)
    if retention is not None:
        tell("forgets")
    synchronous = cast("Literal['full', 'normal']", mode)
    options = StateOptions(Path(path), synchronous=synchronous, retention=retention)
    flow = load_flow(FLOW)
    async with LocalRuntime(make_server(tell), state=options) as runtime:
        tell("opened")
        engine = runtime.engine

        async def keep_blobs() -> None:
            for n in range(10):
                tell("blob", await runtime.put_blob({"number": n, "text": os.urandom(130_000).hex()}))
            tell("blob", await engine.blobs.put_bytes(_pieces(25)))

        async def run() -> None:
            await engine.store_flow(flow)
            run_id = await engine.submit(flow, INPUTS, RunOptions())
            tell("accepted", run_id)
            await engine.wait(run_id)
            tell("ended", run_id)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runtime.resume())
            tasks.create_task(keep_blobs())
            for _ in range(RUNS):
                tasks.create_task(run())


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None))
