"""Whether the values of a type fit a JSON Schema (2020-12).

The answer is exact where it is `Verdict.FITS` or `Verdict.NEVER`; everything between says that it depends on the value,
or that a keyword was not looked into.
"""

from collections.abc import Iterator
from typing import Final

from stepflow_sdk.flows.types.fitting_arrays import fit_items
from stepflow_sdk.flows.types.fitting_objects import fit_fields
from stepflow_sdk.flows.types.fitting_scalars import fit_enumeration, fit_number, fit_text, fit_type, same
from stepflow_sdk.flows.types.parts import fields_of, items_of
from stepflow_sdk.flows.types.schemas import has_references, is_trivial, members, resolve_reference
from stepflow_sdk.flows.types.types import Described, Either, Exactly, Never, Single, Type, Unknown, either, json_type
from stepflow_sdk.flows.types.verdicts import FITS, Fit, Problem, Verdict, all_of, any_value, at_most
from stepflow_sdk.flows.types.words import in_words
from stepflow_sdk.flows.values import MISSING, Json, PathParts, is_array, is_object

_MOST_STEPS: Final = 10_000
_MOST_DEPTH: Final = 64
_TOO_LARGE: Final = "there is too much of it to be compared as a whole"
_UNSUPPORTED: Final = ("$dynamicRef", "$recursiveRef")


def fit(wanted: Described, given: Type) -> Fit:
    """Whether the values of a type fit a schema.

    Args:
        wanted: The schema.
        given: The type.

    Returns:
        The verdict, and a `Problem` for each thing that does not fit; it tells where.
    """
    return Fitter(wanted.root).fit(wanted.schema, given, Spot())


class Spot:
    """Where in the value, and where in the document, a comparison has come to."""

    __slots__ = ("at", "below", "depth", "place")

    def __init__(
        self, at: PathParts = (), place: PathParts | None = None, below: PathParts = (), depth: int = 0
    ) -> None:
        self.at = at
        self.place = place
        self.below = below
        self.depth = depth

    def into(self, part: str | int) -> "Spot":
        """The spot of a field or an element."""
        return Spot((*self.at, part), self.place, (*self.below, part), self.depth)

    def of(self, given: Type) -> "Spot":
        """The same spot one level deeper, with the place of the type that stands here, if it has one of its own."""
        if given.place is None or given.place == self.place:
            return Spot(self.at, self.place, self.below, self.depth + 1)
        return Spot(self.at, given.place, (), self.depth + 1)

    def problem(self, verdict: Verdict, message: str, *, about_type: bool = False) -> Fit:
        """A fit with one problem here."""
        return Fit(verdict, (Problem(verdict, self.at, message, self.place, self.below, about_type),))


class Fitter:
    """Compares with the schemas of one document.

    Args:
        root: What ``$ref`` looks into.
    """

    def __init__(self, root: Json) -> None:
        self.root = root
        self._steps = 0
        self._under_way: set[tuple[int, int]] = set()
        self._same_roots: dict[int, bool] = {}
        self._words: dict[int, tuple[Json, str]] = {}

    def fit(self, wanted: Json, given: Type, spot: Spot) -> Fit:  # noqa: PLR0911  # one return a kind of type
        """Compare a type with a schema."""
        spot = spot.of(given)
        self._steps += 1
        if is_trivial(wanted, self.root) or isinstance(given, Never):
            return FITS
        if wanted is False:
            return spot.problem(Verdict.NEVER, f"nothing is allowed here, and {in_words(given)} comes")
        if self.is_tired or spot.depth > _MOST_DEPTH:
            return spot.problem(Verdict.UNKNOWN, _TOO_LARGE)
        match given:
            case Unknown():
                message = f"nothing is known of the value, and {self.in_words(wanted)} is wanted"
                return spot.problem(Verdict.UNKNOWN, message)
            case Either():
                return self._fit_union(wanted, given.members, spot)
            case Described():
                return self._fit_described(wanted, given, spot)
            case _:
                return self._fit_simple(wanted, given, spot)

    @property
    def is_tired(self) -> bool:
        """Whether so much was compared that what is left counts as unknown."""
        return self._steps > _MOST_STEPS

    def in_words(self, wanted: Json) -> str:
        """A schema of this document in words."""
        return self._told(wanted, wanted)

    def _told(self, key: Json, wanted: Json) -> str:
        # The key is kept with its words, so that its id stays its own.
        if id(key) not in self._words:
            self._words[id(key)] = key, in_words(Described(wanted, self.root))
        return self._words[id(key)][1]

    def _fit_union(self, wanted: Json, options: tuple[Type, ...], spot: Spot) -> Fit:
        fits = [(option, self.fit(wanted, option, spot)) for option in options]
        found = any_value(fits)
        bad = [option for option, each in fits if each.verdict is Verdict.NEVER]
        whole = [problem for _, each in fits for problem in each.problems if not problem.about_type]
        if found.verdict is Verdict.FITS or whole or len({option.place for option in bad} - {spot.place}) > 0:
            return found
        # All are at one place and of the wrong type: one sentence says it.
        verb = "is not" if len(bad) == 1 else "are not"
        message = f"{self.in_words(wanted)} is wanted, and {in_words(either(*options))} comes"
        if found.verdict is Verdict.MAYBE:
            message = f"{message}: {in_words(either(*bad))} {verb} allowed"
        return spot.problem(found.verdict, message, about_type=True)

    def _fit_described(self, wanted: Json, given: Described, spot: Spot) -> Fit:
        pair = (id(wanted), id(given.schema))
        if pair in self._under_way or self._is_same(wanted, given):
            # Of a type that holds itself: whatever does not fit is told where the comparison began.
            return FITS
        self._under_way.add(pair)
        try:
            options = members(given)
            if len(options) == 1:
                return self.fit(wanted, options[0], spot)
            return self._fit_union(wanted, options, spot)
        finally:
            self._under_way.discard(pair)

    def _is_same(self, wanted: Json, given: Described) -> bool:
        """Whether both are one schema, keyword by keyword; so it fits, however little of it is understood."""
        if not same(wanted, given.schema):
            return False
        if id(given.root) not in self._same_roots:
            self._same_roots[id(given.root)] = given.root is self.root or same(given.root, self.root)
        return self._same_roots[id(given.root)] or not has_references(wanted)

    def _fit_simple(self, wanted: Json, given: Type, spot: Spot) -> Fit:
        if not is_object(wanted):
            return FITS
        typed = all_of([fit_type(self, wanted, given, spot), fit_enumeration(wanted, given, spot)])
        if typed.verdict is Verdict.NEVER:
            return typed
        found = all_of([typed, *self._by_keywords(wanted, given, spot)])
        if self.is_tired and found.verdict is Verdict.FITS:
            return spot.problem(Verdict.UNKNOWN, _TOO_LARGE)
        return found

    def _by_keywords(self, wanted: dict[str, Json], given: Type, spot: Spot) -> Iterator[Fit]:
        yield from self._combined(wanted, given, spot)
        kind = json_type(given.value) if isinstance(given, Exactly) else given.kind if isinstance(given, Single) else ""
        if kind in ("integer", "number"):
            yield from fit_number(wanted, given, spot)
        elif kind == "string":
            yield from fit_text(wanted, given, spot)
        elif (fields := fields_of(given)) is not None:
            yield from fit_fields(self, wanted, fields, spot)
        elif (items := items_of(given)) is not None:
            yield from fit_items(self, wanted, items, given, spot)

    # ---- combinations ---------------------------------------------------------------------------------------------

    def _combined(self, wanted: dict[str, Json], given: Type, spot: Spot) -> Iterator[Fit]:
        if "$ref" in wanted:
            target = resolve_reference(self.root, wanted["$ref"])
            if target is MISSING:
                yield spot.problem(Verdict.UNKNOWN, "the schema refers to another document")
            else:
                yield self.fit(target, given, spot)
        for key in _UNSUPPORTED:
            if key in wanted:
                yield spot.problem(Verdict.UNKNOWN, f"{key!r} of the schema is not looked into")
        for part in _list(wanted.get("allOf")):
            yield self.fit(part, given, spot)
        if "anyOf" in wanted:
            yield self._any_of(_list(wanted["anyOf"]), given, spot)
        if "oneOf" in wanted:
            yield self._one_of(_list(wanted["oneOf"]), given, spot)
        if "not" in wanted:
            yield self._not(wanted["not"], given, spot)
        if "if" in wanted:
            yield self._if(wanted, given, spot)

    def _any_of(self, options: list[Json], given: Type, spot: Spot) -> Fit:
        fits = [self.fit(option, given, spot) for option in options]
        best = min((each.verdict for each in fits), default=Verdict.NEVER)
        if best is not Verdict.NEVER:
            return next(each for each in fits if each.verdict is best)
        # Where one option alone is of the right type, as beside null, what is wrong is wrong with that one.
        near = [each for each in fits if not any(problem.about_type for problem in each.problems)]
        if len(near) == 1:
            return near[0]
        message = f"{self._told(options, {'anyOf': options})} is wanted, and {in_words(given)} comes"
        return spot.problem(Verdict.NEVER, message, about_type=not near)

    def _one_of(self, options: list[Json], given: Type, spot: Spot) -> Fit:
        fits = [self.fit(option, given, spot) for option in options]
        possible = [each for each in fits if each.verdict is not Verdict.NEVER]
        if len(possible) <= 1:
            return self._any_of(options, given, spot)
        sure = [each for each in possible if each.verdict is Verdict.FITS]
        if isinstance(given, Exactly) and len(sure) > 1:
            message = f"{in_words(given)} is of {len(sure)} kinds of which it may only be one ('oneOf')"
            return spot.problem(Verdict.NEVER, message)
        return spot.problem(Verdict.UNKNOWN, f"which one of several schemas {in_words(given)} belongs to is not known")

    def _not(self, excluded: Json, given: Type, spot: Spot) -> Fit:
        verdict = self.fit(excluded, given, spot).verdict
        if verdict is Verdict.NEVER:
            return FITS
        message = f"{in_words(given)} comes, and the schema excludes {self.in_words(excluded)}"
        is_sure = verdict is Verdict.FITS and isinstance(given, Exactly)
        return spot.problem(Verdict.NEVER if is_sure else Verdict.UNKNOWN, message)

    def _if(self, wanted: dict[str, Json], given: Type, spot: Spot) -> Fit:
        verdict = self.fit(wanted["if"], given, spot).verdict
        then, otherwise = wanted.get("then", True), wanted.get("else", True)
        if verdict is Verdict.NEVER:
            return self.fit(otherwise, given, spot)
        if verdict is Verdict.FITS and isinstance(given, Exactly):
            return self.fit(then, given, spot)
        return at_most(all_of([self.fit(then, given, spot), self.fit(otherwise, given, spot)]), Verdict.UNKNOWN)


def _list(value: Json) -> list[Json]:
    return value if is_array(value) else []
