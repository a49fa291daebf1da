import ast
from functools import cache
from pathlib import Path

import pytest

from stepflow_sdk_tests.flows.constructs import CONSTRUCTS

TESTS = Path(__file__).parents[1]
SECTIONS = {
    *(f"a.{number}" for number in range(1, 7)),
    *(f"b.{number}" for number in range(1, 5)),
    *(f"c.{number}" for number in range(1, 11)),
    *(f"e.{number}" for number in range(1, 4)),
    *("d", "e", "f", "g"),
}


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


@pytest.mark.parametrize("test", sorted({test for constructs in CONSTRUCTS.values() for test in constructs.values()}))
def test_what_covers_a_construct_exists(test: str) -> None:
    file, _, name = test.partition("::")
    assert name in names_in(file)


def test_every_section_of_the_format_is_covered() -> None:
    assert {section.partition(" ")[0] for section in CONSTRUCTS} >= SECTIONS
