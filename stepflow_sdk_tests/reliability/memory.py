"""What a process uses, read from /proc."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

__all__ = ["OWN_THREADS", "POOL_THREADS", "descriptors", "linux_only", "memory", "peak_while", "threads"]

OWN_THREADS, POOL_THREADS = 4, 32
"""How many threads a server has for itself, and at most for ``def`` components."""

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def memory(process_id: int) -> int:
    """The resident memory of a process, in bytes."""
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(process_id: int) -> int:
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))


def threads(process_id: int) -> int:
    return len(list(Path(f"/proc/{process_id}/task").iterdir()))


def peak_while(process_id: int, do: Callable[[], object]) -> int:
    """By how many bytes the resident memory grew at most while something was done."""
    before = peak = memory(process_id)
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.01):
            peak = max(peak, memory(process_id))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        do()
    finally:
        over.set()
        watcher.join()
    return peak - before
