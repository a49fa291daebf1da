"""An ASGI application, called as a server would call it."""

import json
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from stepflow_sdk_tests.e2e.web import HEADERS, execution


class Answer:
    """What an application sent."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def request(
    app: Any,
    path: str = "/",
    body: Any = None,
    *,
    method: str = "POST",
    root_path: str = "",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request to an application."""
    sent = {"host": "localhost", **HEADERS, **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": root_path,
        "query_string": b"",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
    }
    answer = Answer()
    unsent = [{"type": "http.request", "body": b"" if body is None else json.dumps(body).encode()}]

    async def receive() -> Any:
        if not unsent:
            await anyio.sleep_forever()
        return unsent.pop()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer


async def execute(app: Any, component: str, input: Any = None, path: str = "/", **options: Any) -> Any:
    """Execute a component and return the JSON-RPC answer."""
    return (await request(app, path, execution(component, input), **options)).json


@asynccontextmanager
async def lifespan_of(app: Any) -> Any:
    """Run an application's lifespan; yields the messages that it sent."""
    to_app, from_server = anyio.create_memory_object_stream[Any](2)
    to_test, from_app = anyio.create_memory_object_stream[Any](4)
    async with anyio.create_task_group() as tasks, to_app, from_server, from_app:

        async def run() -> None:
            scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
            async with to_test:
                await app(scope, from_server.receive, to_test.send)

        tasks.start_soon(run)
        await to_app.send({"type": "lifespan.startup"})
        yield await from_app.receive()
        await to_app.send({"type": "lifespan.shutdown"})
        with anyio.move_on_after(60):
            async for _ in from_app:
                pass
