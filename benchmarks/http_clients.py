"""Compare HTTP clients: small JSON POSTs over kept connections, one at a time and 50 at once, and an event stream.

Run it in an environment that has the clients (``pip install httpx httpx2 aiohttp httpcore niquests``). The server is a
bare asyncio protocol in a process of its own, so what is measured is the client.
"""

import asyncio
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

BODY = json.dumps({"jsonrpc": "2.0", "id": "x" * 36, "method": "components/execute", "params": {"input": 1}}).encode()
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
Post = Callable[[], Awaitable[bytes]]


EVENT = b"data: " + b"x" * 1000 + b"\n\n"
EVENTS = 5000


class Server(asyncio.Protocol):
    """Answers every request with the same JSON, as fast as may be."""

    answer = b'{"jsonrpc":"2.0","id":"%s","result":{"output":1}}' % (b"x" * 36)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(answer)

    stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0 or len(self.buffer) < end + 4 + len(BODY):
                return
            wants_stream = b" /stream " in self.buffer[:100]
            self.buffer = self.buffer[end + 4 + len(BODY) :]
            if wants_stream:
                self.transport.write(self.stream + (b"%x\r\n%s\r\n" % (len(EVENT), EVENT)) * EVENTS + b"0\r\n\r\n")
            else:
                self.transport.write(self.head + self.answer)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def httpx(stack: AsyncExitStack, url: str) -> Post:
    module = importlib.import_module("httpx")
    client = await stack.enter_async_context(
        module.AsyncClient(trust_env=False, timeout=30, limits=module.Limits(max_connections=None))
    )

    async def post() -> bytes:
        async with client.stream("POST", url, content=BODY, headers=HEADERS) as response:
            return b"".join([chunk async for chunk in response.aiter_raw()])

    return post


async def httpx2(stack: AsyncExitStack, url: str) -> Post:
    module = importlib.import_module("httpx2")
    client = await stack.enter_async_context(
        module.AsyncClient(trust_env=False, timeout=30, limits=module.Limits(max_connections=None))
    )

    async def post() -> bytes:
        async with client.stream("POST", url, content=BODY, headers=HEADERS) as response:
            return b"".join([chunk async for chunk in response.aiter_raw()])

    return post


async def httpcore(stack: AsyncExitStack, url: str) -> Post:
    module = importlib.import_module("httpcore")
    pool = await stack.enter_async_context(module.AsyncConnectionPool(max_connections=None))
    headers = [(b"host", b"127.0.0.1"), *((k.encode(), v.encode()) for k, v in HEADERS.items())]
    headers.append((b"content-length", str(len(BODY)).encode()))
    parsed = module.URL(url)

    async def post() -> bytes:
        async with pool.stream("POST", parsed, content=BODY, headers=headers) as response:
            return b"".join([chunk async for chunk in response.aiter_stream()])

    return post


async def aiohttp(stack: AsyncExitStack, url: str) -> Post:
    module = importlib.import_module("aiohttp")
    client = await stack.enter_async_context(
        module.ClientSession(connector=module.TCPConnector(limit=0), cookie_jar=module.DummyCookieJar())
    )

    async def post() -> bytes:
        async with client.post(url, data=BODY, headers=HEADERS, allow_redirects=False) as response:
            return b"".join([chunk async for chunk in response.content.iter_any()])

    return post


async def niquests(stack: AsyncExitStack, url: str) -> Post:
    module = importlib.import_module("niquests")
    client = await stack.enter_async_context(
        module.AsyncSession(pool_maxsize=100, disable_http2=True, disable_http3=True)
    )
    client.trust_env = False

    async def post() -> bytes:
        response = await client.post(url, data=BODY, headers=HEADERS, stream=True)
        return b"".join([chunk async for chunk in await response.iter_raw(65536)])

    return post


async def measure(url: str, client: Callable[[AsyncExitStack, str], Awaitable[Post]], total: int, at_once: int) -> None:
    async with AsyncExitStack() as stack:
        post = await client(stack, url)

        async def worker(count: int) -> None:
            for _ in range(count):
                await post()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(worker(3))
        wall, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(worker(total // at_once))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        name = client.__name__
        print(f"{name:10} {at_once:3} at once  {total / wall:7.0f} /s  {cpu / total * 1e6:6.0f} us CPU each")


async def measure_stream(url: str, client: Callable[[AsyncExitStack, str], Awaitable[Post]]) -> None:
    async with AsyncExitStack() as stack:
        post = await client(stack, f"{url}stream")
        cpu = time.process_time()
        for _ in range(5):
            assert len(await post()) == EVENTS * len(EVENT)
        cpu = (time.process_time() - cpu) / 5 / EVENTS
        print(f"{client.__name__:10} event stream  {cpu * 1e6:6.1f} us CPU for each event of 1 KB")


def import_time(name: str) -> float:
    code = f"import time, asyncio, json; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
    return min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5))


def main() -> None:
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
        return
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/"
        try:
            for client in (httpx, httpx2, httpcore, aiohttp, niquests):
                print(f"{client.__name__:10} import {import_time(client.__name__) * 1e3:.0f} ms")
                for at_once in (1, 50):
                    asyncio.run(measure(url, client, 3000, at_once))
                asyncio.run(measure_stream(url, client))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
