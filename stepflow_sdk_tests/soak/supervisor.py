"""Runs one long test in a process of its own, within its time, and leaves nothing of it."""

import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import msgspec

from stepflow_sdk_tests.soak.processes import end_all_below, wait_for_none
from stepflow_sdk_tests.soak.report import Report

__all__ = ["Result", "Stopped", "run_form", "stopping_at_signals"]

GRACE_SECONDS = 180.0
"""What is under way when the time is over comes to its end: an installation, a round, the checks."""

LEFT_SECONDS = 20.0
"""What a test has started may take so long to notice that it is over."""

_TOLD_SECONDS = 10.0
_END_SECONDS = 5.0
_decode = msgspec.json.Decoder(Report).decode


class Stopped(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@dataclass
class Result:
    """What a long test came to.

    Attributes:
        name: Which.
        seconds: How long it ran.
        report: What it said last.
        problems: What is wrong beside what it found itself.
        stopped: Whether it was ended before its time.
    """

    name: str
    seconds: float = 0.0
    report: Report | None = None
    problems: list[str] = field(default_factory=list[str])
    stopped: bool = False

    @property
    def finds(self) -> list[str]:
        """Everything that is wrong."""
        return [*(() if self.report is None else self.report.finds), *self.problems]


@contextmanager
def stopping_at_signals() -> Generator[None, None, None]:
    """Inside, SIGINT, SIGTERM and SIGHUP raise `Stopped`: the first of them, and from then on none."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    before: dict[int, Any] = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_form(
    result: Result,
    command: Sequence[str],
    seconds: float,
    *,
    grace: float = GRACE_SECONDS,
    patience: float = LEFT_SECONDS,
) -> None:
    """Run a long test and fill in its result, also when a signal ends it.

    Args:
        result: Where to write what it says.
        command: What runs it; see `form`.
        seconds: How long it is to take.
        grace: Seconds more after which it has hung.
        patience: Seconds that what it started may outlive it.

    Raises:
        Stopped: A signal came. Everything that the test started has ended.
    """
    began = time.monotonic()
    # What it leaves in files goes with the directory, whatever becomes of it.
    with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as directory:
        try:
            _follow(result, command, seconds + grace, {**os.environ, "TMPDIR": directory})
            if not result.problems:
                left = wait_for_none(patience).values()
                result.problems += [f"a process outlived it: {command[:200]}" for command in left]
        except Stopped:
            result.stopped = True
            raise
        finally:
            result.seconds = time.monotonic() - began
            end_all_below()


def _follow(result: Result, command: Sequence[str], limit: float, environment: dict[str, str]) -> None:
    overdue = threading.Event()
    # In a session of its own: a terminal's Ctrl-C comes to this process alone.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as process:
        timer = threading.Timer(limit, _end_overdue, (overdue, process))
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            told = -math.inf
            for line in process.stdout:
                report = result.report = _decode(line)
                if (now := time.monotonic()) - told >= _TOLD_SECONDS:
                    told = now
                    said = f"{report.total:,} {report.unit}, {len(report.finds)} violations"
                    print(f"soak: {result.name}: {said}", file=sys.stderr, flush=True)
            code = process.wait()
        except BaseException:
            # Not all of its files are in the directory that goes: it has a moment to remove what it made elsewhere.
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            process.kill()
            raise
        finally:
            timer.cancel()
    if overdue.is_set():
        result.problems.append(f"it hung: {limit:.0f} s were not enough")
    elif code:
        result.problems.append(f"it ended with code {code}; what it wrote to stderr says why")


def _end_overdue(overdue: threading.Event, process: "subprocess.Popen[bytes]") -> None:
    overdue.set()
    process.kill()
    # What it started may hold its stdout open.
    end_all_below()
