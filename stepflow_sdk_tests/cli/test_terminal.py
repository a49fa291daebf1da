"""What a person at a terminal sees, and that it says what everybody else is told."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stepflow_sdk_tests.cli.conftest import CommandLine

if sys.platform == "win32":
    pytest.skip("there are no pseudo terminals", allow_module_level=True)

import fcntl
import pty
import struct
import termios

GREEN, RED = "\x1b[32m", "\x1b[1;31m"
FLOW = """\
name: three ends
steps:
  - {id: good, component: /double, input: {number: 1}}
  - {id: odd, component: /fail, input: {message: "no \\e[2Jluck"}, onError: {action: useDefault, defaultValue: 0}}
  - {id: bad, component: /fail, input: {message: "[bold]really[/bold] :smile: not"}}
output: [{$step: good}, {$step: odd}, {$step: bad}]
"""


def at_terminal(cli: CommandLine, *arguments: str, **environment: str) -> str:
    """Run a command line with a terminal for stdout and stderr, and return what it shows."""
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", **environment}
    for name in {"NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS"} - environment.keys():
        env.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "stepflow_sdk", *arguments],
        cwd=cli.directory,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=far,
        stderr=far,
    )
    os.close(far)
    shown = b""
    try:
        while piece := _read(near):
            shown += piece
    finally:
        process.wait(60)
        os.close(near)
    assert b"Traceback" not in shown
    return shown.decode().replace("\r\n", "\n")


def _read(near: int) -> bytes:
    try:
        return os.read(near, 65536)
    except OSError:  # the way in which Linux says that the other end is closed
        return b""


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def steps(text: str) -> list[str]:
    """The lines of the end of each step, and of the run, without times; their order is not fixed."""
    told = re.findall(r"^ *(?:done|failed|default|skipped|completed) .*$", text, re.MULTILINE)
    return sorted(re.sub(r"\d+\.\d+ s", "N s", line) for line in told)


RUN = ("run", "--flow", "flow.yaml", "--server", "shop:server", "--input-json", "null")


@pytest.fixture
def three_ends(cli: CommandLine) -> CommandLine:
    cli.write("flow.yaml", FLOW)
    return cli


def test_statuses_have_colours_at_a_terminal(three_ends: CommandLine) -> None:
    shown = at_terminal(three_ends, *RUN)
    assert f"{GREEN}done\x1b[0m     good" in shown
    assert f"{RED}failed\x1b[0m   bad" in shown
    assert "\x1b[33mdefault\x1b[0m  odd" in shown


def test_a_terminal_is_told_the_same_as_a_file(three_ends: CommandLine) -> None:
    shown = at_terminal(three_ends, *RUN)
    told = three_ends.process(*RUN).err
    assert steps(plain(shown)) == steps(told)
    assert len(steps(told)) == 4
    assert "\x1b" not in told


def test_texts_of_others_neither_move_the_cursor_nor_choose_colours(three_ends: CommandLine) -> None:
    shown = at_terminal(three_ends, *RUN)
    assert "\x1b[2J" not in shown
    assert "[bold]really[/bold] :smile: not" in shown


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_who_wants_no_colours_gets_none(three_ends: CommandLine, environment: Any) -> None:
    shown = at_terminal(three_ends, *RUN, **environment)
    assert not re.search(r"\x1b\[[\d;]*3\d", shown)
    assert len(steps(plain(shown))) == 4


def test_components_are_a_table_at_a_terminal(cli: CommandLine) -> None:
    shown = at_terminal(cli, "list-components", "--server", "shop:server")
    assert re.search(r"component +description", plain(shown))
    told = cli.process("list-components", "--server", "shop:server").out
    assert "─" not in told
    for line in told.splitlines():
        name, _, description = line.partition(" ")
        assert re.search(f"^ *{re.escape(name)} +{re.escape(description.strip())}", plain(shown), re.MULTILINE)


def test_lists_for_programs_stay_as_they_are_at_a_terminal(cli: CommandLine) -> None:
    arguments = ("list-components", "--server", "shop:server", "--format", "json")
    assert at_terminal(cli, *arguments) == cli.process(*arguments).out


def test_without_rich_a_terminal_gets_plain_lines(three_ends: CommandLine, tmp_path: Path) -> None:
    # A package that cannot be found, as where the extra is not installed.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'rich':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    shown = at_terminal(three_ends, *RUN, PYTHONPATH=str(tmp_path))
    assert "\x1b" not in shown
    assert len(steps(shown)) == 4
