"""Random types out of everything that a component may take, and random JSON values near their schemas."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict, Union
from uuid import UUID

import attrs
import msgspec
from hypothesis import strategies as st
from pydantic import BaseModel


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(enum.Enum):
    ONE = 1
    HALF = 0.5
    WORD = "word"
    NOTHING = None
    YES = True


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True, forbid_unknown_fields=True):
    name: str = "rex"


class First(msgspec.Struct, tag=1, tag_field="kind"):
    x: int = 0


class Second(msgspec.Struct, tag=2, tag_field="kind"):
    x: str = ""


class Tree(msgspec.Struct):
    value: int
    children: "list[Tree]" = []


class Pair(msgspec.Struct, array_like=True):
    left: int
    right: str = ""


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True):
    first_name: str
    last_name: str | None = None


@dataclass(frozen=True, slots=True)
class Money:
    amount: Decimal
    currency: Literal["EUR", "USD"] = "EUR"
    tags: tuple[str, ...] = field(default_factory=tuple)


class Options(TypedDict):
    depth: int
    label: NotRequired[str]


@attrs.define
class Box:
    width: int
    height: int = 1


class Person(BaseModel):
    name: str
    age: int = 0


class Linked(TypedDict):
    value: date
    next: "Linked | None"


_LEAVES: list[Any] = [
    *(str, int, float, bool, None, Any, object, bytes, date, datetime, time, timedelta, UUID, Decimal),
    *(Colour, Level, Mixed, Point, Cat, Dog, Tree, Pair, Renamed, Money, Options, Box, Person, Linked),
    *(list, dict, set, tuple, frozenset, list[int], dict[str, float], dict[int, str], dict[Colour, int]),
    *(dict[UUID, int], dict[date, bool], Sequence[int], Mapping[str, int], tuple[()]),
    *(Literal["a", "b"], Literal[1, 2], Literal[True, None], Literal[1, "1", False]),
    Annotated[int, msgspec.Meta(ge=0, lt=10)],
    Annotated[int, msgspec.Meta(multiple_of=3)],
    Annotated[float, msgspec.Meta(gt=-1.5, le=2.5)],
    Annotated[float, msgspec.Meta(multiple_of=0.5)],
    Annotated[str, msgspec.Meta(min_length=1, max_length=3)],
    Annotated[str, msgspec.Meta(pattern="^[a-c]+")],
    Annotated[list[int], msgspec.Meta(min_length=1, max_length=2)],
    Annotated[set[int], msgspec.Meta(max_length=2)],
    Annotated[dict[str, int], msgspec.Meta(max_length=1)],
    Annotated[dict[Annotated[str, msgspec.Meta(max_length=1)], int], msgspec.Meta(min_length=1)],
    Annotated[datetime, msgspec.Meta(tz=False)],
    Annotated[time, msgspec.Meta(tz=True)],
    Annotated[str, msgspec.Meta(extra_json_schema={"format": "email"})],
    Annotated[int, msgspec.Meta(extra_json_schema={"not": {"const": 3}})],
    Annotated[int, msgspec.Meta(title="A", description="b", examples=[1])],
    Cat | Dog,
    Cat | Dog | None,
    First | Second,
    Cat | dict[str, int],
    int | float,
    int | str,
    datetime | str,
    list[int] | list[str],
    list[int] | dict[str, int] | None,
    Level | int,
]

_HASHABLE: list[Any] = [str, int, float, bool, date, UUID, Colour, Level, Literal["a", 1], tuple[int, str]]


def types() -> st.SearchStrategy[Any]:
    """Return a strategy for annotations, nested up to a few levels."""
    return st.recursive(st.sampled_from(_LEAVES), _composed, max_leaves=5)


def _composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def both(make: Callable[..., Any]) -> st.SearchStrategy[Any]:
        return st.tuples(inner, inner).map(lambda pair: make(*pair))

    def of(generic: Any, items: st.SearchStrategy[Any] = inner) -> st.SearchStrategy[Any]:
        return items.map(lambda item: generic[item])

    hashable = st.sampled_from(_HASHABLE)
    return st.one_of(
        *(of(list), of(Sequence), of(Optional), of(set, hashable), of(frozenset, hashable)),
        inner.map(lambda item: _generic(dict, str, item)),
        inner.map(lambda item: _generic(tuple, item, ...)),
        both(lambda one, two: _generic(tuple, one, two)),
        both(lambda one, two: _generic(Union, one, two)),
        both(_struct),
        both(
            lambda one, two: make_dataclass(
                "Made", [("one", one), ("two", _generic(Optional, two), field(default=None))]
            )
        ),
        both(lambda one, two: _made_typed_dict({"one": one, "two": _generic(NotRequired, two)})),
        both(lambda one, two: NamedTuple("Made", [("one", one), ("two", two)])),
    )


def _generic(generic: Any, *args: Any) -> Any:
    return generic[args if len(args) > 1 else args[0]]


def _made_typed_dict(fields: Any) -> Any:
    make: Any = TypedDict
    return make("Made", fields)


def _dataclass(one: Any, two: Any) -> Any:
    return make_dataclass("Made", [("one", one), ("two", _generic(Optional, two), field(default=None))])


def _struct(one: Any, two: Any) -> Any:
    return msgspec.defstruct("Made", [("one", one), ("two", _generic(Optional, two), None)])


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for JSON values, most of which fit a schema and many of which just do not."""
    return st.composite(lambda draw: _Values(draw, schema).draw(schema, 0))()


_JUNK: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 1.0, 3.0, 2.5, -0.0, 1e300, 2**53, 2**63, 2**64, 10**30, "", "a", "abcd"),
    *(
        [],
        {},
        [1],
        [1, 1.0],
        ["a", 1],
        {"a": 1},
        {"one": 1},
        {"type": "Cat"},
        {"kind": 1.0},
        {"kind": True},
        {"1": 1},
        {"01": 1},
        [None],
    ),
    *("2024-02-29", "2023-02-29", "2024-05-31T12:00:00Z", "2024-05-31 12:00:00Z", "2024-05-31T12:00:00"),
    *("2024-05-31T12:00:00.1+01:00", "2024-05-31\n", "12:00:00", "12:00:00Z", "24:00:00", "PT1H", "P1W", "PT", "P1Y"),
    *("123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000", "NaN", "Infinity", " 1", "1_0"),
    *("1.50", "1e5", "+1", "٣", "aGk=", "aGk", "aGk=\n", "a@b", "red", "1"),
]


class _Values:
    """Draws one value; a coin on the way decides where it goes wrong."""

    def __init__(self, draw: Any, root: dict[str, Any]) -> None:
        self._draw = draw
        self._root = root

    def draw(self, schema: Any, depth: int) -> Any:
        draw = self._draw
        if schema is False or draw(st.integers(0, 14)) == 0:
            return draw(st.sampled_from(_JUNK))
        if "$ref" in schema:
            return self.draw(self._root["$defs"][schema["$ref"].removeprefix("#/$defs/")], depth)
        if "anyOf" in schema:
            return self.draw(draw(st.sampled_from(schema["anyOf"])), depth)
        if "enum" in schema:
            return draw(st.sampled_from(schema["enum"]))
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = draw(st.sampled_from(kind))
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        return self._scalar(kind, schema)

    def _object(self, schema: dict[str, Any], depth: int) -> Any:
        draw = self._draw
        drawn: dict[str, Any] = {}
        required = schema.get("required", [])
        for name, inner in schema.get("properties", {}).items():
            if draw(st.integers(0, 9)) < (9 if name in required else 5 if depth < 4 else 0):
                drawn[name] = self.draw(inner, depth + 1)
        if "properties" not in schema or draw(st.integers(0, 5)) == 0:
            names = schema.get("propertyNames", {"type": "string"})
            for _ in range(draw(st.integers(0, 2)) if depth < 4 else 0):
                name = self.draw({"type": "string", **names}, depth + 1)
                further = schema.get("additionalProperties", {})
                drawn[str(name)] = self.draw({} if further is False else further, depth + 1)
        return drawn

    def _array(self, schema: dict[str, Any], depth: int) -> Any:
        draw = self._draw
        prefix = schema.get("prefixItems", [])
        drawn = [self.draw(inner, depth + 1) for inner in prefix]
        if prefix:
            return drawn if draw(st.integers(0, 5)) else drawn[: draw(st.integers(0, len(drawn)))]
        items = schema.get("items", {})
        return [self.draw(items, depth + 1) for _ in range(draw(st.integers(0, 3)) if depth < 4 else 0)]

    def _scalar(self, kind: str | None, schema: dict[str, Any]) -> Any:
        draw = self._draw
        if kind == "null":
            return None
        if kind == "boolean":
            return draw(st.booleans())
        if kind in {"integer", "number"}:
            small = st.integers(-5, 15)
            return draw(st.one_of(small, small.map(float), small.map(lambda n: n / 2), st.integers()))
        if kind == "string":
            if "pattern" in schema and draw(st.booleans()):
                return draw(st.from_regex(schema["pattern"]))
            return draw(st.one_of(st.sampled_from("abc"), st.text(max_size=4)))
        return draw(st.sampled_from(_JUNK))
