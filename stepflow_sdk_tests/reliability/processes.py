"""Server processes that are started in ways of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from stepflow_sdk_tests.reliability.ends import RECKLESS

__all__ = ["INITIALIZE", "command_of", "environment_of", "running"]

INITIALIZE = b'{"jsonrpc":"2.0","id":"init","method":"initialize","params":{"runtime_protocol_version":1}}\n'


def command_of(*arguments: str) -> list[str]:
    return [sys.executable, f"{RECKLESS}.py", *arguments]


def environment_of(more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(more or {})}


@contextmanager
def running(
    *arguments: str,
    stdin: int | IO[bytes] = subprocess.PIPE,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    environment: Mapping[str, str] | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the reckless server with descriptors of the caller's choice; nobody reads what the caller does not."""
    process = subprocess.Popen(
        command_of(*arguments), stdin=stdin, stdout=stdout, stderr=stderr, env=environment_of(environment)
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
