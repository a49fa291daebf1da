"""Worker threads for ``def`` components."""

import itertools
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["WorkerThreads"]

_numbers = itertools.count(1)


class WorkerThreads:
    """A bounded pool of daemon threads that start when there is work for them.

    The standard library's executor waits for its threads when the interpreter exits, so one component that never
    returns would keep a stopped server alive for ever; these threads end with the process.

    Args:
        limit: How many threads there may be.
    """

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job in a thread of the pool, in the order of submission; it must not raise."""
        self._jobs.put(job)
        if self._idle.acquire(blocking=False):
            return
        with self._lock:
            if self._count < self._limit:
                self._count += 1
                name = f"stepflow-worker-{next(_numbers)}"
                threading.Thread(target=self._work, name=name, daemon=True).start()

    def close(self) -> None:
        """Let idle threads end, and the others after their job."""
        with self._lock:
            for _ in range(self._count):
                self._jobs.put(None)
            self._count = 0

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            job()
            # Not keeping the job alive while waiting for the next one frees what it holds.
            del job
            self._idle.release()
