"""A server process: started, weighed and ended."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


class BenchmarkError(Exception):
    """A server failed, or did not answer."""


def pin() -> int | None:
    """Keep this process and what it starts from now on to one CPU; returns which, or None where that cannot be done."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return cpu


class Server:
    """A server process with pipes for stdin and stdout.

    Attributes:
        started: When it was started, on the clock of ``time.perf_counter``.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the process)
        # These two are for development: users' servers do not compile their modules at each start.
        inherited = {**os.environ}
        for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
            inherited.pop(name, None)
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            env={**inherited, **environment},
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise BenchmarkError("the server has no pipes")
        self.stdin = self._process.stdin.fileno()
        self.stdout = self._process.stdout.fileno()

    def cpu(self) -> float | None:
        """Seconds of CPU that the process and its children have used, in nanosecond steps; None where none can tell."""
        if not Path("/proc/self/task").exists():
            return None
        # The clock of a process that POSIX numbers by its id. Unlike /proc/*/schedstat it knows of ended threads.
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self._tree())

    def memory(self, field: str = "VmHWM") -> float | None:
        """Megabytes that the process and its children have held at most, or with ``VmRSS`` hold now."""
        total = 0
        for pid in self._tree():
            try:
                status = Path(f"/proc/{pid}/status").read_text("utf-8")
            except OSError:
                return None
            found = [line.split()[1] for line in status.splitlines() if line.startswith(f"{field}:")]
            total += int(found[0]) if found else 0
        return total / 1024

    def complaint(self) -> str:
        """The last thing that the process wrote to stderr, and its exit code if it has ended."""
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        code = self._process.poll()
        ended = "" if code is None else f"ended with code {code}: "
        return f"{ended}{lines[-1][:300] if lines else 'nothing on stderr'}"

    def stop(self) -> None:
        """End the process, and wait for it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._log.close()

    def _tree(self) -> list[int]:
        pids = [self._process.pid]
        for pid in pids:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    pids.extend(map(int, children.read_text("utf-8").split()))
                except OSError:
                    continue  # a thread that has just ended
        return pids


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Server]:
    """A server process that ends with the block."""
    server = Server(command, environment)
    try:
        yield server
    finally:
        server.stop()
