"""Finds what is no JSON Schema where a flow has one: keywords whose values have not their form (2020-12)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from stepflow_sdk.flows.document import Flow
from stepflow_sdk.flows.old_document import OldFlow
from stepflow_sdk.flows.values import Json, PathParts, describe, is_array, is_integer, is_object

__all__ = ["malformed_schemas"]

_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")

_OF_SCHEMA: Final = frozenset(
    (
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "else",
        "if",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    )
)
_OF_SCHEMAS: Final = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_OF_NAMED_SCHEMAS: Final = frozenset(("$defs", "definitions", "dependentSchemas", "patternProperties", "properties"))


def malformed_schemas(flow: Flow) -> Iterator[tuple[PathParts, str]]:
    """The places in the schemas of a flow that have not the form of JSON Schema, each with what is wanted there."""
    for path, schema in _schemas_of(flow):
        if schema is not None:
            yield from _problems(schema, path)


def _schemas_of(flow: Flow) -> Iterator[tuple[PathParts, Json]]:
    if not isinstance(flow, OldFlow):
        yield ("schemas",), None if flow.schemas is None else dict(flow.schemas)
        return
    yield ("inputSchema",), flow.input_schema
    yield ("outputSchema",), flow.output_schema
    yield ("variables",), flow.variables_schema
    for index, step in enumerate(flow.steps):
        yield ("steps", index, "inputSchema"), getattr(step, "input_schema", None)
        yield ("steps", index, "outputSchema"), getattr(step, "output_schema", None)


def _problems(schema: Json, path: PathParts) -> Iterator[tuple[PathParts, str]]:
    if isinstance(schema, bool):
        return
    if not is_object(schema):
        yield path, f"a JSON Schema is an object, true or false, not {describe(schema)}"
        return
    for key, value in schema.items():
        place = (*path, key)
        if key in _OF_SCHEMA or (key == "items" and not is_array(value)):
            yield from _problems(value, place)
        elif key in _OF_SCHEMAS or key == "items":
            yield from _listed(key, value, place)
        elif key in _OF_NAMED_SCHEMAS:
            yield from _named(key, value, place)
        elif key in _FORMS and not _FORMS[key][0](value):
            yield place, f"{key!r} of a JSON Schema is {_FORMS[key][1]}, not {_shown(value)}"


def _listed(key: str, value: Json, path: PathParts) -> Iterator[tuple[PathParts, str]]:
    if not is_array(value):
        yield path, f"{key!r} of a JSON Schema is a list of schemas, not {describe(value)}"
        return
    for index, part in enumerate(value):
        yield from _problems(part, (*path, index))


def _named(key: str, value: Json, path: PathParts) -> Iterator[tuple[PathParts, str]]:
    if not is_object(value):
        yield path, f"{key!r} of a JSON Schema is an object of schemas, not {describe(value)}"
        return
    for name, part in value.items():
        yield from _problems(part, (*path, name))


def _shown(value: Json) -> str:
    return "a list with something else in it" if is_array(value) else describe(value)


def _is_text(value: Json) -> bool:
    return isinstance(value, str)


def _is_truth(value: Json) -> bool:
    return isinstance(value, bool)


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_above_zero(value: Json) -> bool:
    return _is_number(value) and value > 0


def _is_count(value: Json) -> bool:
    return (is_integer(value) or (isinstance(value, float) and value.is_integer())) and value >= 0


def _is_type(value: Json) -> bool:
    return value in _TYPES if isinstance(value, str) else is_array(value) and all(one in _TYPES for one in value)


def _are_texts(value: Json) -> bool:
    return is_array(value) and all(isinstance(text, str) for text in value)


_TEXT: Final = (_is_text, "a string")
_NUMBER: Final = (_is_number, "a number")
_COUNT: Final = (_is_count, "an integer from 0 up")
_TRUTH: Final = (_is_truth, "true or false")

_FORMS: Final[Mapping[str, tuple[Callable[[Json], bool], str]]] = {
    "type": (_is_type, f"one of {', '.join(_TYPES)}, or a list of these"),
    "required": (_are_texts, "a list of names"),
    "enum": (is_array, "a list"),
    "multipleOf": (_is_above_zero, "a number above 0"),
    "uniqueItems": _TRUTH,
    "is_secret": _TRUTH,
    "env_var": _TEXT,
    **dict.fromkeys(("$ref", "$dynamicRef", "$id", "$anchor", "$schema", "$comment", "pattern", "format"), _TEXT),
    **dict.fromkeys(("title", "description", "contentEncoding", "contentMediaType"), _TEXT),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _NUMBER),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"), _COUNT),
    **dict.fromkeys(("minProperties", "maxProperties"), _COUNT),
}
