"""From Python values to JSON values, with the path of whatever has no JSON form."""

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import msgspec

from .problems import ROOT, Path, Report, describe_exception
from .records import ABSENT

__all__ = ["shown_default", "to_json"]

_DEEPEST = 200
_SMALLEST, _GREATEST = -(2**63), 2**64 - 1


def to_json(value: Any, report: Report) -> Any:
    """Return a value as JSON values (dict, list, str, int, float, bool, None), all of them new.

    Everything that has no JSON form is reported with its path: NaN, cycles, integers beyond 64 bits, text that
    is not Unicode, and objects of unknown classes.
    """
    return _Walk(report).convert(value, ROOT)


def shown_default(default: Any) -> Any:
    """Return a default as a JSON value, `ABSENT` when it has no JSON form."""
    if default is ABSENT:
        return ABSENT
    report = Report()
    shown = to_json(default, report)
    return ABSENT if report.count else shown


class _Walk:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._inside: set[int] = set()

    def convert(self, value: Any, path: Path) -> Any:
        # By exact class first: that is one look in a dictionary for nearly every value.
        leaf = _LEAVES.get(_class_of(value)) or next(
            (leaf for base, leaf in _LEAF_BASES if isinstance(value, base)), None
        )
        if leaf is not None:
            return leaf(value, path, self._report)
        if id(value) in self._inside:
            return self._report.add(path, "contains itself; JSON cannot show that")
        if len(self._inside) >= _DEEPEST:
            return self._report.add(path, f"is nested deeper than {_DEEPEST} levels")
        self._inside.add(id(value))
        try:
            return self._container(value, path)
        except Exception as error:  # serializers, properties and iterators are user code
            return self._report.add(path, f"could not be read: {describe_exception(error)}")
        finally:
            # The same object twice side by side is no cycle.
            self._inside.discard(id(value))

    def _container(self, value: Any, path: Path) -> Any:
        if isinstance(value, Mapping):
            return self._mapping(value.items(), path)
        if isinstance(value, list | tuple | Set):
            items = cast("Iterable[Any]", value)
            return [self.convert(item, (path, index)) for index, item in enumerate(items)]
        if isinstance(value, msgspec.Struct):
            return self._struct(value, path)
        pairs = _attributes(value)
        if pairs is not None:
            return self._mapping(pairs, path)
        if callable(getattr(_class_of(value), "model_dump", None)):
            return self.convert(value.model_dump(mode="json", by_alias=True), path)
        name = _class_of(value).__qualname__
        return self._report.add(path, f"{name} has no JSON form; return a Struct, a dataclass or plain values")

    def _mapping(self, items: Any, path: Path) -> dict[str, Any]:
        converted: dict[str, Any] = {}
        for key, item in items:
            name = self._key(key, path)
            if name is not None:
                if name in converted:
                    self._report.add((path, name), "two keys of the dictionary have this one form in JSON")
                converted[name] = self.convert(item, (path, name))
        return converted

    def _key(self, key: Any, path: Path) -> str | None:
        if isinstance(key, enum.Enum):
            key = key.value
        if type(key) is str:
            before = self._report.count
            _text(key, (path, key), self._report)
            return key if self._report.count == before else None
        if isinstance(key, bool) or not isinstance(
            key, str | int | float | bytes | datetime | date | time | UUID | Decimal
        ):
            self._report.add(path, f"has a key of type {type(key).__qualname__}; JSON keys are strings")
            return None
        before = self._report.count
        text = self.convert(key, path)
        return str(text) if self._report.count == before else None

    def _struct(self, value: msgspec.Struct, path: Path) -> Any:
        # As msgspec writes structs: by their names in JSON, with the tag first, UNSET left out.
        config = value.__struct_config__
        names = value.__struct_encode_fields__
        pairs = [
            (name, getattr(value, attribute, msgspec.UNSET))
            for name, attribute in zip(names, value.__struct_fields__, strict=True)
        ]
        if config.array_like:
            head = [] if config.tag is None else [config.tag]
            items = [*head, *(item for _, item in pairs)]
            return [self.convert(item, (path, index)) for index, item in enumerate(items)]
        if config.tag is not None:
            pairs.insert(0, (str(config.tag_field), config.tag))
        return self._mapping([(name, item) for name, item in pairs if item is not msgspec.UNSET], path)


def _class_of(value: object) -> Any:
    return type(value)


def _attributes(value: Any) -> list[tuple[str, Any]] | None:
    cls = _class_of(value)
    if hasattr(cls, "__dataclass_fields__"):
        # Whoever has one has imported it.
        import dataclasses

        names = [field.name for field in dataclasses.fields(cls)]
    elif hasattr(cls, "__attrs_attrs__"):
        names = [attribute.name for attribute in cls.__attrs_attrs__]
    else:
        return None
    # msgspec leaves private attributes out; definitions refuse them where they would be needed.
    return [(name, getattr(value, name)) for name in names if not name.startswith("_")]


def _same(value: Any, path: Path, report: Report) -> Any:  # noqa: ARG001 - one of the leaves
    return value


def _text(value: str, path: Path, report: Report) -> Any:
    text = str.__str__(value)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            report.add(path, "the text has a lone surrogate, which is not Unicode")
    return text


def _integer(value: int, path: Path, report: Report) -> Any:
    # An int of a subclass becomes a plain one, which the encoder knows.
    number = int(value)
    if not _SMALLEST <= number <= _GREATEST:
        report.add(path, "the integer does not fit in 64 bits; return it as text")
    return number


def _float(value: float, path: Path, report: Report) -> Any:
    number = float(value)
    if not math.isfinite(number):
        report.add(path, f"the number is {'NaN' if math.isnan(number) else 'infinite'}; JSON cannot show that")
    return number


def _decimal(value: Decimal, path: Path, report: Report) -> Any:
    if not value.is_finite():
        report.add(path, "the decimal is not finite; JSON cannot show that")
    return str(value)


def _enum(value: enum.Enum, path: Path, report: Report) -> Any:
    return _Walk(report).convert(value.value, path)


def _raw(value: msgspec.Raw, path: Path, report: Report) -> Any:
    try:
        return msgspec.json.decode(value)
    except (ValueError, RecursionError) as error:
        report.add(path, f"the raw value is not JSON: {describe_exception(error)}")
        return None


def _builtin(value: Any, path: Path, report: Report) -> Any:
    try:
        return msgspec.to_builtins(value)
    except (ValueError, TypeError, OverflowError) as error:
        report.add(path, describe_exception(error))
        return None


_Leaf = Callable[[Any, Path, Report], Any]

_LEAVES: dict[type, _Leaf] = {
    type(None): _same,
    bool: _same,
    str: _text,
    int: _integer,
    float: _float,
    Decimal: _decimal,
    msgspec.Raw: _raw,
    **dict.fromkeys((bytes, bytearray, memoryview, UUID, datetime, date, time, timedelta), _builtin),
}
# Subclasses come after the exact types: enums first, since they may be strings or numbers too.
_LEAF_BASES: tuple[tuple[type, _Leaf], ...] = (
    (enum.Enum, _enum),
    (str, _text),
    (int, _integer),
    (float, _float),
    (Decimal, _decimal),
)
