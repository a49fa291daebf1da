"""Components of every shape, for MCP clients: ``--mcp`` on the command line."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from stepflow_sdk import BlockingContext, ComponentError, Input, PathParam, StepflowContext, StepflowServer

entered = {"count": 0}


@asynccontextmanager
async def lifespan(server: StepflowServer[Any]) -> AsyncGenerator[int, None]:
    entered["count"] += 1
    try:
        yield entered["count"]
    finally:
        if told := os.environ.get("TOLD"):
            Path(told).write_text("left", "utf-8")  # noqa: ASYNC240  (the server ends: nothing else is to be done)


server = StepflowServer("shapes", lifespan=lifespan)


@dataclass
class Tree:
    name: str
    children: list["Tree"]


@dataclass
class Circle:
    radius: float


@server.component
def greet(name: str, punctuation: str = "!") -> str:
    """Say hello.

    Args:
        name: Who to greet.
    """
    return f"Hello, {name}{punctuation}"


@server.component("tree/grow")
def grow(tree: Tree) -> Tree:
    return Tree(tree.name, [*tree.children, Tree("new", [])])


@server.component
def total(numbers: Input[list[int]]) -> int:
    return sum(numbers)


@server.component
def positive(number: Input[Annotated[int, msgspec.Meta(gt=0)]]) -> None:
    """Take a positive number."""


@server.component
def draw(shape: Input[Circle | None]) -> str:
    return repr(shape)


@server.component
def anything(value: Any) -> Any:
    return value


@server.component
def nothing() -> None:
    pass


@server.component("shout/{word}")
def shout(word: PathParam[str], times: int = 1) -> str:
    return word.upper() * times


@server.component("shout/quietly")
def quietly() -> str:
    return "…"


@server.component("files/{volume}/{*path}")
def read_file(volume: PathParam[int], path: PathParam[str], numbers: Input[list[int]]) -> list[Any]:
    return [volume, path, numbers]


@server.component("grüße.v2/a b")
def odd_name() -> str:
    return "odd"


@server.component
async def state(ctx: StepflowContext[int]) -> dict[str, Any]:
    return {"state": ctx.state, "run": ctx.run_id, "attempt": ctx.attempt}


@server.component
async def store(value: Any, ctx: StepflowContext) -> str:
    return await ctx.put_blob(value)


@server.component
def load(blob_id: str, ctx: BlockingContext) -> Any:
    return ctx.get_blob(blob_id)


@server.component
async def keep_bytes(size: int, ctx: StepflowContext) -> int:
    blob_id = await ctx.put_blob(bytes(range(256)) * size, "binary")
    return len(await ctx.get_blob(blob_id, type=bytes))


@server.component
async def nested(ctx: StepflowContext) -> Any:
    return await ctx.evaluate_flow({"steps": [], "output": 1}, {})


@server.component("meet/all")
async def meet(count: int) -> int:
    """Return when so many calls are here at once."""
    meeting["here"] += 1
    if meeting["here"] == count:
        everybody.set()
    await everybody.wait()
    return count


@server.component
async def apologize() -> None:
    raise ComponentError("not today", data={"until": "tomorrow"}, retryable=True)


meeting = {"here": 0}
everybody = asyncio.Event()


if __name__ == "__main__":
    server.run()
