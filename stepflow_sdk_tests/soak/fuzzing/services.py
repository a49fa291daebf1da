"""Requests to a server and to the REST API of a runtime, as any ASGI server would hand them over."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from stepflow_sdk import StepflowServer
from stepflow_sdk.flows import parse_flow
from stepflow_sdk.runtime import LocalRuntime
from stepflow_sdk.runtime.engine import RunOptions
from stepflow_sdk.runtime.service import EventHub, RuntimeService
from stepflow_sdk.transports.http import HttpPolicy
from stepflow_sdk_tests.malformed.documents import FLOW
from stepflow_sdk_tests.soak.fuzzing.target import Target, hold

__all__ = ["SERVICES"]

_RENEWED = 2000
"""A runtime keeps the runs, flows and blobs that it is given, so after so many requests comes another one."""

_GIVEN = {b"host": b"localhost", b"content-type": b"application/json", b"accept": b"*/*"}
_REFUSALS = {-32700, -32600, -32601, -32602, -32000, -32001, -32002, -32003, -32004, -32005}


@dataclass
class Whole:
    """Has a field of each kind."""

    count: Annotated[int, Meta(ge=0, le=10)]
    ratio: float
    name: Annotated[str, Meta(max_length=5, pattern="^a")] = "a"
    kind: Literal["x", "y", 3] = "x"
    when: datetime | None = None
    long: timedelta | int | None = None
    id: UUID | None = None
    exact: Decimal | None = None
    content: bytes = b""
    inner: "list[Whole] | dict[int, Whole] | None" = None
    pair: tuple[int, str] | None = None
    names: frozenset[str] = frozenset()


_components: StepflowServer[None] = StepflowServer("fuzzed")


@_components.component
async def whole(input: Whole) -> Whole:
    return input


@_components.component
async def echo(input: Any) -> Any:
    return input


class _Asked:
    """The applications, on a loop that waits for the next request in between."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._asked = 0
        self._service: RuntimeService | None = None
        self._over = asyncio.Event()
        self._served: asyncio.Task[None] | None = None
        self._run_id = ""

    def server(self, method: str, target: str, headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, bytes]:
        """Send a request to the component server."""
        return self._loop.run_until_complete(_request(_components, method, target, headers, body))

    def rest(self, method: str, target: str, headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, bytes]:
        """Send a request to the REST API."""
        return self._loop.run_until_complete(self._rest(method, target, headers, body))

    async def _rest(self, method: str, target: str, headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, bytes]:
        if self._asked % _RENEWED == 0:
            if self._served is not None:
                self._over.set()
                await self._served
            ready = asyncio.Event()
            self._served = asyncio.create_task(self._serve(ready))
            await ready.wait()
        self._asked += 1
        return await _request(self._service, method, target.replace(_RUN, self._run_id), headers, body)

    async def _serve(self, ready: asyncio.Event) -> None:
        # A task of its own, for each request comes in another one.
        self._over.clear()
        hub = EventHub()
        async with LocalRuntime(_components, on_event=hub) as runtime:
            await runtime.engine.store_flow(_STORED)
            self._run_id = await runtime.engine.submit(_STORED, [1, 2], RunOptions())
            await runtime.engine.wait(self._run_id)
            self._service = RuntimeService(runtime, hub, HttpPolicy())
            ready.set()
            await self._over.wait()
            self._service.stop()


_RUN = "00000000-0000-4000-8000-000000000000"
"""Stands for the id of a run that is there."""

_STORED = parse_flow({"output": {"$input": "$"}})
_asked = _Asked()


async def _request(
    app: Any, method: str, target: str, headers: Mapping[bytes, bytes], body: bytes
) -> tuple[int, bytes]:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "root_path": "",
        "query_string": query.encode("utf-8", "surrogatepass"),
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "headers": list({**_GIVEN, **headers}.items()),
    }
    unread = [{"type": "http.disconnect"}, {"type": "http.request", "body": body}]
    status = 0
    sent = bytearray()

    async def receive() -> Any:
        # The client goes away when all is read, so that nothing waits for what never comes.
        return unread.pop() if len(unread) > 1 else unread[0]

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            sent.extend(message.get("body", b""))

    await app(scope, receive, send)
    return status, bytes(sent)


def _read(data: bytes) -> tuple[str, str, dict[bytes, bytes], bytes]:
    """``METHOD TARGET``, lines of headers, an empty line, and the body."""
    head, _, body = data.partition(b"\n\n")
    first, *rest = head.split(b"\n")
    method, _, target = first.decode("utf-8", "replace").partition(" ")
    headers = [line.partition(b":") for line in rest[:10]]
    named = {name.strip().lower(): value.strip() for name, _, value in headers if name.strip()}
    return method.upper()[:10], f"/{target.lstrip('/')}", named, body


def server(data: bytes) -> None:
    """Any request over HTTP is answered with a status, and a body that is JSON or an event stream."""
    status, _ = _asked.server(*_read(data))
    hold(status == 0 or 200 <= status < 500 or status == 503, f"the status {status}")


def rest(data: bytes) -> None:
    """The service never says that it failed: any request is answered or refused."""
    method, target, headers, body = _read(data)
    status, answer = _asked.rest(method, target, headers, body)
    hold(status == 0 or 200 <= status < 500 or status == 503, f"the status {status}: {answer[:300]!r}")
    if status >= 400 and method != "HEAD" and target.startswith("/api/"):
        hold(json.loads(answer)["code"] == status, "another code than the status")


def inputs(data: bytes) -> None:
    """An input is taken or refused with its paths, under the id of its request; what is taken is JSON again."""
    body = b'{"jsonrpc":"2.0","id":7,"method":"components/execute","params":{"component":"/whole","attempt":1,'
    body += b'"observability":{},"input":' + data + b"}}"
    status, answer = _asked.server("POST", "/", {}, body)
    hold(status in (200, 400), f"the status {status}")
    if status == 200:
        reply = json.loads(answer)
        hold(reply["id"] == 7 or (reply["id"] is None and "error" in reply), "another id")
        hold("result" in reply or reply["error"]["code"] in _REFUSALS, f"an error that is no refusal: {answer[:300]!r}")


_EXECUTE = (
    b'{"jsonrpc":"2.0","id":1,"method":"components/execute","params":{"component":"/echo","input":{"a":1},'
    b'"attempt":1,"observability":{"run_id":"r"}}}'
)
_WHOLE = {
    "count": 1,
    "ratio": 0.5,
    "name": "ab",
    "kind": 3,
    "when": "2024-05-31T12:00:00Z",
    "long": "P1DT1H30M",
    "id": "123e4567-e89b-12d3-a456-426614174000",
    "exact": "1.50",
    "content": "aGVsbG8=",
    "inner": [{"count": 0, "ratio": 1, "inner": {"12": {"count": 10, "ratio": -1e300}}}],
    "pair": [1, "b"],
    "names": ["a", "b"],
}
_ID = _STORED.id.encode()

SERVICES: Mapping[str, Target] = {
    "inputs": Target(inputs, json.dumps(_WHOLE).encode(), b'{"count":1,"ratio":2,"long":5,"kind":"y","x":null}'),
    "server": Target(
        server,
        b"POST /\n\n" + _EXECUTE,
        b"POST /\nhost: a\ncontent-type: text/plain\n\n{}",
        b'POST /\n\n{"jsonrpc":"2.0","id":"i","method":"initialize","params":{"runtime_protocol_version":1}}',
        b'POST /session/x\naccept: application/json\n\n{"jsonrpc":"2.0","id":1,"method":"components/list","params":{}}',
        b"GET /health\naccept: */*\n\n",
    ),
    "rest": Target(
        rest,
        b"POST /api/v1/flows\n\n" + json.dumps({"flow": FLOW, "dryRun": True}).encode(),
        b'POST /api/v1/flows\n\n{"flow":{"output":{"$input":"$"}}}',
        b'POST /api/v1/runs\n\n{"flowId":"%s","input":[1],"wait":true,"timeoutSecs":1,"overrides":{}}' % _ID,
        b"GET /api/v1/flows/%s/variables\n\n" % _ID,
        b'POST /api/v1/blobs\n\n{"data":"aGVsbG8=","blobType":"binary","filename":"f"}',
        b"POST /api/v1/blobs\ncontent-type: application/octet-stream\n\n\x00\xff",
        b"GET /api/v1/runs?status=running&limit=5&offset=0&rootsOnly=true&rootRunId=%s\n\n" % _RUN.encode(),
        b"GET /api/v1/runs/%s/events\nlast-event-id: 3cdd602a-1\n\n" % _RUN.encode(),
        b"GET /api/v1/runs/%s/events\n\n" % _RUN.encode(),
        b"GET /api/v1/runs/%s?wait=true&timeoutSecs=1\n\n" % _RUN.encode(),
        b"GET /api/v1/runs/%s/items\n\n" % _RUN.encode(),
        b"POST /api/v1/runs/%s/cancel\n\n" % _RUN.encode(),
        b"GET /api/v1/runs/%s/steps?itemIndex=1\n\n" % _RUN.encode(),
        b"GET /api/v1/blobs/%s\naccept: application/octet-stream, */*;q=0.1\n\n" % _ID,
        b"GET /api/v1/components?includeSchemas=false\n\n",
    ),
}
