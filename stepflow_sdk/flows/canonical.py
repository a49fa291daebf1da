"""The one JSON text of a value, and the ids made from it (section f of the flow format)."""

import hashlib
import json
import math
from collections.abc import Sequence
from json.encoder import encode_basestring  # the escapes of the format: short ones, \u00xx, nothing else
from typing import Any, Final, cast

from stepflow_sdk.errors import InvalidValue
from stepflow_sdk.flows.paths import show_path
from stepflow_sdk.flows.values import MAX_DEPTH, Json, PathParts, describe, is_object

_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1

_dump = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def canonical_json(value: Json) -> bytes:
    """Write a value as the JSON text that its id is made of.

    Compact, in UTF-8, keys in the order they have, no escapes but those that JSON demands. Integers outside the
    range of 64 bits become floats; floats are written with the fewest digits that read back to the same
    number, plainly from 1e-5 up to 1e16 and with an exponent elsewhere.

    Raises:
        InvalidValue: The value is not JSON; ``data`` is ``{"path": "$..."}``.
    """
    # Almost every value needs no number rewritten, and then the standard library writes it in C.
    text = _dump(value) if _is_common(value, ()) else "".join(_write(value))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidValue("a string holds half a surrogate pair, which is not Unicode text") from None


def blob_id(value: Json) -> str:
    """The id under which a value is stored: the SHA-256 of its `canonical_json`, 64 lower-case hex digits.

    Raises:
        InvalidValue: The value is not JSON.
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _is_common(value: Any, path: PathParts) -> bool:
    """Check that a value is JSON, and tell whether the standard encoder writes all of its numbers our way."""
    if value is None or isinstance(value, (str, bool)):
        return True
    if isinstance(value, int):
        return _LEAST <= value <= _MOST
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _refused(f"JSON has no {value!r}", path)
        return not value or abs(value) >= 1e-4
    if len(path) >= MAX_DEPTH:
        raise _refused(f"nested deeper than {MAX_DEPTH} levels", path)
    common = True
    if isinstance(value, dict):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]  # checked right here
            if not isinstance(key, str):
                raise _refused(f"the key {key!r} is not a string"[:200], path)
            common &= _is_common(item, (*path, key))
        return common
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            common &= _is_common(item, (*path, index))
        return common
    raise _refused(f"{describe(value)} is not a JSON value", path)


def _refused(message: str, path: PathParts) -> InvalidValue:
    place = show_path(path)
    return InvalidValue(f"{place}: {message}", data={"path": place})


def _write(value: Json) -> list[str]:
    if is_object(value):
        members = [[encode_basestring(key), ":", *_write(item)] for key, item in value.items()]
        return ["{", *_joined(members), "}"]
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[Json]", value)
        return ["[", *_joined([_write(item) for item in items]), "]"]
    if isinstance(value, float):
        return [format_float(value)]
    if isinstance(value, int) and not _LEAST <= value <= _MOST:
        return [format_float(_widened(value))]
    return [_dump(value)]


def _joined(members: list[list[str]]) -> list[str]:
    text: list[str] = []
    for index, member in enumerate(members):
        if index:
            text.append(",")
        text += member
    return text


def _widened(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InvalidValue("an integer beyond the range of floats has no place in JSON") from None


def format_float(value: float) -> str:
    """Write a finite float as the canonical text has it: ``100.0``, ``0.00001``, ``1e-6``, ``1e+16``."""
    text = repr(value)
    mantissa, exponent, power = text.partition("e")
    if not exponent:
        return text
    if power == "-05":
        sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
        return f"{sign}0.0000{digits.replace('.', '')}"
    return f"{mantissa}e{power[0]}{power[1:].lstrip('0')}"
