"""Kills a runtime again and again, and checks the history of what it did."""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepflow_sdk.errors import CorruptState
from stepflow_sdk.runtime import RunQuery
from stepflow_sdk.runtime.stores.opening import open_for_reading
from stepflow_sdk.runtime.stores.run_reads import find_runs, read_items, read_steps
from stepflow_sdk.runtime.stores.sqlite import SqliteState
from stepflow_sdk_tests.runtime.kill_program import EXPECTED

PROGRAM = Path(__file__).with_name("kill_program.py")

Step = tuple[str, int, str]
"""A run, an item and a step."""


@dataclass
class History:
    """What was counted, and what was wrong."""

    kills: int = 0
    accepted: int = 0
    finished: int = 0
    nested: int = 0
    abandoned: int = 0
    blobs: int = 0
    calls: int = 0
    again: int = 0
    opening: list[float] = field(default_factory=list[float])
    wrong: list[str] = field(default_factory=list[str])

    def add(self, other: "History") -> None:
        """Count another history, too."""
        self.kills += other.kills
        self.accepted += other.accepted
        self.finished += other.finished
        self.nested += other.nested
        self.abandoned += other.abandoned
        self.blobs += other.blobs
        self.calls += other.calls
        self.again += other.again
        self.opening += other.opening
        self.wrong += other.wrong

    def lines(self) -> list[str]:
        """The counts for people."""
        slowest = sorted(self.opening)[int(len(self.opening) * 0.99)] if self.opening else 0.0
        finished_again = sum("finished step" in problem for problem in self.wrong)
        return [
            f"kills {self.kills}",
            f"runs accepted {self.accepted}, finished {self.finished}",
            f"runs started by steps: finished {self.nested}, given up with their steps {self.abandoned}",
            f"blobs that are what was stored {self.blobs}",
            f"steps called {self.calls}",
            f"finished steps run again {finished_again}",
            f"steps under way run again, as a higher attempt {self.again}",
            f"a restart took {slowest:.3f} s (99 %)",
        ]


def kill_often(folder: Path, *, kills: int = 0, seconds: float = 0.0, seed: int = 0, runs: int = 15) -> History:
    """Kill a runtime so often, or for so long, at moments that a seed chooses, and let the last one finish."""
    state, log = folder / "state.db", folder / "log"
    moments = random.Random(seed)
    history = History()
    stored: set[Step] = set()
    stored_by: dict[int, set[Step]] = {}
    until = time.monotonic() + seconds
    while history.kills < kills or time.monotonic() < until:
        generation = history.kills
        with subprocess.Popen(
            [sys.executable, str(PROGRAM), str(state), str(log), str(generation), str(runs)]
        ) as process:
            # Every other time while steps are under way for sure; else now and then before anything has happened,
            # mostly in the middle, at times when all is done.
            sure = generation % 2 == 0
            _wait_until_told(process, log, generation, "call" if sure else "opened")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moments.random() * 0.01 if sure else moments.random() ** 2 * 0.4)
            process.kill()
        history.kills += 1
        stored |= _finished_steps(state)
        stored_by[generation] = set(stored)
    subprocess.run([sys.executable, str(PROGRAM), str(state), str(log), str(history.kills), "0"], check=True)
    _check_log(log, history, stored_by)
    _check_state(state, log, history)
    asyncio.run(_check_blobs(state, log, history))
    return history


def _lines(log: Path) -> list[list[Any]]:
    return [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []


def _wait_until_told(process: "subprocess.Popen[bytes]", log: Path, generation: int, word: str) -> None:
    while process.poll() is None:
        if log.exists() and f'[{generation}, "{word}"'.encode() in log.read_bytes():
            return
        time.sleep(0.002)


def _finished_steps(state: Path) -> set[Step]:
    with contextlib.closing(open_for_reading(state)) as connection:
        return {
            (run.run_id, step.item, step.step_id)
            for run in find_runs(connection, RunQuery(limit=1_000_000))
            for step in read_steps(connection, run.run_id, None)
            if step.status != "running"
        }


def _check_log(log: Path, history: History, stored_by: dict[int, set[Step]]) -> None:
    called: Counter[tuple[Any, ...]] = Counter()
    attempts: dict[Step, int] = {}
    for generation, word, *details in _lines(log):
        if word == "opened":
            history.opening.append(details[0])
        if word != "call":
            continue
        run_id, item, step, attempt = details
        name = (run_id, item, step)
        history.calls += 1
        called[*name, attempt] += 1
        history.again += attempt > 1
        if name in stored_by.get(generation - 1, ()):
            history.wrong.append(f"the finished step {name} was called again as attempt {attempt}")
        if attempt <= attempts.get(name, 0):
            history.wrong.append(f"{name} was called as attempt {attempt} after {attempts[name]}")
        attempts[name] = attempt
    history.wrong += [f"{name} was called {count} times" for name, count in called.items() if count > 1]


def _check_state(state: Path, log: Path, history: History) -> None:
    accepted = {line[2] for line in _lines(log) if line[1] == "accepted"}
    history.accepted = len(accepted)
    with contextlib.closing(open_for_reading(state)) as connection:
        runs = {run.run_id: run for run in find_runs(connection, RunQuery(limit=1_000_000))}
        for run_id in accepted - set(runs):
            history.wrong.append(f"the run {run_id} was accepted and is lost")
        for run_id, run in runs.items():
            results = [getattr(item.result, "result", item.result) for item in read_items(connection, run_id)]
            if run.status == "completed" and results == [EXPECTED[str(run.flow_name)]] * len(results):
                history.finished += run_id in accepted
                history.nested += run.depth > 0
            elif run.attached and run.status == "cancelled":
                # The step that waited for it was killed, and has started another one.
                history.abandoned += 1
            else:
                history.wrong.append(f"the run {run_id} is {run.status} with {results}")


async def _check_blobs(path: Path, log: Path, history: History) -> None:
    state = await SqliteState.open(path)
    for blob_id in {line[2] for line in _lines(log) if line[1] == "blob"}:
        try:
            blob = await state.blobs.get(blob_id)
        except CorruptState as error:
            history.wrong.append(str(error))
        else:
            if blob is None:
                history.wrong.append(f"the blob {blob_id} was stored and is lost")
            history.blobs += blob is not None
    await state.close()
