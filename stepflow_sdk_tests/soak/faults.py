"""Component servers that fail in every way, again and again, under a runtime that has to go on."""

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from stepflow_sdk.errors import RequestTimeout, ServerLost
from stepflow_sdk.runtime import Backoff, LocalRuntime, RetryPolicy, RunEvent, StepEnded
from stepflow_sdk.runtime.plugins import remote
from stepflow_sdk.runtime.plugins.http import http_command_plugin
from stepflow_sdk.runtime.plugins.remote import RemotePlugin
from stepflow_sdk.runtime.plugins.stdio import stdio_plugin
from stepflow_sdk_tests.reliability.memory import descriptors, threads
from stepflow_sdk_tests.soak.processes import below
from stepflow_sdk_tests.soak.report import Report

__all__ = ["faults"]

_PROGRAMS = Path(__file__).parents[1] / "runtime"
_PLUGINS: Mapping[str, Callable[..., RemotePlugin]] = {"stdio": stdio_plugin, "http": http_command_plugin}
_RUNS = 60
_FAULTS = 3
"""Of one server; a plugin starts it five times a minute at most."""

_CASE_SECONDS = 120.0
_WARM_UP = 20
_FLOW = {"steps": [{"id": "s", "component": "/keep", "input": {"$input": "$"}}], "output": {"$step": "s"}}


class _Wrong(Exception):
    """Something did not end as it must."""


def faults(seconds: float) -> Iterator[Report]:
    """One fault after the other while there is time; each has a runtime of its own, and nothing may be left of it."""
    until = time.monotonic() + seconds
    seed = time.time_ns()
    random_ = random.Random(seed)
    counts: Counter[str] = Counter()
    finds: list[str] = []
    before: tuple[int, int] | None = None
    # How long a server that does not answer may take to say that it lives.
    remote._ALIVE_SECONDS = 0.5
    print(f"faults: the seed is {seed}", flush=True)
    # Warnings tell of each fault.
    logging.getLogger("stepflow_sdk").setLevel(logging.CRITICAL)
    while time.monotonic() < until:
        name = random_.choice(list(_CASES))
        way = random_.choice(list(_PLUGINS))
        try:
            asyncio.run(_within(_CASES[name](way, random_, counts)))
        except Exception as error:
            finds.append(
                f"seed {seed}, case {sum(counts.values())}, {name} over {way}: {type(error).__name__}: {error}"
            )
            print(f"faults: {finds[-1]}", flush=True)
        counts[f"{name}, {way}"] += 1
        if left := below(os.getpid()):
            finds.append(f"after {name} over {way} there is still {', '.join(left.values())[:300]}")
        done = sum(count for what, count in counts.items() if "," in what)
        used = descriptors(os.getpid()), threads(os.getpid())
        if done == _WARM_UP:
            before = used
        if before is not None and any(now > then + 2 for then, now in zip(before, used, strict=True)):
            finds.append(f"the runtime's process has {used} descriptors and threads, and had {before}")
            before = None
        yield Report(sum(counts[fault] for fault in _COUNTED), "faults", _figures(counts), finds)


def _figures(counts: Counter[str]) -> list[str]:
    cases = [f"{what}: {count}" for what, count in sorted(counts.items()) if "," in what]
    told = [f"{what} {count:,}" for what, count in sorted(counts.items()) if "," not in what]
    return [", ".join(told), f"cases: {'; '.join(cases)}"]


async def _within(case: Awaitable[None]) -> None:
    with anyio.fail_after(_CASE_SECONDS):
        await case


async def _signalled(way: str, random_: random.Random, counts: Counter[str], number: int) -> None:
    """Signals come to the server while runs are under way: every run must end as if none had come."""
    extra = ["--http"] if way == "http" else []
    served = _PLUGINS[way]("served", [sys.executable, str(_PROGRAMS / "components.py"), *extra], step_timeout=60.0)
    moments = {random_.randrange(1, _RUNS) for _ in range(_FAULTS)}
    ended = 0

    def observe(event: RunEvent) -> None:
        nonlocal ended
        if not isinstance(event, StepEnded):
            return
        ended += 1
        link = served._link
        if ended in moments and link is not None and link.child is not None:
            with suppress(ProcessLookupError):  # it may have ended since
                os.kill(link.child.pid, number)
            counts[f"signals ({signal.Signals(number).name})"] += 1

    async with LocalRuntime(served, retry=RetryPolicy(10, Backoff.constant(0.01)), on_event=observe) as runtime:
        outcomes = await runtime.run_batch(_FLOW, list(range(_RUNS)), max_concurrency=10)
    values = [outcome.unwrap()["data"] for outcome in outcomes]
    if values != list(range(_RUNS)):
        raise _Wrong(f"the runs came to {values}")
    counts["runs that ended right"] += _RUNS


async def _killed(way: str, random_: random.Random, counts: Counter[str]) -> None:
    await _signalled(way, random_, counts, signal.SIGKILL)


async def _restarted(way: str, random_: random.Random, counts: Counter[str]) -> None:
    await _signalled(way, random_, counts, signal.SIGTERM)


def _bad(way: str, **options: Any) -> RemotePlugin:
    return _PLUGINS[way]("bad", [sys.executable, str(_PROGRAMS / "misbehaving.py"), way], **options)


async def _stopped(way: str, random_: random.Random, counts: Counter[str]) -> None:
    """Nothing of the server runs any more: it is killed, and the next call gets another one."""
    bad = _bad(way, step_timeout=None)
    async with LocalRuntime(bad, retry=RetryPolicy(0)) as runtime:
        first = await runtime.execute("/pid", {})
        _stop(int(str(first)))
        await _timed_out(runtime, bad, "/pid")
        if await runtime.execute("/pid", {}) == first:
            raise _Wrong("the server that had stopped was not replaced")
    counts["servers stopped"] += 1


def _stop(process_id: int) -> None:
    os.kill(process_id, signal.SIGSTOP)
    # A signal takes effect when it is delivered, and until then the server may answer.
    while any(state != "T" for state in _states(process_id)):
        time.sleep(0.001)


def _states(process_id: int) -> Iterator[str]:
    """The state of each thread of a process."""
    for thread in Path(f"/proc/{process_id}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # it may have ended since
            yield (thread / "stat").read_text().rpartition(")")[2].split()[0]


async def _hung(way: str, random_: random.Random, counts: Counter[str]) -> None:
    """A component never ends: its call does, and the next one is answered."""
    bad = _bad(way, step_timeout=None)
    async with LocalRuntime(bad, retry=RetryPolicy(0)) as runtime:
        await runtime.execute("/pid", {})
        await _timed_out(runtime, bad, "/hang")
        await runtime.execute("/pid", {})
    counts["components hung"] += 1


async def _timed_out(runtime: LocalRuntime, bad: RemotePlugin, component: str) -> None:
    bad._step_timeout = 0.2
    try:
        await runtime.execute(component, {})
    except (RequestTimeout, ServerLost):
        bad._step_timeout = None
    else:
        raise _Wrong(f"{component} was answered")


async def _flooded(way: str, random_: random.Random, counts: Counter[str]) -> None:
    """20 MB on stderr, rubbish on stdout, and then an end in the middle of a step."""
    async with LocalRuntime(_bad(way), retry=RetryPolicy(0)) as runtime:
        for component in random_.sample(["/flood", "/rubbish"], 2):
            if component[1:] not in str(await runtime.execute(component, {})):
                raise _Wrong(f"{component} was answered otherwise")
        try:
            await runtime.execute("/flood and die", {})
        except ServerLost as error:
            if "exit code 3" not in error.message or len(error.message) > 20_000:
                raise _Wrong(f"the end was told as {error.message[:500]}") from None
        else:
            raise _Wrong("a server that had ended answered")
        await runtime.execute("/pid", {})
    counts["floods"] += 2
    counts["exits in a step"] += 1


_CASES: Mapping[str, Callable[[str, random.Random, Counter[str]], Awaitable[None]]] = {
    "killed": _killed,
    "restarted": _restarted,
    "stopped": _stopped,
    "hung": _hung,
    "flooded": _flooded,
}
_COUNTED = ["signals (SIGKILL)", "signals (SIGTERM)", "servers stopped", "components hung", "floods", "exits in a step"]
