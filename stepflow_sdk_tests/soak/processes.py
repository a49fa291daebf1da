"""The processes below this one: none of them may outlive it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["adopt_orphans", "below", "end_all_below", "wait_for_none"]

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """On Linux: be the parent of whatever is left by those below, so that it can be found."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def below(process_id: int) -> dict[int, str]:
    """The processes below one, with their commands; those that have ended and were not waited for are left out."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for pid, parent, state, command in _listed():
        parents[pid] = parent
        if not state.startswith("Z"):
            commands[pid] = command
    found = {process_id}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: commands[pid] for pid in found - {process_id} if pid in commands}


def end_all_below(seconds: float = 30.0) -> None:
    """Kill everything below this process: again and again, for what is killed may just have started something."""
    until = time.monotonic() + seconds
    while (left := below(os.getpid())) and time.monotonic() < until:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        _reap()
        time.sleep(0.01)


def wait_for_none(seconds: float) -> dict[int, str]:
    """Give what is below this process so long to end; returns what has not."""
    until = time.monotonic() + seconds
    while (left := below(os.getpid())) and time.monotonic() < until:
        _reap()
        time.sleep(0.1)
    return left


def _listed() -> Iterator[tuple[int, int, str, str]]:
    """Each process: its id, its parent's, its state, its command."""
    if sys.platform != "linux":
        said = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True)
        for line in said.stdout.splitlines():
            pid, parent, state, command = (*line.split(None, 3), "")[:4]
            if not command.startswith("ps -A -o"):
                yield int(pid), int(parent), state, command
        return
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                # The name, in parentheses, may hold anything.
                state, parent, *_ = (directory / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield int(directory.name), int(parent), state, command


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
