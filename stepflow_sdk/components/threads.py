"""Worker threads for ``def`` components."""

import itertools
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from queue import SimpleQueue

__all__ = ["WorkerThreads"]

_MOST_WAITING = 1000
"""How many threads may stand in for others that wait; a bound for memory."""

_numbers = itertools.count(1)


class WorkerThreads:
    """A bounded pool of daemon threads that start when there is work for them.

    The standard library's executor waits for its threads when the interpreter exits, so one component that never
    returns would keep a stopped server alive for ever; these threads end with the process.

    Args:
        limit: How many threads may work at once. Those inside `waiting` do not count, up to 1000 of them: what they
            wait for may be work for this very pool.
    """

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._unfinished = 0
        self._waiting = 0
        self._count = 0
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job in a thread of the pool, in the order of submission; it must not raise."""
        self._jobs.put(job)
        with self._lock:
            self._unfinished += 1
            self._start_thread_if_needed()

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Let another thread work in the place of this one, which does nothing but wait inside the block."""
        with self._lock:
            self._waiting += 1
            self._start_thread_if_needed()
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if self._count > self._allowed():
                    # One of those that stood in is idle, or will be.
                    self._count -= 1
                    self._jobs.put(None)

    def close(self) -> None:
        """Let idle threads end, and the others after their job."""
        with self._lock:
            for _ in range(self._count):
                self._jobs.put(None)
            self._count = 0

    def _allowed(self) -> int:
        return self._limit + min(self._waiting, _MOST_WAITING)

    def _start_thread_if_needed(self) -> None:
        if self._count < min(self._unfinished, self._allowed()):
            self._count += 1
            name = f"stepflow-worker-{next(_numbers)}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job()
            # Not keeping the job alive while waiting for the next one frees what it holds.
            del job
            with self._lock:
                self._unfinished -= 1
                if self._count > self._allowed():
                    self._count -= 1
                    return
