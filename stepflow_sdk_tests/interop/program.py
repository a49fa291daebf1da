"""A program that announces its port, as orchestrators and component servers do, and that is ended for certain."""

import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds that anything may take on a busy machine."""


class NotRunning(Exception):
    """A program did not start, or has ended; the message holds the end of what it wrote."""


class Program:
    """A running program in a process group of its own, whose output is read all the time."""

    def __init__(self, name: str, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log: deque[str] = deque(maxlen=400)
        self._family: dict[int, str] = {}
        self._port: int | None = None
        self._told = threading.Event()
        self.process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def port(self) -> int:
        """The port that the program announces.

        Raises:
            NotRunning: It ended before, or said nothing in time.
        """
        self._told.wait(PATIENCE)
        if self._port is None:
            raise NotRunning(f"{self.name} announced no port (exit code {self.process.poll()}):\n{self.tail()}")
        return self._port

    def tail(self, lines: int = 40) -> str:
        """The end of what the program wrote."""
        return "\n".join(line[:400] for line in list(self.log)[-lines:])

    def kill(self) -> None:
        """Kill the program alone, without a word to its children."""
        self._family |= descendants(self.process.pid)
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self) -> None:
        """End the program, and what it started."""
        self._family |= descendants(self.process.pid)
        if self.process.poll() is None:
            self._signal_group(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        self._signal_group(signal.SIGKILL)
        self.process.wait(PATIENCE)
        for pid, started in self._family.items():
            if start_time(pid) == started:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._reader.join(PATIENCE)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for raw in stdout:
                line = raw.decode("utf-8", "replace").rstrip()
                self.log.append(line)
                if not self._told.is_set() and line.startswith("{"):
                    self._port = _announced(line)
                    if self._port is not None:
                        self._told.set()
        self._told.set()


def _announced(line: str) -> int | None:
    try:
        said: Any = json.loads(line)
    except ValueError:
        return None
    port = said.get("port")
    return port if isinstance(port, int) else None


def start_time(pid: int) -> str | None:
    """When a process started, in ticks of the machine; with its id it tells processes apart. None once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def descendants(pid: int) -> dict[int, str]:
    """The processes below a process, and when each started."""
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                for child in map(int, (task / "children").read_text().split()):
                    started = start_time(child)
                    if started is not None:
                        found[child] = started
                        waiting.append(child)
    return found


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {PATIENCE:.0f} s: {what}"
        pause.wait(0.05)
