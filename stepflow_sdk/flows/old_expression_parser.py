"""From JSON to the expressions of 0.7 and 0.8 (section a.6 of the flow format)."""

from collections.abc import Mapping
from typing import Final

from stepflow_sdk.flows.diagnostics import UNKNOWN_KEY, Reporter, did_you_mean
from stepflow_sdk.flows.expression_parser import make_array, make_object
from stepflow_sdk.flows.expressions import Constant, Expression
from stepflow_sdk.flows.old_expressions import FromInput, FromStep, FromVariable, OldArray, OldObject
from stepflow_sdk.flows.paths import parse_path
from stepflow_sdk.flows.values import MISSING, Json, Missing, PathParts, describe, is_array, is_object

_SOURCES: Final = ("workflow", "step", "variable")
_COMPANIONS: Final = ("path", "onSkip")
_WANTED: Final = "'$from' is {workflow: input}, {step: id} or {variable: name}"
_DATA: Final = "to hand the object on as data, put '$literal' around it"


class OldExpressionParser:
    """Builds expression trees, and reports what is not an expression.

    Args:
        reporter: Where problems go; an ill-formed part becomes null in the tree.
        declared: The default of each variable of the flow: what its schema states or implies.
    """

    def __init__(self, reporter: Reporter, declared: Mapping[str, Json]) -> None:
        self._reporter = reporter
        self._declared = declared

    def parse(self, value: Json, path: PathParts) -> Expression:
        """Parse a JSON value that stands at a place of the document."""
        if is_array(value):
            items = [self.parse(item, (*path, index)) for index, item in enumerate(value)]
            return make_array(value, items, OldArray)
        if not is_object(value):
            return Constant(value, value)
        if "$literal" in value:
            return Constant(value["$literal"], {"$literal": value["$literal"]})
        if "$from" in value:
            return self._reference(value, path)
        return make_object(value, {key: self.parse(item, (*path, key)) for key, item in value.items()}, OldObject)

    def _reference(self, value: dict[str, Json], path: PathParts) -> Expression:
        for key in value:
            if key != "$from" and key not in _COMPANIONS:
                hint = did_you_mean(key, _COMPANIONS) or "'path' and 'onSkip' go with it"
                message = f"key {key[:60]!r} next to '$from' is ignored; {hint}"
                self._reporter.add(UNKNOWN_KEY, (*path, key), message, level="warning")
        source = value["$from"]
        place = (*path, "$from")
        parts = self._path(value.get("path"), (*path, "path"))
        on_skip = self._on_skip(value.get("onSkip"), (*path, "onSkip"))
        if not is_object(source):
            self._reporter.invalid(place, f"{_WANTED}, not {describe(source)}; {_DATA}")
            return Constant(None, None)
        named = [key for key in _SOURCES if source.get(key) is not None]
        if len(named) != 1 or not isinstance(source[named[0]], str):
            self._reporter.invalid(place, f"{_WANTED}, exactly one of them; {_DATA}")
            return Constant(None, None)
        self._warn_of_unknown(source, place, ("variable", "default") if named == ["variable"] else tuple(named))
        name: str = source[named[0]]
        if named == ["step"]:
            return FromStep(name, parts, on_skip, has_action=value.get("onSkip") is not None)
        if named == ["variable"]:
            return self._variable(name, parts, source, place)
        if name != "input":
            self._reporter.invalid((*place, "workflow"), f"the only thing of a workflow is 'input', not {name[:60]!r}")
        return FromInput(parts)

    def _variable(self, name: str, parts: PathParts, source: Mapping[str, Json], place: PathParts) -> Expression:
        if not name:
            self._reporter.invalid((*place, "variable"), "the name of a variable must not be empty")
            return Constant(None, None)
        # Null and absent are the same here.
        default = source.get("default")
        inline: Json | Missing = MISSING if default is None else default
        return FromVariable(name, parts, self._declared.get(name, MISSING), inline)

    def _on_skip(self, value: Json, path: PathParts) -> Json | Missing:
        """The default that it gives, or `MISSING` where the skip is to spread."""
        if value is None:
            return MISSING
        action = value.get("action") if is_object(value) else None
        if action not in ("skip", "useDefault"):
            found = describe(value) if not is_object(value) else f"action {describe(action)}"
            wanted = "{action: skip} or {action: useDefault, defaultValue: value}"
            self._reporter.invalid(path, f"'onSkip' is {wanted}, not {found}")
            return MISSING
        self._warn_of_unknown(value, path, ("action", "defaultValue"))
        return value.get("defaultValue") if action == "useDefault" else MISSING

    def _path(self, text: Json, path: PathParts) -> PathParts:
        if text is not None and not isinstance(text, str):
            self._reporter.invalid(path, f"a path is a string such as '$.name', not {describe(text)}")
            return ()
        try:
            return parse_path(text)
        except ValueError as error:
            self._reporter.invalid(path, str(error))
            return ()

    def _warn_of_unknown(self, value: Mapping[str, Json], path: PathParts, known: tuple[str, ...]) -> None:
        for key in value:
            if key not in known:
                self._reporter.unknown_key(path, key, known)
