"""Fuzzes one target after the other with atheris, in an environment of its own."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from stepflow_sdk_tests.interop.environments import InstallFailed, Package, python_of
from stepflow_sdk_tests.soak.fuzzing.targets import TARGETS
from stepflow_sdk_tests.soak.report import Report

__all__ = ["fuzz"]

ATHERIS = Package("atheris", "3.0.0")

INPUT_SECONDS = 10
"""No input may take longer, on a busy machine."""

_PROGRAM = Path(__file__).with_name("program.py")
_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def fuzz(seconds: float) -> Report:
    """Fuzz each target for its share of the time; a target ends with what it finds."""
    try:
        python = python_of(ATHERIS)
    except InstallFailed as error:
        return Report([f"not fuzzed: {error}"], [])
    counts: list[str] = []
    finds: list[str] = []
    total = 0
    for name in TARGETS:
        inputs, found = _fuzz_one(python, name, max(1, round(seconds / len(TARGETS))))
        total += inputs
        counts.append(f"{name}: {inputs:,} inputs")
        finds += found
        print(f"fuzz: {counts[-1]}, {len(found)} finds", flush=True)
    return Report([*counts, f"{total:,} inputs in all"], finds)


def _fuzz_one(python: Path, name: str, seconds: int) -> tuple[int, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        corpus.mkdir()
        for number, seed in enumerate(TARGETS[name].seeds):
            (corpus / f"seed-{number}").write_bytes(seed)
        options = [f"-max_total_time={seconds}", f"-timeout={INPUT_SECONDS}", f"-artifact_prefix={folder}/"]
        # The packages that are fuzzed are those of the tests; only atheris comes from the other environment.
        done = subprocess.run(
            [python, _PROGRAM, name, corpus, *options, "-max_len=4096", "-print_final_stats=1", "-verbosity=0"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said = done.stdout.decode("utf-8", "replace")
        kept = [path.read_bytes()[:4096] for path in Path(folder).iterdir() if path.is_file()]
    executed = _EXECUTED.search(said)
    finds = [f"{name}: the input {data!r}: {_reason(said)}" for data in kept]
    if done.returncode and not finds:
        finds.append(f"{name}: the fuzzer ended with code {done.returncode}: {said[-500:]}")
    return int(executed[1]) if executed else 0, finds


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines()]
    telling = [
        line for line in lines if re.match(r"[\w.]+(Error|Wrong|Exception|Interrupt)\b|SUMMARY|ERROR: libFuzzer", line)
    ]
    return " | ".join(line[:300] for line in telling[:3]) or said[-300:]
