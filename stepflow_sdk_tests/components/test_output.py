"""Outputs: checked against the return annotation, encoded once, and every failure named with its path."""

import dataclasses
import enum
import struct
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pytest
from pydantic import BaseModel

from stepflow_sdk.components import ComponentSpec
from stepflow_sdk.errors import ComponentError

from .helpers import problems, spec_of


class Summary(msgspec.Struct):
    words: int
    score: float | None = None


@dataclasses.dataclass
class Report:
    title: str
    parts: list[Summary] = dataclasses.field(default_factory=list)


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    pass


class Number(int):
    pass


class Model(BaseModel):
    name: str
    at: date | None = None


@attrs.define
class Attrs:
    name: str


def _giving(returns: Any) -> ComponentSpec:
    def give() -> Any: ...

    give.__annotations__ = {"return": returns}
    return spec_of(give)


def _failure(returns: Any, output: Any) -> ComponentError:
    with pytest.raises(ComponentError) as caught:
        _giving(returns).encode(output)
    assert not caught.value.retryable
    return caught.value


@pytest.mark.parametrize(
    ("returns", "output", "encoded"),
    [
        (str, "ä", '"ä"'.encode()),
        (None, None, b"null"),
        (float, 2, b"2"),
        (Summary, Summary(3), b'{"words":3,"score":null}'),
        (Summary, {"words": 3}, b'{"words":3}'),
        (Report, Report("a", [Summary(1, 0.5)]), b'{"title":"a","parts":[{"words":1,"score":0.5}]}'),
        (list[int], (1, 2), b"[1,2]"),
        (datetime, datetime(2024, 5, 31, tzinfo=UTC), b'"2024-05-31T00:00:00Z"'),
        (timedelta, timedelta(seconds=-1.5), b'"-PT1.5S"'),
        (Decimal, Decimal("1.50"), b'"1.50"'),
        (bytes, b"hi", b'"aGk="'),
        (Colour, Colour.RED, b'"red"'),
        (Model, Model(name="a"), b'{"name":"a","at":null}'),
        (Attrs, Attrs("a"), b'{"name":"a"}'),
        (dict[int, str], {1: "a"}, b'{"1":"a"}'),
    ],
)
def test_an_output_of_its_declared_type_is_encoded(returns: Any, output: Any, encoded: bytes) -> None:
    assert _giving(returns).encode(output) == encoded


@pytest.mark.parametrize(
    ("output", "encoded"),
    [
        (None, b"null"),
        ([1, None, "a"], b'[1,null,"a"]'),
        ({"a": Summary(1), "b": [Report("x")]}, b'{"a":{"words":1,"score":null},"b":[{"title":"x","parts":[]}]}'),
        ([Model(name="a", at=date(2024, 5, 31))], b'[{"name":"a","at":"2024-05-31"}]'),
        ([Attrs("a"), Colour.RED], b'[{"name":"a"},"red"]'),
        ({uuid.UUID(int=1): {date(2024, 5, 31)}}, b'{"00000000-0000-0000-0000-000000000001":["2024-05-31"]}'),
        (OrderedDict(a=Text("t"), b=Number(3)), b'{"a":"t","b":3}'),
        ([msgspec.Raw(b"[1, 2]")], b"[[1, 2]]"),
        ([2**64 - 1, -(2**63)], b"[18446744073709551615,-9223372036854775808]"),
    ],
)
def test_without_annotation_everything_that_has_a_json_form_is_encoded(output: Any, encoded: bytes) -> None:
    assert _giving(Any).encode(output) == encoded


@pytest.mark.parametrize(
    ("returns", "output", "paths"),
    [
        (str, 5, ["$"]),
        (int, True, ["$"]),
        (int, 2.5, ["$"]),
        (None, 1, ["$"]),
        (Summary, None, ["$"]),
        (Summary, {"score": "x"}, ["$.words", "$.score"]),
        (list[Summary], [Summary(1), Summary("x")], ["$[1].words"]),  # type: ignore[arg-type]
        (Report, Report("a", [Summary(1, float("nan"))]), ["$.parts[0].score"]),
        (list[float], [1.0, float("inf"), float("-inf")], ["$[1]", "$[2]"]),
        (datetime, datetime(2024, 5, 31), ["$"]),
        (dict[str, int], {"a": 1, "b c": "x"}, ['$["b c"]']),
        (Any, {"a": [1.0, float("nan")]}, ["$.a[1]"]),
        (Any, [None, {"x": float("inf")}], ["$[1].x"]),
        (Any, [struct.unpack("<d", b"\x01\0\0\0\0\0\xf0\xff")[0]], ["$[0]"]),
        (float | None, float("-inf"), ["$"]),
        (str | None, float("nan"), ["$"]),
        (Any, {float("nan"): 1}, ["$"]),
        (Any, {"a": object()}, ["$.a"]),
        (Any, [{"b": lambda: None}], ["$[0].b"]),
        (Any, [2**64], ["$[0]"]),
        (int, 2**64, ["$"]),
        (Summary, Summary(-(2**63) - 1), ["$.words"]),
        (Any, {"a": "\ud800"}, ["$.a"]),
        (str, "\ud800", ["$"]),
        (Any, {"a": {(1, 2): 3}}, ["$.a"]),
        (Any, {"a": {None: 3}}, ["$.a"]),
        (Any, [Decimal("NaN")], ["$[0]"]),
        (Any, [Decimal("-NaN"), Decimal("sNaN"), Decimal("-Infinity")], ["$[0]", "$[1]", "$[2]"]),
        (Any, [Ellipsis, 1, {1, 2}, Exception("x")], ["$[0]", "$[3]"]),
        (Any, [msgspec.Raw(b"{")], ["$[0]"]),
        (Any, [msgspec.Raw(b'"\xff"')], ["$[0]"]),
    ],
)
def test_a_wrong_output_fails_and_names_its_paths(returns: Any, output: Any, paths: list[str]) -> None:
    error = _failure(returns, output)
    assert problems(error) == paths
    assert "object at 0x" not in str(error)


def test_a_cycle_is_named_where_it_closes() -> None:
    cyclic: dict[str, Any] = {"a": [{}]}
    cyclic["a"][0]["b"] = cyclic
    assert problems(_failure(Any, cyclic)) == ["$.a[0].b"]
    assert problems(_failure(dict[str, Any], cyclic)) == ["$.a[0].b"]


def test_deep_nesting_fails_in_words() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert "deep" in str(_failure(Any, deep))
    # Taken apart level by level: freeing it at once would need the stack that it was to exhaust.
    while deep:
        deep = deep.pop()


def test_the_same_object_twice_is_no_cycle() -> None:
    shared = {"x": None}
    assert _giving(Any).encode([shared, shared]) == b'[{"x":null},{"x":null}]'


class _Hostile(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise OSError("no")

    def __iter__(self) -> Iterator[str]:
        raise OSError("no")

    def __len__(self) -> int:
        return 1

    def __str__(self) -> str:
        raise OSError("no")

    __repr__ = __str__


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise OSError("no")


class _Raising(BaseModel):
    name: str = ""

    def model_dump(self, **_: Any) -> Any:
        raise _Unprintable


def test_objects_whose_methods_raise_fail_in_words() -> None:
    assert problems(_failure(Any, {"a": _Hostile()})) == ["$.a"]
    assert problems(_failure(Any, [_Raising()])) == ["$[0]"]
    assert "_Unprintable" in str(_failure(Any, [_Raising()]))


def test_two_keys_with_one_json_form_are_not_merged_in_silence() -> None:
    assert problems(_failure(dict[int, str], {1: "a", "1": "b"})) == ['$["1"]']


def test_a_struct_that_was_changed_after_it_was_made_is_checked_as_it_is_now() -> None:
    summary = Summary(1)
    summary.words = "many"  # type: ignore[assignment]
    assert problems(_failure(Summary, summary)) == ["$.words"]


def test_a_users_class_is_not_made_again_to_check_an_output() -> None:
    made: list[int] = []

    @dataclasses.dataclass
    class Counted:
        number: int

        def __post_init__(self) -> None:
            made.append(self.number)

    assert _giving(list[Counted]).encode([Counted(1)]) == b'[{"number":1}]'
    assert made == [1]
