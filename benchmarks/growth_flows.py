"""What grows in the bundled runtime: steps, references, items and blobs; the CPU of this process."""

import asyncio
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.growth import Once, Prepare, Series
from benchmarks.growth_servers import decades
from benchmarks.workloads import SMALL
from stepflow_sdk import StepflowContext, StepflowServer
from stepflow_sdk.flows import Flow, parse_flow
from stepflow_sdk.runtime import BlockingRuntime, LocalRuntime

Document = dict[str, Any]
server = StepflowServer("growth")


@server.component
async def echo(data: Any) -> Any:
    """Give back what came."""
    return data


def chain(length: int) -> Document:
    """Each step has the output of the one before as its input."""
    inputs: list[Any] = [{"$input": "$"}, *({"$step": f"s{number}"} for number in range(length - 1))]
    steps = [{"id": f"s{number}", "component": "/echo", "input": input} for number, input in enumerate(inputs)]
    return {"steps": steps, "output": {"$step": f"s{length - 1}"}}


def parallel(width: int) -> Document:
    """All steps have the input of the flow as theirs, and the output has all of them."""
    steps = [{"id": f"s{number}", "component": "/echo", "input": {"$input": "$"}} for number in range(width)]
    return {"steps": steps, "output": [{"$step": step["id"]} for step in steps]}


def fan_in(width: int) -> Document:
    """Every step refers to all of the ten before it."""
    steps = [
        {
            "id": f"s{number}",
            "component": "/echo",
            "input": {
                "a": 1,
                **{f"s{before}": {"$step": f"s{before}", "path": "$.a"} for before in range(number)[-10:]},
            },
        }
        for number in range(width)
    ]
    return {"steps": steps, "output": {"$step": f"s{width - 1}"}}


def through(length: int) -> Document:
    """Each step refers into the output of the one before, so that the last value has come through all of them."""
    steps = [{"id": "s0", "component": "/echo", "input": {"found": {"$input": "$.a"}}}]
    steps += [
        {
            "id": f"s{number}",
            "component": "/echo",
            "input": {"found": {"$step": f"s{number - 1}", "path": "$.found"}},
        }
        for number in range(1, length)
    ]
    return {"steps": steps, "output": {"$step": f"s{length - 1}", "path": "$.found"}}


def deep_path(depth: int) -> Document:
    """One reference with a path of that many fields."""
    path = "$" + ".a" * depth
    return {
        "steps": [{"id": "s", "component": "/echo", "input": {"found": {"$input": path}}}],
        "output": {"$step": "s"},
    }


def nested(depth: int) -> Any:
    value: Any = {"a": 1}
    for _ in range(depth):
        value = {"a": value}
    return value


def _running(flow_of: Callable[[int], Document], input_of: Callable[[int], Any]) -> Prepare:
    @contextmanager
    def prepare(size: int) -> Iterator[Once]:
        flow = parse_flow(flow_of(size))
        input = input_of(size)
        with LocalRuntime(server) as runtime:
            yield lambda: _timed(lambda: runtime.run(flow, input, max_concurrency=100).unwrap())

    return prepare


@contextmanager
def _loading(size: int) -> Iterator[Once]:
    document = chain(size)
    yield lambda: _timed(lambda: parse_flow(document))


@contextmanager
def _loading_alone(size: int) -> Iterator[Once]:
    gc.collect()
    gc.disable()
    try:
        with _loading(size) as once:
            yield once
    finally:
        gc.enable()


def _items(durable: bool) -> Prepare:
    @contextmanager
    def prepare(size: int) -> Iterator[Once]:
        flow = parse_flow(chain(1))
        with _runtime(durable) as runtime:
            yield lambda: _timed(lambda: stream(runtime, flow, size))

    return prepare


def stream(runtime: BlockingRuntime, flow: Flow, size: int) -> None:
    """Run a flow on so many items, as a stream."""
    ended = 0

    def on_outcome(_: object) -> None:
        nonlocal ended
        ended += 1

    failed = runtime.run_stream(flow, (SMALL for _ in range(size)), on_outcome, max_concurrency=100)
    if failed or ended != size:
        raise RuntimeError(f"{failed} of {ended} items failed")


@contextmanager
def _blobs(size: int) -> Iterator[Once]:
    """Storing a thousand more, and reading them, where `size` are stored already."""
    with _runtime(durable=True) as runtime:
        for start in range(0, size, 1000):
            runtime.execute("/store", {"start": start, "count": min(1000, size - start)})
        fresh = count(size, 1000)
        yield lambda: _timed(lambda: runtime.execute("/store_and_read", {"start": next(fresh), "count": 1000}))


@server.component
async def store(start: int, count: int, ctx: StepflowContext) -> list[str]:
    """Store so many blobs, all at once."""
    numbers = range(start, start + count)
    return await asyncio.gather(*(ctx.put_blob({"number": number, "text": "a blob"}) for number in numbers))


@server.component
async def store_and_read(start: int, count: int, ctx: StepflowContext) -> None:
    """The same, and read them back."""
    await asyncio.gather(*map(ctx.get_blob, await store(start, count, ctx)))


@contextmanager
def _runtime(durable: bool) -> Iterator[BlockingRuntime]:
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory) / "state.db" if durable else None
        with LocalRuntime(server, state=state) as runtime:
            yield runtime


def _timed(action: Callable[[], object]) -> float:
    """The CPU of all threads, which other work on the machine does not touch."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


def _small(_: int) -> Any:
    return SMALL


SERIES = (
    Series("load", "steps in a flow: reading it", decades(10_000), _loading),
    Series("load-alone", "the same, with Python's garbage collector off", decades(10_000), _loading_alone),
    Series("chain", "steps in a chain: running it", decades(10_000), _running(chain, _small)),
    Series("parallel", "parallel steps: running them", decades(10_000), _running(parallel, _small)),
    Series("fan-in", "steps that refer to ten others: running them", decades(10_000), _running(fan_in, _small)),
    # Values may be nested 128 deep, so no reference goes deeper within one.
    Series("depth", "fields in the path of a reference: running it", [1, 12, 120], _running(deep_path, nested)),
    Series("through", "references one behind the other: running them", decades(1000), _running(through, _small)),
    Series("items", "items of a batch, in memory", decades(1_000_000), _items(durable=False)),
    Series("items-durable", "items of a batch, in SQLite", decades(1_000_000), _items(durable=True)),
    Series("blobs", "blobs stored in SQLite: 1000 more of them", decades(1_000_000), _blobs),
)
