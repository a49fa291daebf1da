"""Worker threads for ``def`` components.

To wake a thread costs more than most components take. So one thread hunts: it takes job after job and wakes nobody.
Only when it is stuck in one of them for half a millisecond while others wait do more threads wake, each time twice as
many.
"""

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

__all__ = ["WorkerThreads"]

_MOST_WAITING = 1000
"""How many threads may stand in for others that wait; a bound for memory."""

_PATIENCE = 0.0005
"""Seconds without a job begun after which the threads that are awake count as stuck."""

_numbers = itertools.count(1)


class WorkerThreads:
    """A bounded pool of daemon threads that start when there is work for them; it belongs to an event loop.

    The standard library's executor waits for its threads when the interpreter exits, so one component that never
    returns would keep a stopped server alive for ever; these threads end with the process.

    Args:
        limit: How many threads may work at once. Those inside `waiting` do not count, up to 1000 of them: what they
            wait for may be work for this very pool.
    """

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[Callable[[], None]] = deque()
        self._gates: list[threading.Lock] = []  # each lets on a thread that sleeps; who slept last is woken first
        self._closed = False
        self._lock = threading.Lock()
        self._threads = 0
        self._awake = 0
        self._waiting = 0
        self._stuck = 0
        self._epoch = 0
        self._begun = 0
        self._begun_before = 0
        self._more = 1
        self._watch: asyncio.TimerHandle | None = None

    @property
    def awake(self) -> int:
        """How many threads work or look for work."""
        return self._awake

    @property
    def queued(self) -> int:
        """How many jobs no thread has begun yet."""
        return len(self._jobs)

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job in a thread of the pool, begun in the order of submission; it must not raise. On the loop only.

        Raises:
            RuntimeError: There is no thread, and the system has none to give.
        """
        self._jobs.append(job)
        # A thread that goes to sleep, or to wait, says so before it looks at the jobs for the last time: either it sees
        # this one, or it does not count here.
        if self._awake <= self._waiting + self._stuck:
            with self._lock:
                if self._awake <= self._waiting + self._stuck:
                    if self._wake(1):
                        return
                    if not self._awake:
                        self._jobs.pop()
                        raise RuntimeError("no thread could be started")
        if self._watch is None:
            self._more = 1
            self._begun_before = self._begun
            self._watch = self._loop.call_later(_PATIENCE, self._look)

    def drop(self, is_stale: Callable[[Callable[[], None]], bool]) -> list[Callable[[], None]]:
        """Take back the jobs that are stale and that no thread has begun."""
        with self._lock:
            jobs = list(self._jobs)
            self._jobs.clear()
            stale: list[Callable[[], None]] = []
            for job in jobs:
                (stale if is_stale(job) else self._jobs).append(job)
        return stale

    @property
    def _most(self) -> int:
        return self._limit + min(self._waiting, _MOST_WAITING)

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Let another thread work in the place of this one, which does nothing but wait inside the block."""
        with self._lock:
            self._waiting += 1
            if self._jobs:
                self._wake(1)
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1

    def close(self) -> None:
        """Let threads that sleep end, and the others after their job."""
        if self._watch is not None:
            self._watch.cancel()
        with self._lock:
            self._closed = True
            self._awake += len(self._gates)
            for gate in self._gates:
                gate.release()
            self._gates.clear()

    def _look(self) -> None:
        self._watch = None
        if not self._jobs:
            return
        if self._begun == self._begun_before:
            with self._lock:
                self._stuck = max(self._awake - self._waiting, 0)
                self._epoch += 1
                self._wake(self._more)
            self._more *= 2
        self._begun_before = self._begun
        self._watch = self._loop.call_later(_PATIENCE, self._look)

    def _wake(self, count: int) -> bool:
        """Wake or start threads, as many as there may be; False when the system has none to give."""
        count = min(count, len(self._jobs), self._most - self._awake)
        for _ in range(count):
            if self._gates:
                self._gates.pop().release()
            else:
                name = f"stepflow-worker-{next(_numbers)}"
                try:
                    threading.Thread(target=self._work, name=name, daemon=True).start()
                except RuntimeError:
                    return False  # those that are awake take the jobs one after the other
                self._threads += 1
            self._awake += 1
        return True

    def _work(self) -> None:
        gate = threading.Lock()
        gate.acquire()
        while not self._take_all(gate):
            gate.acquire()

    def _take_all(self, gate: threading.Lock) -> bool:
        """Run job after job until the thread should sleep before its gate, or with True end."""
        take = self._jobs.popleft
        while True:
            # Nothing here waits for the lock, which costs as much as a small job: where there are too many threads, or
            # may be, or no jobs, `_rest` looks again.
            try:
                job = take() if self._awake <= self._limit + self._waiting else None
            except IndexError:
                job = None
            if job is None:
                with self._lock:
                    ends = self._rest(gate)
                if ends is not None:
                    return ends
                continue
            epoch = self._epoch
            self._begun += 1
            job()
            # Not keeping the job alive while looking for the next one frees what it holds.
            del job
            if epoch != self._epoch:
                self._come_free()

    def _rest(self, gate: threading.Lock) -> bool | None:
        """Let a thread sleep, or with True end, unless there is work for it."""
        self._awake -= 1
        # Those that stood in for others make room when these work again.
        if self._jobs and self._awake < self._most:
            self._awake += 1
            return None
        if self._threads <= self._limit and not self._closed:
            self._gates.append(gate)
            return False
        # In the same breath: whoever counts the threads that sleep must not count on one that is about to end.
        self._threads -= 1
        return True

    def _come_free(self) -> None:
        # A little too much or too little costs a wake-up or half a millisecond, and the next look counts anew.
        with self._lock:
            self._stuck = max(self._stuck - 1, 0)
