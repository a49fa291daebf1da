"""Components that take and give what is long: structs and binary blobs."""

import msgspec

from stepflow_sdk import Input, StepflowContext, StepflowServer

server = StepflowServer("bench")


class Item(msgspec.Struct):
    id: int
    name: str
    value: float
    active: bool


@server.component
async def count(items: Input[list[Item]]) -> int:
    return len(items)


@server.component
async def echo(items: Input[list[Item]]) -> list[Item]:
    return items


@server.component
async def small(a: int, b: str) -> dict[str, int]:
    return {b: a}


@server.component
async def copy(blob_id: str, ctx: StepflowContext) -> str:
    data = await ctx.get_blob(blob_id, type=bytes)
    return await ctx.put_blob(data, "binary")


if __name__ == "__main__":
    server.run()
