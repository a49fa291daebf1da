"""A runtime with a state file that is killed again and again."""

import tempfile
import time
from pathlib import Path

from stepflow_sdk_tests.runtime.kills import History, kill_often
from stepflow_sdk_tests.soak.report import Report

_ROUND = 60.0


def kills(seconds: float) -> Report:
    """Kill until the time is over, with a new file every minute: the checks read all of it each time."""
    until = time.monotonic() + seconds
    total = History()
    seed = time.time_ns()
    print(f"kills: the seeds start at {seed}", flush=True)
    while (left := until - time.monotonic()) > 0:
        with tempfile.TemporaryDirectory() as folder:
            history = kill_often(Path(folder), seconds=min(left, _ROUND), seed=seed)
        for problem in history.wrong:
            print(f"kills: seed {seed}: {problem}", flush=True)
        total.kills += history.kills
        total.accepted += history.accepted
        total.finished += history.finished
        total.calls += history.calls
        total.again += history.again
        total.opening += history.opening
        total.wrong += [f"seed {seed}: {problem}" for problem in history.wrong]
        print(f"kills: {', '.join(total.lines())}", flush=True)
        seed += 1
    return Report(total.lines(), total.wrong)
