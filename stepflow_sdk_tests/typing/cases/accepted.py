"""What a type checker must accept, and the types that it must see."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, assert_type

from stepflow_sdk import BlobId, BlockingContext, Input, PathParam, Router, StepflowContext, StepflowServer


@dataclass
class Database:
    name: str


@dataclass
class Summary:
    text: str


@asynccontextmanager
async def lifespan(server: StepflowServer[Any]) -> AsyncGenerator[Database]:
    yield Database(server.name)


server: StepflowServer[Database] = StepflowServer("typed", lifespan=lifespan)
router = Router()


@server.component
def bare(name: str, count: int = 1) -> str:
    return name * count


@server.component()
def called(name: str) -> str:
    return name


@router.component("with/path", timeout=3, max_concurrency=2)
async def with_path(name: str) -> int:
    return len(name)


@server.component("/models/{*model}")
async def context(model: PathParam[str], request: Input[list[int]], ctx: StepflowContext[Database]) -> Summary:
    assert_type(model, str)
    assert_type(request, list[int])
    assert_type(ctx.state, Database)
    blob_id = await ctx.put_blob(request)
    assert_type(blob_id, BlobId)
    assert_type(await ctx.get_blob(blob_id, type=Summary), Summary)
    assert_type(await ctx.evaluate_flow({}, None, type=Summary), Summary)
    assert_type(await ctx.evaluate_flow_by_id(blob_id, None), Any)
    return Summary("")


@server.component
def blocking(ctx: BlockingContext[Database], plain: list[str]) -> str:
    assert_type(ctx.get_blob("b", type=Summary), Summary)
    assert_type(ctx.put_blob(plain), BlobId)
    return ctx.state.name


@server.component
async def without_state(ctx: StepflowContext) -> None:
    assert_type(ctx.state, Any)


server.include(router, prefix="/more")

# The decorated functions are the plain functions, with their own types.
assert_type(bare("x", 2), str)
assert_type(called("x"), str)


async def use() -> None:
    assert_type(await with_path("x"), int)
