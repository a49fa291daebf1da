"""The server object as an ASGI application: alone, mounted, and under several servers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from stepflow_sdk import StepflowContext, StepflowServer
from stepflow_sdk.transports.http import HttpPolicy
from stepflow_sdk_tests.asgi.client import execute, lifespan_of, request
from stepflow_sdk_tests.e2e.wire import PATIENCE


def greeter(word: str = "Hello", **options: Any) -> StepflowServer[Any]:
    server: StepflowServer[Any] = StepflowServer("greeter", **options)

    @server.component
    def greet(name: str) -> str:
        return f"{word}, {name}!"

    @server.component
    async def state(ctx: StepflowContext) -> Any:
        return ctx.state

    return server


def starlette(prefix: str, server: Any) -> Any:
    return Starlette(routes=[Mount(prefix, server)])


def fastapi(prefix: str, server: Any) -> Any:
    app = FastAPI()
    app.mount(prefix, server)
    return app


FRAMEWORKS = pytest.mark.parametrize("mount", [starlette, fastapi])


async def test_the_server_is_an_application_that_needs_no_wiring() -> None:
    answer = await execute(greeter(), "/greet", {"name": "you"})
    assert answer == {"jsonrpc": "2.0", "id": 1, "result": {"output": "Hello, you!"}}


@FRAMEWORKS
async def test_it_is_mounted_under_a_prefix(mount: Callable[[str, Any], Any]) -> None:
    app = mount("/stepflow", greeter())
    assert (await execute(app, "/greet", {"name": "you"}, "/stepflow/"))["result"]["output"] == "Hello, you!"
    assert (await request(app, "/stepflow/health", method="GET")).json == {"status": "healthy"}
    assert (await request(app, "/stepflow/other", {})).status == 404


@FRAMEWORKS
async def test_several_servers_live_in_one_application(mount: Callable[[str, Any], Any]) -> None:
    app = Starlette(routes=[Mount("/one", mount("/a", greeter("One"))), Mount("/two", greeter("Two"))])
    assert (await execute(app, "/greet", {"name": "x"}, "/one/a/"))["result"]["output"] == "One, x!"
    assert (await execute(app, "/greet", {"name": "x"}, "/two/"))["result"]["output"] == "Two, x!"


@FRAMEWORKS
async def test_it_works_behind_a_proxy_that_takes_a_prefix_away(mount: Callable[[str, Any], Any]) -> None:
    app = mount("/stepflow", greeter())
    answer = await execute(app, "/greet", {"name": "x"}, "/outer/stepflow/", root_path="/outer")
    assert answer["result"]["output"] == "Hello, x!"


async def test_a_session_address_includes_the_prefixes() -> None:
    app = starlette("/stepflow", greeter())
    events: list[bytes] = []
    opened = asyncio.Event()

    async def send(message: Any) -> None:
        events.append(message.get("body", b""))
        if b"endpoint" in events[-1]:
            opened.set()

    messages = [{"type": "http.request", "body": b""}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await opened.wait()
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/outer/stepflow/runtime/events",
        "root_path": "/outer",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }
    await app(scope, receive, send)
    data = next(line for line in b"".join(events).splitlines() if line.startswith(b"data: {"))
    assert json.loads(data[6:])["endpoint"].startswith("/outer/stepflow/session/")


@asynccontextmanager
async def lifespan(server: StepflowServer[Any]) -> AsyncGenerator[str]:
    yield f"state of {server.name}"


async def test_its_own_lifespan_is_run_as_an_application() -> None:
    server = greeter(lifespan=lifespan)
    async with lifespan_of(server) as started:
        assert started["type"] == "lifespan.startup.complete"
        assert (await execute(server, "/state"))["result"]["output"] == "state of greeter"


async def test_a_lifespan_that_fails_is_reported() -> None:
    @asynccontextmanager
    async def broken(server: StepflowServer[Any]) -> AsyncGenerator[None]:
        raise ValueError("no database")
        yield

    async with lifespan_of(greeter(lifespan=broken)) as started:
        assert started == {"type": "lifespan.startup.failed", "message": "ValueError: no database"}


@FRAMEWORKS
async def test_mounted_with_a_lifespan_that_nobody_entered_it_says_what_to_add(
    mount: Callable[[str, Any], Any],
) -> None:
    app = mount("/stepflow", greeter(lifespan=lifespan))
    answer = await request(app, "/stepflow/", {})
    assert answer.status == 503
    assert "async with server.service():" in answer.json["error"]["message"]


async def test_mounted_with_a_lifespan_it_is_entered_by_the_application() -> None:
    server = greeter(lifespan=lifespan)

    @asynccontextmanager
    async def outer(app: Any) -> AsyncGenerator[None]:
        async with server.service():
            yield

    app = Starlette(routes=[Mount("/stepflow", server)], lifespan=outer)
    async with lifespan_of(app):
        assert (await execute(app, "/state", path="/stepflow/"))["result"]["output"] == "state of greeter"
    assert (await request(app, "/stepflow/", {})).status == 503


async def test_the_names_of_the_application_are_allowed_by_its_policy() -> None:
    headers = {"host": "api.example"}
    assert (await request(greeter(), body={}, headers=headers)).status == 421
    server = greeter(http=HttpPolicy(allowed_hosts=frozenset({"api.example"})))
    assert (await execute(server, "/greet", {"name": "x"}, headers=headers))["result"]["output"] == "Hello, x!"


async def test_requests_above_the_limit_are_told_to_come_again() -> None:
    server = StepflowServer("busy", max_in_flight=1)
    started, gate = asyncio.Event(), asyncio.Event()

    @server.component
    async def wait() -> str:
        started.set()
        await gate.wait()
        return "done"

    first = asyncio.ensure_future(execute(server, "/wait"))
    await started.wait()
    second = await request(server, body={"jsonrpc": "2.0", "id": 2, "method": "components/list", "params": {}})
    assert (second.status, second.headers["retry-after"], second.json["error"]["code"]) == (503, "1", -32005)
    gate.set()
    assert (await first)["result"]["output"] == "done"


async def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await greeter()({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="ends a process group")
@pytest.mark.parametrize(
    "command",
    [
        ["uvicorn", "greeting:server", "--port", "0"],
        ["hypercorn", "greeting:server", "--bind", "127.0.0.1:0"],
    ],
    ids=lambda command: str(command[0]),
)
def test_asgi_servers_serve_it_by_its_name(command: list[str], tmp_path: Path) -> None:
    import http.client
    import re

    code = """
from stepflow_sdk import StepflowServer

server = StepflowServer("greeting")

@server.component
def greet(name: str) -> str:
    return f"Hello, {name}!"
"""
    (tmp_path / "greeting.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    # In a group of its own, because a server may start workers that outlive it.
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        port = None
        while port is None:
            line = process.stderr.readline().decode()
            assert line, "it did not start"
            port = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        from stepflow_sdk_tests.e2e.web import HEADERS, execution

        connection = http.client.HTTPConnection("127.0.0.1", int(port[1]), timeout=PATIENCE)
        connection.request("POST", "/", json.dumps(execution("/greet", {"name": "you"})), HEADERS)
        assert json.loads(connection.getresponse().read())["result"]["output"] == "Hello, you!"
        connection.close()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


async def test_a_length_of_thousands_of_digits_is_too_long_and_not_a_failure() -> None:
    answer = await request(greeter(), body={}, headers={"content-length": "9" * 5000})
    assert answer.status == 413
