"""Fuzzes one target after the other, each in a process of its own: what it does not survive ends that alone."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from stepflow_sdk_tests.soak.fuzzing.targets import TARGETS
from stepflow_sdk_tests.soak.report import Report

__all__ = ["fuzz"]

_PROGRAM = Path(__file__).with_name("program.py")
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_PEAK = re.compile(r"stat::peak_rss_mb:\s*(\d+)")
_EDGES = re.compile(r"\bcov: (\d+)")
_TELLING = re.compile(r"[\w.]+(Error|Wrong|Exception|Interrupt)\b|SUMMARY|ERROR: libFuzzer")


class _Fuzzed(NamedTuple):
    inputs: int
    figures: str
    finds: list[str]


def fuzz(seconds: float) -> Iterator[Report]:
    """Fuzz each target for its share of the time; a target ends with what it finds."""
    how = "guided by coverage (atheris)"
    if find_spec("atheris") is None:
        how = "without atheris, which is not to be had here: changes at random, not guided by coverage"
    figures: list[str] = [how]
    finds: list[str] = []
    total = 0
    until = time.monotonic() + seconds
    overhead = 0.0
    for number, name in enumerate(TARGETS):
        began = time.monotonic()
        # A process needs seconds to begin, which count too.
        given = max(1.0, (until - began) / (len(TARGETS) - number) - overhead)
        done = _fuzz_one(name, given)
        overhead = time.monotonic() - began - given
        total += done.inputs
        figures.append(f"{name}: {done.figures}")
        finds += done.finds
        yield Report(total, "inputs", figures, finds)


def _fuzz_one(name: str, seconds: float) -> _Fuzzed:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate((b"", *TARGETS[name].seeds)):
            (corpus / f"seed-{number}").write_bytes(seed)
        done = subprocess.run(
            [sys.executable, _PROGRAM, name, folder, str(seconds)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        kept = [path.read_bytes() for path in Path(folder, "finds").glob("*")]
    said = done.stdout.decode("utf-8", "replace")
    finds = [f"{name}: the input {data!r}: {_reason(said)}" for data in kept]
    if done.returncode and not finds:
        finds.append(f"{name}: the fuzzer ended with code {done.returncode}: {said[-500:]}")
    inputs = int(found[1]) if (found := _EXECUTED.search(said)) else 0
    figures = f"{inputs:,} inputs, {inputs / seconds:,.0f} a second"
    if edges := _EDGES.findall(said):
        figures += f", {edges[-1]} edges"
    if peak := _PEAK.search(said):
        figures += f", at most {peak[1]} MB"
    return _Fuzzed(inputs, figures, finds)


def _reason(said: str) -> str:
    telling = [line for line in map(str.strip, said.splitlines()) if _TELLING.match(line)]
    return " | ".join(line[:300] for line in telling[:3]) or said[-300:]
