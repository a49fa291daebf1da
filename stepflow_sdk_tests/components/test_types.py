"""Every supported type: what arrives in the function, and what is refused when the decorator runs."""

import dataclasses
import enum
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import annotated_types
import attrs
import msgspec
import pydantic
import pytest
import typing_extensions

from stepflow_sdk.errors import DefinitionError, InvalidInput, InvalidSignature

from .helpers import problems, run, spec_of, whole

T = TypeVar("T")
N = TypeVar("N", bound=int)

UserId = NewType("UserId", int)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Mixed(enum.Enum):
    HALF = 0.5
    NONE = None
    YES = True


class Point(NamedTuple):
    x: int
    y: int = 0


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    name: str


class One(msgspec.Struct, tag=1):
    pass


class Two(msgspec.Struct, tag=2):
    pass


class Box(msgspec.Struct, Generic[T]):
    item: T


@dataclasses.dataclass
class Pair(Generic[T]):
    left: T
    right: T


class Holder(TypedDict, Generic[T]):
    held: NotRequired[T]


class IntBox(Box[int]):
    label: str = ""


def _upper(text: str) -> str:
    return text.upper()


@attrs.define
class Attrs:
    name: str = attrs.field(converter=_upper)
    _private: int = 0


class Model(pydantic.BaseModel):
    name: str
    count: int = pydantic.Field(default=0, alias="Count")

    @pydantic.field_validator("name")
    @classmethod
    def check_name(cls, value: str) -> str:
        if value == "bad":
            raise ValueError("not this one")
        return value


@pydantic.dataclasses.dataclass
class PydanticDataclass:
    count: Annotated[int, pydantic.Field(ge=1)]


class Row(msgspec.Struct, array_like=True):
    a: int
    b: str = "b"


class Lenient(enum.Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> "Lenient":
        return cls.A


_CASES: list[tuple[Any, Any, Any]] = [
    (bool, True, True),
    (int, 3.0, 3),
    (float, 3, 3.0),
    (None, None, None),
    (bytes, "aGk=", b"hi"),
    (bytearray, "aGk=", bytearray(b"hi")),
    (date, "2024-02-29", date(2024, 2, 29)),
    (datetime, "2024-05-31T12:00:00.5Z", datetime(2024, 5, 31, 12, microsecond=500_000, tzinfo=UTC)),
    (datetime, "2024-05-31T12:00:00+01:00", datetime(2024, 5, 31, 12, tzinfo=timezone(timedelta(hours=1)))),
    (Annotated[datetime, msgspec.Meta(tz=False)], "2024-05-31T12:00:00", datetime(2024, 5, 31, 12)),
    (time, "12:30:00", time(12, 30)),
    (timedelta, "-P1DT2H3M4.5S", -timedelta(days=1, hours=2, minutes=3, seconds=4.5)),
    (timedelta, "P2W", timedelta(weeks=2)),
    (UUID, "123e4567-e89b-12d3-a456-426614174000", UUID("123e4567-e89b-12d3-a456-426614174000")),
    (Decimal, "-1.50", Decimal("-1.50")),
    (Colour, "red", Colour.RED),
    (Level, 1.0, Level.LOW),
    (Mixed, 0.5, Mixed.HALF),
    (Mixed, None, Mixed.NONE),
    (Mixed, True, Mixed.YES),
    (Literal["a", 1], 1.0, 1),
    (Literal[Colour.RED], "red", Colour.RED),
    (int | None, None, None),
    (int | str, "1", "1"),
    (int | float, 3.0, 3.0),
    (date | str, "2024-05-31", date(2024, 5, 31)),
    (date | str, "May", "May"),
    (list[int] | list[str], ["a"], ["a"]),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[int, ...], [1, 2], (1, 2)),
    (set[int], [1, 2], {1, 2}),
    (frozenset[str], ["a"], frozenset({"a"})),
    (AbstractSet[int], [1], frozenset({1})),
    (Sequence[int], [1], [1]),
    (Iterable[int], [1], [1]),
    (Mapping[str, int], {"a": 1}, {"a": 1}),
    (dict[int, str], {"1": "a"}, {1: "a"}),
    (dict[Colour, int], {"red": 1}, {Colour.RED: 1}),
    (dict[date, int], {"2024-05-31": 1}, {date(2024, 5, 31): 1}),
    (Point, [1], Point(1)),
    (Row, [1, "c"], Row(1, "c")),
    (Cat | Dog, {"type": "Dog", "name": "a"}, Dog("a")),
    (Cat, {"lives": 9}, Cat(9)),
    (One | Two, {"type": 1.0}, One()),
    (Box[int], {"item": 1.0}, Box(1)),
    (Box[list[date]], {"item": ["2024-05-31"]}, Box([date(2024, 5, 31)])),
    (Pair[str], {"left": "a", "right": "b"}, Pair("a", "b")),
    (Holder[int], {"held": 1}, {"held": 1}),
    (IntBox, {"item": 1, "label": "x"}, IntBox(1, "x")),
    (Box[N], {"item": 1}, Box(1)),  # type: ignore[valid-type]
    (UserId, 7, 7),
    (Attrs, {"name": "a"}, Attrs("a")),
    (Model, {"name": "a", "Count": 3.0}, Model(name="a", Count=3)),
    (list[Model], [{"name": "a"}], [Model(name="a")]),
    (PydanticDataclass, {"count": 1}, PydanticDataclass(1)),
    (msgspec.Raw, [1], msgspec.Raw(b"[1]")),
    (object, [1], [1]),
    (Any, {"a": [1.0]}, {"a": [1.0]}),
]


@pytest.mark.parametrize(("taken", "value", "arrives"), _CASES)
def test_a_value_arrives_as_its_type(taken: Any, value: Any, arrives: Any) -> None:
    arrived: list[Any] = []

    def take(value: Any) -> None:
        arrived.append(value)

    take.__annotations__ = {"value": whole(taken), "return": None}
    run(spec_of(take), value)
    assert arrived == [arrives]
    assert type(arrived[0]) is type(arrives)


@pytest.mark.parametrize(
    ("taken", "value"),
    [
        (int, True),
        (int, "1"),
        (bool, 1),
        (float, "1"),
        (datetime, "2024-05-31 12:00:00Z"),
        (datetime, "2024-05-31T12:00:00"),
        (datetime, "2023-02-29T12:00:00Z"),
        (date, "0000-01-01"),
        (date, "2024-05-31\n"),
        (UUID, "123e4567e89b12d3a456426614174000"),
        (UUID, "1-23e4567e89b12d3a45642661417400-0-"),
        (Decimal, 1.5),
        (Decimal, "NaN"),
        (Decimal, " 1"),
        (Decimal, "1_0"),
        (Decimal, "٣"),
        (bytes, "aGk"),
        (set[int], [1, 1.0]),
        (Literal[1], True),
        (Literal[True], 1),
        (Level, True),
        (Mixed, False),
        (Lenient, "b"),
        (dict[int, str], {"01": "a"}),
        (tuple[()], [1]),
        (Point, [1, 2, 3]),
        (Cat | Dog, {"lives": 9}),
        (Cat | Dog, {"type": "Cow"}),
        (One | Two, {"type": True}),
        (Cat, {"type": "Dog", "lives": 9}),
        (Model, {"name": "bad"}),
        (Model, {"name": 1}),
        (Model, {"name": "a", "Count": "3"}),
        (PydanticDataclass, {"count": 0}),
        (set, [[1]]),
    ],
)
def test_a_value_that_msgspec_or_python_might_let_pass_is_refused(taken: Any, value: Any) -> None:
    def take(value: Any) -> None: ...

    take.__annotations__ = {"value": whole(taken), "return": None}
    with pytest.raises(InvalidInput):
        run(spec_of(take), value)


def test_a_models_own_problems_have_their_paths() -> None:
    def take(models: list[Model]) -> None: ...

    with pytest.raises(InvalidInput) as caught:
        run(spec_of(take), {"models": [{"name": "bad"}, {}, {"name": "a", "Count": "x"}]})
    assert problems(caught.value) == ["$.models[0].name", "$.models[1].name", "$.models[2].Count"]


def test_constraints_of_annotated_types_and_pydantic_fields_hold_too() -> None:
    def take(
        low: Annotated[int, annotated_types.Ge(1)],
        short: Annotated[str, annotated_types.Len(1, 2)],
        between: Annotated[float, annotated_types.Interval(gt=0, le=1)],
        field: Annotated[int, pydantic.Field(lt=5, description="Small.")],
    ) -> None: ...

    spec = spec_of(take)
    assert spec.input_schema["properties"] == {
        "low": {"type": "integer", "minimum": 1},
        "short": {"type": "string", "minLength": 1, "maxLength": 2},
        "between": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "field": {"type": "integer", "exclusiveMaximum": 5, "description": "Small."},
    }
    with pytest.raises(InvalidInput) as caught:
        run(spec, {"low": 0, "short": "abc", "between": 0, "field": 5})
    assert problems(caught.value) == ["$.low", "$.short", "$.between", "$.field"]


class _Flag(enum.Flag):
    A = 1


class _TupleEnum(enum.Enum):
    A = (1, 2)


@dataclasses.dataclass
class _WithInitVar:
    a: dataclasses.InitVar[int]


@dataclasses.dataclass
class _Private:
    _a: int


@dataclasses.dataclass
class _Mutable:
    a: int


class _TaggedRow(msgspec.Struct, array_like=True, tag=True):
    a: int


class _Cat2(msgspec.Struct, tag="Cat"):
    name: str


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        (complex, ["complex", "dataclass"]),
        (list[complex], ["complex"]),
        (type, ["type"]),
        (set[list[int]], ["hashable", "list"]),
        (set[_Mutable], ["_Mutable", "frozen"]),
        (dict[float, int], ["keys", "str"]),
        (dict[tuple[int, int], int], ["keys", "list of pairs"]),
        (_Flag, ["_Flag", "list"]),
        (_TupleEnum, ["_TupleEnum"]),
        (Literal[b"a"], ["b'a'"]),
        (_WithInitVar, ["InitVar"]),
        (_Private, ["_a", "public"]),
        (_TaggedRow, ["array_like", "tag"]),
        (Cat | _Cat2, ["tag", "'Cat'"]),
        (Annotated[bool, msgspec.Meta(ge=1)], ["bool", "number"]),
        (Annotated[int, msgspec.Meta(min_length=1)], ["int", "length"]),
        (Annotated[str, msgspec.Meta(extra_json_schema={"type": 3})], ["JSON Schema"]),
    ],
)
def test_a_type_that_cannot_be_served_is_refused_with_function_parameter_and_fix(taken: Any, words: list[str]) -> None:
    def take(value: Any, other: int) -> None: ...

    take.__annotations__ = {"value": taken, "other": int, "return": None}
    with pytest.raises(InvalidSignature) as caught:
        spec_of(take)
    for word in ["take()", "'value'", *words]:
        assert word in str(caught.value)
    take.__annotations__ = {"value": int, "other": int, "return": taken}
    with pytest.raises(DefinitionError, match="the output"):
        spec_of(take)


def test_an_annotation_that_is_no_type_is_refused() -> None:
    for wrong in ([int], {"a": int}, 5, "two words", lambda: int):

        def take(value: Any) -> None: ...

        take.__annotations__ = {"value": wrong}
        with pytest.raises(InvalidSignature, match=r"take\(\): parameter 'value'"):
            spec_of(take)


def test_recursive_aliases_and_generics_have_definitions_that_refer_to_themselves() -> None:
    json_value: Any = typing_extensions.TypeAliasType("Json", "int | list[Json] | dict[str, Json]")

    class Chain(msgspec.Struct, Generic[T]):
        value: T
        next: "Chain[T] | None" = None

    Json = json_value  # the name that the alias refers to itself by

    def take(json: Any, chain: Any) -> None: ...

    take.__annotations__ = {"json": Json, "chain": Chain[int], "return": None}
    spec = spec_of(take)
    assert set(spec.input_schema["$defs"]) == {"Json", "Chain_int"}
    run(spec, {"json": [1, {"a": [2]}], "chain": {"value": 1, "next": {"value": 2}}})
    with pytest.raises(InvalidInput) as caught:
        run(spec, {"json": [1, {"a": ["x"]}], "chain": {"value": 1, "next": {"value": "x"}}})
    assert problems(caught.value) == ["$.json[1].a[0]", "$.chain.next.value"]


_UNIONS_THAT_MSGSPEC_MUST_NOT_SEE = """
import gc
from typing import Annotated, Union
from msgspec import Meta, Struct
from stepflow_sdk.components import Router

text, number = Annotated[str, Meta(pattern="^a")], Annotated[float, Meta(ge=1)]
for _ in range(150):
    for taken in (Union[text, list[int]], Union[text, dict[str, int]], Union[number, tuple[int, str]]):
        class Holder(Struct):
            held: taken

        def take(one: taken, two: list[Holder]) -> Holder: ...

        Router().component(take)
    gc.collect()
"""


def test_unions_whose_types_corrupt_msgspecs_memory_are_kept_from_it() -> None:
    environment = {**os.environ, "PYTHONMALLOC": "debug"}
    subprocess.run([sys.executable, "-c", _UNIONS_THAT_MSGSPEC_MUST_NOT_SEE], check=True, env=environment)
