"""Static types: what is known of a value before the flow runs (section c.9 of the flow format)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from stepflow_sdk.flows.values import Json, PathParts, is_object

JSON_TYPES: Final = ("null", "boolean", "integer", "number", "string", "array", "object")

_MOST_MEMBERS: Final = 200


@dataclass(frozen=True, slots=True)
class Unknown:
    """Any value: nothing is known."""

    place: PathParts | None = None


@dataclass(frozen=True, slots=True)
class Never:
    """No value: what stands here is never evaluated to one."""

    place: PathParts | None = None


@dataclass(frozen=True, slots=True)
class Exactly:
    """One value.

    Attributes:
        value: The value.
        place: Where in the document it stands, if it stands there.
        source: The value as it is written there, with ``$literal`` around parts; none where it is written as it is.
    """

    value: Json
    place: PathParts | None = None
    source: Json = None

    def part(self, key: str | int) -> "Exactly":
        """The type of a field or an element."""
        whole: Any = self.value
        value: Json = whole[key]
        if self.place is None:
            return Exactly(value)
        if is_object(self.source) and "$literal" in self.source:
            return Exactly(value, (*self.place, "$literal", key))
        written: Any = self.source
        inner: Json = None if written is None else written[key]
        return Exactly(value, (*self.place, key), inner if isinstance(inner, (dict, list)) else None)


@dataclass(frozen=True, slots=True)
class Record:
    """An object with these fields and no others."""

    fields: Mapping[str, "Type"]
    place: PathParts | None = None


@dataclass(frozen=True, slots=True)
class Sequence:
    """An array of these elements."""

    items: tuple["Type", ...]
    place: PathParts | None = None


@dataclass(frozen=True, slots=True)
class Either:
    """A value of one of several types."""

    members: tuple["Type", ...]
    place: PathParts | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """Whatever a JSON Schema allows.

    Attributes:
        schema: An object or a boolean.
        root: The document that ``$ref`` looks into.
        place: Where in the flow the value comes in.
    """

    schema: Json
    root: Json
    place: PathParts | None = None


@dataclass(frozen=True, slots=True)
class Single:
    """Values of one JSON type: a schema without references and unions, as `members` gives it.

    Attributes:
        kind: The JSON type.
        keywords: The schema. What it says may be less than what the schema it comes from says, but never more.
        root: The document that ``$ref`` looks into.
        place: Where in the flow the value comes in.
    """

    kind: str
    keywords: Mapping[str, Json]
    root: Json
    place: PathParts | None = None


Type: TypeAlias = Unknown | Never | Exactly | Record | Sequence | Either | Described | Single


def either(*types: Type, place: PathParts | None = None) -> Type:
    """The union of types, as flat as it can be; of very many types it is `Unknown`."""
    found: list[Type] = []
    for member in _flattened(types):
        if not isinstance(member, Never) and not any(_same(member, other) for other in found):
            found.append(member)
        if len(found) > _MOST_MEMBERS:
            return Unknown(place)
    if not found:
        return Never(place)
    return found[0] if len(found) == 1 else Either(tuple(found), place)


def _same(one: Type, other: Type) -> bool:
    # Not by ``==``, for which 1 and true are one value.
    if isinstance(one, Exactly) and isinstance(other, Exactly):
        return one.value is other.value
    if isinstance(one, Described) and isinstance(other, Described):
        return one.schema is other.schema and one.root is other.root
    return isinstance(one, Unknown) and isinstance(other, Unknown)


def _flattened(types: tuple[Type, ...]) -> Iterator[Type]:
    for member in types:
        if isinstance(member, Either):
            yield from _flattened(member.members)
        else:
            yield member


def json_type(value: Json) -> str:  # noqa: PLR0911  # one return a type
    """The JSON type of a value; a float is a ``number`` even where it has no fraction."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
