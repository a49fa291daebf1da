"""What a type checker makes of the public API."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "cases"
ROOT = Path(__file__).parents[2]


def mypy(case: Path) -> set[tuple[int, str]]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(case)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode in (0, 1), done.stderr
    return {
        (int(line), code) for line, code in re.findall(r":(\d+): error:.*\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["accepted", "refused"])
def test_a_type_checker_accepts_and_refuses_what_it_should(name: str) -> None:
    case = CASES / f"{name}.py"
    marks = (
        (number, re.search(r"# error: ([a-z-]+)$", line))
        for number, line in enumerate(case.read_text().splitlines(), 1)
    )
    expected = {(number, mark[1]) for number, mark in marks if mark is not None}
    assert mypy(case) == expected
    assert bool(expected) == (name == "refused")
