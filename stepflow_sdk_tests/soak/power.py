"""Power cuts: what a disk may hold of a state file at any moment, after a runtime that was killed before."""

import asyncio
import random
import time
from collections.abc import Iterator

from stepflow_sdk_tests.runtime.power.cuts import Cuts
from stepflow_sdk_tests.runtime.power.lab import Lab
from stepflow_sdk_tests.runtime.power.syscalls import why_not
from stepflow_sdk_tests.runtime.state_tools import folder_in_memory
from stepflow_sdk_tests.soak.report import Report

__all__ = ["power"]

_AT_ONCE = 50


def power(seconds: float) -> Iterator[Report]:
    """Record a runtime that goes on after another one, and cut its power again and again, until the time is over."""
    until = time.monotonic() + seconds
    reason = why_not()
    if reason is not None:
        yield Report(0, "power cuts", left_out=reason)
        return
    seed = time.time_ns()
    total = Cuts()
    print(f"power: the seeds start at {seed}", flush=True)
    while time.monotonic() < until:
        with folder_in_memory() as folder:
            lab = Lab(folder)
            # The first one would make some 4000 changes to its files.
            lab.run("full", kill_at=random.Random(seed).randrange(60, 3000))
            lab.run("full")
            total.add(asyncio.run(lab.cut(_AT_ONCE, seed)))
        yield Report(total.cuts, "power cuts", total.lines()[1:], total.wrong)
        seed += 1
