"""From JSON to the expression tree (section b.1 of the flow format)."""

from collections.abc import Callable, Mapping
from typing import Final

from stepflow_sdk.flows.diagnostics import UNKNOWN_KEY, Reporter, did_you_mean
from stepflow_sdk.flows.expressions import (
    ArrayExpression,
    Coalesce,
    Constant,
    Expression,
    If,
    InputReference,
    ObjectExpression,
    StepReference,
    VariableReference,
)
from stepflow_sdk.flows.paths import parse_path
from stepflow_sdk.flows.values import MISSING, Json, Missing, PathParts, describe, is_array, is_object

SPECIAL_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "$literal": frozenset(),
    "$if": frozenset({"then", "else"}),
    "$coalesce": frozenset(),
    "$step": frozenset({"path"}),
    "$input": frozenset(),
    "$variable": frozenset({"default"}),
}
"""The keys that make an object an expression, in the order in which they are tested, and what goes with each."""

# Keys of JSON Schema and of blob references: data that is often handed on, and no misspelled expression.
_NOT_MISSPELLED: Final = frozenset(
    {"$ref", "$schema", "$id", "$defs", "$comment", "$anchor", "$vocabulary", "$blob", "$from", "$type"}
)


def special_key(value: Mapping[str, Json]) -> str | None:
    """Which expression an object is, if it is one."""
    for key in SPECIAL_KEYS:
        if key in value:
            return key
    return None


class ExpressionParser:
    """Builds expression trees, and reports what is not an expression.

    Args:
        reporter: Where problems go; an ill-formed part becomes null in the tree.
        declared: The default of each variable of the flow: what its schema states or implies.
    """

    def __init__(self, reporter: Reporter, declared: Mapping[str, Json] | None = None) -> None:
        self._reporter = reporter
        self._declared = declared or {}
        self._parsers: dict[str, Callable[[dict[str, Json], PathParts], Expression]] = {
            "$literal": self._literal,
            "$if": self._if,
            "$coalesce": self._coalesce,
            "$step": self._step,
            "$input": self._input,
            "$variable": self._variable,
        }

    def parse(self, value: Json, path: PathParts) -> Expression:
        """Parse a JSON value that stands at a place of the document."""
        if is_array(value):
            return make_array(value, [self.parse(item, (*path, index)) for index, item in enumerate(value)])
        if not is_object(value):
            return Constant(value, value)
        key = special_key(value)
        if key is None:
            self._warn_of_misspelled(value, path)
            return make_object(value, {name: self.parse(item, (*path, name)) for name, item in value.items()})
        self._warn_of_ignored(key, value, path)
        return self._parsers[key](value, path)

    def _warn_of_misspelled(self, value: Mapping[str, Json], path: PathParts) -> None:
        if not self._reporter.has_room("warning"):
            return
        for key in value:
            if key.startswith("$") and key not in _NOT_MISSPELLED and (hint := did_you_mean(key, SPECIAL_KEYS)):
                message = f"{key[:60]!r} is no expression and is handed on as data; {hint}"
                self._reporter.add(UNKNOWN_KEY, (*path, key), message, level="warning")

    def _warn_of_ignored(self, special: str, value: Mapping[str, Json], path: PathParts) -> None:
        companions = SPECIAL_KEYS[special]
        for key in value:
            if key == special or key in companions:
                continue
            if special == "$input" and key == "path":
                hint = "write the path as the value of '$input'"
            else:
                hint = did_you_mean(key, companions) or f"the object is a {special!r} expression"
            message = f"key {key[:60]!r} next to {special!r} is ignored; {hint}"
            self._reporter.add(UNKNOWN_KEY, (*path, key), message, level="warning")

    def _literal(self, value: dict[str, Json], path: PathParts) -> Expression:  # noqa: ARG002  # nothing to place
        literal = value["$literal"]
        return Constant(literal, {"$literal": literal})

    def _if(self, value: dict[str, Json], path: PathParts) -> Expression:
        if "then" not in value:
            self._reporter.invalid(path, "'$if' needs a 'then': the value where the condition holds")
        return If(
            self.parse(value["$if"], (*path, "$if")),
            self.parse(value.get("then"), (*path, "then")),
            self.parse(value["else"], (*path, "else")) if "else" in value else None,
        )

    def _coalesce(self, value: dict[str, Json], path: PathParts) -> Expression:
        operands = value["$coalesce"]
        if not is_array(operands):
            found = describe(operands)
            self._reporter.invalid((*path, "$coalesce"), f"'$coalesce' takes a list of values, not {found}")
            operands = []
        return Coalesce([self.parse(item, (*path, "$coalesce", at)) for at, item in enumerate(operands)])

    def _step(self, value: dict[str, Json], path: PathParts) -> Expression:
        step = value["$step"]
        if not isinstance(step, str):
            found = describe(step)
            self._reporter.invalid((*path, "$step"), f"'$step' takes the id of a step, a string, not {found}")
            step = ""
        return StepReference(step, self._path(value.get("path"), (*path, "path")))

    def _input(self, value: dict[str, Json], path: PathParts) -> Expression:
        return InputReference(self._path(value["$input"], (*path, "$input")))

    def _variable(self, value: dict[str, Json], path: PathParts) -> Expression:
        parts = self._path(value["$variable"], (*path, "$variable"))
        default = self.parse(value["default"], (*path, "default")) if "default" in value else None
        declared: Json | Missing = MISSING
        if parts and isinstance(parts[0], str):
            declared = self._declared.get(parts[0], MISSING)
        return VariableReference(parts, declared, default)

    def _path(self, text: Json, path: PathParts) -> PathParts:
        if text is not None and not isinstance(text, str):
            self._reporter.invalid(path, f"a path is a string such as '$.name', not {describe(text)}")
            return ()
        try:
            return parse_path(text)
        except ValueError as error:
            self._reporter.invalid(path, str(error))
            return ()


def make_array(
    source: list[Json],
    items: list[Expression],
    build: Callable[[list[Expression]], Expression] = ArrayExpression,
) -> Expression:
    """The expression for an array: a constant where all of its elements are."""
    constants = [item for item in items if isinstance(item, Constant)]
    if len(constants) < len(items):
        return build(items)
    # Shared with the document where nothing was taken off, so that a large constant exists once.
    if all(item.value is original for item, original in zip(constants, source, strict=True)):
        return Constant(source, source)
    return Constant([item.value for item in constants], source)


def make_object(
    source: dict[str, Json],
    fields: dict[str, Expression],
    build: Callable[[dict[str, Expression]], Expression] = ObjectExpression,
) -> Expression:
    """The expression for an object: a constant where all of its fields are."""
    constants = {key: field for key, field in fields.items() if isinstance(field, Constant)}
    if len(constants) < len(fields):
        return build(fields)
    if all(field.value is source[key] for key, field in constants.items()):
        return Constant(source, source)
    return Constant({key: field.value for key, field in constants.items()}, source)
