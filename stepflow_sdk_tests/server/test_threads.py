"""`def` components and the threads they share."""

import asyncio
import functools
import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stepflow_sdk import BlockingContext, ComponentError, StepflowServer
from stepflow_sdk.components.threads import WorkerThreads
from stepflow_sdk.runtime import LocalRuntime


def step_of(component: str, input: Any) -> dict[str, Any]:
    return {"steps": [{"id": "s", "component": component, "input": input}], "output": {"$step": "s"}}


ECHO = step_of("/echo", {"$input": "$"})
INNER = step_of("/nested", {"flow": {"$literal": ECHO}, "input": {"$input": "$"}})
OUTER = step_of("/nested", {"flow": {"$literal": INNER}, "input": {"$input": "$"}})


def server_with(threads: int) -> StepflowServer:
    server: StepflowServer = StepflowServer(threads=threads)

    @server.component
    def echo(input: Any) -> Any:
        return input

    @server.component
    def nested(flow: dict[str, Any], input: Any, ctx: BlockingContext) -> Any:
        return ctx.evaluate_flow(flow, input)

    return server


async def test_components_that_wait_for_flows_leave_room_for_the_steps_of_these() -> None:
    async with LocalRuntime(server_with(threads=2)) as runtime:
        outcomes = await runtime.run_batch(OUTER, range(50), max_concurrency=50)
        assert [outcome.unwrap() for outcome in outcomes] == list(range(50))


async def test_no_more_threads_work_at_once_than_the_server_allows() -> None:
    server = server_with(threads=2)
    pair = threading.Barrier(2, timeout=60)
    lock = threading.Lock()
    working, most = 0, 0

    @server.component
    def work() -> None:
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        pair.wait()
        with lock:
            working -= 1
        pair.wait()

    async with LocalRuntime(server) as runtime:
        # Threads that stood in for others must be gone again.
        await runtime.run_batch(OUTER, range(20), max_concurrency=20)
        outcomes = await runtime.run_batch(step_of("/work", {}), range(20), max_concurrency=20)
        assert [outcome.unwrap() for outcome in outcomes] == [None] * 20
    assert most == 2


class _Crowd:
    """Jobs that wait for jobs, which wait for jobs: as deep and as many as a seed says."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.pool = WorkerThreads(self.random.choice([1, 2, 3]))
        self.loop = asyncio.get_running_loop()
        self.left = 0
        self.done = asyncio.Event()

    def spawn(self, depth: int, after: threading.Event) -> None:
        self.left += 1
        waits, works = self.random.random() < 0.8, self.random.random() < 0.1
        self.pool.submit(lambda: self.run(depth if waits else 0, works, after))

    def run(self, depth: int, works: bool, after: threading.Event) -> None:
        if depth:
            inner = threading.Event()
            self.loop.call_soon_threadsafe(self.spawn, depth - 1, inner)
            with self.pool.waiting():
                inner.wait()
        if works:
            threading.Event().wait(0.0007)  # long enough to count as stuck
        after.set()
        self.loop.call_soon_threadsafe(self.end)

    def end(self) -> None:
        self.left -= 1
        if not self.left:
            self.done.set()


async def test_a_thread_that_cannot_be_started_costs_one_call_and_those_after_it_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    def first() -> None:
        loop.call_soon_threadsafe(begun.set)
        gate.wait()

    def later() -> None:
        ran.append("later")
        loop.call_soon_threadsafe(ended.set)

    pool = WorkerThreads(3)
    loop = asyncio.get_running_loop()
    ran: list[str] = []
    begun, gate, ended = asyncio.Event(), threading.Event(), asyncio.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="thread"):
            pool.submit(lambda: ran.append("refused"))
    pool.submit(first)
    async with asyncio.timeout(60):
        await begun.wait()
        with monkeypatch.context() as patch:
            # With one at work, the next one waits for it.
            patch.setattr(threading.Thread, "start", fail)
            with pool.waiting():
                pool.submit(later)
        gate.set()
        await ended.wait()
    assert ran == ["later"]
    pool.close()


async def test_calls_that_get_no_thread_fail_and_leave_their_turns_to_those_after_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = StepflowServer("none")

    @server.component(max_concurrency=1, timeout=600)
    def echo(data: Any) -> Any:
        return data

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with asyncio.timeout(60), LocalRuntime(server) as runtime:
        await runtime.list_components()
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            calls = [runtime.execute("/echo", number) for number in range(3)]
            failures = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(failure) for failure in failures] == [ComponentError] * 3
        assert await asyncio.gather(*(runtime.execute("/echo", number) for number in range(3))) == [0, 1, 2]


async def test_no_job_is_forgotten_however_threads_wait_and_stand_in() -> None:
    for seed in range(300):
        crowd = _Crowd(seed)
        for _ in range(crowd.random.randint(1, 40)):
            crowd.spawn(crowd.random.randint(0, 3), threading.Event())
        async with asyncio.timeout(60):
            await crowd.done.wait()
        crowd.pool.close()


class _Crush:
    """Bursts of jobs in one pool, each of which has to end before the next; counted by each of its threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.pool = WorkerThreads(limit)
        self.loop = asyncio.get_running_loop()
        self.random = random.Random(limit)
        self.lock = threading.Lock()
        self.runs: list[int] = []
        self.ended = self.working = self.most = 0
        self.threads: set[threading.Thread] = set()
        self.is_over = asyncio.Event()

    def work(self, number: int, seconds: float) -> None:
        with self.lock:
            self.threads.add(threading.current_thread())
            self.runs[number] += 1
            self.working += 1
            self.most = max(self.most, self.working)
        if seconds:
            threading.Event().wait(seconds)
        with self.lock:
            self.working -= 1
            self.ended += 1
            is_last = self.ended == len(self.runs)
        if is_last:
            self.loop.call_soon_threadsafe(self.is_over.set)

    async def run(self, bursts: int) -> None:
        for _ in range(bursts):
            self.is_over.clear()
            # A thread that waits counts as stuck, and others wake beside it.
            jobs = [self.random.random() < 0.05 for _ in range(self.random.choice([1, 2, 3, 30, 100]))]
            first = len(self.runs)
            with self.lock:
                self.runs += [0] * len(jobs)
            for number, waits in enumerate(jobs, first):
                self.pool.submit(functools.partial(self.work, number, 0.0006 if waits else 0))
                if self.random.random() < 0.1:
                    await asyncio.sleep(0)
            async with asyncio.timeout(60):
                await self.is_over.wait()
        self.pool.close()


def test_each_job_runs_once_and_within_the_limit_however_threads_are_switched() -> None:
    crushes: list[_Crush] = []

    async def crush(limit: int) -> None:
        made = _Crush(limit)
        crushes.append(made)
        await made.run(bursts=1500)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor() as loops:
            for done in [loops.submit(asyncio.run, crush(limit)) for limit in (1, 2, 4, 8)]:
                done.result()
    finally:
        sys.setswitchinterval(before)
    for made in crushes:
        assert set(made.runs) == {1}
        assert max(made.most, len(made.threads)) <= made.limit
        for thread in made.threads:
            thread.join(60)
            assert not thread.is_alive()


async def test_an_outcome_whose_callback_was_lost_is_told_with_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    server = StepflowServer("lost")
    loop = asyncio.get_running_loop()
    tell, lost = loop.call_soon_threadsafe, asyncio.Event()

    @server.component
    def echo(data: Any) -> Any:
        return data

    def lose(callback: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(callback, "__name__", "") != "_look" or lost.is_set():
            return tell(callback, *arguments, **options)
        tell(lost.set)
        return None

    async with asyncio.timeout(60), LocalRuntime(server) as runtime:
        monkeypatch.setattr(loop, "call_soon_threadsafe", lose)
        first = asyncio.ensure_future(runtime.execute("/echo", 1))
        await lost.wait()
        assert await runtime.execute("/echo", 2) == 2
        assert await first == 1
