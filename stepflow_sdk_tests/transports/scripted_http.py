"""An HTTP server that says exactly the bytes that a test wants, on a real socket."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio


class Exchange:
    """One request, to be answered by the test."""

    def __init__(self, head: bytes, body: bytes, gone: anyio.Event, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = body
        self.gone = gone
        """Set when the client has closed the connection."""
        self._writer = writer

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self, body: bytes | Any, status: int = 200, content_type: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(data)}\r\n\r\n"
        await self.raw(head.encode() + data)

    async def result(self, output: Any) -> None:
        await self.reply({"jsonrpc": "2.0", "id": self.json["id"], "result": {"output": output}})

    async def start_stream(self, instance_id: str | None = None) -> None:
        identity = "" if instance_id is None else f"stepflow-instance-id: {instance_id}\r\n"
        await self.raw(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n"
            + identity.encode()
            + b"\r\n"
        )

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, message: Any) -> None:
        await self.chunk(b"data: " + json.dumps(message).encode() + b"\n\n")

    async def final(self, output: Any) -> None:
        await self.event({"jsonrpc": "2.0", "id": self.json["id"], "result": {"output": output}})

    async def end_stream(self) -> None:
        await self.raw(b"0\r\n\r\n")

    def drop(self) -> None:
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


class Scripted:
    """What the server has seen."""

    def __init__(self) -> None:
        self.url = ""
        self.exchanges: list[Exchange] = []
        self.connections = 0


@asynccontextmanager
async def scripted(answer: Callable[[Exchange], Awaitable[None]], port: int = 0) -> AsyncGenerator[Scripted, None]:
    """Serve on a free port, or on one that was free before.

    Connections are kept, and each request is given to ``answer``.
    """
    seen = Scripted()
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        gone = anyio.Event()
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = [line.partition(b":") for line in head.split(b"\r\n")]
                length = next((int(value) for name, _, value in lines if name.lower() == b"content-length"), 0)
                exchange = Exchange(head, await reader.readexactly(length), gone, writer)
                seen.exchanges.append(exchange)
                await answer(exchange)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            gone.set()
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(converse(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", port, limit=2**26, backlog=1000)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        yield seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.gather(*tasks, return_exceptions=True)
