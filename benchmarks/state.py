"""Steps per second with runs in memory, and with every result durable in a SQLite file, in one run.

``python benchmarks/state.py [--seconds 2] [--json]``: a chain of 10 steps one after the other, the same with 100 inputs
at once, and 100 steps in parallel; the component is a plugin that answers at once, so that the engine and the store are
what is measured. Then how long it takes to go on with 10,000 runs that were interrupted.
"""

import argparse
import asyncio
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stepflow_sdk.flows import Flow, load_flow
from stepflow_sdk.runtime import LocalRuntime, StateOptions
from stepflow_sdk.runtime.engine import RunOptions


class Null:
    """A plugin whose components give back their input; the first call ends ``waiting``."""

    name = "null"
    wraps_errors = False

    def __init__(self, *, hold: bool = False) -> None:
        self.waiting = asyncio.Event()
        self._hold = hold

    def start(self, host: Any) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def list_components(self) -> list[Any]:
        return []

    async def execute(self, call: Any) -> Any:
        self.waiting.set()
        if self._hold:
            await asyncio.Event().wait()
        return call.input


CHAIN: dict[str, Any] = {
    "steps": [
        {"id": f"s{n}", "component": "/echo", "input": {"$step": f"s{n - 1}"} if n else {"$input": "$"}}
        for n in range(10)
    ],
    "output": {"$step": "s9"},
}
PARALLEL: dict[str, Any] = {
    "steps": [{"id": f"s{n}", "component": "/echo", "input": {"$input": "$"}} for n in range(100)],
    "output": [{"$step": f"s{n}"} for n in range(100)],
}
WORKLOADS = (
    ("chain of 10, one input", load_flow(CHAIN), 1, 10),
    ("chain of 10, 100 inputs at once", load_flow(CHAIN), 100, 10),
    ("100 in parallel, one input", load_flow(PARALLEL), 1, 100),
    ("100 in parallel, 20 inputs", load_flow(PARALLEL), 20, 100),
)


async def rate(runtime: LocalRuntime, flow: Flow, inputs: int, steps: int, seconds: float) -> tuple[float, float]:
    """Steps per second, and per second of CPU time of all threads, which others on the machine do not change."""
    done = 0
    began, cpu = time.perf_counter(), time.process_time()
    while (took := time.perf_counter() - began) < seconds:
        await runtime.run_batch(flow, [{"a": 1}] * inputs, max_concurrency=100)
        done += inputs * steps
    return done / took, done / (time.process_time() - cpu)


async def rates(folder: Path, seconds: float) -> dict[str, dict[str, tuple[float, float]]]:
    found: dict[str, dict[str, tuple[float, float]]] = {name: {} for name, *_ in WORKLOADS}
    states = {
        "memory": None,
        "full": StateOptions(folder / "full.db"),
        "normal": StateOptions(folder / "normal.db", synchronous="normal"),
    }
    for _ in range(2):
        for way, state in states.items():
            async with LocalRuntime(Null(), state=state) as runtime:
                for name, flow, inputs, steps in WORKLOADS:
                    measured = await rate(runtime, flow, inputs, steps, seconds / 2)
                    found[name][way] = max(found[name].get(way, measured), measured)
    return found


async def recovery(folder: Path, runs: int) -> dict[str, float]:
    path = folder / "recovery.db"
    flow = load_flow(CHAIN)
    async with LocalRuntime(held := Null(hold=True), state=path) as runtime:
        await runtime.engine.store_flow(flow)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(runs):
                tasks.create_task(runtime.engine.submit(flow, [{"a": 1}], RunOptions()))
        await held.waiting.wait()
    began = time.perf_counter()
    async with LocalRuntime(null := Null(), state=path) as runtime:
        resumption = asyncio.create_task(runtime.resume())
        await null.waiting.wait()
        first = time.perf_counter() - began
        ended = await resumption
    return {"runs": len(ended), "first step after": first, "all after": time.perf_counter() - began}


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR", "."), prefix="state-bench-") as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=10_000, help="how many are interrupted and resumed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with scratch() as folder:
        found = asyncio.run(rates(folder, options.seconds))
        resumed = asyncio.run(recovery(folder, options.runs))
    if options.json:
        print(json.dumps({"sqlite": sqlite3.sqlite_version, "steps_per_second": found, "recovery": resumed}))
        return
    for place, what in enumerate(("second", "second of CPU time")):
        print(f"steps per {what}, SQLite {sqlite3.sqlite_version}")
        print(f"{'':<34}{'memory':>10}{'full':>10}{'normal':>10}")
        for name, by_way in found.items():
            print(f"{name:<34}" + "".join(f"{figures[place]:>10,.0f}" for figures in by_way.values()))
        print()
    print(f"{resumed['runs']:,.0f} interrupted runs: first step after {resumed['first step after']:.2f} s, ", end="")
    print(f"all ended after {resumed['all after']:.1f} s")


if __name__ == "__main__":
    main()
