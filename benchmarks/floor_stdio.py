"""The floor: an asyncio protocol that decodes an execute request and echoes its input, and nothing else."""

import asyncio
import os
import sys
from typing import Any

import msgspec


class Params(msgspec.Struct):
    component: str
    input: Any


class Request(msgspec.Struct):
    id: str
    params: Params


class Output(msgspec.Struct):
    output: Any


class Reply(msgspec.Struct, tag_field="jsonrpc", tag="2.0"):
    id: str
    result: Output


decode = msgspec.json.Decoder(Request).decode
encode = msgspec.json.Encoder().encode


class Echo(asyncio.Protocol):
    def __init__(self, out: asyncio.WriteTransport, done: asyncio.Event) -> None:
        self.out = out
        self.done = done
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        replies = []
        for line in lines:
            request = decode(line)
            replies.append(encode(Reply(request.id, Output(request.params.input))))
        replies.append(b"")
        self.out.write(b"\n".join(replies))

    def eof_received(self) -> None:
        self.done.set()


async def main() -> None:
    bytes(16 << 20)  # lifts glibc's mmap threshold, see docs/decisions
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    out, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(1, "wb", buffering=0))
    await loop.connect_read_pipe(lambda: Echo(out, done), sys.stdin)
    await done.wait()


asyncio.run(main())
