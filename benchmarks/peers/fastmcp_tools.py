"""The tools of the benchmark, written with fastmcp, for the environment of that package."""

import asyncio
import os
from typing import Any

from fastmcp import FastMCP
from pydantic import BaseModel

server = FastMCP("bench")


class Order(BaseModel):
    item: str
    quantity: int
    price: float
    tags: list[str]


class Receipt(BaseModel):
    item: str
    total: float


class Orders(BaseModel):
    orders: list[Order]


class Summary(BaseModel):
    count: int


@server.tool()
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


@server.tool()
async def order(data: Order) -> Receipt:
    return Receipt(item=data.item, total=data.quantity * data.price)


@server.tool()
async def orders(data: Orders) -> Summary:
    return Summary(count=len(data.orders))


@server.tool()
async def sleep(data: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.1)
    return data


for number in range(int(os.environ.get("BENCH_COMPONENTS", "0"))):

    @server.tool(name=f"component_{number}")
    async def one_of_many(data: Order) -> Receipt:
        """Price an order, as one of very many tools."""
        return Receipt(item=data.item, total=data.quantity * data.price)


if __name__ == "__main__":
    server.run("stdio", show_banner=False)
