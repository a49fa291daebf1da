"""Changing the text of a document without touching what stays."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.flows import canonical_json, dump_yaml, is_mock_behaviors, parse_json, parse_yaml
from stepflow_sdk.flows.editing import edit_text
from stepflow_sdk.flows.upgrade import upgrade_flow
from stepflow_sdk_tests.flows.old_strategies import documents
from stepflow_sdk_tests.flows.strategies import JSON


def ordered(value: Any) -> Any:
    if isinstance(value, list):
        return [ordered(item) for item in value]
    return {key: ordered(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


def same(text: str, value: Any) -> bool:
    return canonical_json(ordered(parse_yaml(text).value)) == canonical_json(ordered(value))


@settings(max_examples=150, deadline=None)
@given(JSON, JSON)
def test_any_value_can_be_written_over_any_other(old: Any, new: Any) -> None:
    text, _ = edit_text(dump_yaml(old), new, is_json=False)
    assert same(text, new)


@settings(max_examples=100, deadline=None)
@given(documents())
def test_an_upgraded_document_is_written_into_the_text_of_the_old_one(document: dict[str, Any]) -> None:
    new = upgrade_flow(document).document
    text, is_kept = edit_text(dump_yaml(document), new, is_json=False)
    assert is_kept
    assert same(text, new)


@pytest.mark.parametrize(
    ("text", "new", "expected"),
    [
        ("a: 1 # one\n# two\nb: 2\n", {"a": 1, "b": 3}, "a: 1 # one\n# two\nb: 3\n"),
        ("a: 1\nb: 2 # two\nc: 3\n", {"a": 1, "c": 3}, "a: 1\nc: 3\n"),
        ("a: 1\nb: 2", {"a": 1, "b": 2, "c": [3]}, "a: 1\nb: 2\nc:\n- 3"),
        ("b: 2\n", {"a": 1, "b": 2}, "a: 1\nb: 2\n"),
        ("- x: 1\n  y: 2\n  # z\n  z: 3\n", [{"y": 2, "z": 3}], "- y: 2\n  # z\n  z: 3\n"),
        ("- x: 1\n  y: 2\n", [{"x": 1, "y": 2, "z": 3}], "- x: 1\n  y: 2\n  z: 3\n"),
        (
            "a:\n  # in\n  b:\n    - 1\n    - 2 # two\n",
            {"a": {"b": [7, 2]}},
            "a:\n  # in\n  b:\n    - 7\n    - 2 # two\n",
        ),
        ("a:\n  b: 1\nc: 2\n", {"a": "x", "c": 2}, "a: x\nc: 2\n"),
        ("a: {b: 1, c: 2}\n", {"a": {"b": 1}}, "a: {b: 1}\n"),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2, "c": {"d": 1}}, "a: 1\r\nb: 2\r\nc:\r\n  d: 1\r\n"),
        ("\ufeffa: 1\n", {"a": 2}, "\ufeffa: 2\n"),
    ],
)
def test_only_what_changes_is_touched(text: str, new: Any, expected: str) -> None:
    assert edit_text(text, new, is_json=False) == (expected, True)


def test_what_grows_too_long_for_a_line_is_written_in_lines() -> None:
    new = {"a": {f"key{number}": "x" * 20 for number in range(8)}}
    text, is_kept = edit_text("a:\n  b: 1\n", new, is_json=False)
    assert is_kept
    assert text.startswith("a:\n  key0: x")
    assert same(text, new)


def test_a_document_with_aliases_is_written_anew() -> None:
    text = "a: &x {b: 1} # one\nc: *x\n"
    assert edit_text(text, {"a": {"b": 1}, "c": {"b": 2}}, is_json=False) == ("a: &x {b: 1} # one\nc: {b: 2}\n", True)
    changed, is_kept = edit_text(text, {"a": {"b": 2}, "c": {"b": 1}}, is_json=False)
    assert (changed, is_kept) == ("a:\n  b: 2\nc:\n  b: 1\n", False)


def test_json_keeps_its_indentation() -> None:
    text, is_kept = edit_text('{\n   "a": 1\n}\n', {"a": [2]}, is_json=True)
    assert is_kept
    assert text == '{\n   "a": [\n      2\n   ]\n}\n'
    assert parse_json(text).value == {"a": [2]}


def test_keys_that_are_values_stay() -> None:
    text = "x: 1\ntest:\n  config:\n    plugins: {m: {components: {/c: {behaviors: {{k: 1}: 2, 3: 4}}}}}\n"
    value = parse_yaml(text, value_keys=is_mock_behaviors).value
    assert edit_text(text, {**value, "x": 2}, is_json=False) == (text.replace("x: 1", "x: 2"), True)
    new = {"y": 2, **value, "z": 1}
    written, is_kept = edit_text(f"y: &y 1\n{text}z: *y\n", new, is_json=False)
    assert not is_kept
    assert parse_yaml(written, value_keys=is_mock_behaviors).value == new


@settings(max_examples=50, deadline=None)
@given(st.lists(JSON, max_size=3), JSON)
def test_items_of_lists_are_changed_in_their_places(items: list[Any], new: Any) -> None:
    text = dump_yaml({"before": 1, "items": items, "after": [2]}).replace("before: 1", "before: 1 # kept")
    changed = {"before": 1, "items": [*items[:-1], new], "after": [2]}
    edited, _ = edit_text(text, changed, is_json=False)
    assert same(edited, changed)
