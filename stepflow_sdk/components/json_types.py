"""Telling decoded JSON values apart."""

from typing import Any, TypeGuard

__all__ = ["is_array", "is_object", "json_types"]


def is_array(value: Any) -> TypeGuard[list[Any]]:
    """Return whether a decoded JSON value is an array."""
    return type(value) is list


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Return whether a decoded JSON value is an object."""
    return type(value) is dict


def json_types(value: Any) -> tuple[str, ...]:
    """Return the JSON Schema types of a decoded JSON value: ``3.0`` is an integer and a number."""
    if isinstance(value, float):
        return ("integer", "number") if value.is_integer() else ("number",)
    return _TYPES[type(value)]


_TYPES: dict[type, tuple[str, ...]] = {
    type(None): ("null",),
    bool: ("boolean",),
    int: ("integer", "number"),
    str: ("string",),
    list: ("array",),
    dict: ("object",),
}
