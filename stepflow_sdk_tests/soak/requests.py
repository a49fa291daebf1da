"""Good and bad requests to a server over each transport while there is time: nothing may grow or be lost."""

import json
import random
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from stepflow_sdk_tests.reliability.ends import TRANSPORTS, End, Transport, execution, open_end
from stepflow_sdk_tests.reliability.memory import OWN_THREADS, POOL_THREADS, descriptors, memory, threads
from stepflow_sdk_tests.reliability.servers.reckless import ERRORS, OUTPUTS
from stepflow_sdk_tests.reliability.wire_cases import CASES, NOTHING
from stepflow_sdk_tests.soak.report import Report

__all__ = ["requests"]

_WARM_UP = 3000
_MOST_GROWTH = 20_000_000
"""Bytes: texts of megabytes and lists of 100,000 levels leave the allocator's memory in holes, whatever the number."""

_SHARES: Mapping[Transport, float] = {"stdio": 0.25, "http": 0.75}
_TOLD_SECONDS = 10.0


class _Used(NamedTuple):
    """What a server process holds."""

    memory: int
    descriptors: int
    threads: int
    tasks: int


def requests(seconds: float) -> Iterator[Report]:
    """As many over HTTP, where each takes three times as long."""
    counts: dict[Transport, int] = {}
    figures: dict[Transport, str] = {}
    finds: list[str] = []
    for transport in TRANSPORTS:
        for count, figure, found in _abuse(transport, seconds * _SHARES[transport]):
            counts[transport] = count
            figures[transport] = f"{transport}: {count:,} requests, {figure}"
            finds += [f"{transport}: {find}" for find in found]
            yield Report(sum(counts.values()), "requests", list(figures.values()), finds)


def _abuse(transport: Transport, seconds: float) -> Iterator[tuple[int, str, list[str]]]:
    """Yields again and again how many requests there were, what grew, and what has been found since."""
    until = time.monotonic() + seconds
    seed = time.time_ns()
    random_ = random.Random(seed)
    with open_end(transport) as end:
        count, wrong = _send(end, random_, _WARM_UP, until)
        before = _used(end)
        while not wrong:
            more, wrong = _send(end, random_, None, min(until, time.monotonic() + _TOLD_SECONDS))
            count += more
            if time.monotonic() > until:
                break
            yield count, _grown(before, _used(end)), []
        after = _used(end)
    figure = _grown(before, after)
    found = [f"seed {seed}: {wrong}"] if wrong else []
    # On a busy machine its threads come late to their work, and others are started: up to the pool's limit.
    allowed = _Used(before.memory + _MOST_GROWTH, before.descriptors + 1, OWN_THREADS + POOL_THREADS, before.tasks + 1)
    if any(now > most for now, most in zip(after, allowed, strict=True)):
        found.append(f"seed {seed}: after {count} requests {figure}")
    yield count, figure, found


def _send(end: End, random_: random.Random, most: int | None, until: float) -> tuple[int, str]:
    """Send so many messages while there is time; returns how many requests that were, and what went wrong."""
    done = 0
    while time.monotonic() < until and done != most:
        try:
            _one(end, random_)
        except AssertionError as error:
            return 2 * done, f"message {done}: {str(error)[:300]}"
        done += 1
    # Each message is followed by a request that has to be answered, too.
    return 2 * done, ""


def _used(end: End) -> _Used:
    tasks = end.execute("/tasks")["result"]["output"]
    return _Used(memory(end.process_id), descriptors(end.process_id), threads(end.process_id), tasks)


def _grown(before: _Used, after: _Used) -> str:
    grown = _Used(*(now - then for then, now in zip(before, after, strict=True)))
    return (
        f"{grown.memory / 1e6:+.1f} MB, {grown.descriptors:+d} descriptors, {grown.threads:+d} threads, "
        f"{grown.tasks:+d} tasks"
    )


def _one(end: End, random_: random.Random) -> None:
    """One message of any kind, and the probe behind it."""
    match random_.randrange(4):
        case 0:
            case = random_.choice(CASES)
            if len(case.body) < 10_000:
                end.tell(case.body, 0 if case.code == NOTHING else 1)
        case 1:
            way = random_.choice(["async", "later", "thread", "inline"])
            end.execute(f"/raise/{way}", {"how": random_.choice(list(ERRORS))})
        case 2:
            end.execute(random_.choice(["/output/async", "/output/thread"]), {"how": random_.choice(list(OUTPUTS))})
        case _:
            value = json.loads(json.dumps(execution(random_.randrange(1000), "/x", random_.random())))
            end.execute(random_.choice(["/echo", "/echo/thread"]), value)
