"""A document that was read from text, with the places of its values."""

from collections.abc import Callable
from typing import NamedTuple

from stepflow_sdk.errors import InvalidDocument
from stepflow_sdk.flows.values import Json, PathParts


class Place:
    """Where a value stands in a text; for the member of an object it is the place of its key.

    Attributes:
        line, column: Counted from 1.
        children: The places of what the value holds, by field name or index.
    """

    __slots__ = ("children", "column", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.children: dict[str | int, Place] = {}


class Duplicate(NamedTuple):
    """A key that an object of the text has twice; the last value counts, at the place of the first."""

    path: PathParts
    first_line: int
    line: int


class Document:
    """A JSON value that was read from text.

    Attributes:
        value: The value.
        file: The name of the file, if there is one.
        duplicates: The keys that the text repeats (YAML alone: JSON's rule for them is the last one).
    """

    def __init__(
        self,
        value: Json,
        *,
        file: str | None,
        find_places: Callable[[], Place],
        duplicates: tuple[Duplicate, ...] = (),
    ) -> None:
        self.value = value
        self.file = file
        self.duplicates = duplicates
        self._find_places = find_places
        self._root: Place | None = None

    def place(self, path: PathParts) -> Place:
        """The place of the value at a path, or of the nearest value around it that exists."""
        if self._root is None:
            self._root = self._find_places()
        place = self._root
        for part in path:
            inner = place.children.get(part)
            if inner is None:
                break
            place = inner
        return place

    def line(self, path: PathParts, /) -> int | None:
        """The line of the value at a path, or of the nearest value around it, counted from 1."""
        return self.place(path).line


def unreadable(
    message: str, *, file: str | None, line: int | None = None, column: int | None = None
) -> InvalidDocument:
    """The exception for a text that cannot be read; its message starts with file, line and column."""
    place = [str(part) for part in (file, line, column) if part is not None]
    if place and file is None:
        place[0] = f"line {place[0]}"
    text = f"{':'.join(place)}: {message}" if place else message
    return InvalidDocument(text, problem=message, file=file, line=line, column=column)
