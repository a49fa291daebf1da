"""A hundred thousand requests: what a server holds afterwards is what it held before."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from stepflow_sdk_tests.e2e.wire import PATIENCE
from stepflow_sdk_tests.reliability.ends import End, HttpEnd, StdioEnd, execution, open_end
from stepflow_sdk_tests.reliability.http_cases import post
from stepflow_sdk_tests.reliability.memory import OWN_THREADS, POOL_THREADS, descriptors, linux_only, memory, threads

pytestmark = [pytest.mark.slow, pytest.mark.promise("R11"), linux_only]

WARM_UP = 10_000
COUNT = 100_000
AT_ONCE = 250

KINDS: list[tuple[str, Any, bool]] = [
    ("/echo", {"text": "é" * 20}, True),
    ("/echo/thread", [1, 2.5, None], True),
    ("/number", {"value": 3}, True),
    ("/number", {"value": "three"}, False),
    ("/raise/async", {"how": "timeout"}, False),
    ("/raise/thread", {"how": "timeout"}, False),
    ("/output/async", {"how": "nan"}, False),
    ("/no/such", None, False),
]


class Held(NamedTuple):
    """What a server process holds."""

    memory: int
    descriptors: int
    threads: int
    tasks: int


def held(end: End) -> Held:
    tasks = end.execute("/tasks")["result"]["output"]
    return Held(memory(end.process_id), descriptors(end.process_id), threads(end.process_id), tasks)


def chunks(count: int) -> Iterator[list[tuple[int, bytes]]]:
    """Requests with their ids, so many at once."""
    bodies = [json.dumps(execution(number, *kind[:2])).encode() for number, kind in enumerate(KINDS)]
    for _ in range(count // AT_ONCE):
        yield [(number % len(KINDS), bodies[number % len(KINDS)]) for number in range(AT_ONCE)]


def check(grown_by: Callable[[int], None], end: End) -> None:
    grown_by(WARM_UP)
    before = held(end)
    grown_by(COUNT)
    after = held(end)
    assert after.memory - before.memory < 5_000_000
    assert after.descriptors <= before.descriptors
    assert after.threads <= max(before.threads, OWN_THREADS + POOL_THREADS)
    assert after.tasks <= before.tasks


def test_a_hundred_thousand_requests_over_stdio_leave_nothing_behind() -> None:
    with open_end("stdio") as end:
        assert isinstance(end, StdioEnd)
        wire = end.wire

        def go(count: int) -> None:
            for chunk in chunks(count):
                wire.send_bytes(b"".join(body + b"\n" for _, body in chunk))
                good = sum("result" in wire.receive() for _ in chunk)
                assert good == sum(KINDS[kind][2] for kind, _ in chunk)

        check(go, end)


def test_a_hundred_thousand_requests_over_http_leave_nothing_behind() -> None:
    with open_end("http") as end:
        assert isinstance(end, HttpEnd)
        address = ("127.0.0.1", end.web.port)

        def go(count: int) -> None:
            for chunk in chunks(count):
                with socket.create_connection(address, PATIENCE) as connection:
                    connection.sendall(b"".join(post(body) for _, body in chunk))
                    received = b""
                    while received.count(b"HTTP/1.1 200 OK") < len(chunk) or not received.endswith(b"}"):
                        received += connection.recv(1 << 20)
                assert received.count(b'"result"') == sum(KINDS[kind][2] for kind, _ in chunk)

        check(go, end)
