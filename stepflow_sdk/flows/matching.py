"""Compares what a flow gave with what a test case expects (section g of the flow format: matching is partial)."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from stepflow_sdk.flows.paths import show_path
from stepflow_sdk.flows.values import Json, PathParts, describe, is_array, is_object

__all__ = ["Mismatch", "match_outcome", "normalized", "restricted"]

_RUN_ID_KEYS: Final = frozenset({"run_id", "runId"})
_BACKTRACE_KEYS: Final = frozenset({"backtrace"})
_NO_RUN: Final = "00000000-0000-0000-0000-000000000000"
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Mismatch(msgspec.Struct, frozen=True):
    """One place where the outcome is not what was expected.

    Attributes:
        path: The JSON path in the outcome, such as ``$.result.total``.
        message: What was expected there, and what is.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def match_outcome(expected: Json, actual: Json) -> list[Mismatch]:
    """Hold the outcome of a flow against the one that a test case states.

    A result may have more fields than are expected, in every object in it, but its arrays have the same length.
    Numbers are equal only if they are of one kind: ``1`` is not ``1.0``. The code and the message of an error are
    compared exactly and its data partially, where data is expected at all. Run ids are all alike, and backtraces
    are not looked at.

    Args:
        expected: The ``output`` of a test case (section a.5).
        actual: The outcome as JSON: ``{"outcome": "success", "result"}`` and so on.

    Returns:
        Every place that differs, in the order of what is expected; none when the case has passed.
    """
    return list(_mismatches(_stripped(expected), normalized(actual), ()))


def normalized(value: Json) -> Json:
    """Copy an outcome without what is different each time: run ids become zeros, backtraces are left out."""
    if is_array(value):
        return [normalized(item) for item in value]
    if not is_object(value):
        return value
    return {
        key: _NO_RUN if key in _RUN_ID_KEYS and _is_uuid(item) else normalized(item)
        for key, item in value.items()
        if key not in _BACKTRACE_KEYS
    }


def restricted(expected: Json, actual: Json) -> Json:
    """Copy of an outcome only what is expected, so that the two can be shown beside each other."""
    actual = normalized(actual)
    return _restricted(_stripped(expected), actual)


def _restricted(expected: Json, actual: Json) -> Json:
    if is_object(expected) and is_object(actual):
        # In the order of what is expected, which says nothing about equality.
        kept = {key: _restricted(expected[key], actual[key]) for key in expected if key in actual}
        # Of an outcome of another kind everything is news.
        return actual if expected.get("outcome") != actual.get("outcome") else kept
    if is_array(expected) and is_array(actual):
        return [
            _restricted(expected[index], item) if index < len(expected) else item for index, item in enumerate(actual)
        ]
    return actual


def _stripped(expected: Json) -> Json:
    """What is expected, with run ids as zeros, and without data of an error that does not matter."""
    expected = normalized(expected)
    if is_object(expected) and is_object(error := expected.get("error")) and error.get("data") is None:
        error.pop("data", None)
    return expected


def _mismatches(expected: Json, actual: Json, path: PathParts) -> Iterator[Mismatch]:
    if is_object(expected) and is_object(actual):
        yield from _object_mismatches(expected, actual, path)
    elif is_array(expected) and is_array(actual):
        if len(expected) != len(actual):
            yield _mismatch(path, f"expected {_items(len(expected))}, got {len(actual)}")
        for index, (wanted, found) in enumerate(zip(expected, actual, strict=False)):
            yield from _mismatches(wanted, found, (*path, index))
    # Python finds that 1 == 1.0 == True.
    elif type(expected) is not type(actual) or expected != actual:
        yield _mismatch(path, f"expected {_shown(expected)}, got {_shown(actual)}")


def _object_mismatches(expected: dict[str, Json], actual: dict[str, Json], path: PathParts) -> Iterator[Mismatch]:
    if not path and expected.get("outcome") != actual.get("outcome"):
        yield _mismatch(("outcome",), f"expected {expected.get('outcome')}, got {_told(actual)}")
        return
    for key, wanted in expected.items():
        if key in actual:
            yield from _mismatches(wanted, actual[key], (*path, key))
        # An outcome leaves out what is null.
        elif path or wanted is not None:
            yield _mismatch((*path, key), f"expected {_shown(wanted)}, but there is no such field")


def _told(outcome: dict[str, Json]) -> str:
    """The outcome with the reason that it has."""
    error = outcome.get("error")
    if is_object(error):
        return f"{outcome.get('outcome')}: [{error.get('code')}] {error.get('message')}"
    return str(outcome.get("outcome"))


def _items(count: int) -> str:
    return f"{count} item{'' if count == 1 else 's'}"


def _shown(value: Json) -> str:
    if isinstance(value, str):
        return f"{value[:200]!r}"
    return describe(value).removeprefix("the number ")


def _is_uuid(value: object) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def _mismatch(path: PathParts, message: str) -> Mismatch:
    return Mismatch(show_path(path), message)
