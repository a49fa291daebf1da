"""Types, enumerations, numbers and texts against the keywords of a schema."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from stepflow_sdk.flows.types.parts import matches
from stepflow_sdk.flows.types.schemas import types_of
from stepflow_sdk.flows.types.types import Exactly, Record, Single, Type, json_type
from stepflow_sdk.flows.types.verdicts import FITS, Fit, Verdict
from stepflow_sdk.flows.types.words import in_words, listed
from stepflow_sdk.flows.values import Json, is_array, is_integer, is_object

if TYPE_CHECKING:
    from stepflow_sdk.flows.types.fitting import Fitter, Spot

_BOUNDS: Final = {
    "minimum": (1, False, "at least"),
    "exclusiveMinimum": (1, True, "more than"),
    "maximum": (-1, False, "at most"),
    "exclusiveMaximum": (-1, True, "less than"),
}


def kind_of(given: Type) -> str:
    """The JSON type of a simple type."""
    if isinstance(given, Exactly):
        return json_type(given.value)
    if isinstance(given, Single):
        return given.kind
    return "object" if isinstance(given, Record) else "array"


def fit_type(fitter: "Fitter", wanted: dict[str, Json], given: Type, spot: "Spot") -> Fit:
    """The keyword ``type``: an integer is a number, and a number without a fraction is an integer."""
    if "type" not in wanted:
        return FITS
    kind, kinds = kind_of(given), types_of(wanted["type"])
    if kind in kinds or (kind == "integer" and "number" in kinds):
        return FITS
    message = f"{fitter.in_words(wanted)} is wanted, and {in_words(given)} comes"
    if kind == "number" and "integer" in kinds:
        if not isinstance(given, Exactly):
            return spot.problem(Verdict.MAYBE, message, about_type=True)
        if given.value.is_integer():
            return FITS
    return spot.problem(Verdict.NEVER, message, about_type=True)


def fit_enumeration(wanted: dict[str, Json], given: Type, spot: "Spot") -> Fit:
    """``enum`` and ``const``."""
    for key in ("const", "enum"):
        if key not in wanted:
            continue
        values = [wanted[key]] if key == "const" else wanted[key]
        if not is_array(values):
            continue
        fit = _fit_values(values, given, spot)
        if fit.verdict is not Verdict.FITS:
            return fit
    return FITS


def _fit_values(values: list[Json], given: Type, spot: "Spot") -> Fit:
    choice = f"{'one of ' if len(values) > 1 else ''}{listed(values)}"
    message = f"{choice} is wanted, and {in_words(given)} comes"
    if isinstance(given, Exactly):
        return FITS if any(same(given.value, value) for value in values) else spot.problem(Verdict.NEVER, message)
    kinds = {json_type(value) for value in values}
    possible = {kind_of(given)} if kind_of(given) not in ("integer", "number") else {"integer", "number"}
    return spot.problem(Verdict.UNKNOWN if kinds & possible else Verdict.NEVER, message)


def same(one: Json, other: Json) -> bool:
    """Whether two values are equal as JSON Schema means it: 1 and 1.0 are, 1 and true are not."""
    if is_object(one) and is_object(other):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if is_array(one) and is_array(other):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def fit_number(wanted: dict[str, Json], given: Type, spot: "Spot") -> Iterator[Fit]:
    """Bounds and ``multipleOf``."""
    for key, (sign, open_, word) in _BOUNDS.items():
        limit = wanted.get(key)
        if isinstance(limit, (int, float)) and not isinstance(limit, bool):
            verdict = _within(given, sign, limit, is_open=open_)
            if verdict is not Verdict.FITS:
                yield spot.problem(verdict, f"a number of {word} {limit!r} is wanted, and {in_words(given)} comes")
    step = wanted.get("multipleOf")
    if isinstance(step, (int, float)) and not isinstance(step, bool):
        verdict = _multiple(given, step)
        if verdict is not Verdict.FITS:
            yield spot.problem(verdict, f"a multiple of {step!r} is wanted, and {in_words(given)} comes")


def _within(given: Type, sign: int, limit: float, *, is_open: bool) -> Verdict:
    """Whether numbers are on the right side of a limit; with sign -1 the right side is below it."""
    if isinstance(given, Exactly):
        right = sign * given.value > sign * limit or (not is_open and given.value == limit)
        return Verdict.FITS if right else Verdict.NEVER
    keywords = _keywords(given)
    names = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    low, open_low, high, open_high = (
        _number(keywords.get(name)) for name in (names if sign > 0 else names[2:] + names[:2])
    )
    if low is not None and (sign * low > sign * limit or (not is_open and low == limit)):
        return Verdict.FITS
    if open_low is not None and sign * open_low >= sign * limit:
        return Verdict.FITS
    if high is not None and (sign * high < sign * limit or (is_open and high == limit)):
        return Verdict.NEVER
    if open_high is not None and sign * open_high <= sign * limit:
        return Verdict.NEVER
    return Verdict.UNKNOWN


def _multiple(given: Type, step: float) -> Verdict:
    if isinstance(given, Exactly):
        # With fractions it depends on who calculates.
        if is_integer(given.value) and isinstance(step, int) and step:
            return Verdict.NEVER if given.value % step else Verdict.FITS
        return Verdict.UNKNOWN
    keywords = _keywords(given)
    is_sure = keywords.get("multipleOf") == step or (step == 1 and kind_of(given) == "integer")
    return Verdict.FITS if is_sure else Verdict.UNKNOWN


def _keywords(given: Type) -> Mapping[str, Json]:
    return given.keywords if isinstance(given, Single) else {}


def _number(value: Json) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def fit_text(wanted: dict[str, Json], given: Type, spot: "Spot") -> Iterator[Fit]:
    """Lengths, ``pattern`` and ``format``."""
    keywords = _keywords(given)
    for key, other, sign, word in (
        ("minLength", "maxLength", 1, "at least"),
        ("maxLength", "minLength", -1, "at most"),
    ):
        limit = wanted.get(key)
        if not is_integer(limit) or (sign > 0 and limit <= 0):
            continue
        own, opposite = keywords.get(key), keywords.get(other)
        verdict = Verdict.UNKNOWN
        if isinstance(given, Exactly):
            verdict = Verdict.FITS if sign * len(given.value) >= sign * limit else Verdict.NEVER
        elif is_integer(own) and sign * own >= sign * limit:
            verdict = Verdict.FITS
        elif is_integer(opposite) and sign * opposite < sign * limit:
            verdict = Verdict.NEVER
        if verdict is not Verdict.FITS:
            yield spot.problem(verdict, f"a string of {word} {limit} characters is wanted, and {in_words(given)} comes")
    yield from _fit_form(wanted, given, keywords, spot)


def _fit_form(wanted: dict[str, Json], given: Type, keywords: Json, spot: "Spot") -> Iterator[Fit]:
    pattern, form = wanted.get("pattern"), wanted.get("format")
    if isinstance(pattern, str) and keywords.get("pattern") != pattern:
        matched = matches(pattern, given.value) if isinstance(given, Exactly) else None
        if matched is not True:
            verdict = Verdict.UNKNOWN if matched is None else Verdict.NEVER
            message = f"a string that matches {pattern[:60]!r} is wanted, and {in_words(given)} comes"
            yield spot.problem(verdict, message)
    if isinstance(form, str) and keywords.get("format") != form:
        yield spot.problem(
            Verdict.UNKNOWN, f"a string in the format {form[:40]!r} is wanted, and {in_words(given)} comes"
        )
