"""What a plain YAML scalar means (annex 2 of the flow format: the rules of upstream's reader)."""

import math
import re
from typing import Final

from stepflow_sdk.flows.values import Json

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE: Final = frozenset({"true", "True", "TRUE"})
_FALSE: Final = frozenset({"false", "False", "FALSE"})
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_RADIX: Final = re.compile(r"([-+]?)(?:0x([0-9a-fA-F]+)|0o([0-7]+)|0b([01]+))")
_FLOAT: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_ONLY_DIGITS: Final = re.compile(r"[-+]?[0-9]+")
_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1


def read_scalar(text: str) -> Json:
    """The value of a plain (unquoted) scalar.

    ``.inf`` and ``.nan`` are null, for JSON has no such number; a float that is too large, an integer with a
    leading zero, and everything that other YAML readers know besides (``yes``, dates, ``1_000``, ``1:30``)
    are strings.

    Raises:
        ValueError: An integer outside the range of 64 bits.
    """
    if text in _NULLS:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text[0] not in "+-.0123456789":
        return text
    return _read_number(text)


def _read_number(text: str) -> Json:
    if _NOT_FINITE.fullmatch(text):
        return None
    if _DECIMAL.fullmatch(text):
        # A longer text is out of range in any case, and Python bounds the digits it converts.
        return _bounded(int(text) if len(text) <= 30 else _MOST + 1, text)
    if radix := _RADIX.fullmatch(text):
        sign, hexadecimal, octal, binary = radix.groups()
        digits, base = (hexadecimal, 16) if hexadecimal else (octal, 8) if octal else (binary, 2)
        return _bounded(int(sign + digits, base), text)
    if _FLOAT.fullmatch(text) and not _ONLY_DIGITS.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else text
    return text


def _bounded(value: int, text: str) -> int:
    if not _LEAST <= value <= _MOST:
        raise ValueError(f"the integer {text[:40]} is outside the range of 64 bits")
    return value
