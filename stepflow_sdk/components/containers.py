"""The kinds of containers: arrays of one kind, arrays of fixed length, and objects with free keys."""

from collections.abc import Callable, Sequence
from typing import Any

from .json_types import is_array, is_object
from .kinds import Definitions, Kind
from .problems import Path, Report

__all__ = ["Array", "Dictionary", "Fixed"]


class Array(Kind):
    """An array whose items are of one kind.

    Args:
        items: The kind of the items.
        make: What the list of loaded items is given to: list, tuple, set, frozenset.
        unique: Whether equal items are refused, which is how JSON Schema tells a set.
        shortest: The least number of items.
        longest: The greatest number of items.
    """

    _takes = frozenset({"array"})
    _label = "an array"

    def __init__(
        self,
        items: Kind,
        make: Callable[[list[Any]], Any],
        *,
        unique: bool = False,
        shortest: int | None = None,
        longest: int | None = None,
    ) -> None:
        self._items = items
        self._make = make
        self._unique = unique
        self._shortest = shortest
        self._longest = longest
        self.exact = not unique  # msgspec reads equal items into a set without a word

    def children(self) -> Sequence[Kind]:
        """See `Kind.children`."""
        return (self._items,)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        schema: dict[str, Any] = {"type": "array"}
        items = self._items.schema(definitions)
        if items:
            schema["items"] = items
        if self._shortest is not None:
            schema["minItems"] = self._shortest
        if self._longest is not None:
            schema["maxItems"] = self._longest
        if self._unique:
            schema["uniqueItems"] = True
        return schema

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if not is_array(value):
            return self.refuse(value, path, report)
        before = report.count
        if self._shortest is not None and len(value) < self._shortest:
            report.add(path, f"expected at least {self._shortest} items, got {len(value)}")
        if self._longest is not None and len(value) > self._longest:
            report.add(path, f"expected at most {self._longest} items, got {len(value)}")
        if self._unique:
            _check_unique(value, path, report)
        load = self._items.load
        items = [load(item, (path, index), report) for index, item in enumerate(value)]
        # A set could not be made of what is wrong, since that may be unhashable.
        return self._make(items) if report.build and report.count == before else None


class Fixed(Kind):
    """An array of fixed length, each item of its own kind: a tuple."""

    _takes = frozenset({"array"})

    def __init__(self, items: Sequence[Kind]) -> None:
        self._items = tuple(items)
        self._label = f"an array of {len(self._items)} items"

    def children(self) -> Sequence[Kind]:
        """See `Kind.children`."""
        return self._items

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        schema: dict[str, Any] = {"type": "array", "minItems": len(self._items), "maxItems": len(self._items)}
        if self._items:
            schema["prefixItems"] = [item.schema(definitions) for item in self._items]
            schema["items"] = False
        return schema

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if not is_array(value):
            return self.refuse(value, path, report)
        if len(value) != len(self._items):
            report.add(path, f"expected {len(self._items)} items, got {len(value)}")
        # The lengths may differ; what is there is checked all the same, so that all problems come at once.
        pairs = zip(self._items, value, strict=False)
        return tuple([kind.load(item, (path, index), report) for index, (kind, item) in enumerate(pairs)])


class Dictionary(Kind):
    """An object with free keys, whose keys are text that stands for values of one kind."""

    _takes = frozenset({"object"})
    _label = "an object"

    def __init__(
        self, keys: Kind | None, values: Kind, *, shortest: int | None = None, longest: int | None = None
    ) -> None:
        self._keys = keys
        self._values = values
        self._shortest = shortest
        self._longest = longest

    def children(self) -> Sequence[Kind]:
        """See `Kind.children`."""
        return (self._values,) if self._keys is None else (self._keys, self._values)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        schema: dict[str, Any] = {"type": "object"}
        if self._keys is not None:
            schema["propertyNames"] = self._keys.schema(definitions)
        values = self._values.schema(definitions)
        if values:
            schema["additionalProperties"] = values
        if self._shortest is not None:
            schema["minProperties"] = self._shortest
        if self._longest is not None:
            schema["maxProperties"] = self._longest
        return schema

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if not is_object(value):
            return self.refuse(value, path, report)
        if self._shortest is not None and len(value) < self._shortest:
            report.add(path, f"expected at least {self._shortest} keys, got {len(value)}")
        if self._longest is not None and len(value) > self._longest:
            report.add(path, f"expected at most {self._longest} keys, got {len(value)}")
        load = self._values.load
        # Nearly all keys are plain text, which needs no look.
        if self._keys is None:
            return {key: load(item, (path, key), report) for key, item in value.items()}
        loaded: list[tuple[Any, Any]] = []
        for key, item in value.items():
            before = report.count
            python_key = self._keys.load(key, (path, key), report)
            python_value = load(item, (path, key), report)
            if report.count == before:
                loaded.append((python_key, python_value))
        return dict(loaded) if report.build else None


def _check_unique(values: list[Any], path: Path, report: Report) -> None:
    seen: dict[Any, int] = {}
    for index, value in enumerate(values):
        key = _identity(value)
        if key in seen:
            report.add((path, index), f"is equal to item {seen[key]}; the items must differ")
        else:
            seen[key] = index


def _identity(value: Any) -> Any:
    """Return a hashable value that is equal for JSON values that JSON Schema holds equal."""
    if is_array(value):
        return ("array", tuple(_identity(item) for item in value))
    if is_object(value):
        return ("object", frozenset((key, _identity(item)) for key, item in value.items()))
    return (type(value) is bool, value)
