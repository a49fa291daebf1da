"""The components of the benchmark, written with stepflow-py 0.10.0, for the environment of that package."""

import asyncio
import os
import time
from typing import Any

import msgspec
from stepflow_py.worker import StepflowContext, StepflowServer  # type: ignore[import-not-found]  # in its own environment

server = StepflowServer()


class Order(msgspec.Struct):
    item: str
    quantity: int
    price: float
    tags: list[str]


class Receipt(msgspec.Struct):
    item: str
    total: float


class Orders(msgspec.Struct):
    orders: list[Order]


class Summary(msgspec.Struct):
    count: int


@server.component
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


@server.component
def thread(data: dict[str, Any]) -> dict[str, Any]:
    return data


@server.component
async def context(data: dict[str, Any], context: StepflowContext) -> Any:
    return await context.get_blob(await context.put_blob(data))


@server.component
async def order(order: Order) -> Receipt:
    return Receipt(order.item, order.quantity * order.price)


@server.component
async def orders(orders: Orders) -> Summary:
    return Summary(len(orders.orders))


@server.component
async def sleep(data: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.1)
    return data


@server.component
def block(data: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.2)
    return data


for number in range(int(os.environ.get("BENCH_COMPONENTS", "0"))):

    @server.component(name=f"many/component_{number}")
    async def one_of_many(order: Order) -> Receipt:
        """Price an order, as one of very many components."""
        return Receipt(order.item, order.quantity * order.price)


if __name__ == "__main__":
    asyncio.run(server.run())
