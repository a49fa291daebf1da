"""Tables of the README and the docs say what is so."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

import stepflow_sdk
from stepflow_sdk import ComponentError, ServerStopping
from stepflow_sdk.protocol.error_codes import range_codes
from stepflow_sdk.transports.http import HttpPolicy

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
HTTP = (ROOT / "docs" / "http.md").read_text("utf-8")


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    _, found, below = page.partition(f"\n{heading}\n")
    assert found, heading
    rows = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert rows
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in rows[0].splitlines()[2:]]


def names_of_tests(file: Path) -> list[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


PLACES = table(README, "## Where the same server runs")


def test_the_readme_names_the_places_where_a_server_runs() -> None:
    told = " ".join(row[0] for row in PLACES)
    for place in ("process", "stdio", "HTTP", "ASGI", "0.9", "0.10", "0.11", "`command`", "`url`"):
        assert place in told, place


@pytest.mark.parametrize("row", PLACES, ids=lambda row: str(row[0]))
def test_each_place_where_a_server_runs_has_its_tests(row: list[str]) -> None:
    *_, last = row
    files = re.findall(r"\]\((stepflow_sdk_tests/[^)]+\.py)\)", last)
    assert files, "no test is named"
    for file in files:
        assert names_of_tests(ROOT / file), file


def thrown(told: str) -> tuple[BaseException, int]:
    """The exception that a row tells of, and its code in the protocol's table."""
    if told == "an exception of its own":
        return ValueError("x"), ComponentError.code
    if told == "`ServerStopping`, of the server itself":
        return ServerStopping(), ServerStopping.code
    call = re.fullmatch(r"`(\w+)(\(.*\))?`", told)
    assert call, told
    cls = getattr(stepflow_sdk, call[1])
    error = cls("x", retryable=True) if "retryable=True" in told else cls("x")
    return error, cls.code


@pytest.mark.parametrize("row", table(HTTP, "### Error codes"), ids=lambda row: str(row[0]))
def test_codes_are_told_as_they_are_sent(row: list[str]) -> None:
    told, by_table, by_range, again = row
    error, code = thrown(told)
    sent = range_codes(code, error)
    assert (int(by_table), int(by_range)) == (code, sent)
    assert (again == "yes") == (-32199 <= sent <= -32100)


def test_every_field_of_the_policy_is_explained() -> None:
    told = {row[0].strip("`") for row in table(HTTP, "## Security")}
    assert told == {field.name for field in dataclasses.fields(HttpPolicy)}
