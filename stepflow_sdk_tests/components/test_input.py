"""Bad input: every problem at its path, in words, and never anything but InvalidInput."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest

from stepflow_sdk.components import ComponentSpec
from stepflow_sdk.errors import ComponentError, InvalidInput

from .helpers import problems, run, spec_of


class Item(msgspec.Struct):
    name: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


class Order(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Item]
    note: str | None = None


def _order(order: Order) -> int:
    return len(order.items)


def _refused(spec: ComponentSpec, raw: bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        spec.bind(raw, {}, {})
    return caught.value


def test_all_problems_are_reported_together_each_at_its_path() -> None:
    raw = b'{"items": [{"name": 1}, {"name": "a", "count": 0}, {"count": 2.5}, 7], "note": [], "x y": 1}'
    assert problems(_refused(spec_of(_order), raw)) == [
        *("$.items[0].name", "$.items[1].count", "$.items[2].name", "$.items[2].count", "$.items[3]"),
        *("$.note", '$["x y"]'),
    ]


def test_a_missing_field_is_named_with_its_path_and_a_misspelt_one_is_found() -> None:
    error = _refused(spec_of(_order), b'{"items": [{"nmae": "a"}]}')
    assert problems(error) == ["$.items[0].name"]
    assert "required" in str(error)
    assert '"nmae"' in str(error)


def test_a_field_that_is_not_allowed_is_told_what_it_may_have_meant() -> None:
    error = _refused(spec_of(_order), b'{"items": [], "notes": "a"}')
    assert '"note"' in str(error)


def test_the_message_is_one_line_that_counts_the_rest() -> None:
    error = _refused(spec_of(_order), b'{"items": [1, 2, 3]}')
    assert str(error) == "invalid input: $.items[0]: expected an object, got 1 (and 2 more problems)"


def test_many_problems_and_large_values_make_a_small_error() -> None:
    raw = msgspec.json.encode({"items": ["x" * 100_000] * 500, "y" * 100_000: "z" * 100_000})
    error = _refused(spec_of(_order), raw)
    assert len(error.data["problems"]) == 20
    assert error.data["more"] == 481
    assert len(msgspec.json.encode(error.data)) < 10_000
    assert len(str(error)) < 1_000


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"items": []} x', "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"items": [], "note": "\xff"}', "UTF-8"),
        (b'{"items": [], "note": "\\ud800"}', "not JSON"),
        (b'{"items": [{"name": "a", "count": 1e400}]}', "range"),
        (b'{"items": [{"name": "a", "count": ' + b"9" * 5000 + b"}]}", "range"),
        (b'{"items": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep"),
        (b"NaN", "not JSON"),
    ],
)
def test_what_is_no_json_is_told_so(raw: bytes, words: str) -> None:
    error = _refused(spec_of(_order), raw)
    assert words in str(error)
    assert problems(error) == ["$"]


def test_a_float_without_fraction_is_an_integer() -> None:
    def double(number: int, numbers: list[int]) -> list[Any]:
        return [number * 2, type(number).__name__, numbers]

    assert run(spec_of(double), {"number": 3.0, "numbers": [1, 2.0]}) == [6, "int", [1, 2]]
    assert problems(_refused(spec_of(double), b'{"number": 3.5, "numbers": [true]}')) == ["$.number", "$.numbers[0]"]


def test_a_check_of_the_users_class_is_a_problem_at_its_path() -> None:
    @dataclass
    class Range:
        low: int
        high: int

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    def span(ranges: list[Range]) -> int:
        return sum(item.high - item.low for item in ranges)

    spec = spec_of(span)
    assert run(spec, {"ranges": [{"low": 1, "high": 3}]}) == 2
    error = _refused(spec, b'{"ranges": [{"low": 1, "high": 3}, {"low": 3, "high": 1}]}')
    assert problems(error) == ["$.ranges[1]"]
    assert "low is above high" in str(error)


def test_a_users_class_that_fails_otherwise_fails_the_component() -> None:
    class Broken(msgspec.Struct):
        name: str

        def __post_init__(self) -> None:
            raise KeyError(self.name)

    def serve(value: Broken) -> None: ...

    with pytest.raises(ComponentError) as caught:
        run(spec_of(serve), {"name": "a"})
    assert caught.value.data == {"exception": "KeyError"}


def test_a_union_in_a_deep_recursive_type_is_refused_in_good_time() -> None:
    class Node(msgspec.Struct):
        first: "Node | int | list[Node] | list[int]"

    nested: Any = {"first": "wrong"}
    for _ in range(60):
        nested = {"first": [nested]}

    def walk(node: Node) -> None: ...

    error = _refused(spec_of(walk), msgspec.json.encode(nested))
    assert error.data["problems"]


def test_raw_values_of_every_buffer_type_are_read() -> None:
    spec = spec_of(_order)
    raw = b'{"items": []}'
    for buffer in (raw, bytearray(raw), memoryview(raw), msgspec.Raw(raw)):
        assert spec.bind(buffer, {}, {})() == 0
    bad = b'{"items": 3}'
    for buffer in (bad, bytearray(bad), memoryview(bad), msgspec.Raw(bad)):
        with pytest.raises(InvalidInput):
            spec.bind(buffer, {}, {})
