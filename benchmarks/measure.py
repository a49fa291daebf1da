"""One measurement: a server is started, warmed up, loaded and ended."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from statistics import median

from benchmarks.messages import execute, listing
from benchmarks.over_http import HttpWire
from benchmarks.over_stdio import StdioWire
from benchmarks.processes import Server, running
from benchmarks.subjects import Subject
from benchmarks.wire import Load, Wire, beside, flood, percentile
from benchmarks.workloads import SMALL, Workload

Figures = dict[str, float]
"""Seconds, ``_ms``, ``_us``, ``_mb``; those that the machine cannot tell are left out."""


def measure(subject: Subject, workload: Workload) -> Figures:
    """Measure a workload once, on a server of its own.

    Raises:
        BenchmarkError: The server failed or hangs.
    """
    if workload.kind == "start":
        return _start(subject, workload)
    with ExitStack() as stack:
        server = stack.enter_context(running(*subject.program(workload)))
        wire = connect(stack, subject, server)
        load = _prepare(subject, workload, wire)
        cpu = server.cpu()
        done = load()
        used = None if cpu is None else (server.cpu() or cpu) - cpu
        count = len(done.latencies)
        figures = {
            "seconds": done.seconds,
            "requests_per_second": count / done.seconds,
            "p50_ms": median(done.latencies) * 1e3,
            "p99_ms": percentile(done.latencies, 0.99) * 1e3,
        }
        peak, idle = server.memory(), server.memory("VmRSS")
        if used is not None:
            figures["cpu_us"] = used / count * 1e6
        if peak is not None and idle is not None:
            figures |= {"peak_mb": peak, "idle_mb": idle}
        return figures


def connect(stack: ExitStack, subject: Subject, server: Server) -> Wire:
    """A wire to the server, which has been greeted; closed with the stack."""
    kind = StdioWire if subject.transport == "stdio" else HttpWire
    wire: Wire = kind(server, subject.dialect)
    stack.callback(wire.close)
    return wire


def _prepare(subject: Subject, workload: Workload, wire: Wire) -> Callable[[], Load]:
    """Warm the server up, and return the load."""
    at_once = workload.in_flight
    if workload.kind == "list":
        wire.load([listing(subject.dialect, number) for number in range(at_once)])
    else:
        echo = [execute(subject.dialect, 0, "echo", SMALL)] if workload.kind == "beside" else []
        numbers = range(len(echo), at_once + len(echo))
        input = workload.input()
        component = workload.component
        wire.load(echo + [execute(subject.dialect, number, component, input) for number in numbers])
    if workload.kind == "beside":
        flood(wire, 1, 100)
        return lambda: beside(wire, at_once)
    seconds = workload.seconds
    flood(wire, at_once, max(at_once, workload.requests // 10), seconds / 5)
    return lambda: flood(wire, at_once, workload.requests, seconds)


def _start(subject: Subject, workload: Workload) -> Figures:
    times: list[float] = []
    used: list[float] = []
    for _ in range(workload.requests):
        with ExitStack() as stack:
            server = stack.enter_context(running(*subject.program(workload)))
            connect(stack, subject, server)
            times.append(time.perf_counter() - server.started)
            used.append(server.cpu() or 0.0)
    return {"start_ms": median(times) * 1e3, "cpu_us": median(used) * 1e6}
