"""What the tests of types draw from: JSON Schemas, and values that have a chance to fit them."""

from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

NAMES = st.sampled_from(["a", "b", "c"])
WORDS = st.sampled_from(["", "a", "b", "ab", "abc", "1"])
NUMBERS = st.sampled_from([-3, -1, 0, 1, 2, 5, 2.0, 0.5, -1.5, 1e300])
INTEGERS = st.integers(-3, 6)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INTEGERS | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


def is_valid(schema: Any, value: Any) -> bool:
    """What the referee says; it takes a float without a fraction for an integer, as JSON Schema does."""
    return bool(Draft202012Validator(schema).is_valid(value))


def _keywords(kind: str, inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    small = st.integers(0, 3)
    if kind in ("integer", "number"):
        bound = st.sampled_from([-2, 0, 1, 3, 1.5])
        names = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        return {**dict.fromkeys(names, bound), "multipleOf": st.sampled_from([1, 2])}
    if kind == "string":
        return {"minLength": small, "maxLength": small, "pattern": st.sampled_from(["^a", "b", "c$", "("])}
    if kind == "array":
        return {
            "items": inner,
            "prefixItems": st.lists(inner, max_size=2),
            "minItems": small,
            "maxItems": small,
            "uniqueItems": st.booleans(),
            "contains": inner,
        }
    if kind == "object":
        return {
            "properties": st.dictionaries(NAMES, inner, max_size=3),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": st.booleans() | inner,
            "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
            "minProperties": small,
            "maxProperties": small,
            "propertyNames": st.sampled_from([True, {"maxLength": 1}, {"enum": ["a", "b"]}]),
            "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=1), max_size=1),
        }
    return {}


@st.composite
def _typed(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> Any:
    kind = draw(st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"]))
    keywords = _keywords(kind, inner)
    chosen = draw(st.lists(st.sampled_from(sorted(keywords)), max_size=3, unique=True)) if keywords else []
    schema: dict[str, Any] = {"type": kind, **{key: draw(keywords[key]) for key in chosen}}
    # What is no regular expression is no schema for the referee.
    if schema.get("pattern") == "(":
        schema["pattern"] = "^[ab]*$"
    if draw(st.integers(0, 9)) == 0:
        schema["type"] = [kind, draw(st.sampled_from(["null", "string", "integer"]))]
        schema["type"] = list(dict.fromkeys(schema["type"]))
    elif draw(st.integers(0, 14)) == 0:
        del schema["type"]
    return schema


def _combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        _typed(inner),
        st.fixed_dictionaries({"anyOf": some}),
        st.fixed_dictionaries({"oneOf": some}),
        st.fixed_dictionaries({"allOf": some}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"if": inner, "then": inner}, optional={"else": inner}),
        st.sampled_from([{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/B"}]),
    )


_LEAVES: st.SearchStrategy[Any] = st.one_of(
    _typed(st.just(True)),
    st.booleans(),
    st.fixed_dictionaries({"const": VALUES}),
    st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=3)}),
)
_SCHEMAS = st.recursive(_LEAVES, _combined, max_leaves=8)


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    """A JSON Schema of 2020-12 with definitions, which may hold themselves where a value gets smaller on the way."""
    schema = draw(_SCHEMAS)
    if not isinstance(schema, dict):
        return schema
    definitions = {"A": draw(_LEAVES), "B": {"type": ["object", "null"], "properties": {"a": {"$ref": "#/$defs/B"}}}}
    return {**schema, "$defs": definitions}


def _plain(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(NAMES, inner, max_size=3)
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}),
        st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner}),
        properties.map(lambda fields: {"type": "object", "properties": fields, "required": sorted(fields)}),
        st.fixed_dictionaries({"anyOf": st.tuples(inner, st.just({"type": "null"})).map(list)}),
    )


PLAIN = st.recursive(
    st.sampled_from(["null", "boolean", "integer", "number", "string"]).map(lambda kind: {"type": kind})
    | st.fixed_dictionaries({"enum": st.lists(WORDS, min_size=1, max_size=3, unique=True)}),
    _plain,
    max_leaves=8,
)
"""Schemas such as component servers report them for types of Python."""


def samples(schema: Any) -> st.SearchStrategy[Any]:
    """Values that a plain schema allows."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([samples(option) for option in schema["anyOf"]])
    if "items" in schema:
        return st.lists(samples(schema["items"]), max_size=2)
    if "properties" in schema:
        return st.fixed_dictionaries({name: samples(inner) for name, inner in schema["properties"].items()})
    if "additionalProperties" in schema:
        return st.dictionaries(NAMES, samples(schema["additionalProperties"]), max_size=2)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": INTEGERS,
        "number": NUMBERS,
        "string": WORDS,
    }
    return simple[schema["type"]]
