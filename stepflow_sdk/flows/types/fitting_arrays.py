"""Arrays against the keywords of a schema."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stepflow_sdk.flows.types.fitting_scalars import same
from stepflow_sdk.flows.types.parts import Items, Presence
from stepflow_sdk.flows.types.types import Exactly, Type
from stepflow_sdk.flows.types.verdicts import FITS, Fit, Verdict, at_most
from stepflow_sdk.flows.values import Json, is_array, is_integer

if TYPE_CHECKING:
    from stepflow_sdk.flows.types.fitting import Fitter, Spot


def fit_items(fitter: "Fitter", wanted: dict[str, Json], given: Items, type: Type, spot: "Spot") -> Iterator[Fit]:
    """All that a schema says of arrays."""
    yield from _lengths(wanted, given, spot)
    prefix, rest = _prefix_and_rest(wanted)
    for index in range(max(len(given.first), len(prefix))):
        if fitter.is_tired:
            break
        element, presence = given.look_up(index)
        schema = prefix[index] if index < len(prefix) else rest
        if presence is not Presence.NEVER:
            fit = fitter.fit(schema, element, spot.into(index))
            yield fit if presence is Presence.ALWAYS else at_most(fit, Verdict.MAYBE)
    beyond = max(len(given.first), len(prefix))
    if given.rest is not None and (given.most is None or given.most > beyond):
        fit = fitter.fit(rest, given.rest, spot.into(beyond))
        yield fit if given.least > beyond else at_most(fit, Verdict.MAYBE)
    yield from _whole(fitter, wanted, given, type, spot)


def _prefix_and_rest(wanted: dict[str, Json]) -> tuple[list[Json], Json]:
    prefix, rest = wanted.get("prefixItems"), wanted.get("items", True)
    if is_array(rest):
        # The form of older drafts.
        prefix, rest = rest, wanted.get("additionalItems", True)
    return (prefix if is_array(prefix) else []), rest


def _lengths(wanted: dict[str, Json], given: Items, spot: "Spot") -> Iterator[Fit]:
    least, most = wanted.get("minItems"), wanted.get("maxItems")
    longest = given.most
    if given.rest is None:
        longest = len(given.first) if longest is None else min(longest, len(given.first))
    if is_integer(least) and given.least < least:
        verdict = Verdict.NEVER if longest is not None and longest < least else Verdict.UNKNOWN
        yield spot.problem(verdict, f"at least {least} elements are wanted, and {_count(given.least, longest)} come")
    if is_integer(most) and (longest is None or longest > most):
        verdict = Verdict.NEVER if given.least > most else Verdict.UNKNOWN
        yield spot.problem(verdict, f"at most {most} elements are wanted, and {_count(given.least, longest)} come")


def _count(least: int, longest: int | None) -> str:
    return f"{least}" if least == longest else "any number" if longest is None else f"{least} to {longest}"


def _whole(fitter: "Fitter", wanted: dict[str, Json], given: Items, type: Type, spot: "Spot") -> Iterator[Fit]:
    if wanted.get("uniqueItems") is True:
        yield _unique(given, type, spot)
    if "contains" in wanted:
        yield _contains(fitter, wanted, given, type, spot)
    if "unevaluatedItems" in wanted:
        yield spot.problem(Verdict.UNKNOWN, "'unevaluatedItems' of the schema is not looked into")


def _unique(given: Items, type: Type, spot: "Spot") -> Fit:
    if not isinstance(type, Exactly):
        is_short = given.most is not None and given.most <= 1
        return FITS if is_short else spot.problem(Verdict.UNKNOWN, "the elements must differ from each other")
    values = type.value
    twice = len(values) <= _MOST_COMPARED and any(
        same(value, other) for index, value in enumerate(values) for other in values[:index]
    )
    if twice:
        return spot.problem(Verdict.NEVER, "two elements are the same, and they must differ")
    return FITS if len(values) <= _MOST_COMPARED else spot.problem(Verdict.UNKNOWN, "too many elements to compare")


def _contains(fitter: "Fitter", wanted: dict[str, Json], given: Items, type: Type, spot: "Spot") -> Fit:
    least = wanted.get("minContains", 1)
    most = wanted.get("maxContains")
    message = "the number of elements of a certain kind is restricted ('contains')"
    if not isinstance(type, Exactly) or not is_integer(least):
        return FITS if least == 0 and most is None else spot.problem(Verdict.UNKNOWN, message)
    verdicts = [fitter.fit(wanted["contains"], element, spot).verdict for element in given.first]
    sure, possible = verdicts.count(Verdict.FITS), len(verdicts) - verdicts.count(Verdict.NEVER)
    if possible < least or (is_integer(most) and sure > most):
        return spot.problem(Verdict.NEVER, message)
    is_right = sure >= least and (most is None or (is_integer(most) and possible <= most))
    return FITS if is_right else spot.problem(Verdict.UNKNOWN, message)


_MOST_COMPARED = 200
