"""Cuts the power of a recorded program again and again, and looks at what its state file then says."""

import contextlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stepflow_sdk.protocol import FlowResultSuccess
from stepflow_sdk.runtime import LocalRuntime, RunQuery
from stepflow_sdk.runtime.engine import Engine
from stepflow_sdk_tests.runtime.power.disks import WAYS, Disk
from stepflow_sdk_tests.runtime.power.program import BEFORE, INPUTS, RESULT, make_server
from stepflow_sdk_tests.runtime.power.syscalls import Call

Step = tuple[str, int, str]
"""A run, an item and a step."""


@dataclass
class Promises:
    """What a program has told others."""

    accepted: set[str] = field(default_factory=set[str])
    ended: set[str] = field(default_factory=set[str])
    blobs: set[str] = field(default_factory=set[str])
    finished: set[Step] = field(default_factory=set[Step])
    attempts: dict[Step, int] = field(default_factory=dict[Step, int])
    forgets: bool = False

    def take(self, line: Sequence[Any]) -> None:
        """Add what a line of the program says."""
        word, *told = line
        if word == "called":
            run, item, step, attempt = told
            self.accepted.add(run)
            self.finished |= {(run, item, before) for before in BEFORE[step]}
            self.attempts[run, item, step] = attempt
        elif word in ("accepted", "ended"):
            getattr(self, word).add(told[0])
        elif word == "blob":
            self.blobs.add(told[0])
        else:
            self.forgets |= word == "forgets"


@dataclass
class Cuts:
    """What was counted, and what was wrong."""

    cuts: int = 0
    fresh: int = 0
    runs: int = 0
    blobs: int = 0
    resumed: int = 0
    wrong: list[str] = field(default_factory=list[str])

    def add(self, other: "Cuts") -> None:
        """Count others, too."""
        self.cuts += other.cuts
        self.fresh += other.fresh
        self.runs += other.runs
        self.blobs += other.blobs
        self.resumed += other.resumed
        self.wrong += other.wrong

    def lines(self) -> list[str]:
        """The counts for people."""
        return [
            f"power cuts {self.cuts:,}, before there was a file {self.fresh:,}",
            f"runs looked at {self.runs:,}, finished afterwards {self.resumed:,}; blobs looked for {self.blobs:,}",
        ]


def told(call: Call) -> Iterator[list[Any]]:
    """The lines of the program that a call sent."""
    for line in call.data.splitlines() if call.name == "send" else ():
        if line.startswith(b'["'):
            yield json.loads(line)


def moments_of(calls: Sequence[Call], chance: random.Random, count: int) -> list[int]:
    """Moments after so many calls: half of them beside what matters, half of them anywhere."""
    matter = [place for place, call in enumerate(calls) if call.name != "write"]
    near = {chance.choice(matter) + chance.randint(0, 1) for _ in range(count // 2)}
    return sorted(near | {chance.randrange(len(calls) + 1) for _ in range(count // 2)})


def played(
    disk: Disk, calls: Sequence[Call], moments: Iterable[int], promises: Promises
) -> Iterator[tuple[int, Disk, Promises]]:
    """The disk, and what was promised, at each of some moments in their order."""
    done = 0
    # What is sent counts from when it is sent; other calls from when they are done.
    order = sorted(calls, key=lambda call: call.began if call.name == "send" else call.ended)
    for moment in moments:
        for call in order[done:moment]:
            disk.play(call)
            for line in told(call):
                promises.take(line)
        done = moment
        yield moment, disk, promises


async def cut_often(
    calls: Sequence[Call], disk: Disk, promises: Promises, folder: Path, *, count: int, seed: int
) -> Cuts:
    """Cut the power so often, and check what is found each time.

    Args:
        calls: What the program did.
        disk: What there was before.
        promises: What others had promised before.
        folder: For the files that are found.
        count: About how many power cuts.
        seed: Chooses the moments, and what becomes of what was not flushed.
    """
    chance = random.Random(seed)
    cuts = Cuts()
    for moment, now, promised in played(disk, calls, moments_of(calls, chance, count), promises):
        way = chance.choice(WAYS)
        found = now.after_power_cut(chance, way)
        before = len(cuts.wrong)
        with _laid_out(folder, found) as path:
            try:
                cuts.fresh += path.name not in found
                await _check(path, promised, cuts, finish=cuts.cuts % 10 == 0)
            except Exception as error:  # whatever it is, it is a find
                cuts.wrong.append(f"{type(error).__name__}: {error}")
        cuts.wrong[before:] = [f"seed {seed}, call {moment}, {way}: {wrong}" for wrong in cuts.wrong[before:]]
        cuts.cuts += 1
    return cuts


@contextlib.contextmanager
def _laid_out(folder: Path, files: dict[str, bytes]) -> Iterator[Path]:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    yield folder / "state.db"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


async def _check(path: Path, promised: Promises, cuts: Cuts, *, finish: bool) -> None:
    async with LocalRuntime(make_server(), state=path) as runtime:
        engine = runtime.engine
        runs = {run.run_id: run for run in await engine.runs.find(RunQuery(limit=1000))}
        if not promised.forgets:
            cuts.wrong += [f"the run {run} was accepted and is lost" for run in promised.accepted - runs.keys()]
        for run_id, run in runs.items():
            cuts.runs += 1
            if run_id in promised.ended and run.status != "completed":
                cuts.wrong.append(f"the run {run_id} had ended and is {run.status}")
            await _check_run(engine, run_id, promised, cuts)
        for blob_id in promised.blobs:
            cuts.blobs += 1
            if await engine.blobs.get(blob_id) is None and not promised.forgets:
                cuts.wrong.append(f"the blob {blob_id} was stored and is lost")
        open_runs = {run_id for run_id, run in runs.items() if run.status == "running"}
        if finish:
            ended = {run.run_id: run.status for run in await runtime.resume()}
            cuts.resumed += len(ended)
            if ended != dict.fromkeys(open_runs, "completed"):
                cuts.wrong.append(f"{open_runs} were open, and their ends are {ended}")


async def _check_run(engine: Engine, run_id: str, promised: Promises, cuts: Cuts) -> None:
    inputs = list(await engine.runs.inputs(run_id))
    if inputs != INPUTS:
        cuts.wrong.append(f"the run {run_id} has {len(inputs)} inputs or wrong ones")
    results = [item.result for item in await engine.runs.items(run_id)]
    if results != [FlowResultSuccess(RESULT)] * len(results):
        cuts.wrong.append(f"the run {run_id} came to {results}")
    steps = {(run_id, step.item, step.step_id): step for step in await engine.runs.steps(run_id)}
    for name in promised.finished:
        if name[0] == run_id and (name not in steps or steps[name].status == "running"):
            cuts.wrong.append(f"the step {name} had ended, and its result is lost")
    for name, attempt in promised.attempts.items():
        if name[0] == run_id and (name not in steps or steps[name].attempt < attempt):
            cuts.wrong.append(f"{name} was called as attempt {attempt}, which is forgotten")
