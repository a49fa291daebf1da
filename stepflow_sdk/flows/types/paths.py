"""Paths into types: the type of a part, and whether the part is there."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stepflow_sdk.flows.diagnostics import did_you_mean
from stepflow_sdk.flows.paths import show_path
from stepflow_sdk.flows.types.parts import Presence, fields_of, items_of
from stepflow_sdk.flows.types.schemas import expand
from stepflow_sdk.flows.types.types import Either, Never, Type, Unknown, either
from stepflow_sdk.flows.types.verdicts import Verdict
from stepflow_sdk.flows.types.words import in_words, names
from stepflow_sdk.flows.values import PathParts


@dataclass(frozen=True, slots=True)
class Part:
    """What a path leads to.

    Attributes:
        type: The type of what is there.
        verdict: Whether something is there.
        message: Why not, or perhaps not.
    """

    type: Type
    verdict: Verdict = Verdict.FITS
    message: str = ""


def project(type: Type, path: PathParts, source: str) -> Part:
    """Follow a path into a type: fields of objects, elements of arrays.

    Args:
        type: The type of the whole.
        path: The path.
        source: What the whole is, for messages.

    Returns:
        The type there, and the worst that was found on the way.
    """
    found = Part(type)
    for index, key in enumerate(path):
        step = _into(found.type, key, _whole(path[:index], source))
        if step.verdict is Verdict.NEVER:
            # What is perhaps not there, and has no such part either, fails in every case.
            return step
        found = step if step.verdict > found.verdict else replace(found, type=step.type)
    return found


def _whole(path: PathParts, source: str) -> str:
    return f"{show_path(path)!r} of {source}" if path else source


def _into(type: Type, key: str | int, whole: str) -> Part:
    expanded = expand(type)
    options = expanded.members if isinstance(expanded, Either) else (expanded,)
    parts = [_of_one(option, key, whole) for option in options]
    if len(parts) == 1:
        return parts[0]
    possible = [part for part in parts if part.verdict is not Verdict.NEVER]
    if not possible:
        return Part(Never(), Verdict.NEVER, _impossible(expanded, key, whole))
    worst = max(possible, key=lambda part: part.verdict)
    union = either(*[part.type for part in possible])
    if len(possible) < len(parts):
        return Part(union, Verdict.MAYBE, _impossible(expanded, key, whole))
    return Part(union, worst.verdict, worst.message)


def _of_one(type: Type, key: str | int, whole: str) -> Part:
    name = f"field {key[:60]!r}" if isinstance(key, str) else f"element [{key}]"
    if isinstance(type, (Unknown, Never)):
        verdict = Verdict.UNKNOWN if isinstance(type, Unknown) else Verdict.FITS
        return Part(type, verdict, f"nothing is known of {whole}, which may have no {name}")
    known: Iterable[str] = ()
    if isinstance(key, str) and (fields := fields_of(type)) is not None:
        inner, presence = fields.look_up(key)
        known = fields.declared
    elif isinstance(key, int) and (items := items_of(type)) is not None:
        inner, presence = items.look_up(key)
    else:
        return Part(Never(), Verdict.NEVER, _impossible(type, key, whole))
    match presence:
        case Presence.ALWAYS:
            return Part(inner)
        case Presence.DECLARED:
            return Part(inner, Verdict.UNKNOWN, f"{name} of {whole} may be missing")
        case Presence.UNDECLARED:
            return Part(inner, Verdict.MAYBE, f"{name} of {whole} is not declared; {_hint(key, known)}")
        case Presence.NEVER:
            return Part(inner, Verdict.NEVER, f"{whole} has no {name}; {_hint(key, known)}")


def _impossible(type: Type, key: str | int, whole: str) -> str:
    wanted = f"the field {key[:60]!r}" if isinstance(key, str) else f"the element [{key}]"
    return f"{wanted} is wanted of {whole}, which is {in_words(type)}"


def _hint(key: str | int, known: Iterable[str]) -> str:
    if isinstance(key, int):
        return "it is too short"
    known = list(known)
    return did_you_mean(key, known) or (f"declared: {names(known)}" if known else "it has no fields")
