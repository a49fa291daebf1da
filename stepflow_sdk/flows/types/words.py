"""Types in words, for messages."""

from collections.abc import Iterable
from typing import Final

from stepflow_sdk.flows.types.schemas import members
from stepflow_sdk.flows.types.types import Described, Either, Exactly, Never, Record, Sequence, Single, Type, Unknown
from stepflow_sdk.flows.values import Json, describe, is_array, is_object

_MOST_TOLD: Final = 5
_DEPTH: Final = 2
_ANYTHING: Final = "any value"
_KINDS: Final = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "array": "an array",
    "object": "an object",
}


def in_words(type: Type, depth: int = _DEPTH) -> str:  # noqa: PLR0911  # one return a type
    """A type as part of a sentence, such as ``a string or null``; long ones are cut short."""
    match type:
        case Unknown():
            return _ANYTHING
        case Never():
            return "no value"
        case Exactly():
            return _value(type.value)
        case Record():
            return _object(type.fields)
        case Sequence():
            return _array(len(type.items))
        case Single():
            return _single(type, depth)
        case Described():
            return _union(members(type), depth)
        case Either():
            return _union(type.members, depth)


def _union(types: Iterable[Type], depth: int) -> str:
    told = list(dict.fromkeys(in_words(type, depth) for type in types))
    if _ANYTHING in told:
        return _ANYTHING
    if {"true", "false"} <= {*told}:
        told = [word for word in told if word != "false"]
        told[told.index("true")] = "a boolean"
    # Null is said last, as people do.
    told.sort(key=lambda word: word == "null")
    if not told:
        return "no value"
    more = ["something else"] if len(told) > _MOST_TOLD else []
    shown = [*told[:_MOST_TOLD], *more]
    return " or ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _single(type: Single, depth: int) -> str:
    if type.kind == "array" and depth:
        items = type.keywords.get("items")
        if is_object(items):
            return f"an array, each element {in_words(Described(items, type.root), depth - 1)}"
    properties = type.keywords.get("properties")
    if type.kind == "object" and is_object(properties) and properties:
        return _object(properties)
    form = type.keywords.get("format")
    name = _KINDS.get(type.kind, type.kind)
    return f"{name} ({form})" if isinstance(form, str) and len(form) <= 20 else name


def _value(value: Json) -> str:
    if is_object(value):
        return _object(value)
    return _array(len(value)) if is_array(value) else describe(value)


def _array(length: int) -> str:
    return f"an array of {length} element{'' if length == 1 else 's'}"


def _object(fields: Iterable[str]) -> str:
    return f"an object with {names(fields)}" if fields else "an object without fields"


def names(fields: Iterable[str]) -> str:
    """Names in quotes, the first few of them."""
    known = list(fields)
    shown = ", ".join(repr(name[:40]) for name in known[:_MOST_TOLD])
    return f"{shown}, …" if len(known) > _MOST_TOLD else shown


def listed(values: object) -> str:
    """The values of an enumeration."""
    if not is_array(values):
        return describe(values)
    shown = [describe(value) for value in values[: _MOST_TOLD + 1]]
    return ", ".join(shown[:_MOST_TOLD]) + (", …" if len(shown) > _MOST_TOLD else "")
