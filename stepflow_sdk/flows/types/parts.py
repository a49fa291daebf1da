"""What a type says of the fields and the elements of its values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from stepflow_sdk.flows.types.schemas import is_trivial
from stepflow_sdk.flows.types.types import Described, Exactly, Never, Record, Sequence, Single, Type, Unknown
from stepflow_sdk.flows.values import Json, is_array, is_integer, is_object

_REPEATED_GROUP: Final = re.compile(r"\)[*+?{]")
_REPETITION: Final = re.compile(r"[*+?{]")
_MOST_REPETITIONS: Final = 3
_MOST_LETTERS: Final = 200
_MOST_LETTERS_OF_SLOW: Final = 14


class Presence(IntEnum):
    """Whether a field or an element is there."""

    ALWAYS = 0
    DECLARED = 1
    """It may be left out."""
    UNDECLARED = 2
    """Nothing is said of it, nor is it ruled out."""
    NEVER = 3


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of an object.

    Attributes:
        declared: Type and whether it is always there, by name.
        patterns: Types of fields by the regular expressions that their names match.
        rest: The type of all other fields; none when there are no others.
    """

    declared: Mapping[str, tuple[Type, bool]]
    patterns: tuple[tuple[str, Type], ...] = ()
    rest: Type | None = None

    def look_up(self, name: str) -> tuple[Type, Presence]:
        """The type of a field, and whether it is there."""
        if name in self.declared:
            type, always = self.declared[name]
            if isinstance(type, Never):
                return type, Presence.NEVER
            return type, Presence.ALWAYS if always else Presence.DECLARED
        for pattern, type in self.patterns:
            if (matched := matches(pattern, name)) is not False:
                return type if matched else Unknown(), Presence.DECLARED
        if self.rest is None:
            return Never(), Presence.NEVER
        # A map from any names to one type says as much of each of them as it ever will.
        is_map = not self.declared or not isinstance(self.rest, Unknown)
        return self.rest, Presence.DECLARED if is_map else Presence.UNDECLARED

    @property
    def is_closed(self) -> bool:
        """Whether all names are known."""
        return self.rest is None and not self.patterns


@dataclass(frozen=True, slots=True)
class Items:
    """The elements of an array.

    Attributes:
        first: The types of the first ones.
        rest: The type of those behind; none when there are none.
        least, most: How many there are; no ``most`` when there is no bound.
    """

    first: tuple[Type, ...]
    rest: Type | None
    least: int = 0
    most: int | None = field(default=None)

    def look_up(self, index: int) -> tuple[Type, Presence]:
        """The type of an element, and whether it is there."""
        type = self.first[index] if index < len(self.first) else self.rest
        if type is None or isinstance(type, Never) or (self.most is not None and index >= self.most):
            return Never(), Presence.NEVER
        return type, Presence.ALWAYS if index < self.least else Presence.DECLARED


def fields_of(type: Type) -> Fields | None:
    """The fields of the values of a type; none when its values are no objects."""
    match type:
        case Exactly() if is_object(type.value):
            return Fields({name: (type.part(name), True) for name in type.value})
        case Record():
            return Fields({name: (inner, True) for name, inner in type.fields.items()})
        case Single(kind="object"):
            return _fields_of_schema(type)
        case _:
            return None


def _fields_of_schema(type: Single) -> Fields:
    schema = type.keywords
    required = schema.get("required")
    always = {name for name in required if isinstance(name, str)} if is_array(required) else set[str]()
    rest = _rest(type, schema.get("additionalProperties", True))
    declared = {
        name: (_inner(type, inner), name in always) for name, inner in _object(schema.get("properties")).items()
    }
    patterns = tuple((name, _inner(type, inner)) for name, inner in _object(schema.get("patternProperties")).items())
    unseen = always - declared.keys()
    known = Fields(declared, patterns, rest)
    return Fields({**declared, **{name: (known.look_up(name)[0], True) for name in sorted(unseen)}}, patterns, rest)


def items_of(type: Type) -> Items | None:
    """The elements of the values of a type; none when its values are no arrays."""
    match type:
        case Exactly() if is_array(type.value):
            count = len(type.value)
            return Items(tuple(type.part(index) for index in range(count)), None, count, count)
        case Sequence():
            return Items(type.items, None, len(type.items), len(type.items))
        case Single(kind="array"):
            return _items_of_schema(type)
        case _:
            return None


def _items_of_schema(type: Single) -> Items:
    schema = type.keywords
    prefix, items = schema.get("prefixItems"), schema.get("items", True)
    if is_array(items):
        # The form of older drafts.
        prefix, items = items, schema.get("additionalItems", True)
    first = tuple(_inner(type, inner) for inner in prefix) if is_array(prefix) else ()
    least, most = schema.get("minItems"), schema.get("maxItems")
    return Items(
        first,
        _rest(type, items),
        least if is_integer(least) else 0,
        most if is_integer(most) else None,
    )


def _rest(type: Single, schema: Json) -> Type | None:
    return None if schema is False else _inner(type, schema)


def _inner(type: Single, schema: Json) -> Type:
    if schema is False:
        return Never(type.place)
    if is_trivial(schema, type.root):
        return Unknown(type.place)
    return Described(schema, type.root, type.place)


def matches(pattern: str, text: str) -> bool | None:
    """Whether a text matches a regular expression of a schema somewhere; none where that cannot be told in time."""
    # Patterns come from servers, and with repetitions in each other or in a row every letter can double the time.
    is_slow = _REPEATED_GROUP.search(pattern) is not None or len(_REPETITION.findall(pattern)) > _MOST_REPETITIONS
    if len(text) > (_MOST_LETTERS_OF_SLOW if is_slow else _MOST_LETTERS):
        return None
    try:
        return re.search(pattern, text) is not None
    except (re.error, RecursionError, OverflowError):
        return None


def _object(value: Json) -> Mapping[str, Json]:
    return value if is_object(value) else {}
