"""Finds what is written in the flow language of 0.7 and 0.8 (section a.6 of the flow format)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

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

    Upstream reads such documents and silently treats ``$from`` as data and ``skipIf`` as nothing, which gives
    wrong results. ``$from`` counts wherever an expression may stand and in default values, which used to be
    templates, but not inside ``$literal``, tests, examples, schemas and metadata.
    """
    return list(_in_flow(document)) if is_object(document) else []


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
        if key == "onError" and is_object(value):
            if value.get("action") == "skip":
                yield Outdated("onError: {action: skip}", (*here, "action"), _SKIP)
            yield from _in_expression(value.get("defaultValue"), (*here, "defaultValue"))
        elif key in ("input", "skipIf"):
            yield from _in_expression(value, here)


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
