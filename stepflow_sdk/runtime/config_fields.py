"""Reads the fields of a configuration, with an error that names the place of what is wrong."""

import math
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

from stepflow_sdk.errors import InvalidConfig
from stepflow_sdk.flows import Document, did_you_mean
from stepflow_sdk.flows.paths import show_path
from stepflow_sdk.flows.values import PathParts, describe, is_array, is_object

__all__ = ["Fields"]


class Fields:
    """One object of a configuration; null and absent are the same.

    Args:
        value: What stands there.
        path: Where.
        what: What it is, for messages.
        document: Where lines are looked up.
    """

    def __init__(self, value: Any, path: PathParts, what: str, document: Document | None) -> None:
        self.path = path
        self._what = what
        self._document = document
        if not is_object(value):
            self.refuse(f"{what} is an object, not {describe(value)}")
        self._fields: dict[str, Any] = value

    def __contains__(self, key: str) -> bool:
        return self._fields.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def refuse(self, message: str, *more: str | int) -> NoReturn:
        """Raise `InvalidConfig` for this place, or one below it."""
        path = (*self.path, *more)
        place = [show_path(path)] if path else []
        if self._document is not None:
            line = self._document.line(path)
            file = self._document.file
            where = ":".join(str(part) for part in (file, line) if part is not None)
            place.insert(0, where if file is not None else f"line {where}")
        raise InvalidConfig(": ".join([*place, message]))

    def only(self, known: Collection[str], hints: dict[str, str] | None = None) -> None:
        """Refuse keys that are not known."""
        for key in self._fields:
            if key not in known:
                said = (hints or {}).get(key) or did_you_mean(key, known) or f"known here: {', '.join(sorted(known))}"
                self.refuse(f"unknown key {key[:60]!r} of {self._what}; {said}", key)

    def value(self, key: str) -> Any:
        """Whatever stands there."""
        return self._fields.get(key)

    def need(self, key: str, example: str) -> None:
        """Refuse the object without this key."""
        if key not in self:
            near = did_you_mean(key, [name for name in self._fields if name != key])
            hint = f"; {near.replace('did you mean', 'did you write it as')}" if near else f", such as {example}"
            self.refuse(f"{self._what} needs {key!r}{hint}")

    def text(self, key: str) -> str | None:
        """An optional string, not empty."""
        value = self._fields.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.refuse(f"{key!r} of {self._what} is a string, not {describe(value)}", key)
        if not value:
            self.refuse(f"{key!r} of {self._what} is empty", key)
        return value

    def integer(self, key: str) -> int | None:
        """An optional integer, not negative."""
        value = self._fields.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.refuse(f"{key!r} of {self._what} is an integer from 0 up, not {describe(value)}", key)
        return value

    def number(self, key: str) -> float | None:
        """An optional number, not negative."""
        value = self._fields.get(key)
        if value is None:
            return None
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < math.inf:
            self.refuse(f"{key!r} of {self._what} is a number from 0 up, not {describe(value)}", key)
        return float(value)

    def texts(self, key: str) -> list[str]:
        """An optional list of strings; numbers count as their text, as in ``args: [--port, 80]``."""
        return [self._scalar(key, index, item) for index, item in enumerate(self.array(key))]

    def array(self, key: str) -> list[Any]:
        """An optional list."""
        value = self._fields.get(key)
        if value is None:
            return []
        if not is_array(value):
            self.refuse(f"{key!r} of {self._what} is a list, not {describe(value)}", key)
        return value

    def text_map(self, key: str) -> dict[str, str]:
        """An optional object of strings."""
        inner = self.inner(key, f"{key!r} of {self._what}")
        return {} if inner is None else {name: self._scalar(key, name, inner.value(name)) for name in inner}

    def inner(self, key: str, what: str) -> "Fields | None":
        """An optional object."""
        value = self._fields.get(key)
        return None if value is None else Fields(value, (*self.path, key), what, self._document)

    def inner_at(self, value: Any, what: str, *more: str | int) -> "Fields":
        """The object ``value``, which stands at a place below."""
        return Fields(value, (*self.path, *more), what, self._document)

    def _scalar(self, key: str, part: str | int, value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        return self.refuse(f"{key!r} of {self._what} holds strings, not {describe(value)}; quote it", key, part)
