"""Good and bad requests to a server over each transport while there is time: nothing may grow or be lost."""

import json
import random
import time

from stepflow_sdk_tests.reliability.ends import TRANSPORTS, End, Transport, execution, open_end
from stepflow_sdk_tests.reliability.memory import descriptors, memory, threads
from stepflow_sdk_tests.reliability.servers.reckless import ERRORS, OUTPUTS
from stepflow_sdk_tests.reliability.wire_cases import CASES, NOTHING
from stepflow_sdk_tests.soak.report import Report

_WARM_UP = 5000
_MOST_GROWTH = 20_000_000
"""Bytes: texts of megabytes and lists of 100,000 levels leave the allocator's memory in holes, whatever the number."""


def requests(seconds: float) -> Report:
    """Half of the time for each transport."""
    counts: list[str] = []
    finds: list[str] = []
    for transport in TRANSPORTS:
        _abuse(transport, time.monotonic() + seconds / len(TRANSPORTS), counts, finds)
    return Report(counts, finds)


def _abuse(transport: Transport, until: float, counts: list[str], finds: list[str]) -> None:
    seed = time.time_ns()
    random_ = random.Random(seed)
    print(f"requests: {transport} with the seed {seed}", flush=True)
    with open_end(transport) as end:
        for _ in range(_WARM_UP):
            _one(end, random_)
        before = memory(end.process_id), descriptors(end.process_id), threads(end.process_id)
        done = 0
        while time.monotonic() < until:
            try:
                _one(end, random_)
            except AssertionError as error:
                finds.append(f"{transport}, seed {seed}, request {done}: {str(error)[:300]}")
                break
            done += 1
        after = memory(end.process_id), descriptors(end.process_id), threads(end.process_id)
        grown, files, more = (now - then for now, then in zip(after, before, strict=True))
        count = f"{transport}: {2 * done} requests, {grown / 1e6:+.1f} MB, {files:+d} descriptors, {more:+d} threads"
        counts.append(count)
        if grown > _MOST_GROWTH or files > 1 or more > 1:
            finds.append(count)


def _one(end: End, random_: random.Random) -> None:
    """One message of any kind, and the probe behind it."""
    match random_.randrange(4):
        case 0:
            case = random_.choice(CASES)
            if len(case.body) < 10_000:
                end.tell(case.body, 0 if case.code == NOTHING else 1)
        case 1:
            way = random_.choice(["async", "later", "thread", "inline"])
            end.execute(f"/raise/{way}", {"how": random_.choice(list(ERRORS))})
        case 2:
            end.execute(random_.choice(["/output/async", "/output/thread"]), {"how": random_.choice(list(OUTPUTS))})
        case _:
            value = json.loads(json.dumps(execution(random_.randrange(1000), "/x", random_.random())))
            end.execute(random_.choice(["/echo", "/echo/thread"]), value)
