"""Whether values fit, and what stands in the way."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from stepflow_sdk.flows.types.types import Type
from stepflow_sdk.flows.values import PathParts


class Verdict(IntEnum):
    """How the values of a type stand to a schema, from good to bad."""

    FITS = 0
    """All of them fit."""
    UNKNOWN = 1
    """It cannot be told."""
    MAYBE = 2
    """Some of them do not fit, as far as their type goes."""
    NEVER = 3
    """None of them fits."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that does not fit, or may not.

    Attributes:
        verdict: How bad it is for the whole.
        at: Where in the value.
        message: What was wanted and what comes, for people.
        place: Where in the document the value that holds it comes from, if that is known.
        below: The path from there to the value at fault.
        about_type: Whether the JSON type is wrong already.
    """

    verdict: Verdict
    at: PathParts
    message: str
    place: PathParts | None = None
    below: PathParts = ()
    about_type: bool = False


@dataclass(frozen=True, slots=True)
class Fit:
    """A verdict and the problems that lead to it."""

    verdict: Verdict
    problems: tuple[Problem, ...] = ()


FITS: Final = Fit(Verdict.FITS)
_MOST_PROBLEMS: Final = 20


def all_of(fits: Iterable[Fit]) -> Fit:
    """The verdict on values that have to stand all of these tests."""
    verdict, problems = Verdict.FITS, list[Problem]()
    for fit in fits:
        verdict = max(verdict, fit.verdict)
        problems += fit.problems
    # The worst first, in case that not all can be kept.
    problems.sort(key=lambda problem: -problem.verdict)
    return Fit(verdict, tuple(problems[:_MOST_PROBLEMS])) if problems else FITS


def any_value(fits: Iterable[tuple[Type, Fit]]) -> Fit:
    """The verdict on a union: each fit is that of one of its members."""
    told = [fit for _, fit in fits]
    if not told:
        return FITS
    verdicts = {fit.verdict for fit in told}
    if len(verdicts) == 1:
        return all_of(told)
    if Verdict.NEVER in verdicts or Verdict.MAYBE in verdicts:
        return all_of([at_most(fit, Verdict.MAYBE) for fit in told])
    return all_of(told)


def at_most(fit: Fit, limit: Verdict) -> Fit:
    """The same fit, no worse than a limit: for a part that need not be there."""
    if fit.verdict <= limit:
        return fit
    problems = tuple(replace(problem, verdict=min(problem.verdict, limit)) for problem in fit.problems)
    return Fit(limit, problems)
