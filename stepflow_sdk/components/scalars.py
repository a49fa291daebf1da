"""The kinds of JSON scalars: null, booleans, numbers, text, and a choice among fixed values."""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from .json_types import is_array, is_object
from .kinds import Kind
from .problems import Path, Report, shown

__all__ = ["Boolean", "Choice", "Integer", "Null", "Number", "Scalar", "Text"]

# From here on a double no longer holds every integer, so msgspec compares other numbers than the schema does.
_INEXACT = 2.0**53


class Null(Kind):
    """``null``."""

    _takes = frozenset({"null"})
    _label = "null"
    _keywords = MappingProxyType({"type": "null"})

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if value is not None:
            self.refuse(value, path, report)


class Boolean(Kind):
    """``true`` or ``false``."""

    _takes = frozenset({"boolean"})
    _label = "true or false"
    _keywords = MappingProxyType({"type": "boolean"})

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if type(value) is not bool:
            self.refuse(value, path, report)
        return value


class Scalar(Kind):
    """Any JSON value but arrays and objects: what an untyped set may hold."""

    _takes = frozenset({"null", "boolean", "integer", "number", "string"})
    _label = "a string, a number, true, false or null"
    _keywords = MappingProxyType({"type": ["string", "number", "boolean", "null"]})
    exact = False

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if is_array(value) or is_object(value):
            self.refuse(value, path, report)
        return value


class _Bounded(Kind):
    """What integers and numbers have in common: bounds, as keywords of JSON Schema."""

    def __init__(self, bounds: Mapping[str, int | float], *, json_type: str) -> None:
        self._bounds = dict(bounds)
        self._keywords = MappingProxyType({"type": json_type, **bounds})
        self.bounded = bool(bounds)

    def _check(self, number: int | float, path: Path, report: Report) -> None:
        for keyword, bound in self._bounds.items():
            if keyword == "multipleOf":
                if not _is_multiple(number, bound):
                    report.add(path, f"expected a multiple of {bound}, got {shown(number)}")
            elif not _COMPARISONS[keyword][0](number, bound):
                report.add(path, f"expected a number {_COMPARISONS[keyword][1]} {bound}, got {shown(number)}")


class Integer(_Bounded):
    """An integer; ``3.0`` is one, as JSON Schema has it."""

    _takes = frozenset({"integer"})
    _label = "an integer"

    def __init__(self, bounds: Mapping[str, int | float]) -> None:
        super().__init__(bounds, json_type="integer")

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int:
            return self.refuse(value, path, report)
        self._check(value, path, report)
        return value


class Number(_Bounded):
    """A number, read as a float."""

    _takes = frozenset({"integer", "number"})
    _label = "a number"

    def __init__(self, bounds: Mapping[str, int | float]) -> None:
        super().__init__(bounds, json_type="number")
        self.exact = "multipleOf" not in bounds and all(abs(bound) < _INEXACT for bound in bounds.values())

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if type(value) not in {int, float}:
            return self.refuse(value, path, report)
        self._check(value, path, report)
        try:
            return float(value)
        except OverflowError:
            report.add(path, "the number is too large for a float")


class Text(Kind):
    """A string, perhaps with bounds on its length (in code points) and a pattern to be found in it."""

    _takes = frozenset({"string"})
    _label = "a string"

    def __init__(self, *, shortest: int | None = None, longest: int | None = None, pattern: str | None = None) -> None:
        self._shortest = shortest
        self._longest = longest
        self._pattern = None if pattern is None else re.compile(pattern)
        self.bounded = not (shortest is None and longest is None and pattern is None)
        keywords = {"minLength": shortest, "maxLength": longest, "pattern": pattern}
        self._keywords = MappingProxyType(
            {"type": "string", **{name: v for name, v in keywords.items() if v is not None}}
        )

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if type(value) is not str:
            return self.refuse(value, path, report)
        if self._shortest is not None and len(value) < self._shortest:
            report.add(path, f"expected at least {self._shortest} characters, got {len(value)}")
        if self._longest is not None and len(value) > self._longest:
            report.add(path, f"expected at most {self._longest} characters, got {len(value)}")
        if self._pattern is not None and self._pattern.search(value) is None:
            report.add(path, f"expected a string that matches {self._pattern.pattern!r}, got {shown(value)}")
        return value


class Choice(Kind):
    """One of some fixed JSON values, each of which stands for a Python value: a Literal or an Enum."""

    def __init__(
        self, values: Iterable[tuple[Any, Any]], *, exact: bool, annotations: Mapping[str, Any] | None = None
    ) -> None:
        self._values = {_key(json_value): python_value for json_value, python_value in values}
        json_values = [value for _, value in self._values]
        self.exact = exact
        self._keywords = MappingProxyType({**(annotations or {}), "enum": json_values})
        self._takes = frozenset(name for value in json_values for name in _takes(value))
        listed = ", ".join(shown(value) for value in json_values[:10])
        rest = "" if len(json_values) <= 10 else f" … ({len(json_values)} values)"
        self._label = f"{listed}{rest}" if len(json_values) == 1 else f"one of {listed}{rest}"

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        if is_array(value) or is_object(value):
            return self.refuse(value, path, report)
        found = self._values.get(_key(value), _MISSING)
        if found is _MISSING:
            return self.refuse(value, path, report)
        return found


_MISSING = object()


def _key(value: Any) -> tuple[bool, Any]:
    # JSON Schema: 1 equals 1.0 but not true; in Python all three are equal.
    return (type(value) is bool, value)


def _takes(value: Any) -> tuple[str, ...]:
    if value is None:
        return ("null",)
    if isinstance(value, bool):
        return ("boolean",)
    if isinstance(value, int | float):
        return ("integer", "number") if float(value).is_integer() else ("number",)
    return ("string",)


def _is_multiple(number: int | float, divisor: int | float) -> bool:
    # A quotient of doubles, as validators of JSON Schema compute it, and exact where that overflows.
    if isinstance(divisor, int):
        return number % divisor == 0
    try:
        quotient = number / divisor
    except OverflowError:
        quotient = math.inf
    if math.isinf(quotient):
        from fractions import Fraction

        return (Fraction(number) / Fraction(divisor)).denominator == 1
    return quotient.is_integer()


_COMPARISONS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (operator.ge, ">="),
    "exclusiveMinimum": (operator.gt, ">"),
    "maximum": (operator.le, "<="),
    "exclusiveMaximum": (operator.lt, "<"),
}
