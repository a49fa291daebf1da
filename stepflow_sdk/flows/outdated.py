"""Tells documents of 0.7 and 0.8 from those of 0.9 (section a.6 of the flow format)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from stepflow_sdk.flows.expression_parser import special_key
from stepflow_sdk.flows.old_document import OldLanguage
from stepflow_sdk.flows.values import Json, PathParts, is_array, is_object


class Outdated(NamedTuple):
    """One construct of the old language.

    Attributes:
        construct: What it is, such as ``$from`` or ``skipIf``.
        path: Where it stands.
        replacement: What the language of 0.9 has for it.
    """

    construct: str
    path: PathParts
    replacement: str


_FLOW_KEYS: Final = {
    "schema": "remove it: documents carry no version tag any more",
    "inputSchema": "put the schema under schemas.properties.input",
    "outputSchema": "put the schema under schemas.properties.output",
    "variables": "put the schema under schemas.properties.variables",
}
_STEP_KEYS: Final = {
    "skipIf": "put '$if' around the reference to the step: a step that nobody needs does not run",
    "inputSchema": "remove it: the component reports the schema of its input",
    "outputSchema": "put the schema under schemas.properties.steps.properties, by the id of the step",
}
OUTDATED_FLOW_KEYS: Final = frozenset(_FLOW_KEYS)
OUTDATED_STEP_KEYS: Final = frozenset(_STEP_KEYS)

_SKIP: Final = "use {action: useDefault, defaultValue: null}"
_DATA: Final = "(to hand the object on as data, put '$literal' around it)"


def find_outdated(document: Json) -> list[Outdated]:
    """List every construct of 0.7 and 0.8 in a flow document, in document order.

    Newer engines upstream read such documents and silently treat ``$from`` as data and ``skipIf`` as nothing, which
    gives wrong results. ``$from`` counts wherever an expression may stand and in default values, which used to be
    templates, but not inside ``$literal``, tests, examples, schemas and metadata.
    """
    return list(_in_flow(document)) if is_object(document) else []


def find_current(document: Json) -> tuple[str, PathParts] | None:
    """The first construct that only 0.9 has, and its place; looked for where `find_outdated` looks."""
    if not is_object(document):
        return None
    if document.get("schemas") is not None:
        return "schemas", ("schemas",)
    for value, path in _expressions(document):
        for found, place in _current_in(value, path):
            return found, place
    return None


def old_language(document: Json) -> OldLanguage:
    """Which of the old languages a document that is in one of them is written in.

    Variables and ``mustExecute`` came with 0.8; a document without either is one of 0.7, all of whose steps run.
    """
    if not is_object(document):
        return "0.7"
    steps: list[Json] = document["steps"] if is_array(document.get("steps")) else []
    if document.get("variables") is not None:
        return "0.8"
    if any(is_object(step) and step.get("mustExecute") is not None for step in steps):
        return "0.8"
    return "0.8" if any(_has_variable(value) for value, _ in _expressions(document)) else "0.7"


def _expressions(flow: dict[str, Json]) -> Iterator[tuple[Json, PathParts]]:
    """Everything that is evaluated, in document order."""
    for key, value in flow.items():
        if key == "output":
            yield value, (key,)
        elif key == "steps" and is_array(value):
            for index, step in enumerate(value):
                if is_object(step):
                    yield from _step_expressions(step, (key, index))


def _step_expressions(step: dict[str, Json], path: PathParts) -> Iterator[tuple[Json, PathParts]]:
    for key, value in step.items():
        if key in ("input", "skipIf"):
            yield value, (*path, key)
        elif key == "onError" and is_object(value):
            yield value.get("defaultValue"), (*path, key, "defaultValue")


def _current_in(value: Json, path: PathParts) -> Iterator[tuple[str, PathParts]]:
    if is_array(value):
        for index, item in enumerate(value):
            yield from _current_in(item, (*path, index))
    elif is_object(value) and "$literal" not in value:
        if "$from" not in value and (key := special_key(value)) is not None:
            yield key, (*path, key)
        for key, item in value.items():
            if key not in ("$from", "onSkip"):
                yield from _current_in(item, (*path, key))


def _has_variable(value: Json) -> bool:
    if is_array(value):
        return any(map(_has_variable, value))
    if not is_object(value) or "$literal" in value:
        return False
    if is_object(source := value.get("$from")) and "variable" in source:
        return True
    return any(_has_variable(item) for key, item in value.items() if key not in ("$from", "onSkip"))


def _in_flow(flow: dict[str, Json]) -> Iterator[Outdated]:
    for key, value in flow.items():
        if key in _FLOW_KEYS and value is not None:
            yield Outdated(key, (key,), _FLOW_KEYS[key])
        elif key == "output":
            yield from _in_expression(value, (key,))
        elif key == "steps" and is_array(value):
            for index, step in enumerate(value):
                if is_object(step):
                    yield from _in_step(step, (key, index))


def _in_step(step: dict[str, Json], path: PathParts) -> Iterator[Outdated]:
    for key, value in step.items():
        here = (*path, key)
        if key in _STEP_KEYS and value is not None:
            yield Outdated(key, here, _STEP_KEYS[key])
        if key == "onError" and is_object(value) and value.get("action") == "skip":
            yield Outdated("onError: {action: skip}", (*here, "action"), _SKIP)
    for value, place in _step_expressions(step, path):
        yield from _in_expression(value, place)


def _in_expression(value: Json, path: PathParts) -> Iterator[Outdated]:
    if is_array(value):
        for index, item in enumerate(value):
            yield from _in_expression(item, (*path, index))
    elif is_object(value) and "$literal" not in value:
        if "$from" in value:
            yield Outdated("$from", (*path, "$from"), _reference(value))
            if "onSkip" in value:
                yield Outdated("onSkip", (*path, "onSkip"), "use {$coalesce: [reference, default]}")
        for key, item in value.items():
            if key not in ("$from", "onSkip"):
                yield from _in_expression(item, (*path, key))


def _reference(value: dict[str, Json]) -> str:
    """The 0.9 form of a ``$from`` object, spelled out with the names that it holds."""
    target, at = value["$from"], value.get("path")
    path = at if isinstance(at, str) and at else None
    if is_object(target):
        if target.get("workflow") == "input":
            return f"use {{$input: {_short(path or '$')}}}"
        if isinstance(step := target.get("step"), str):
            tail = f", path: {_short(path)}" if path else ""
            return f"use {{$step: {_short(step)}{tail}}}"
        if isinstance(name := target.get("variable"), str):
            tail = ", default: …" if "default" in target else ""
            return f"use {{$variable: {_short(name)}{tail}}}"
    return f"use {{$input: path}}, {{$step: id, path: path}} or {{$variable: name}} {_DATA}"


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
