"""A shop's stock: a web application with an API of its own, and Stepflow components mounted beside it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, HTTPException
from msgspec import Struct

from stepflow_sdk import ComponentError, StepflowContext, StepflowServer

FILE = Path("output/stock.json")
AT_FIRST = {"bolt": 120, "nail": 500, "washer": 8}


class Stock:
    """How many there are of each article; kept in a file while nobody serves it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.counts: dict[str, int] = json.loads(file.read_text("utf-8")) if file.exists() else dict(AT_FIRST)

    def save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(self.counts), "utf-8")


@asynccontextmanager
async def open_stock(_: StepflowServer[Stock]) -> AsyncIterator[Stock]:
    """Read the stock when the server begins, and write it when it stops."""
    stock = Stock(FILE)
    try:
        yield stock
    finally:
        stock.save()


server = StepflowServer("stock", lifespan=open_stock)


class Reservation(Struct):
    article: str
    count: int
    left: int


@server.component
async def reserve(article: str, count: int, ctx: StepflowContext[Stock]) -> Reservation:
    """Take articles out of the stock.

    Args:
        article: What is wanted.
        count: How many.
    """
    there = ctx.state.counts.get(article, 0)
    if there < count:
        raise ComponentError(f"there are {there} of {article}, not {count}", data={"article": article, "left": there})
    ctx.state.counts[article] = there - count
    return Reservation(article, count, there - count)


@server.component
async def reorder(article: str, ctx: StepflowContext[Stock]) -> str:
    """Say whether an article has to be ordered again."""
    left = ctx.state.counts.get(article, 0)
    return f"order {article}" if left < 10 else f"enough of {article}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # Mounted applications are not told when the outer one starts and stops.
    async with server.service() as service:
        app.state.stock = service.state
        yield


app = FastAPI(title="Stock", lifespan=lifespan)
app.mount("/stepflow", server)


@app.get("/stock/{article}")
async def left(article: str) -> dict[str, int]:
    stock: Stock = app.state.stock
    if article not in stock.counts:
        raise HTTPException(404, f"there is no {article}")
    return {"left": stock.counts[article]}
