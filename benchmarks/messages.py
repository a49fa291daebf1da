"""What the load client says: requests in the dialect of each server, encoded before anything is measured."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

ID_PREFIX = "01a1f889-fa73-7f52-989e-"
OBSERVABILITY = {
    "trace_id": "01a1f889fa737f52989e774bd987ce5b",
    "span_id": "a420172c00000008",
    "run_id": "01a1f889-fa73-7f52-989e-774bd987ce5b",
    "flow_id": "01a1f889fa737f52989e774bd987ce5b" * 2,
    "step_id": "s1",
}
BLOB_ID = "5f" * 32
BLOB: dict[str, Any] = {"a": 1, "b": "two"}


class Dialect(NamedTuple):
    """How a server is greeted.

    Attributes:
        name: ``flows`` as stepflow-py 0.7.0 knows it and our server, ``runs`` as stepflow-py 0.10.0 does, or ``mcp``.
        greeting: The params of ``initialize``.
        ready: The method of the notification after it.
    """

    name: str
    greeting: Mapping[str, Any]
    ready: str = "initialized"


FLOWS = Dialect("flows", {"runtime_protocol_version": 1})
RUNS = Dialect("runs", {"runtimeProtocolVersion": 1})
MCP = Dialect(
    "mcp",
    {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}},
    "notifications/initialized",
)


def encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode()


def request(number: int, method: str, params: Mapping[str, Any]) -> bytes:
    """A request whose id tells its number, and is a UUID as those of runtimes are."""
    return encode({"id": f"{ID_PREFIX}{number:012x}", "method": method, "params": params})


def initialize(dialect: Dialect, blob_api: str | None = None) -> bytes:
    """The first request to a server."""
    params = dict(dialect.greeting)
    if dialect is RUNS and blob_api is not None:
        params["capabilities"] = {"blobApiUrl": blob_api, "blobThreshold": 1 << 20}
    return request(0, "initialize", params)


def initialized(dialect: Dialect) -> bytes:
    """The notification that follows."""
    return encode({"method": dialect.ready, "params": {}})


def execute(dialect: Dialect, number: int, component: str, input: Mapping[str, Any]) -> bytes:
    """A call of a component, or of the tool of that name."""
    if dialect is MCP:
        return request(number, "tools/call", {"name": component, "arguments": {"data": input}})
    params = {"component": f"/{component}", "input": input, "attempt": 1, "observability": OBSERVABILITY}
    return request(number, "components/execute", params)


def listing(dialect: Dialect, number: int) -> bytes:
    """The question what there is."""
    return request(number, "tools/list" if dialect is MCP else "components/list", {})


def answer(call: Mapping[str, Any]) -> bytes:
    """What a runtime answers to a component that stores its blob, or reads it."""
    method = call["method"]
    if method == "blobs/put":
        return encode({"id": call["id"], "result": {"blob_id": BLOB_ID}})
    if method == "blobs/get":
        return encode({"id": call["id"], "result": {"data": BLOB, "blob_type": "data"}})
    return encode({"id": call["id"], "error": {"code": -32601, "message": f"no {method} here"}})
