"""The bounds of sessions: how many there are, how long they live, and what they may pile up."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from stepflow_sdk import StepflowContext, StepflowServer
from stepflow_sdk.dispatch import Dispatcher
from stepflow_sdk.transports.http import HttpEndpoint, HttpPolicy
from stepflow_sdk.transports.http.sessions import SessionLimits
from stepflow_sdk_tests.asgi.client import execute, request

server = StepflowServer("sessions")


@server.component
async def ask(ctx: StepflowContext) -> None:
    await ctx.put_blob("x" * 100)


@asynccontextmanager
async def endpoint(**limits: Any) -> AsyncGenerator[HttpEndpoint]:
    async with server.service() as service:
        profile = service.profile()
        app = HttpEndpoint(lambda: Dispatcher(service, profile), HttpPolicy(), SessionLimits(**limits))
        yield app


class Client:
    """Reads the stream of one session."""

    def __init__(self, app: HttpEndpoint) -> None:
        self.events: list[str] = []
        self.arrived = asyncio.Event()
        self.gone = asyncio.Event()
        self.status = 0
        self.task = asyncio.ensure_future(self._read(app))

    async def until(self, text: str) -> str:
        while not any(text in event for event in self.events):
            self.arrived.clear()
            await asyncio.wait_for(self.arrived.wait(), 60)
        return next(event for event in self.events if text in event)

    async def address(self) -> str:
        return (await self.until("endpoint")).partition('{"endpoint": "')[2].partition('"')[0]

    async def _read(self, app: HttpEndpoint) -> None:
        unread = [{"type": "http.request", "body": b""}]

        async def receive() -> Any:
            if unread:
                return unread.pop()
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.status = message.get("status", self.status)
            self.events.append(message.get("body", b"").decode())
            self.arrived.set()

        headers = [(b"host", b"localhost")]
        scope = {"type": "http", "method": "GET", "path": "/runtime/events", "root_path": "", "headers": headers}
        await app({**scope, "query_string": b""}, receive, send)


async def test_there_are_no_more_sessions_than_allowed() -> None:
    async with endpoint(count=1) as app:
        first, second = Client(app), None
        await first.address()
        second = Client(app)
        await second.task
        assert second.status == 503
        first.gone.set()
        await first.task
        third = Client(app)
        await third.address()
        third.gone.set()
        await third.task


async def test_a_session_that_nobody_uses_ends() -> None:
    async with endpoint(idle=0.05) as app:
        client = Client(app)
        address = await client.address()
        await client.task
        assert (await request(app, address, {})).json["error"]["code"] == -32010


async def test_a_silent_stream_is_kept_alive() -> None:
    async with endpoint(keepalive=1) as app:
        client = Client(app)
        assert await client.until("event: keepalive") == "event: keepalive\ndata: \n\n"
        client.gone.set()
        await client.task


async def test_a_client_that_does_not_read_its_calls_loses_its_session() -> None:
    async with endpoint(backlog=3) as app:
        client = Client(app)
        address = await client.address()
        answers = await asyncio.gather(*(execute(app, "/ask", path=address) for _ in range(50)))
        assert {answer["error"]["code"] for answer in answers} == {-32005}
        await client.task


async def test_the_end_of_a_session_ends_what_runs_for_it() -> None:
    async with endpoint() as app:
        client = Client(app)
        address = await client.address()
        running = asyncio.ensure_future(execute(app, "/ask", path=address))
        await client.until("blobs/put")
        client.gone.set()
        await client.task
        answer = await asyncio.wait_for(running, 60)
        assert answer["error"]["code"] == -32005
