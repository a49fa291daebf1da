"""The one JSON text of a value, and the ids made from it (section f of the flow format)."""

import hashlib
import json
import sys
from contextlib import suppress
from json.encoder import encode_basestring  # the escapes of the format: short ones, \u00xx, nothing else
from typing import Any, Final

from stepflow_sdk.errors import InvalidValue
from stepflow_sdk.flows.paths import show_path
from stepflow_sdk.flows.values import MAX_DEPTH, Json, is_array, is_object, plain

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
    if _is_common(value, MAX_DEPTH):
        with suppress(UnicodeEncodeError):  # what cannot be encoded is refused below, with its place
            return _dump(value).encode()
    return "".join(_write(_checked(value))).encode()


def blob_id(value: Json) -> str:
    """The id under which a value is stored: the SHA-256 of its `canonical_json`, 64 lower-case hex digits.

    Raises:
        InvalidValue: The value is not JSON.
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()


def _is_common(value: Any, levels: int) -> bool:  # noqa: PLR0911  # a dispatch on the type, by far the hottest
    """Whether a value is plain JSON, all of whose numbers the standard encoder writes our way."""
    kind: Any = value.__class__
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(_LEAST <= value <= _MOST)
    if kind is float:
        # The difference is not 0 for NaN and both infinities.
        return bool((value >= 1e-4 or value <= -1e-4 or not value) and value - value == 0)
    if not levels:
        return False
    # Plain loops: a generator around the recursion would take twice the time.
    if kind is dict:
        for key, item in value.items():  # noqa: SIM110
            if type(key) is not str or not _is_common(item, levels - 1):
                return False
        return True
    if kind is list:
        for item in value:  # noqa: SIM110
            if not _is_common(item, levels - 1):
                return False
        return True
    return False


def _checked(value: Json) -> Json:
    try:
        return plain(value, max_nodes=sys.maxsize)
    except InvalidValue as error:
        place = show_path(tuple(error.data["path"]))
        raise InvalidValue(f"{place}: {error.message}", data={"path": place}) from None


def _write(value: Json) -> list[str]:
    if is_object(value):
        members = [[encode_basestring(key), ":", *_write(item)] for key, item in value.items()]
        return ["{", *_joined(members), "}"]
    if is_array(value):
        return ["[", *_joined([_write(item) for item in value]), "]"]
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
