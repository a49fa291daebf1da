"""JSON Schemas as unions of simple ones, for looking at what they allow.

What is made here allows at least what the schema allows: a keyword that cannot be kept is left out. So what is found to
fit does fit, and what is found not to fit does not.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from stepflow_sdk.flows.types.types import (
    JSON_TYPES,
    Described,
    Either,
    Exactly,
    Never,
    Single,
    Type,
    Unknown,
    either,
    json_type,
)
from stepflow_sdk.flows.values import MISSING, Json, Missing, is_array, is_object

_MOST_ALTERNATIVES: Final = 64
_MOST_HOPS: Final = 24
_MOST_LOOKED_AT: Final = 150

_ANYTHING: Final[Mapping[str, Json]] = {}
_LARGER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_SMALLER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_REFERENCES: Final = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_NUMBERS: Final = frozenset({"integer", "number"})
_OF_ITEMS: Final = ("items", "prefixItems", "additionalItems")
_WITHOUT_MEANING: Final = frozenset(
    {"title", "description", "default", "examples", "$comment", "$defs", "definitions", "$schema", "$id", "$anchor"}
    | {"deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "contentSchema", "then", "else"}
)


def members(type: Described) -> tuple[Type, ...]:
    """The simple types that a schema is the union of: `Exactly`, `Single`, `Unknown`; none when it allows nothing."""
    found: list[Type] = []
    for alternative in _Alternatives(type.root).of(type.schema, 0):
        found += _simple(alternative, type)
    if len(found) > _MOST_ALTERNATIVES:
        return (Unknown(type.place),)
    return tuple(found)


def expand(type: Type) -> Type:
    """The type with its schemas taken apart, one level deep."""
    match type:
        case Described():
            return either(*members(type), place=type.place)
        case Either():
            return either(*[expand(member) for member in type.members], place=type.place)
        case _:
            return type


def is_trivial(schema: Json, root: Json) -> bool:
    """Whether a schema allows every value, as far as one look at it tells."""
    if isinstance(schema, bool):
        return schema
    if not is_object(schema):
        return True
    for _ in range(_MOST_HOPS):
        keywords = [key for key in schema if key not in _WITHOUT_MEANING]
        if keywords != ["$ref"]:
            return not keywords
        schema = resolve_reference(root, schema["$ref"])
        if not is_object(schema):
            return schema is True
    return False


def has_references(schema: Json) -> bool:
    """Whether a schema depends on the document that it stands in."""
    if is_object(schema):
        return any(key in _REFERENCES or has_references(value) for key, value in schema.items())
    return is_array(schema) and any(has_references(part) for part in schema)


def resolve_reference(root: Json, reference: Json) -> Json | Missing:
    """What ``$ref`` stands for: a JSON pointer into the same document; `MISSING` for anything else."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return MISSING
    found = root
    for part in reference.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if is_object(found) and key in found:
            found = found[key]
        elif is_array(found) and key.isdecimal() and len(key) < 10 and int(key) < len(found):
            found = found[int(key)]
        else:
            return MISSING
    return found


# ---- taking apart -----------------------------------------------------------------------------------------------


class _Alternatives:
    """Takes schemas of one document apart, as far as it is worth the time."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._looked_at = 0

    def of(self, schema: Json, hops: int) -> list[Mapping[str, Json]]:
        """The schema as a union of schemas without ``$ref`` and combinations."""
        self._looked_at += 1
        if schema is False:
            return []
        if not is_object(schema) or hops > _MOST_HOPS or self._looked_at > _MOST_LOOKED_AT:
            return [_ANYTHING]
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
        found: list[Mapping[str, Json]] = [rest]
        if "$ref" in schema:
            target = resolve_reference(self._root, schema["$ref"])
            found = _product(found, [_ANYTHING] if target is MISSING else self.of(target, hops + 1))
        for part in _list(schema.get("allOf")):
            found = _product(found, self.of(part, hops + 1))
        for key in ("anyOf", "oneOf"):
            if key in schema:
                union = [one for part in _list(schema[key]) for one in self.of(part, hops + 1)]
                found = _product(found, union)
        return found


def _product(ones: Iterable[Mapping[str, Json]], others: Iterable[Mapping[str, Json]]) -> list[Mapping[str, Json]]:
    found = [merged for one in ones for other in others if (merged := _merge(one, other)) is not None]
    return found if len(found) <= _MOST_ALTERNATIVES else [_ANYTHING]


def _merge(one: Mapping[str, Json], other: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """What both schemas say, or none when nothing can be both."""
    if not one or not other:
        return one or other
    merged = {**other, **one}
    for key in one.keys() & other.keys():
        if (value := _merged_value(key, one[key], other[key])) is MISSING:
            return None
        merged[key] = value
    if "additionalProperties" in merged and not _keeps_rest(one, other):
        if _keeps_rest(other, one):
            merged["additionalProperties"] = other["additionalProperties"]
        else:
            merged.pop("additionalProperties")
    if any(key in one for key in _OF_ITEMS):
        for key in _OF_ITEMS:
            if key not in one:
                merged.pop(key, None)
    return merged


def _keeps_rest(holder: Mapping[str, Json], other: Mapping[str, Json]) -> bool:
    """Whether what a schema says of the fields beside its own is said of the same ones after the merge."""
    keys = ("properties", "patternProperties")
    return "additionalProperties" in holder and all(
        _object(other.get(key)).keys() <= _object(holder.get(key)).keys() for key in keys
    )


def _merged_value(key: str, one: Json, other: Json) -> Json | Missing:
    if key == "type":
        return _common_types(one, other) or MISSING
    if key == "properties" and is_object(one) and is_object(other):
        both = {name: {"allOf": [one[name], other[name]]} for name in one if name in other and one[name] != other[name]}
        return {**other, **one, **both}
    if key == "required" and is_array(one) and is_array(other):
        return list(dict.fromkeys([*map(str, one), *map(str, other)]))
    if key in _LARGER or key in _SMALLER:
        return _stronger(key, one, other)
    return one


def _stronger(key: str, one: Json, other: Json) -> Json:
    if not isinstance(one, (int, float)) or not isinstance(other, (int, float)):
        return one
    return max(one, other) if key in _LARGER else min(one, other)


def _common_types(one: Json, other: Json) -> list[str]:
    common: list[str] = []
    for kind in types_of(one):
        if kind in types_of(other):
            common.append(kind)
        elif kind in _NUMBERS and {kind, *types_of(other)} >= _NUMBERS:
            common.append("integer")
    return common


def types_of(types: Json) -> list[str]:
    """The JSON types that the keyword ``type`` names."""
    if isinstance(types, str):
        return [types]
    return [kind for kind in types if isinstance(kind, str)] if is_array(types) else list(JSON_TYPES)


# ---- simple types -----------------------------------------------------------------------------------------------


def _simple(schema: Mapping[str, Json], origin: Described) -> list[Type]:
    place = origin.place
    kinds = types_of(schema.get("type")) if "type" in schema else None
    if "const" in schema or is_array(schema.get("enum")):
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return [Exactly(value, place) for value in values if kinds is None or _is_of(value, kinds)]
    if kinds is None:
        return [Unknown(place)] if not _is_about_fields(schema) else [Unknown(place), _single("object", schema, origin)]
    if "number" in kinds:
        kinds = [kind for kind in kinds if kind != "integer"]
    found: list[Type] = []
    for kind in kinds:
        if kind == "null":
            found.append(Exactly(None, place))
        elif kind == "boolean":
            found += [Exactly(True, place), Exactly(False, place)]
        elif kind in JSON_TYPES:
            found.append(_single(kind, schema, origin))
        else:
            found.append(Unknown(place))
    return found


def _single(kind: str, schema: Mapping[str, Json], origin: Described) -> Single:
    return Single(kind, schema, origin.root, origin.place)


def _is_about_fields(schema: Mapping[str, Json]) -> bool:
    return "properties" in schema


def _is_of(value: Json, kinds: list[str]) -> bool:
    kind = json_type(value)
    if kind in kinds or (kind == "integer" and "number" in kinds):
        return True
    return kind == "number" and "integer" in kinds and isinstance(value, float) and value.is_integer()


def without_null(type: Type) -> Type:
    """The type without the value null."""
    found = expand(type)
    options = found.members if isinstance(found, Either) else (found,)
    kept = [option for option in options if not (isinstance(option, Exactly) and option.value is None)]
    if len(kept) == len(options):
        return type
    return either(*kept) if kept else Never(type.place)


def allows_null(type: Type) -> bool:
    """Whether null is among the values that are known to be possible."""
    found = expand(type)
    options = found.members if isinstance(found, Either) else (found,)
    return any(isinstance(option, Exactly) and option.value is None for option in options)


def _list(value: Json) -> list[Any]:
    return value if is_array(value) else []


def _object(value: Json) -> Mapping[str, Any]:
    return value if is_object(value) else {}
