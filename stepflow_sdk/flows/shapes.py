"""Checks of JSON shapes that report every problem with its place."""

from collections.abc import Iterable, Mapping
from typing import Any

from stepflow_sdk.flows.diagnostics import Reporter, nearest
from stepflow_sdk.flows.values import Json, PathParts, describe, is_array, is_integer, is_object


class Shape:
    """One object of a document and its place; each method reads a field or reports what is wrong with it.

    A field that is absent and one that is null are the same, as for upstream.
    """

    def __init__(self, reporter: Reporter, fields: Mapping[str, Json], path: PathParts, what: str) -> None:
        self.reporter = reporter
        self.fields = fields
        self.path = path
        self._what = what

    def string(self, key: str) -> str | None:
        """An optional string."""
        value = self.fields.get(key)
        if value is not None and not isinstance(value, str):
            self.wrong(key, "a string")
            return None
        return value

    def required_string(self, key: str, example: str) -> str:
        """A string that has to be there; the empty string when it is not."""
        if self.fields.get(key) is None:
            self.missing(key, example)
        return self.string(key) or ""

    def boolean(self, key: str) -> bool | None:
        """An optional boolean."""
        value = self.fields.get(key)
        if value is not None and not isinstance(value, bool):
            self.wrong(key, "true or false")
            return None
        return value

    def count(self, key: str) -> int | None:
        """An optional integer from 0 up to what 32 bits hold."""
        value = self.fields.get(key)
        if value is None:
            return None
        if not is_integer(value) or not 0 <= value < 2**32:
            self.wrong(key, "an integer from 0 to 4294967295")
            return None
        return value

    def array(self, key: str) -> list[Any]:
        """An optional list; empty when absent."""
        value = self.fields.get(key)
        if value is None:
            return []
        if not is_array(value):
            self.wrong(key, "a list")
            return []
        return value

    def object(self, key: str) -> dict[str, Any] | None:
        """An optional object."""
        value = self.fields.get(key)
        if value is None:
            return None
        if not is_object(value):
            self.wrong(key, "an object")
            return None
        return value

    def inner(self, key: str, what: str) -> "Shape | None":
        """The shape of an optional object field."""
        value = self.object(key)
        return None if value is None else Shape(self.reporter, value, (*self.path, key), what)

    def inner_list(self, key: str, what: str) -> Iterable["Shape"]:
        """The shapes of the objects in an optional list."""
        for index, item in enumerate(self.array(key)):
            place = (*self.path, key, index)
            if is_object(item):
                yield Shape(self.reporter, item, place, what)
            else:
                self.reporter.invalid(place, f"{what} is an object, not {describe(item)}")

    def wrong(self, key: str, expected: str) -> None:
        """Report that a field is not what it has to be."""
        found = describe(self.fields.get(key))
        self.reporter.invalid((*self.path, key), f"{key!r} of {self._what} is {expected}, not {found}")

    def missing(self, key: str, example: str) -> None:
        """Report that a required field is absent, with the key that was probably meant for it."""
        meant = nearest(key, [name for name in self.fields if name != key])
        hint = f" (did you write {meant[:60]!r} for it?)" if meant else f", such as {example}"
        self.reporter.invalid(self.path, f"{self._what} needs {key!r}{hint}")

    def warn_of_unknown(
        self, known: Iterable[str], hints: Mapping[str, str] | None = None, *, reported: Iterable[str] = ()
    ) -> None:
        """Warn of every key that means nothing in this object, but for those reported already."""
        names, skipped = frozenset(known), frozenset(reported)
        for key in [key for key in self.fields if key not in names and key not in skipped]:
            self.reporter.unknown_key(self.path, key, names, (hints or {}).get(key))
