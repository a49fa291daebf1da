"""Components for the cases of the real orchestrators; run as a program, by its path."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from stepflow_sdk import BlockingContext, ComponentError, FlowFailed, SkipStep, StepflowContext, StepflowServer

server = StepflowServer("cases", call_timeout=float(os.environ.get("CALL_TIMEOUT", "30")))


@dataclass
class Line:
    """One line of an order."""

    item: str
    quantity: Annotated[int, Meta(ge=1)]
    note: str | None = None


@dataclass
class Receipt:
    text: str
    total: int


@server.component
def echo(input: Any) -> Any:
    """Give back what came."""
    return input


@server.component
def order(lines: list[Line], customer: str = "somebody") -> Receipt:
    """Take an order.

    Args:
        lines: What is ordered.
        customer: Who orders.
    """
    if replica := os.environ.get("REPLICA"):
        with Path(f"replica-{replica}").open("a") as file:
            file.write("order\n")
    return Receipt(f"{len(lines)} lines for {customer}", sum(line.quantity for line in lines))


@server.component
async def ids(ctx: StepflowContext) -> dict[str, Any]:
    return {"run_id": ctx.run_id, "flow_id": ctx.flow_id, "step_id": ctx.step_id, "attempt": ctx.attempt}


@server.component
async def metadata(ctx: StepflowContext, step_id: str | None = None) -> dict[str, Any]:
    return await ctx.get_metadata(step_id)


@server.component
async def keep(input: Any, ctx: StepflowContext) -> dict[str, Any]:
    blob_id = await ctx.put_blob(input)
    return {"blob_id": blob_id, "data": await ctx.get_blob(blob_id)}


@server.component
def keep_blocking(input: Any, ctx: BlockingContext) -> dict[str, Any]:
    blob_id = ctx.put_blob(input)
    return {"blob_id": blob_id, "data": ctx.get_blob(blob_id)}


@server.component
async def keep_made(size: int, ctx: StepflowContext) -> int:
    """Store a text of so many bytes and read it back."""
    return len(await ctx.get_blob(await ctx.put_blob("x" * size), type=str))


@server.component
async def read(blob_id: str, ctx: StepflowContext) -> Any:
    return await ctx.get_blob(blob_id)


@server.component
async def nested(flow: dict[str, Any], input: Any, ctx: StepflowContext) -> Any:
    return await ctx.evaluate_flow(flow, input)


@server.component
def nested_blocking(flow: dict[str, Any], input: Any, ctx: BlockingContext) -> Any:
    return ctx.evaluate_flow(flow, input)


@server.component
async def nested_or_why(flow: dict[str, Any], input: Any, ctx: StepflowContext) -> Any:
    try:
        return await ctx.evaluate_flow(flow, input)
    except FlowFailed as failure:
        return {"failed": str(failure), "code": failure.code}


@server.component
async def batch(
    flow: dict[str, Any], inputs: list[Any], ctx: StepflowContext, max_concurrency: int | None = None
) -> list[Any]:
    return await ctx.evaluate_batch(flow, inputs, max_concurrency)


@server.component
async def runs(flow: dict[str, Any], inputs: list[Any], ctx: StepflowContext) -> dict[str, Any]:
    started = await ctx.submit_run(flow, inputs)
    ended = await ctx.get_run(started.run_id, wait=True, include_results=True)
    results = [None if item.result is None else item.result.unwrap() for item in ended.results or ()]
    return {"same": started.run_id == ended.run_id, "status": ended.status, "results": results}


_barriers: dict[str, threading.Barrier] = {}
_barriers_lock = threading.Lock()


@server.component
def meet(name: str, parties: int, marker: str | None = None) -> bool:
    """Wait until so many calls are here at once; blocks its thread. The marker is a file that says one is here."""
    if marker is not None:
        Path(marker).touch()
    with _barriers_lock:
        barrier = _barriers.setdefault(name, threading.Barrier(parties, timeout=45))
    barrier.wait()
    return True


@server.component
def big(size: int) -> str:
    return "x" * size


@server.component
def length(text: str) -> int:
    return len(text)


@server.component
def shout() -> str:
    """Write everywhere."""
    print("to stdout: é", flush=True)
    print("to stderr: é", file=sys.stderr, flush=True)
    os.write(1, "to the descriptor: é\n".encode())
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    return "said"


@server.component
def shout_bytes() -> str:
    """Write what is no text to both outputs."""
    os.write(1, b"\xff\xfe no text\n")
    os.write(2, b"no text \xff\xfe\n")
    return "said"


@server.component
def fail(message: str) -> Any:
    raise ValueError(message)


@server.component
def refuse(message: str, name: str, retryable: bool = False, until: int = 1_000_000) -> int:
    """Fail until the call number ``until``; calls are counted in a file, because the process may not live on."""
    file = Path(f"tally-{name}")
    with file.open("a") as tally:
        tally.write(".")
    count = len(file.read_text())
    if count < until:
        raise ComponentError(message, data={"why": message}, retryable=retryable)
    return count


@server.component
def skip(reason: str) -> Any:
    raise SkipStep(reason)


@server.component
def rubbish() -> Any:
    return object()


@server.component
def leave(code: int) -> Any:
    sys.exit(code)


@server.component
def end_once(name: str, ctx: BlockingContext) -> dict[str, Any]:
    """Tell the server to end in the middle of the step, and answer at the next attempt."""
    marker = Path(f"ended-{name}")
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait()
    return {"attempt": ctx.attempt}


@server.component
def crash_once(name: str, ctx: BlockingContext) -> dict[str, Any]:
    """End the process at once, in the middle of the call, the first time."""
    marker = Path(f"crashed-{name}")
    if not marker.exists():
        marker.touch()
        os._exit(9)
    return {"attempt": ctx.attempt}


@server.component
def pid() -> int:
    return os.getpid()


if __name__ == "__main__":
    server.run()
