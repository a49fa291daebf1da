"""The floor on stdio: an asyncio protocol with one decode and one encode a request and one write a batch, and no more.

Usage: floor_stdio.py KIND: a component of `echo_server`, or ``list``. It answers requests of that kind only.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import floor_types as types
import msgspec

KIND = sys.argv[1]
encode = msgspec.json.Encoder().encode
decode = types.decoder(KIND)


class Protocol(asyncio.Protocol):
    """Reads lines, hands each to ``answer``, and writes what that gives."""

    def __init__(self, out: asyncio.WriteTransport, done: asyncio.Event) -> None:
        self.out = out
        self.done = done
        self.loop = asyncio.get_running_loop()
        self.calls: dict[str, asyncio.Future[Any]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.pending: list[bytes] = []
        self.replies: list[bytes] = []
        self.answer: Callable[[bytes], None] = getattr(self, KIND, self.simple)
        self.listing = types.listing() if KIND == "list" else msgspec.Raw()

    def data_received(self, data: bytes) -> None:
        if b"\n" not in data:
            self.pending.append(data)
            return
        *lines, rest = b"".join([*self.pending, data]).split(b"\n")
        self.pending = [rest] if rest else []
        for line in lines:
            if line.startswith(types.INITIALIZE, 0):
                self.reply(types.Reply(types.id_of(line), {"server_protocol_version": 1}))
            elif not line.startswith(types.NOTIFICATION):
                self.answer(line)
        self.flush()

    def flush(self) -> None:
        if self.replies:
            self.replies.append(b"")
            self.out.write(b"\n".join(self.replies))
            self.replies.clear()

    def reply(self, reply: Any) -> None:
        self.replies.append(encode(reply))

    def late(self, reply: Any) -> None:
        self.reply(reply)
        self.flush()

    def simple(self, line: bytes) -> None:
        request = decode(line)
        self.reply(types.Reply(request.id, types.Output(types.run(KIND, request.params.input))))

    def list(self, line: bytes) -> None:
        self.reply(types.Reply(types.id_of(line), self.listing))

    def sleep(self, line: bytes) -> None:
        request = decode(line)
        reply = types.Reply(request.id, types.Output(request.params.input))
        self.loop.call_later(0.1, self.late, reply)

    def block(self, line: bytes) -> None:
        request = decode(line)
        reply = types.Reply(request.id, types.Output(request.params.input))
        if request.params.component == "/echo":
            self.reply(reply)
            return
        waiting = self.loop.run_in_executor(None, time.sleep, 0.2)
        waiting.add_done_callback(lambda _: self.late(reply))

    def context(self, line: bytes) -> None:
        message = types.decode_any(line)
        if message.params is None:
            self.calls.pop(message.id).set_result(message.result)
        else:
            task = self.loop.create_task(self.component(message.id, message.params.input))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        # Behind the steps of all components that this batch woke or started.
        self.loop.call_soon(self.flush)

    async def component(self, id: str, data: Any) -> None:
        put = await self.call(f"p{id}", "blobs/put", types.Put(data))
        get = await self.call(f"g{id}", "blobs/get", types.Get(put.blob_id))
        self.reply(types.Reply(id, types.Output(get.data)))

    def call(self, id: str, method: str, params: Any) -> asyncio.Future[Any]:
        self.reply(types.Call(id, method, params))
        future = self.calls[id] = self.loop.create_future()
        return future

    def eof_received(self) -> None:
        self.done.set()


async def main() -> None:
    bytes(16 << 20)  # lifts glibc's mmap threshold, as our server does
    loop = asyncio.get_running_loop()
    if KIND == "block":
        loop.set_default_executor(ThreadPoolExecutor(8))
    done = asyncio.Event()
    out, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(1, "wb", buffering=0))
    await loop.connect_read_pipe(lambda: Protocol(out, done), sys.stdin)
    await done.wait()


asyncio.run(main())
