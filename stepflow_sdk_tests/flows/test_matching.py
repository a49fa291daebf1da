"""What a test case expects against what a flow gave."""

from typing import Any

import pytest
from hypothesis import given, settings

from stepflow_sdk.flows.matching import match_outcome, normalized, restricted
from stepflow_sdk_tests.flows.strategies import JSON

ONE = "11111111-2222-3333-4444-555555555555"
OTHER = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


def success(result: Any) -> dict[str, Any]:
    return {"outcome": "success", "result": result}


def failed(code: int = 1, message: str = "m", **data: Any) -> dict[str, Any]:
    return {"outcome": "failed", "error": {"code": code, "message": message, **data}}


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (success({"a": 1}), success({"a": 1, "b": 2})),
        (success([{"a": 1}, {}]), success([{"a": 1, "b": 2}, {"c": 3}])),
        (success({"run_id": ONE}), success({"run_id": OTHER})),
        (success({"deep": [{"runId": ONE}]}), success({"deep": [{"runId": OTHER}]})),
        (success(None), success(None)),
        (failed(), failed(data={"stack": []})),
        (failed(data=None), failed(data={"x": 1})),
        (failed(data=None), failed()),
        (failed(data={"a": 1}), failed(data={"a": 1, "b": 2})),
        (failed(data={"stack": [{"backtrace": "x"}]}), failed(data={"stack": [{"error": "y"}]})),
        ({"outcome": "skipped"}, {"outcome": "skipped", "reason": "r"}),
        ({"outcome": "skipped", "reason": None}, {"outcome": "skipped"}),
    ],
)
def test_these_match(expected: Any, actual: Any) -> None:
    assert match_outcome(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual", "told"),
    [
        (success(1), success(1.0), "$.result: expected 1, got 1.0"),
        (success(1), success(True), "$.result: expected 1, got true"),
        (success({"a": None}), success({}), "$.result.a: expected null, but there is no such field"),
        (success({"a b": [1, {"c": "x"}]}), success({"a b": [1, {"c": "y"}]}), "expected 'x', got 'y'"),
        (success([1, 2]), success([1, 2, 3]), "$.result: expected 2 items, got 3"),
        (success([]), success({}), "expected an array, got an object"),
        (success({"run_id": ONE}), success({"run_id": "other"}), "$.result.run_id"),
        (success({"id": ONE}), success({"id": OTHER}), "$.result.id"),
        (success(1), failed(-32200, "gone"), "$.outcome: expected success, got failed: [-32200] gone"),
        (failed(), success(1), "$.outcome: expected failed, got success"),
        (failed(1), failed(2), "$.error.code: expected 1, got 2"),
        (failed(message="a"), failed(message="a."), "$.error.message"),
        (failed(data={"a": 1}), failed(), "$.error.data"),
        (failed(data={"a": 1}), failed(data={"a": 2}), "$.error.data.a: expected 1, got 2"),
        ({"outcome": "skipped", "reason": "a"}, {"outcome": "skipped", "reason": "b"}, "$.reason"),
    ],
)
def test_these_differ_and_the_place_is_told(expected: Any, actual: Any, told: str) -> None:
    mismatches = match_outcome(expected, actual)
    assert len(mismatches) == 1
    assert told in str(mismatches[0])


def test_every_place_that_differs_is_told() -> None:
    mismatches = match_outcome(success({"a": 1, "b": [1, 2]}), success({"a": 2, "b": [3]}))
    assert [mismatch.path for mismatch in mismatches] == ["$.result.a", "$.result.b", "$.result.b[0]"]


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_every_outcome_matches_itself_and_what_is_written_for_it(value: Any) -> None:
    outcome = success(value)
    assert match_outcome(outcome, outcome) == []
    assert match_outcome(normalized(outcome), outcome) == []


@given(JSON, JSON)
@settings(max_examples=200, deadline=None)
def test_what_is_shown_of_an_outcome_matches_just_when_the_outcome_does(expected: Any, actual: Any) -> None:
    wanted, found = success(expected), success(actual)
    assert (match_outcome(wanted, restricted(wanted, found)) == []) == (match_outcome(wanted, found) == [])


def test_only_fields_that_are_expected_are_shown() -> None:
    assert restricted(success({"a": [{"x": 1}]}), success({"b": 1, "a": [{"y": 2, "x": 3}]})) == success(
        {"a": [{"x": 3}]}
    )
    assert restricted(success(1), failed()) == failed()
