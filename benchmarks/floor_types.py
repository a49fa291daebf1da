"""The messages of the floors, and what their components do."""

import os
from typing import Any

import msgspec

INITIALIZE = b'{"jsonrpc":"2.0","id":"01a1f889-fa73-7f52-989e-000000000000","method":"initialize"'
NOTIFICATION = b'{"jsonrpc":"2.0","method":'


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


class Output(msgspec.Struct):
    output: Any


class Reply(msgspec.Struct, tag_field="jsonrpc", tag="2.0"):
    id: str
    result: Any


class Call(msgspec.Struct, tag_field="jsonrpc", tag="2.0"):
    id: str
    method: str
    params: Any


class Put(msgspec.Struct):
    data: Any
    blob_type: str = "data"


class Get(msgspec.Struct):
    blob_id: str


class Result(msgspec.Struct):
    blob_id: str = ""
    data: Any = None


class AnyInput(msgspec.Struct):
    component: str
    input: Any


class OrderInput(msgspec.Struct):
    component: str
    input: Order


class OrdersInput(msgspec.Struct):
    component: str
    input: Orders


class AnyRequest(msgspec.Struct):
    id: str
    params: AnyInput


class OrderRequest(msgspec.Struct):
    id: str
    params: OrderInput


class OrdersRequest(msgspec.Struct):
    id: str
    params: OrdersInput


class AnyMessage(msgspec.Struct):
    """A request, or the answer to a call back."""

    id: str
    params: AnyInput | None = None
    result: Result | None = None


decode_any = msgspec.json.Decoder(AnyMessage).decode


def decoder(kind: str) -> Any:
    """Decodes the requests of one kind in a single pass, envelope and input."""
    request = {"order": OrderRequest, "orders": OrdersRequest}.get(kind, AnyRequest)
    return msgspec.json.Decoder(request).decode


def run(kind: str, input: Any) -> Any:
    """What the component of that name gives."""
    if kind == "order":
        return Receipt(input.item, input.quantity * input.price)
    if kind == "orders":
        return Summary(len(input.orders))
    return input


def id_of(message: bytes) -> str:
    """The id of a request from the load client."""
    return message[len('{"jsonrpc":"2.0","id":"') :][:36].decode()


def listing() -> msgspec.Raw:
    """The encoded answer to ``components/list``."""
    schema = msgspec.json.schema(Order)
    result = msgspec.json.schema(Receipt)
    info = {
        "description": "Price an order, as one of very many components.",
        "input_schema": schema,
        "output_schema": result,
    }
    count = int(os.environ.get("BENCH_COMPONENTS", "0"))
    found = [{"component": f"/many/component_{number}", **info} for number in range(count)]
    return msgspec.Raw(msgspec.json.encode({"components": found}))
