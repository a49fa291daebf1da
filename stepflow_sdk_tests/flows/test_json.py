from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows import canonical_json, parse_json
from stepflow_sdk_tests.flows.strategies import JSON


def test_of_a_repeated_key_the_last_value_counts_at_the_place_of_the_first() -> None:
    assert list(parse_json('{"a": 1, "b": 2, "a": 3}').value.items()) == [("a", 3), ("b", 2)]


def test_integers_beyond_64_bits_become_floats() -> None:
    text = '{"a": [18446744073709551615, 18446744073709551616, -9223372036854775809], "b": "99999999999999999999"}'
    value = parse_json(text).value
    assert value == {"a": [2**64 - 1, 2.0**64, -(2.0**63)], "b": "99999999999999999999"}
    assert [type(item) for item in value["a"]] == [int, float, float]
    assert isinstance(parse_json("99999999999999999999").value, float)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse_json(b"\xef\xbb\xbf[1]").value == [1]


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ('{\n "a": 1,\n 2}', 3, 2, "not JSON"),
        ("", 1, 1, "not JSON"),
        ("[1 2]", 1, 4, "not JSON"),
        ("[1]\n[2]", 2, 1, "not JSON"),
        ("{'a': 1}", 1, 2, "not JSON"),
        ('{"NaN": 1,\n "a": NaN}', 2, 7, "NaN is not JSON"),
        ("[\n-Infinity]", 2, 1, "-Infinity is not JSON"),
        ("[1,\n\n  1e400]", 3, 3, "1e400 is out of range"),
        ("9" * 400, None, None, "out of range"),
        ('["\\ud800"]', None, None, "half a surrogate pair"),
        ("[" * 129 + "]" * 129, None, None, "nested deeper than 128 levels"),
        ("[" * 100_000, None, None, "nested deeper than 128 levels"),
        (b'{"a":\n"\xff"}', 2, None, "not UTF-8 at byte 7"),
        ("[0,\n" + "0," * 1_000_000 + "0]", 2, None, "holds more than 1,000,000 values"),
        ("[" + '{"a":[]},' * 500_000 + "0]", 1, None, "holds more than 1,000,000 values"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_bad_json_gets_one_error_with_its_place(
    text: str | bytes, line: int | None, column: int | None, problem: str
) -> None:
    with pytest.raises(InvalidDocument) as caught:
        parse_json(text, file="f.json")
    assert problem in caught.value.problem
    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_document_may_be_nested_as_deep_as_a_message() -> None:
    assert canonical_json(parse_json("[" * 128 + "]" * 128).value) == b"[" * 128 + b"]" * 128


def test_what_stands_in_strings_is_not_counted_as_values() -> None:
    text = '["' + r",[{\\\"" * 300_000 + '", 1]'
    assert parse_json(text).value == [',[{\\"' * 300_000, 1]
    assert len(parse_json("[" + "1," * 999_998 + "1]").value) == 999_999


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_a_document_may_hold_so_many_values_and_not_one_more(value: Any) -> None:
    def size(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + sum(map(size, inner))

    text = canonical_json(value).decode()
    most = size(value)
    assert canonical_json(parse_json(text, max_nodes=most).value).decode() == text
    if most > 1:
        with pytest.raises(InvalidDocument, match="holds more than"):
            parse_json(text, max_nodes=most - 1)


def test_values_are_found_again_in_the_text() -> None:
    document = parse_json('{\n  "a": {"x,}": [1,\n    [true, "]"]]},\n  "b":\n   2, "\\u0063": {}\n}')
    assert document.line(()) == 1
    assert document.line(("a", "x,}", 1)) == 3
    assert document.place(("a", "x,}", 1, 1)).column == 12
    assert document.line(("b",)) == 4
    assert document.line(("c", "not there")) == 5


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_every_value_of_a_text_has_a_place(value: Any) -> None:
    document = parse_json(canonical_json(value))

    def check(part: Any, path: tuple[str | int, ...]) -> None:
        place = document.place(path)
        members = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        assert set(place.children) == {key for key, _ in members}
        for key, inner in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
            check(inner, (*path, key))

    check(value, ())


@given(st.binary(max_size=30) | st.text(alphabet='{}[]:,"\\ \n0123eE.+-nulltrue', max_size=30).map(str.encode))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_json_or_refused(text: bytes) -> None:
    try:
        value = parse_json(text).value
    except InvalidDocument:
        return
    canonical_json(value)
