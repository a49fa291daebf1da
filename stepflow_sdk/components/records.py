"""The kinds of values with declared fields: objects by name, rows by position."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stepflow_sdk.errors import ComponentError

from .json_types import is_array, is_object
from .kinds import Definitions, Kind
from .problems import Path, Report, describe_exception, shown
from .suggestions import nearest

__all__ = ["ABSENT", "Field", "Record", "Row", "construct"]

ABSENT: Any = object()
"""Stands for a default that a schema cannot show, or that is no value at all."""


class Field:
    """One declared field.

    Args:
        name: Its name in JSON.
        attribute: Its name in Python, as its class takes it.
        kind: What its value is.
        required: Whether it must be there.
        default: Its default as a JSON value, for the schema; `ABSENT` for none.
        description: What the documentation says of it.
    """

    __slots__ = ("attribute", "default", "description", "kind", "name", "required")

    def __init__(
        self,
        name: str,
        attribute: str,
        kind: Kind,
        *,
        required: bool,
        default: Any = ABSENT,
        description: str | None = None,
    ) -> None:
        self.name = name
        self.attribute = attribute
        self.kind = kind
        self.required = required
        self.default = default
        self.description = description

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """Return the schema of the field's value, with its description and default."""
        schema = self.kind.schema(definitions)
        if self.description and "description" not in schema:
            schema["description"] = self.description
        if self.default is not ABSENT:
            schema["default"] = self.default
        return schema


class Record(Kind):
    """A JSON object with declared fields: a struct, dataclass, TypedDict, attrs class, or the parameters.

    Args:
        fields: The fields in order.
        make: What the loaded fields are given to, as keyword arguments.
        annotations: Title and description for the schema.
        closed: Whether other fields are refused.
        tag: Name and value of the field that tells this class among others.
        exact: See `Kind`.
    """

    _takes = frozenset({"object"})
    _label = "an object"

    def __init__(
        self,
        fields: Sequence[Field],
        make: Callable[..., Any],
        *,
        annotations: Mapping[str, Any] | None = None,
        closed: bool = False,
        tag: tuple[str, str | int] | None = None,
        exact: bool = True,
    ) -> None:
        self.fields = tuple(fields)
        self.tag = tag
        self.exact = exact
        self.pure = not hasattr(make, "__post_init__")
        self._make = make
        self._annotations = dict(annotations or {})
        self._closed = closed
        self._names = frozenset([*(field.name for field in fields), *(tag[:1] if tag else ())])

    def children(self) -> Sequence[Kind]:
        """See `Kind.children`."""
        return tuple(field.kind for field in self.fields)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        properties: dict[str, Any] = {}
        if self.tag is not None:
            properties[self.tag[0]] = {"enum": [self.tag[1]]}
        for field in self.fields:
            properties[field.name] = field.schema(definitions)
        schema: dict[str, Any] = {**self._annotations, "type": "object", "properties": properties}
        required = [field.name for field in self.fields if field.required]
        if required:
            schema["required"] = required
        if self._closed:
            schema["additionalProperties"] = False
        return schema

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if not is_object(value):
            return self.refuse(value, path, report)
        before = report.count
        if self.tag is not None and self.tag[0] in value:
            name, expected = self.tag
            found = value[name]
            if type(found) is bool or found != expected:
                report.add((path, name), f"expected {shown(expected)}, got {shown(found)}")
        loaded: dict[str, Any] = {}
        # The fields are gone through, not the value: what is not declared is let pass, as newer senders may know more.
        for field in self.fields:
            item = value.get(field.name, ABSENT)
            if item is not ABSENT:
                loaded[field.attribute] = field.kind.load(item, (path, field.name), report)
            elif field.required:
                report.add((path, field.name), self._missing(field.name, value))
        if self._closed:
            self._refuse_others(value, path, report)
        if report.count != before or not report.build:
            return None
        return construct(self._make, loaded, path, report)

    def _missing(self, name: str, value: dict[str, Any]) -> str:
        meant = nearest(name, (key for key in value if key not in self._names))
        return "is required but missing" + (f"; did you mean {shown(meant)} to be it?" if meant else "")

    def _refuse_others(self, value: dict[str, Any], path: Path, report: Report) -> None:
        for name in value:
            if name not in self._names:
                meant = nearest(name, self._names)
                hint = f"; did you mean {shown(meant)}?" if meant else ""
                report.add((path, name), f"is not a field of this object{hint}")


class Row(Kind):
    """A JSON array with declared positions: a NamedTuple or an ``array_like`` struct.

    Args:
        fields: The positions in order; those with a default come last.
        make: What the loaded fields are given to, as keyword arguments.
        annotations: Title and description for the schema.
        closed: Whether further items are refused.
        exact: See `Kind`.
    """

    _takes = frozenset({"array"})

    def __init__(
        self,
        fields: Sequence[Field],
        make: Callable[..., Any],
        *,
        annotations: Mapping[str, Any],
        closed: bool,
        exact: bool = True,
    ) -> None:
        self._fields = tuple(fields)
        self._make = make
        self._annotations = dict(annotations)
        self._closed = closed
        self.exact = exact
        self.pure = not hasattr(make, "__post_init__")
        # A required position after an optional one makes that one required too.
        self._shortest = max((index + 1 for index, field in enumerate(fields) if field.required), default=0)
        self._label = f"an array ({', '.join(field.name for field in fields)})"

    def children(self) -> Sequence[Kind]:
        """See `Kind.children`."""
        return tuple(field.kind for field in self._fields)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        items = [{"title": field.name, **field.schema(definitions)} for field in self._fields]
        schema: dict[str, Any] = {**self._annotations, "type": "array", "minItems": self._shortest}
        if items:
            schema["prefixItems"] = items
        if self._closed:
            schema["maxItems"] = len(items)
        return schema

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if not is_array(value):
            return self.refuse(value, path, report)
        before = report.count
        if len(value) < self._shortest:
            report.add(path, f"expected at least {self._shortest} items, got {len(value)}")
        if self._closed and len(value) > len(self._fields):
            report.add(path, f"expected at most {len(self._fields)} items, got {len(value)}")
        # Missing items are those with defaults, or already reported; further ones were let pass or reported.
        pairs = zip(self._fields, value, strict=False)
        loaded = {
            field.attribute: field.kind.load(item, (path, index), report) for index, (field, item) in enumerate(pairs)
        }
        if report.count != before or not report.build:
            return None
        return construct(self._make, loaded, path, report)


def construct(make: Callable[..., Any], values: Mapping[str, Any], path: Path, report: Report) -> Any:
    """Call a user's class with checked values.

    ValueError and TypeError of its own checks become problems at ``path``, as in msgspec.

    Raises:
        ComponentError: The class failed in any other way.
    """
    try:
        return make(**values)
    except (ValueError, TypeError) as error:
        report.add(path, describe_exception(error).removeprefix("ValueError: "))
        return None
    except Exception as error:  # user code may raise anything
        message = f"reading the input failed: {describe_exception(error)}"
        raise ComponentError(message, data={"exception": type(error).__name__}) from error
