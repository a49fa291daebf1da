"""The connections of an HTTP server, seen from inside."""

import asyncio
import socket
import struct
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from stepflow_sdk.transports.http.policy import HttpPolicy
from stepflow_sdk.transports.http.serving import bind, make_server

BODY = b"x" * 20_000_000


async def answer(scope: Any, receive: Any, send: Any) -> None:
    length = (b"content-length", str(len(BODY)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": BODY})


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


@pytest.mark.promise("R10")
async def test_a_connection_that_is_reset_with_an_answer_unread_is_forgotten_at_once() -> None:
    started = asyncio.Event()
    server = make_server(answer, HttpPolicy(), started.set, stop_timeout=1)
    listener = bind("127.0.0.1", 0)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await started.wait()
    with socket.create_connection(listener.getsockname()) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await until(lambda: server.server_state.total_requests == 1)
        (protocol,) = map(weakref.ref, server.server_state.connections)
    await until(lambda: not server.server_state.connections)
    kept = protocol()
    assert getattr(kept, "timeout_keep_alive_task", None) is None
    del kept
    server.should_exit = True
    await serving
