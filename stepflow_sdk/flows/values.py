"""JSON values as Python objects: their names in messages, and the one check that lets a value in."""

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeGuard

from stepflow_sdk.errors import InvalidValue

Json: TypeAlias = Any
"""``None``, ``bool``, ``int``, ``float``, ``str``, a list of these or a dict from ``str`` to these."""

PathParts: TypeAlias = tuple[str | int, ...]
"""Where something is in a JSON value: field names and array indexes."""

MAX_DEPTH: Final = 128
"""Levels of nesting that a document may have; the wire has the same bound."""

MAX_NODES: Final = 1_000_000
"""Values that a document may hold once every alias or shared object is written out: scalars, objects and lists."""


class Sentinel(enum.Enum):
    """Marks for what is not a JSON value."""

    MISSING = "missing"
    PENDING = "pending"
    UNKNOWN = "unknown"


MISSING: Final = Sentinel.MISSING
"""There is no value (which is not the value null)."""
PENDING: Final = Sentinel.PENDING
"""The step has not ended yet."""
UNKNOWN: Final = Sentinel.UNKNOWN
"""The flow has no such step."""

Missing: TypeAlias = Literal[Sentinel.MISSING]


class ValueKey(str):
    """A key that stands for any JSON value; its text is that of the value, so that ``1`` and ``"1"`` are two keys.

    Attributes:
        value: The value.
    """

    __slots__ = ("value",)

    value: Json

    def __new__(cls, text: str, value: Json) -> "ValueKey":
        """A key with this text for this value."""
        key = super().__new__(cls, text)
        key.value = value
        return key


def is_mock_behaviors(path: PathParts) -> bool:
    """Whether the keys of the mapping at this place are values: the inputs of a mock component (section e.1).

    The place is one in a configuration, or in the configuration that the tests of a flow hold.
    """
    match path:
        case ("test", "config" | "stepflow_config", *rest):
            return is_mock_behaviors(tuple(rest))
        case ("plugins", _, "components", _, str(key)):
            # Misspelt, it is to be refused for its name and not for its keys.
            return key.startswith("behav")
        case _:
            return False


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a JSON value is an integer (``True`` is none)."""
    return isinstance(value, int) and not isinstance(value, bool)


def describe(value: object) -> str:  # noqa: PLR0911  # one line a type
    """Name a value in a message: its JSON type, and the value itself where that is short."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value!r}"[:60]
        case str():
            return f"the string {value!r}" if len(value) <= 40 else f"a string of {len(value)} characters"
        case dict():
            return "an object"
        case list():
            return "an array"
        case _:
            return f"an instance of {type(value).__name__}"


def plain(value: object, *, unwrap: Callable[[object], object] | None = None, max_nodes: int = MAX_NODES) -> Json:
    """Copy a value into plain JSON types, and refuse what JSON cannot hold.

    Mappings become dicts and tuples become lists, so that nobody can change the result through the original.

    Args:
        value: Any object that is meant as JSON.
        unwrap: Is asked what an object that is not JSON stands for, and gives `MISSING` where it does not know.
        max_nodes: How many values it may hold when shared objects are counted at every place.

    Raises:
        InvalidValue: There is something else than JSON in it, it is nested deeper than 128 levels (also: it
            contains itself), or it is too large. ``data`` is ``{"path": [...]}``, the place as a list of parts.
    """
    return _Copier(unwrap, max_nodes).copy(value, ())


class _Copier:
    def __init__(self, unwrap: Callable[[object], object] | None, max_nodes: int) -> None:
        self._unwrap = unwrap
        self._left = max_nodes

    def copy(self, value: object, path: PathParts) -> Json:
        self._left -= 1
        if self._left < 0:
            raise _refused("the document holds too many values once shared ones are written out", path)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(value, path)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            if value - value != 0:  # true for NaN and both infinities alone
                raise _refused(f"JSON has no {value!r}", path)
            return float(value)
        return self._copy_container(value, path)

    def _copy_container(self, value: Any, path: PathParts) -> Json:
        if len(path) >= MAX_DEPTH:
            raise _refused(f"nested deeper than {MAX_DEPTH} levels", path)
        if isinstance(value, (list, tuple)):
            items: list[Any] = list(value)  # pyright: ignore[reportUnknownArgumentType]  # elements are checked below
            return [self.copy(item, (*path, index)) for index, item in enumerate(items)]
        if isinstance(value, Mapping):
            return self._copy_mapping(value, path)  # pyright: ignore[reportUnknownArgumentType]  # as above
        stands_for = MISSING if self._unwrap is None else self._unwrap(value)
        if stands_for is MISSING:
            raise _refused(f"{describe(value)} is not a JSON value", path)
        return self.copy(stands_for, path)

    def _copy_mapping(self, value: Mapping[Any, Any], path: PathParts) -> dict[str, Json]:
        copied: dict[str, Json] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise _refused(f"the key {key!r} is {describe(key)}; keys are strings"[:200], path)
            copied[key if isinstance(key, ValueKey) else _text(key, path)] = self.copy(item, (*path, key))
        return copied


def _text(value: str, path: PathParts) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _refused("a string with half a surrogate pair is not Unicode text", path) from None
    return str.__str__(value)


def _refused(message: str, path: PathParts) -> InvalidValue:
    return InvalidValue(message, data={"path": list(path)})
