"""What callers give as JSON: copied, or refused by name and place."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

from stepflow_sdk.errors import InvalidValue
from stepflow_sdk.flows.paths import show_path
from stepflow_sdk.flows.values import describe, plain

__all__ = ["given_inputs", "given_json", "given_object", "given_text"]


def given_json(value: object, name: str) -> Any:
    """A copy of a value in plain JSON types.

    Args:
        value: Any object that is meant as JSON.
        name: What the caller knows it as.

    Raises:
        InvalidValue: It is not JSON; the message says where, ``data`` is ``{"field": name, "path": "$…"}``.
    """
    try:
        return plain(value)
    except InvalidValue as error:
        place = show_path(tuple(error.data["path"]))
        raise InvalidValue(f"{name}: {place}: {error.message}", data={"field": name, "path": place}) from None


def given_object(value: object, name: str) -> dict[str, Any]:
    """A copy of a JSON object; see `given_json`."""
    given = given_json(value, name)
    if isinstance(given, dict):
        return cast("dict[str, Any]", given)
    raise InvalidValue(f"{name}: an object is wanted, not {describe(given)}", data={"field": name, "path": "$"})


def given_text(value: object, name: str) -> str:
    """A text; see `given_json`."""
    given = given_json(value, name)
    if isinstance(given, str):
        return given
    raise InvalidValue(f"{name}: a text is wanted, not {describe(given)}", data={"field": name, "path": "$"})


def given_inputs(inputs: Iterable[object]) -> Iterator[Any]:
    """Copies of the inputs of a run, one by one; see `given_json`."""
    return (given_json(input, f"input {index}") for index, input in enumerate(inputs))
