"""Rewrites the expressions of 0.7 and 0.8 (sections a.6, b and c.10 of the flow format)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from stepflow_sdk.flows.canonical import canonical_json
from stepflow_sdk.flows.diagnostics import Reporter
from stepflow_sdk.flows.expression_parser import special_key
from stepflow_sdk.flows.old_document import OldFlow, OldStep
from stepflow_sdk.flows.old_expression_parser import OldExpressionParser
from stepflow_sdk.flows.old_expressions import FromInput, FromStep, FromVariable, is_true
from stepflow_sdk.flows.paths import follow, format_path
from stepflow_sdk.flows.upgrade.losses import Losses
from stepflow_sdk.flows.values import MISSING, Json, Missing, PathParts, is_array, is_object

__all__ = ["NEVER", "Rewriter", "Skip", "literal"]

_LONGEST_CONDITION: Final = 10_000

Place: TypeAlias = Literal["input", "output", "condition"]

_BARE: Final = re.compile(r"[^\s$.\[][^.\[]*")


@dataclass(frozen=True, slots=True)
class Skip:
    """When a step is skipped.

    Attributes:
        condition: An expression of 0.9 that chooses ``then`` where it is; `MISSING` where none says so.
        on_failure: Whether it is when its component fails.
        parts: The conditions of which ``condition`` is made: its own, and those of the steps that it refers to.
    """

    condition: Json | Missing = MISSING
    on_failure: bool = False
    parts: tuple[Json, ...] = ()


NEVER: Final = Skip()


class Rewriter:
    """Rewrites expressions, step by step in document order, for what a step becomes depends on those before it.

    Args:
        flow: The flow.
        losses: Told what cannot be kept.
    """

    def __init__(self, flow: OldFlow, losses: Losses) -> None:
        self._flow = flow
        self._losses = losses
        self._parser = OldExpressionParser(Reporter(), {})
        self.skips: dict[str, Skip] = {}
        # What the expression at hand inherits from the steps that it refers to.
        self._inherited: list[Json] = []

    def step_input(self, step: OldStep, raw: Mapping[str, Json], path: PathParts) -> Json:
        """Rewrite the input of a step, and find out when the step is skipped."""
        self._inherited = []
        own = MISSING if step.skip_if is None else self._condition(raw["skipIf"], (*path, "skipIf"))
        rewritten = self.rewrite(raw.get("input"), (*path, "input"), "input")
        parts = [] if own is MISSING else [own]
        parts += [each for each in self._inherited if each not in parts]
        combined: Json | Missing = MISSING
        for part in reversed(parts):
            combined = part if combined is MISSING else {"$if": part, "then": True, "else": combined}
        if combined is not MISSING and len(canonical_json(combined)) > _LONGEST_CONDITION:
            # Each may hold those of others several times over, which can double with every step.
            self._losses.add(
                (*path, "skipIf"), "the conditions of the steps before make this one too long to be written"
            )
            combined, parts = MISSING, []
        on_failure = step.old_on_error is not None and step.old_on_error.action == "skip"
        self.skips[step.id] = Skip(combined, on_failure, tuple(parts))
        return rewritten

    def rewrite(self, value: Json, path: PathParts, place: Place) -> Json:
        """Rewrite an expression."""
        if is_array(value):
            return [self.rewrite(item, (*path, index), place) for index, item in enumerate(value)]
        if not is_object(value) or "$literal" in value:
            return value
        if "$from" not in value:
            return {key: self.rewrite(item, (*path, key), place) for key, item in value.items()}
        node = self._parser.parse(value, path)
        if isinstance(node, FromInput):
            return {"$input": format_path(node.path)}
        if isinstance(node, FromVariable):
            return self._variable(node, path)
        return self._step(node, path, place) if isinstance(node, FromStep) else value

    # ---- references -------------------------------------------------------------------------------------------

    def _variable(self, node: FromVariable, path: PathParts) -> Json:
        name, inner = str(node.path[0]), node.path[1:]
        try:
            written = name if not inner and _BARE.fullmatch(name) else format_path(node.path)
        except ValueError as error:
            self._losses.add(path, f"the name of the variable cannot be written in 0.9: {error}; this is null now")
            return None
        rewritten: dict[str, Json] = {"$variable": written}
        if node.inline is MISSING:
            return rewritten
        declared = self._flow.variables.get(name)
        default = MISSING if declared is None else declared.default
        if default is not MISSING and canonical_json(default) != canonical_json(node.inline):
            self._losses.add(
                path,
                f"the default here comes before that of the schema of variable {name[:60]!r}, in 0.9 behind it; "
                "give one of the two up",
            )
        if inner:
            self._losses.add(
                path,
                "the path leads into the default, too; in 0.9 the default also stands for a path that leads nowhere",
            )
        found = follow(node.inline, inner)
        return rewritten if found is MISSING else {**rewritten, "default": literal(found)}

    def _step(self, node: FromStep, path: PathParts, place: Place) -> Json:
        reference: dict[str, Json] = {"$step": node.step}
        if node.path:
            reference["path"] = format_path(node.path)
        skip = self.skips.get(node.step, NEVER)
        if skip == NEVER:
            if node.on_skip is not MISSING and node.on_skip is not None:
                said = f"step {_name(reference)} is skipped only where its component says so, and is null there in 0.9"
                self._losses.remark(path, f"the default of 'onSkip' is left out: {said}; '$coalesce' gives one")
            return reference
        if node.on_skip is MISSING:
            return self._spreading(reference, skip, path, place)
        return self._defaulting(reference, skip, node.on_skip, path)

    def _defaulting(self, reference: dict[str, Json], skip: Skip, default: Json, path: PathParts) -> Json:
        rewritten: Json = reference
        # Any path into null is null, so a default of null needs no words.
        if skip.on_failure and default is not None:
            said = f"the default would also stand for a null that step {_name(reference)} gives"
            self._losses.add(path, f"{said}; '$coalesce' cannot tell it from a step that was skipped")
            rewritten = {"$coalesce": [reference, literal(default)]}
        if skip.condition is MISSING:
            return rewritten
        return {"$if": skip.condition, "then": literal(default), "else": rewritten}

    def _spreading(self, reference: dict[str, Json], skip: Skip, path: PathParts, place: Place) -> Json:
        name = _name(reference)
        if place == "output":
            self._losses.add(
                path,
                f"the flow is skipped where step {name} is, which no flow of 0.9 is; its output is null there: "
                "say with 'onSkip' what it is to be",
            )
            if skip.condition is MISSING:
                return reference
            return {"$if": skip.condition, "then": None, "else": reference}
        if skip.on_failure:
            self._losses.add(
                path, f"what refers to step {name} is skipped where {name} is, and in 0.9 goes on with null"
            )
        if skip.condition is MISSING:
            return reference
        if place == "condition":
            return {"$if": skip.condition, "then": False, "else": reference}
        self._inherited += [part for part in skip.parts if part not in self._inherited]
        return reference

    # ---- conditions -------------------------------------------------------------------------------------------

    def _condition(self, value: Json, path: PathParts) -> Json | Missing:
        if not is_object(value) and not is_array(value):
            return True if is_true(value) else MISSING
        rewritten = self.rewrite(value, path, "condition")
        node = self._parser.parse(value, path)
        if not isinstance(node, (FromInput, FromStep, FromVariable)):
            self._losses.add(
                path, "this is true but where a step in it was skipped or failed; refer to a boolean instead"
            )
            return rewritten
        if self._is_boolean(node):
            return rewritten
        self._losses.add(
            path,
            "skipIf takes false, 0 and '' for false, and a path that leads nowhere for an error; '$if' takes false and "
            "null for false, and an error, too; this is kept where a schema says 'type: boolean' and 'required'",
        )
        return {"$coalesce": [rewritten, True]}

    def _is_boolean(self, node: FromInput | FromStep | FromVariable) -> bool:
        """Whether the schemas promise a boolean that is there."""
        path = node.path
        if isinstance(node, FromInput):
            schema = self._flow.input_schema
        elif isinstance(node, FromVariable):
            declared = self._flow.variables.get(str(path[0]))
            schema, path = (None if declared is None else declared.schema), path[1:]
        else:
            schema = next((step.output_schema for step in self._flow.steps if step.id == node.step), None)
            if node.on_skip is not MISSING and not isinstance(node.on_skip, bool):
                return False
        for part in map(str, path):
            required: Any = schema.get("required") if is_object(schema) else None
            if not is_object(schema) or not is_array(required) or part not in required:
                return False
            properties = schema.get("properties")
            schema = properties.get(part) if is_object(properties) else None
        return is_object(schema) and schema.get("type") == "boolean"


def literal(value: Json) -> Json:
    """An expression of 0.9 for a value: itself, or in a ``$literal`` where it looks like an expression."""
    return {"$literal": value} if _is_special(value) else value


def _is_special(value: Json) -> bool:
    if is_array(value):
        return any(map(_is_special, value))
    if not is_object(value):
        return False
    return special_key(value) is not None or "$from" in value or any(map(_is_special, value.values()))


def _name(reference: Mapping[str, Json]) -> str:
    return repr(reference["$step"][:60])
