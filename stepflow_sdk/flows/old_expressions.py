"""The expressions of 0.7 and 0.8 (sections a.6 and c.10 of the flow format).

They give a value, a `Failure`, `Skipped`, or `Broken` for what ends the whole run. What they refer to has ended when
they are evaluated, for there dependencies are static.
"""

from collections.abc import Iterator
from typing import ClassVar

from stepflow_sdk.flows.expressions import (
    ArrayExpression,
    Constant,
    Expression,
    InputReference,
    ObjectExpression,
    StepReference,
    VariableReference,
)
from stepflow_sdk.flows.outcomes import UNKNOWN_STEP, VALUE_NOT_FOUND, Broken, Failure, Needs, Scope, Skipped
from stepflow_sdk.flows.paths import follow, format_path
from stepflow_sdk.flows.values import MISSING, PENDING, UNKNOWN, Json, Missing, PathParts

NO_VALUE = (Failure, Skipped, Broken, Needs)
"""What an expression may give instead of a value."""


class OldArray(ArrayExpression):
    """An array; its first element that has no value decides for the whole."""

    __slots__ = ()

    def resolve(self, scope: Scope) -> object:
        """The array of the elements' values."""
        result: list[object] = []
        for item in self.items:
            value = item.resolve(scope)
            if isinstance(value, NO_VALUE):
                return value
            result.append(value)
        return result


class OldObject(ObjectExpression):
    """An object; its first field that has no value decides for the whole."""

    __slots__ = ()

    def resolve(self, scope: Scope) -> object:
        """The object of the fields' values."""
        result: dict[str, object] = {}
        for key, field in self.fields:
            value = field.resolve(scope)
            if isinstance(value, NO_VALUE):
                return value
            result[key] = value
        return result


class FromStep(StepReference):
    """``$from: {step}``.

    Args:
        step: The id of the step.
        path: A path into its result.
        on_skip: What stands for the result when the step was skipped; `MISSING` where the skip is to spread.
        has_action: Whether ``onSkip`` is written out; for the normal form alone.
    """

    __slots__ = ("has_action", "on_skip")

    KEY: ClassVar[PathParts] = ("$from", "step")

    def __init__(self, step: str, path: PathParts, on_skip: Json | Missing, *, has_action: bool = False) -> None:
        super().__init__(step, path)
        self.on_skip = on_skip
        self.has_action = has_action

    def resolve(self, scope: Scope) -> object:
        """The step's result, or the part at the path; the path is not applied to the default."""
        value = scope.step(self.step)
        if value is PENDING:
            return self._needs
        if value is UNKNOWN:
            return Broken(Failure(UNKNOWN_STEP, f"Unknown step: {self.step}"))
        if isinstance(value, Skipped):
            return value if self.on_skip is MISSING else self.on_skip
        if isinstance(value, Failure):
            return value
        found = follow(value, self.path)
        if found is MISSING:
            # Also where the result is null, unlike in 0.9.
            return Broken(Failure(VALUE_NOT_FOUND, f"Path {format_path(self.path)} not found"))
        return found

    def to_json(self) -> Json:
        """``$from``, ``path`` and ``onSkip``."""
        document = _reference({"step": self.step}, self.path)
        if self.on_skip is not MISSING:
            default = {} if self.on_skip is None else {"defaultValue": self.on_skip}
            document["onSkip"] = {"action": "useDefault", **default}
        elif self.has_action:
            document["onSkip"] = {"action": "skip"}
        return document


class FromInput(InputReference):
    """``$from: {workflow: input}``."""

    __slots__ = ()

    def resolve(self, scope: Scope) -> object:
        """The input, or the part at the path."""
        value = super().resolve(scope)
        return Broken(value) if isinstance(value, Failure) else value

    def to_json(self) -> Json:
        """``$from`` and ``path``."""
        return _reference({"workflow": "input"}, self.path)


class FromVariable(VariableReference):
    """``$from: {variable}`` of 0.8: the value given, else the inline default, else the declared one.

    Args:
        name: The variable.
        path: A path into its value, also into a default.
        declared: The default that the schema of the variable states or implies, else `MISSING`.
        inline: The default of the reference, a literal, else `MISSING`.
    """

    __slots__ = ("inline",)

    KEY: ClassVar[PathParts] = ("$from", "variable")

    def __init__(self, name: str, path: PathParts, declared: Json | Missing, inline: Json | Missing) -> None:
        super().__init__((name, *path), declared, None if inline is MISSING else Constant(inline, inline))
        self.inline = inline

    def resolve(self, scope: Scope) -> object:
        """The first value that there is, or the part of it at the path."""
        name = str(self.path[0])
        value = scope.variable(name)
        if value is MISSING:
            value = self.declared if self.inline is MISSING else self.inline
        if value is MISSING:
            return Broken(Failure(VALUE_NOT_FOUND, f"Undefined variable: {name}"))
        found = follow(value, self.path[1:])
        if found is MISSING:
            return Broken(Failure(VALUE_NOT_FOUND, f"Path {format_path(self.path[1:])} not found"))
        return found

    def to_json(self) -> Json:
        """``$from`` and ``path``."""
        source: dict[str, Json] = {"variable": self.path[0]}
        if self.inline is not MISSING:
            source["default"] = self.inline
        return _reference(source, self.path[1:])

    def children(self) -> Iterator[tuple[PathParts, Expression]]:
        """None: the default is a literal."""
        return iter(())


def is_true(value: Json) -> bool:
    """Whether ``skipIf`` takes a value for true: everything but false, 0, 0.0 and the empty string; also null."""
    return value is None or isinstance(value, (list, dict)) or bool(value)


def _reference(source: dict[str, Json], path: PathParts) -> dict[str, Json]:
    document: dict[str, Json] = {"$from": source}
    if path:
        document["path"] = format_path(path)
    return document
