"""Objects against the keywords of a schema."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from stepflow_sdk.flows.diagnostics import did_you_mean
from stepflow_sdk.flows.types.parts import Fields, Presence, matches
from stepflow_sdk.flows.types.schemas import is_trivial
from stepflow_sdk.flows.types.types import Described, Exactly, Never
from stepflow_sdk.flows.types.verdicts import Fit, Verdict, at_most
from stepflow_sdk.flows.types.words import names
from stepflow_sdk.flows.values import Json, is_array, is_integer, is_object

if TYPE_CHECKING:
    from stepflow_sdk.flows.types.fitting import Fitter, Spot

_UNSUPPORTED: Final = ("dependentSchemas", "dependencies", "unevaluatedProperties")
_MISSING: Final = {
    Presence.DECLARED: (Verdict.MAYBE, "may be missing"),
    Presence.UNDECLARED: (Verdict.MAYBE, "is wanted, and what comes does not declare it"),
    Presence.NEVER: (Verdict.NEVER, "is missing"),
}


_MOST_HINTS: Final = 50
"""Of one object so many names are looked for that may have been meant: more are not read, and the search takes time."""


def fit_fields(fitter: "Fitter", wanted: dict[str, Json], given: Fields, spot: "Spot") -> Iterator[Fit]:
    """All that a schema says of objects."""
    yield from _required(wanted, given, spot)
    strangers = 0
    for name, (type, always) in given.declared.items():
        if fitter.is_tired:
            break
        if isinstance(type, Never):
            continue
        for schema in _schemas_for(wanted, name):
            if schema is False:
                strangers += 1
                fit = _unexpected(wanted, name, spot, is_hinted=strangers <= _MOST_HINTS)
            else:
                fit = fitter.fit(schema, type, spot.into(name))
            yield fit if always else at_most(fit, Verdict.MAYBE)
    if not given.is_closed:
        yield from _open(fitter, wanted, given, spot)
    yield from _counts(wanted, given, spot)
    yield from _names(fitter, wanted, given, spot)
    for key in _UNSUPPORTED:
        if key in wanted and not is_trivial(wanted[key], fitter.root):
            yield spot.problem(Verdict.UNKNOWN, f"{key!r} of the schema is not looked into")


def _required(wanted: dict[str, Json], given: Fields, spot: "Spot") -> Iterator[Fit]:
    missing = 0
    for name in _texts(wanted.get("required")):
        _, presence = given.look_up(name)
        if presence is Presence.ALWAYS:
            continue
        verdict, said = _MISSING[presence]
        if presence is Presence.DECLARED and _is_likely(name, given):
            verdict = Verdict.UNKNOWN
        missing += 1
        hint = _spelled(name, wanted, given) if missing <= _MOST_HINTS else ""
        yield spot.problem(verdict, f"the field {name[:60]!r} {said}{hint}")


def _is_likely(name: str, given: Fields) -> bool:
    """Whether a field that need not be there may well be: one of a map, or one that has a default."""
    if name not in given.declared:
        return True
    type, _ = given.declared[name]
    return isinstance(type, Described) and is_object(type.schema) and "default" in type.schema


def _spelled(name: str, wanted: dict[str, Json], given: Fields) -> str:
    """The field that may have been meant for one that is missing: one that the schema does not know."""
    known = _object(wanted.get("properties"))
    strangers = [other for other in given.declared if other not in known]
    hint = did_you_mean(name, strangers)
    return f"; {hint.replace('did you mean', 'was that')}" if hint else ""


def _schemas_for(wanted: dict[str, Json], name: str) -> Iterator[Json]:
    """The schemas that a field of this name has to fit; false where it may not be there."""
    known = False
    properties = _object(wanted.get("properties"))
    if name in properties:
        known = True
        yield properties[name]
    for pattern, schema in _object(wanted.get("patternProperties")).items():
        matched = matches(pattern, name)
        if matched is not False:
            known = True
        if matched:
            yield schema
    if not known and "additionalProperties" in wanted:
        yield wanted["additionalProperties"]


def _unexpected(wanted: dict[str, Json], name: str, spot: "Spot", *, is_hinted: bool) -> Fit:
    known = _object(wanted.get("properties"))
    meant = did_you_mean(name, known) if is_hinted else None
    hint = meant or (f"known here: {names(known)}" if known else "no field is")
    return spot.into(name).problem(Verdict.NEVER, f"the field {name[:60]!r} is not allowed; {hint}")


def _open(fitter: "Fitter", wanted: dict[str, Json], given: Fields, spot: "Spot") -> Iterator[Fit]:
    """Fields that may be there without being declared."""
    for name, schema in _object(wanted.get("properties")).items():
        if name not in given.declared:
            yield at_most(fitter.fit(schema, given.look_up(name)[0], spot.into(name)), Verdict.MAYBE)
    patterns = _object(wanted.get("patternProperties"))
    if any(not is_trivial(schema, fitter.root) for schema in patterns.values()):
        yield spot.problem(Verdict.UNKNOWN, "what comes may have more fields, and the schema says something of them")
    rest = wanted.get("additionalProperties", True)
    if rest is False:
        yield spot.problem(Verdict.UNKNOWN, "what comes may have more fields, and only those of the schema are allowed")
        return
    others = [*[type for _, type in given.patterns], *([] if given.rest is None else [given.rest])]
    for type in others:
        yield at_most(fitter.fit(rest, type, spot), Verdict.MAYBE)


def _counts(wanted: dict[str, Json], given: Fields, spot: "Spot") -> Iterator[Fit]:
    least, most = wanted.get("minProperties"), wanted.get("maxProperties")
    sure = sum(always for _, always in given.declared.values())
    possible = len(given.declared) if given.is_closed else None
    if is_integer(least) and sure < least:
        verdict = Verdict.NEVER if possible is not None and possible < least else Verdict.UNKNOWN
        yield spot.problem(verdict, f"at least {least} fields are wanted, and {sure} are sure to come")
    if is_integer(most) and (possible is None or possible > most):
        verdict = Verdict.NEVER if sure > most else Verdict.UNKNOWN
        yield spot.problem(verdict, f"at most {most} fields are wanted, and there may be more")


def _names(fitter: "Fitter", wanted: dict[str, Json], given: Fields, spot: "Spot") -> Iterator[Fit]:
    if "propertyNames" in wanted:
        for name, (_, always) in given.declared.items():
            fit = fitter.fit(wanted["propertyNames"], Exactly(name), spot)
            yield fit if always else at_most(fit, Verdict.MAYBE)
        if not given.is_closed:
            yield spot.problem(Verdict.UNKNOWN, "what comes may have more fields, and their names are restricted")
    for name, needed in _object(wanted.get("dependentRequired")).items():
        yield from _dependent(name, _texts(needed), given, spot)


def _dependent(name: str, needed: list[str], given: Fields, spot: "Spot") -> Iterator[Fit]:
    presence = given.look_up(name)[1]
    for other in needed:
        other_presence = given.look_up(other)[1]
        if presence is Presence.NEVER or other_presence is Presence.ALWAYS:
            continue
        is_sure = presence is Presence.ALWAYS and other_presence is Presence.NEVER
        message = f"with the field {name[:60]!r} the field {other[:60]!r} is wanted, too"
        yield spot.problem(Verdict.NEVER if is_sure else Verdict.UNKNOWN, message)


def _texts(value: Json) -> list[str]:
    return [text for text in value if isinstance(text, str)] if is_array(value) else []


def _object(value: Json) -> dict[str, Json]:
    return value if is_object(value) else {}
