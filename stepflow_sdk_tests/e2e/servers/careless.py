"""Components that do what components do: print, crash, hang, leave, and now and then work."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from typing import Any

import msgspec

from stepflow_sdk import BlockingContext, ComponentError, SkipStep, StepflowContext, StepflowServer
from stepflow_sdk.transports.http import HttpPolicy

if os.environ.get("HTTP_PARSER") == "h11":
    sys.modules["httptools"] = None  # type: ignore[assignment]  # as where it cannot be installed

server = StepflowServer(
    "careless",
    drain_timeout=float(os.environ.get("DRAIN", "6")),
    max_message_bytes=int(os.environ.get("MAX_BYTES", str(64 * 1024 * 1024))),
    http=HttpPolicy(
        head_timeout=float(os.environ.get("HEAD_TIMEOUT", "10")),
        body_timeout=float(os.environ.get("BODY_TIMEOUT", "20")),
        max_connections=int(os.environ.get("MAX_CONNECTIONS", "10000")),
    ),
)
forever = threading.Event()


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even that")


class Rude(BaseException):
    pass


@server.component
async def echo(data: Any) -> Any:
    return data


@server.component("echo/thread")
def echo_thread(data: Any) -> Any:
    return data


@server.component
def large(size: int) -> str:
    return "é" * size


@server.component("large/async")
async def large_async(size: int) -> str:
    return "é" * size


@server.component
def noise(text: str) -> str:
    print(text)
    print('{"jsonrpc":"2.0","id":"forged","result":{}}')
    os.write(1, b"written to descriptor one\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    sys.__stdout__.write("by another name\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]
    return f"read {sys.stdin.read()!r}"


@server.component
async def fail(how: str) -> None:
    raise failure(how)


@server.component("fail/thread")
def fail_thread(how: str) -> None:
    raise failure(how)


def failure(how: str) -> BaseException:
    made: dict[str, BaseException] = {
        "value": ValueError("a bad value"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "cancelled": asyncio.CancelledError(),
        "generator": GeneratorExit(),
        "rude": Rude("no manners"),
        "unprintable": Unprintable(),
        "recursion": RecursionError("too deep"),
        "memory": MemoryError(),
        "group": ExceptionGroup("two", [ValueError("one"), KeyError("other")]),
        "own": ComponentError("my own", data={"why": 1}, retryable=True),
        "secret": ComponentError("with odd data", data=object()),
    }
    return made[how]


@server.component
def output(how: str) -> Any:
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: Any = None
    for _ in range(100_000):
        deep = [deep]
    outputs = {
        "nan": float("nan"),
        "cycle": cycle,
        "deep": deep,
        "object": object(),
        "int": 2**70,
        "key": {1: object()},
        "raw": msgspec.Raw(b'"\xff"'),
    }
    return outputs[how]


@server.component
def skip(reason: str | None = None) -> int:
    raise SkipStep(reason)


@server.component
def hang() -> None:
    forever.wait()


@server.component("hang/async")
async def hang_async() -> None:
    await asyncio.Event().wait()


hanging = {"count": 0}


@server.component("hang/count")
async def hang_count() -> int:
    return hanging["count"]


@server.component("hang/counted")
async def hang_counted() -> None:
    hanging["count"] += 1
    try:
        await asyncio.Event().wait()
    finally:
        hanging["count"] -= 1


@server.component("hang/call")
async def hang_call(ctx: StepflowContext) -> None:
    hanging["count"] += 1
    try:
        await ctx.put_blob("never answered")
    finally:
        hanging["count"] -= 1


@server.component("hang/stubborn")
async def hang_stubborn() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


@server.component("hang/loop")
async def hang_loop() -> None:
    time.sleep(3600)  # noqa: ASYNC251  (that is the carelessness)


@server.component("leave/thread")
def leave_thread() -> str:
    threading.Thread(target=forever.wait, daemon=False).start()
    return "left"


@server.component(timeout=0.05)
def slow() -> None:
    forever.wait()


@server.component("slow/async", timeout=0.05)
async def slow_async() -> None:
    await asyncio.Event().wait()


@server.component("die")
def die(code: int) -> None:
    os._exit(code)


@server.component("call/back")
async def call_back(value: Any, ctx: StepflowContext) -> Any:
    blob_id = await ctx.put_blob(value)
    return [blob_id, await ctx.get_blob(blob_id)]


@server.component("call/back/thread")
def call_back_thread(value: Any, ctx: BlockingContext) -> Any:
    blob_id = ctx.put_blob(value)
    return [blob_id, ctx.get_blob(blob_id)]


@server.component("call/back/bytes")
async def call_back_bytes(size: int, ctx: StepflowContext) -> int:
    blob_id = await ctx.put_blob(bytes(size), "binary")
    return len(await ctx.get_blob(blob_id, type=bytes))


@server.component("keep/bytes")
async def keep_bytes(size: int, ctx: StepflowContext) -> str:
    return await ctx.put_blob(bytes(size), "binary")


@server.component
async def length(blob_id: str, ctx: StepflowContext) -> int:
    return len(await ctx.get_blob(blob_id, type=bytes))


@server.component
async def log(text: str, ctx: StepflowContext) -> None:
    ctx.log.warning("%s", text)


gate = {"running": 0, "most": 0}


@server.component("limited", max_concurrency=2)
async def limited() -> int:
    gate["running"] += 1
    gate["most"] = max(gate["most"], gate["running"])
    await asyncio.sleep(0.001)
    gate["running"] -= 1
    return gate["most"]


if __name__ == "__main__":
    server.run()
