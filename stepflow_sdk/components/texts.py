"""The kinds of text that stand for something else: dates, times, durations, UUIDs, decimals, bytes.

The schema of each says by a pattern exactly what is accepted, beside the format that readers know: formats
are assertions only for some validators, and msgspec's own decoders accept more than the formats allow.
"""

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from stepflow_sdk.errors import InvalidSignature

from .kinds import Definitions, Kind
from .problems import Path, Report, shown

__all__ = ["ENCODED", "Encoded", "encoded_bytes", "encoded_datetime", "encoded_time", "integer_key"]


class Encoded(Kind):
    """A string of one form that stands for a value.

    Args:
        label: What is expected, with an example.
        pattern: The form, without anchors.
        parse: Makes the value of a string that has the form.
        keywords: Format and other annotations of the schema.
        exact: See `Kind`.
    """

    _takes = frozenset({"string"})

    def __init__(
        self,
        label: str,
        pattern: str,
        parse: Callable[[str], Any],
        *,
        keywords: dict[str, Any] | None = None,
        exact: bool = False,
    ) -> None:
        self._label = label
        self._pattern = pattern
        self._parse = parse
        self.exact = exact
        # In Python "$" also matches before a newline at the end, so the schema forbids that one by itself.
        self._keywords = {"type": "string", **(keywords or {}), "pattern": f"^(?:{pattern})$(?!\\n)"}

    @cached_property
    def _form(self) -> re.Pattern[str]:
        # Compiled on first use: all of them together cost a server a millisecond when it starts.
        return re.compile(self._pattern)

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if type(value) is not str or self._form.fullmatch(value) is None:
            report.add(path, f"expected {self._label}, got {shown(value)}")
            return None
        return self._parse(value)


_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_DAY = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_DATE = f"(?:{_YEAR}-{_DAY}|{_LEAP}-02-29)"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
_OFFSET = "(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_SECONDS = r"[0-9]{1,9}(?:\.[0-9]{1,9})?S"
_HOURS = f"T(?:[0-9]{{1,9}}H(?:[0-9]{{1,9}}M)?(?:{_SECONDS})?|[0-9]{{1,9}}M(?:{_SECONDS})?|{_SECONDS})"
_DURATION = f"-?P(?:[0-9]{{1,7}}W|[0-9]{{1,8}}D(?:{_HOURS})?|{_HOURS})"
_NUMBER = r"-?[0-9]{1,1000}(?:\.[0-9]{1,1000})?(?:[eE][+-]?[0-9]{1,5})?"
_DIGIT = "[A-Za-z0-9+/]"
_BASE64 = f"(?:{_DIGIT}{{4}})*(?:{_DIGIT}{{2}}==|{_DIGIT}{{3}}=)?"
_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_PARTS = r"([0-9]+)(?:\.([0-9]+))?([WDHMS])"
_UNITS = {"W": "weeks", "D": "days", "H": "hours", "M": "minutes", "S": "seconds"}


def encoded_datetime(tz: bool | None) -> Encoded:
    """Return the kind of a datetime: with an offset from UTC (RFC 3339), or without when ``tz`` is False."""
    if tz is False:
        label = 'a date and time without offset, such as "2024-05-31T12:00:00"'
        return Encoded(label, f"{_DATE}T{_CLOCK}", datetime.fromisoformat)
    label = 'a date and time with its offset from UTC, such as "2024-05-31T12:00:00Z"'
    return Encoded(label, f"{_DATE}T{_CLOCK}{_OFFSET}", datetime.fromisoformat, keywords={"format": "date-time"})


def encoded_time(tz: bool | None) -> Encoded:
    """Return the kind of a time of day: with offset (True), without (False), or either."""
    # No format: "time" wants an offset in RFC 3339 and forbids it in older drafts, and validators know both.
    offset = {True: _OFFSET, False: "", None: f"{_OFFSET}?"}[tz]
    example = "12:00:00Z" if tz else "12:00:00"
    return Encoded(f'a time, such as "{example}"', f"{_CLOCK}{offset}", time.fromisoformat)


def encoded_bytes(make: Callable[[bytes], Any]) -> Encoded:
    """Return the kind of bytes, which are base64 with padding (RFC 4648, section 4) in JSON."""

    def parse(text: str) -> Any:
        return make(b64decode(text))

    keywords = {"contentEncoding": "base64"}
    return Encoded('base64, such as "aGVsbG8="', _BASE64, parse, keywords=keywords, exact=True)


def integer_key(kind: Kind) -> Kind:
    """Return the kind of an object's key that stands for an integer of a kind."""
    return _IntegerKey(kind)


class _IntegerKey(Encoded):
    def __init__(self, kind: Kind) -> None:
        super().__init__('an integer as text, such as "12"', "0|-?[1-9][0-9]{0,999}", int)
        self._kind = kind
        if set(kind.schema(Definitions())) != {"type"}:
            raise InvalidSignature("integer keys cannot carry bounds; check the keys in the function")


def _parse_duration(text: str) -> timedelta:
    # Digits beyond microseconds are cut off, not rounded: rounding up could leave the range.
    total = timedelta()
    for whole, fraction, unit in re.findall(_PARTS, text):
        microseconds = int(f"{fraction:0<6}"[:6]) if fraction else 0
        total += timedelta(**{_UNITS[unit]: int(whole)}, microseconds=microseconds)
    return -total if text.startswith("-") else total


ENCODED: dict[type, Encoded] = {
    date: Encoded('a date, such as "2024-05-31"', _DATE, date.fromisoformat, keywords={"format": "date"}),
    timedelta: Encoded('a duration, such as "PT1H30M"', _DURATION, _parse_duration, keywords={"format": "duration"}),
    UUID: Encoded('a UUID, such as "123e4567-e89b-12d3-a456-426614174000"', _UUID, UUID, keywords={"format": "uuid"}),
    Decimal: Encoded('a decimal number as a string, such as "1.50"', _NUMBER, Decimal),
}
"""The kind of each type that has one form and no variants."""
