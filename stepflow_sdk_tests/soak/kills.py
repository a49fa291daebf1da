"""A runtime with a state file that is killed again and again."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from stepflow_sdk_tests.runtime.kills import History, kill_often
from stepflow_sdk_tests.soak.report import Report

__all__ = ["kills"]

_ROUND = 30.0


def kills(seconds: float) -> Iterator[Report]:
    """Kill until the time is over, with a new file every half minute: the checks read all of it each time."""
    until = time.monotonic() + seconds
    total = History()
    seed = time.time_ns()
    print(f"kills: the seeds start at {seed}", flush=True)
    while (left := until - time.monotonic()) > 0:
        with tempfile.TemporaryDirectory() as folder:
            history = kill_often(Path(folder), seconds=min(left, _ROUND), seed=seed)
        history.wrong[:] = [f"seed {seed}: {problem}" for problem in history.wrong]
        total.add(history)
        seed += 1
        yield Report(total.kills, "kills", total.lines()[1:], total.wrong)
