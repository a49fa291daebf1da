"""Runs the examples of a page.

The blocks of a page are run in their order, in a directory of the page's own:

* ``file=NAME`` behind the language writes the block to that file, and that is all for Python; JSON and YAML files are
  checked as below.
* ``python`` runs in one namespace for the whole page; what it prints is compared with the ``text`` block that follows.
* ``bash`` runs in the page's directory and must succeed, or fail with the code of ``exit=N``; its stdout is compared
  likewise.
* ``yaml`` is checked as the flow or the configuration that it looks like; anything else has to be YAML.
* ``json`` has to be JSON.
* ``text`` is compared with the output of the block before it, where that was run; ``…`` stands for anything.
* ``sh`` (for the reader to run) and ``mermaid`` are left alone.
"""

import contextlib
import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from stepflow_sdk.flows import is_mock_behaviors, load_flow, parse_json, parse_yaml, require_runnable
from stepflow_sdk.runtime import load_config

LEFT_ALONE = ("sh", "mermaid")
_BLOCK = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    options: dict[str, str]
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    found: list[Block] = []
    for match in _BLOCK.finditer(page):
        language, *options = match["info"].split() or [""]
        pairs = dict(option.split("=", 1) for option in options)
        found.append(Block(language, pairs, match["text"], page.count("\n", 0, match.start()) + 2))
    return found


class Runner:
    """Runs blocks in a directory, and remembers what the last one printed."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._module = ModuleType(f"page_{re.sub(r'[^a-z]', '_', name.lower())}")
        self._name = name
        self._printed: str | None = None
        # Classes look up the module that they were defined in.
        sys.modules[self._module.__name__] = self._module

    def run(self, block: Block) -> None:
        printed, self._printed = self._printed, None
        if "file" in block.options:
            (self._directory / block.options["file"]).write_text(block.text, "utf-8")
        match block.language:
            case "python":
                if "file" not in block.options:
                    self._printed = self._run_python(block)
            case "bash":
                self._printed = self._run_shell(block)
            case "yaml":
                self._check_yaml(block)
            case "json":
                parse_json(block.text)
            case "text":
                if printed is not None:
                    compare(block.text, printed)
            case language:
                assert language in LEFT_ALONE, f"no rule for a block of {language!r}"

    def _run_python(self, block: Block) -> str:
        # Empty lines in front make tracebacks name the line of the page.
        code = compile("\n" * (block.line - 1) + block.text, self._name, "exec")
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            exec(code, vars(self._module))
        return stdout.getvalue()

    def _run_shell(self, block: Block) -> str:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-euc", block.text],
            cwd=self._directory,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == int(block.options.get("exit", "0")), done.stderr
        return done.stdout

    def _check_yaml(self, block: Block) -> None:
        document = parse_yaml(block.text, value_keys=is_mock_behaviors)
        value = document.value
        if not isinstance(value, dict) or value.keys().isdisjoint({"steps", "plugins"}):
            return
        if "steps" in value:
            require_runnable(load_flow(document), refuse_errors=True)
        else:
            load_config(value, environ={"PATH": os.environ["PATH"]})


def compare(expected: str, printed: str) -> None:
    """Compare what a page shows with what was printed, blanks at line ends aside."""
    shown = "\n".join(line.rstrip() for line in expected.strip().splitlines())
    real = "\n".join(line.rstrip() for line in printed.strip().splitlines())
    pattern = ".*?".join(re.escape(part) for part in shown.split("…"))
    if not re.fullmatch(pattern, real, re.DOTALL):
        # A plain comparison shows the difference.
        assert real == shown
