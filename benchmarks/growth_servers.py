"""What grows at a server: requests in flight, payloads, components."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.growth import Once, Prepare, Series
from benchmarks.measure import connect
from benchmarks.messages import FLOWS, execute, listing
from benchmarks.processes import Server, running
from benchmarks.subjects import OURS, Subject, subjects
from benchmarks.wire import Wire, flood
from benchmarks.workloads import ORDER, SMALL, Input, Workload
from stepflow_sdk.transports.open_files import raise_open_files


def _ours(transport: str) -> Subject:
    return next(subject for subject in subjects(transport) if subject.name == OURS)


@contextmanager
def _served(transport: str, components: int = 0) -> Iterator[tuple[Server, Wire]]:
    subject = _ours(transport)
    workload = Workload("growth", "growth", (), (), components=components)
    with ExitStack() as stack:
        server = stack.enter_context(running(*subject.program(workload)))
        yield server, connect(stack, subject, server)


def _cost(server: Server, wire: Wire, count: int, in_flight: int) -> Once:
    """The CPU of the server for `count` requests."""

    def once() -> float:
        before = server.cpu()
        load = flood(wire, in_flight, count)
        after = server.cpu()
        return load.seconds if before is None or after is None else after - before

    return once


def _in_flight(transport: str) -> Prepare:
    @contextmanager
    def prepare(size: int) -> Iterator[Once]:
        if transport == "http":
            raise_open_files(size + 100)  # each request has a connection of its own
        with _served(transport) as (server, wire):
            wire.load([execute(FLOWS, number, "sleep", SMALL) for number in range(size)])
            flood(wire, size, size)
            yield _cost(server, wire, size, size)

    return prepare


def _payload(transport: str) -> Prepare:
    @contextmanager
    def prepare(size: int) -> Iterator[Once]:
        with _served(transport) as (server, wire):
            wire.load([execute(FLOWS, 0, "echo", _rows(size))])
            flood(wire, 1, 1)
            yield _cost(server, wire, 1, 1)

    return prepare


def _rows(size: int) -> Input:
    """About `size` bytes of JSON."""
    row = {"id": 1, "name": "a row of the table", "value": 0.5, "tags": ["one", "two"]}
    return {"rows": [row] * max(1, size // len(json.dumps(row, separators=(",", ":"))))}


@contextmanager
def _start(size: int) -> Iterator[Once]:
    def once() -> float:
        with _served("stdio", size) as (server, _):
            return server.cpu() or time.perf_counter() - server.started

    yield once


@contextmanager
def _list(size: int) -> Iterator[Once]:
    with _served("stdio", size) as (server, wire):
        wire.load([listing(FLOWS, 0)])
        flood(wire, 1, 1)
        yield _cost(server, wire, 1, 1)


@contextmanager
def _execute(size: int) -> Iterator[Once]:
    with _served("stdio", size) as (server, wire):
        wire.load([execute(FLOWS, number, f"many/component_{size - 1}", ORDER) for number in range(64)])
        flood(wire, 64, 2000)
        once = _cost(server, wire, 2000, 64)
        yield lambda: once() / 2000


def decades(last: int, first: int = 1) -> list[int]:
    """`first`, ten times as much, and so on, up to `last`."""
    found = [first]
    while found[-1] * 10 < last:
        found.append(found[-1] * 10)
    return [*found, last]


SERIES = (
    Series("in-flight", "requests in flight on stdio, server CPU", decades(10_000), _in_flight("stdio")),
    Series("in-flight-http", "requests in flight over HTTP, server CPU", decades(10_000), _in_flight("http")),
    Series("payload", "bytes of payload on stdio, server CPU", decades(64_000_000, 100), _payload("stdio")),
    Series("payload-http", "bytes of payload over HTTP, server CPU", decades(64_000_000, 100), _payload("http")),
    Series("components-start", "components: server CPU from spawn to initialize", decades(10_000), _start),
    Series("components-list", "components: server CPU of components/list", decades(10_000), _list),
    Series("components-execute", "components: server CPU of one small call", decades(10_000), _execute),
)
