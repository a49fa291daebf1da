"""The floor over HTTP: a raw ASGI application with one decode and one encode a request, on the uvicorn of our server.

Usage: floor_http.py KIND: a component of `echo_server`, or ``list``. It answers requests of that kind only.
"""

import asyncio
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import floor_types as types
import msgspec
import uvicorn

KIND = sys.argv[1]
PLAIN = [(b"content-type", b"application/json")]
STREAM = [(b"content-type", b"text/event-stream")]
encode = msgspec.json.Encoder().encode
decode = types.decoder(KIND)
waiting: dict[str, asyncio.Future[Any]] = {}
listing = types.listing()
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def application(_scope: Any, receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    message = await receive()
    body = message["body"]
    if message["more_body"]:
        parts = [body]
        while message["more_body"]:
            message = await receive()
            parts.append(message["body"])
        body = b"".join(parts)
    if body.startswith(types.INITIALIZE):
        await reply(send, types.Reply(types.id_of(body), {"server_protocol_version": 1}))
    elif body.startswith(types.NOTIFICATION):
        await accepted(send)
    else:
        await answer(body, send)


async def reply(send: Send, message: Any) -> None:
    body = encode(message)
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*PLAIN, length]})
    await send({"type": "http.response.body", "body": body})


async def accepted(send: Send) -> None:
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def simple(body: bytes, send: Send) -> None:
    request = decode(body)
    await reply(send, types.Reply(request.id, types.Output(types.run(KIND, request.params.input))))


async def list_all(body: bytes, send: Send) -> None:
    await reply(send, types.Reply(types.id_of(body), listing))


async def sleep(body: bytes, send: Send) -> None:
    request = decode(body)
    await asyncio.sleep(0.1)
    await reply(send, types.Reply(request.id, types.Output(request.params.input)))


async def block(body: bytes, send: Send) -> None:
    request = decode(body)
    if request.params.component != "/echo":
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.2)
    await reply(send, types.Reply(request.id, types.Output(request.params.input)))


async def context(body: bytes, send: Send) -> None:
    message = types.decode_any(body)
    if message.params is None:
        await accepted(send)
        waiting.pop(message.id).set_result(message.result)
        return
    await send({"type": "http.response.start", "status": 200, "headers": STREAM})
    put = await call(send, f"p{message.id}", "blobs/put", types.Put(message.params.input))
    get = await call(send, f"g{message.id}", "blobs/get", types.Get(put.blob_id))
    await send({"type": "http.response.body", "body": event(types.Reply(message.id, types.Output(get.data)))})


async def call(send: Send, id: str, method: str, params: Any) -> Any:
    future = waiting[id] = asyncio.get_running_loop().create_future()
    body = event(types.Call(id, method, params))
    await send({"type": "http.response.body", "body": body, "more_body": True})
    return await future


def event(message: Any) -> bytes:
    return b"data: " + encode(message) + b"\n\n"


answer = {"list": list_all, "sleep": sleep, "block": block, "context": context}.get(KIND, simple)


async def main() -> None:
    bytes(16 << 20)  # lifts glibc's mmap threshold, as our server does
    if KIND == "block":
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(8))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        loop="none",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        backlog=2048,
    )
    listener.listen(2048)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(main())
