"""A command line to call, in a directory with a server, a flow and two configurations."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk.cli import run_program

SERVER = '''
import asyncio
import os
import subprocess

from stepflow_sdk import ComponentError, SkipStep, StepflowServer

server = StepflowServer("shop")
other = StepflowServer("other")
number = 3


@server.component
def double(number: int) -> int:
    """Double a number.

    The rest is not shown.
    """
    return 2 * number


@server.component
def noise() -> str:
    print("a print")
    os.write(1, b"a write\\n")
    subprocess.run(["echo", "a child"], check=True)
    return "quiet"


@server.component
def fail(message: str) -> None:
    raise ComponentError(message)


@server.component
def skip() -> None:
    raise SkipStep("nothing to do")


@server.component
async def wait() -> None:
    await asyncio.Event().wait()


@other.component
def triple(number: int) -> int:
    return 3 * number


if __name__ == "__main__":
    server.run()
'''

FLOW = """\
name: doubling
description: Doubles a number.
schemas:
  type: object
  properties:
    input: {type: object}
steps:
  - id: twice
    component: /double
    input: {number: {$input: $.n}}
output: {$step: twice}
"""

CONFIG = """\
plugins:
  builtin: {type: builtin}
  shop:
    type: stepflow
    transport: stdio
    command: python
    args: [-m, shop]
routes:
  "/builtin/{*component}": [{plugin: builtin}]
  "/{*component}": [{plugin: shop}]
"""


@dataclass(frozen=True)
class Done:
    """What a command line left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """Runs command lines in a directory."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capture = capture

    def __call__(self, *arguments: str) -> Done:
        """In this process, which is quick."""
        self._capture.readouterr()
        code = run_program(arguments)
        out, err = self._capture.readouterr()
        assert "Traceback" not in err
        return Done(code, out, err)

    def process(self, *arguments: str, stdin: str | None = "") -> Done:
        """As a program of its own."""
        command = [sys.executable, "-m", "stepflow_sdk", *arguments]
        done = subprocess.run(
            command, cwd=self.directory, input=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        assert "Traceback" not in done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def write(self, name: str, text: str) -> Path:
        file = self.directory / name
        file.write_text(text, "utf-8")
        return file


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[CommandLine]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    line = CommandLine(tmp_path, capfd)
    line.write("shop.py", SERVER)
    line.write("flow.yaml", FLOW)
    yield line
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(sys.modules[name].__file__).startswith(str(tmp_path)):
            del sys.modules[name]
