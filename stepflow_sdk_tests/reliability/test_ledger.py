"""The ledger: each promise of the page has a test that names it, and no test names one that is not there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "reliability.md"
FEWEST = {"R": 14, "D": 10, "S": 16}
"""How many promises there are of each kind: none of them can be dropped in silence."""


def promised() -> list[str]:
    return re.findall(r"^\| ([RDS]\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)


def named() -> Iterator[tuple[str, str]]:
    """Each promise that a test names, and the test."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.promise":
                    for argument in decorator.args:
                        yield ast.literal_eval(argument), f"{path.relative_to(TESTS)}::{node.name}"


def test_the_page_has_every_promise_once() -> None:
    assert promised() == [f"{kind}{number}" for kind, count in FEWEST.items() for number in range(1, count + 1)]


def test_every_promise_has_a_test_and_every_test_a_promise_that_there_is() -> None:
    tests: dict[str, list[str]] = {promise: [] for promise in promised()}
    unknown = []
    for promise, test in named():
        if promise in tests:
            tests[promise].append(test)
        else:
            unknown.append(f"{test} names {promise}")
    assert not unknown
    assert not [promise for promise, found in tests.items() if not found]
