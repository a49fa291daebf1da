"""Constraints and annotations that stand in ``Annotated[...]``: msgspec's ``Meta`` and annotated-types."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

__all__ = ["NO_CONSTRAINTS", "Constraints", "read_constraints"]

_NUMERIC = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
# Keywords of JSON Schema that say something about a value without accepting or refusing any.
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"}
    | {"contentEncoding", "contentMediaType", "contentSchema"}
)


class Constraints(msgspec.Struct):
    """What was asked of a value beside its type.

    Attributes:
        numeric: Bounds, by the keywords of JSON Schema.
        shortest: Least length.
        longest: Greatest length.
        pattern: A regular expression to be found in the text.
        tz: Whether a time must (True) or must not (False) have an offset.
        keywords: Annotations for the schema.
        assertions: Further keywords for the schema that accept or refuse values.
        foreign: Whether some of it came in a form that msgspec does not read.
    """

    numeric: dict[str, int | float] = {}
    shortest: int | None = None
    longest: int | None = None
    pattern: str | None = None
    tz: bool | None = None
    keywords: dict[str, Any] = {}
    assertions: dict[str, Any] = {}
    foreign: bool = False

    def has_length(self) -> bool:
        """Return whether the length is bounded."""
        return self.shortest is not None or self.longest is not None

    def asked(self) -> frozenset[str]:
        """Return the sorts of constraints that were asked for: number, length, pattern, tz."""
        asked = {
            "number": bool(self.numeric),
            "length": self.has_length(),
            "pattern": self.pattern is not None,
            "tz": self.tz is not None,
        }
        return frozenset(name for name, present in asked.items() if present)

    def values_only(self) -> "Constraints":
        """Return the constraints without the annotations and assertions of the schema."""
        return Constraints(self.numeric, self.shortest, self.longest, self.pattern, self.tz, foreign=self.foreign)


NO_CONSTRAINTS = Constraints()


def read_constraints(metadata: Iterable[Any]) -> Constraints:
    """Read the metadata of an ``Annotated``; what is not a constraint is left alone, as typing has it."""
    constraints = Constraints()
    for item in metadata:
        if isinstance(item, msgspec.Meta):
            _read_meta(item, constraints)
        elif type(item).__module__.partition(".")[0] == "annotated_types":
            _read_foreign(item, constraints)
        elif type(item).__name__ == "FieldInfo":
            # pydantic's Field(...) outside of a model: a description and a list of annotated-types.
            for part in getattr(item, "metadata", ()):
                _read_foreign(part, constraints)
            _read_words(item, constraints)
    return constraints


def _read_meta(meta: msgspec.Meta, constraints: Constraints) -> None:
    for attribute, keyword in _NUMERIC.items():
        bound = getattr(meta, attribute)
        if bound is not None:
            constraints.numeric[keyword] = bound
    if meta.min_length is not None:
        constraints.shortest = meta.min_length
    if meta.max_length is not None:
        constraints.longest = meta.max_length
    if meta.pattern is not None:
        constraints.pattern = meta.pattern
    if meta.tz is not None:
        constraints.tz = meta.tz
    _read_words(meta, constraints)
    extra: Mapping[str, Any] = meta.extra_json_schema or {}
    for keyword, value in extra.items():
        into = constraints.keywords if _is_annotation(keyword) else constraints.assertions
        into[keyword] = value


def _read_words(item: Any, constraints: Constraints) -> None:
    for name in ("title", "description", "examples"):
        value = getattr(item, name, None)
        if value:
            constraints.keywords[name] = value


def _read_foreign(item: Any, constraints: Constraints) -> None:
    # msgspec does not read these, so its decoder would let everything pass.
    constraints.foreign = True
    for attribute, keyword in _NUMERIC.items():
        bound = getattr(item, attribute, None)
        if isinstance(bound, int | float):
            constraints.numeric[keyword] = bound
    shortest, longest = getattr(item, "min_length", None), getattr(item, "max_length", None)
    # Len(0) and MinLen(0) ask for nothing.
    constraints.shortest = shortest or constraints.shortest
    constraints.longest = longest if longest is not None else constraints.longest
    pattern = getattr(item, "pattern", None)
    if isinstance(pattern, str):
        constraints.pattern = pattern


def _is_annotation(keyword: str) -> bool:
    return keyword in _ANNOTATIONS or keyword.startswith("x-")
