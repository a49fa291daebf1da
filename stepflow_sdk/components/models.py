"""The kind of classes that bring their own validation and schema, as pydantic's models do.

Nothing is imported: a class is such a model when it has the three methods of one.
"""

from typing import Any

import msgspec

from stepflow_sdk.errors import ComponentError, InvalidSignature

from .assertions import make_validator
from .json_types import is_array, is_object
from .kinds import ALL_TYPES, Definitions, Kind
from .problems import Path, Report, describe_exception, shown

__all__ = ["Model", "is_model"]


def is_model(cls: type) -> bool:
    """Return whether a class validates and describes itself in the manner of pydantic's models."""
    methods = ("model_validate_json", "model_json_schema", "model_dump")
    return all(callable(getattr(cls, method, None)) for method in methods)


class Model(Kind):
    """A self-validating class.

    A value must fit the class's own JSON Schema first, since models accept more by conversion than their
    schema says, and then pass the model, whose own validators may refuse more.
    """

    exact = False
    _label = "an object"

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self._schemas = {
            "input": _schema_of(cls, "validation"),
            "output": _schema_of(cls, "serialization"),
        }
        self._validators = {side: make_validator(schema) for side, schema in self._schemas.items()}

    def takes(self) -> frozenset[str]:
        """See `Kind.takes`."""
        json_type = self._schemas["input"].get("type")
        return frozenset({json_type}) if isinstance(json_type, str) else ALL_TYPES

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        schema = dict(self._schemas[definitions.side])
        own = schema.pop("$defs", {})
        if not own:
            return schema
        # The definitions of a model move to those of the whole schema, under names that are free there.
        names = {name: definitions.place(name, content) for name, content in own.items()}
        for name, placed in names.items():
            definitions.schemas[placed] = _renamed(own[name], names)
        moved: dict[str, Any] = _renamed(schema, names)
        return moved

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        before = report.count
        # An output is only looked at, against the schema that tells its serialized form.
        side = "input" if report.build else "output"
        for error in self._validators[side].iter_errors(value):
            _report_schema_error(error, path, report)
        if report.count != before or not report.build:
            return None
        try:
            # As JSON and not as Python values: strict models take a date as text only from JSON.
            return self._cls.model_validate_json(msgspec.json.encode(value))
        except ValueError as error:
            _report_model_error(error, path, report)
            return None
        except Exception as error:  # validators are user code
            message = f"reading the input failed: {describe_exception(error)}"
            raise ComponentError(message, data={"exception": type(error).__name__}) from error


def _schema_of(cls: Any, mode: str) -> dict[str, Any]:
    try:
        return dict(cls.model_json_schema(mode=mode))
    except Exception as error:
        raise InvalidSignature(
            f"{cls.__name__} gives no JSON Schema ({describe_exception(error)}); "
            "change the field, or give it a schema of its own"
        ) from error


def _renamed(tree: Any, names: dict[str, str]) -> Any:
    if is_object(tree):
        renamed = {key: _renamed(item, names) for key, item in tree.items()}
        reference = tree.get("$ref")
        if isinstance(reference, str):
            name = reference.removeprefix("#/$defs/")
            renamed["$ref"] = f"#/$defs/{names.get(name, name)}"
        return renamed
    if is_array(tree):
        return [_renamed(item, names) for item in tree]
    return tree


def _report_schema_error(error: Any, path: Path, report: Report) -> None:
    for key in error.absolute_path:
        path = (path, key)
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance and f"{name!r} is" in error.message:
                report.add((path, name), "is required but missing")
    elif error.validator == "type":
        report.add(path, f"expected {error.validator_value}, got {shown(error.instance)}")
    else:
        report.add(path, error.message)


def _report_model_error(error: ValueError, path: Path, report: Report) -> None:
    details = getattr(error, "errors", None)
    if not callable(details):
        report.add(path, describe_exception(error))
        return
    found: Any = details()
    for detail in found:
        where = path
        for key in detail.get("loc", ()):
            where = (where, key)
        report.add(where, str(detail.get("msg", "is not valid")))
