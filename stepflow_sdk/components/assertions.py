"""The kind of a value that must also pass a piece of JSON Schema that its author wrote."""

from collections.abc import Mapping, Sequence
from typing import Any

from stepflow_sdk.errors import InvalidSignature

from .kinds import Definitions, Kind
from .problems import Path, Report, shown

__all__ = ["Asserted", "make_validator"]


def make_validator(schema: Any) -> Any:
    """Return a `jsonschema` validator (2020-12, formats asserted) of a schema."""
    # Imported here: only those who write their own JSON Schema pay for it.
    from jsonschema import Draft202012Validator, FormatChecker

    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=FormatChecker())


class Asserted(Kind):
    """A kind together with keywords from ``Meta(extra_json_schema=...)``, all of which must hold.

    Raises:
        InvalidSignature: The keywords are no JSON Schema.
    """

    exact = False

    def __init__(self, inner: Kind, keywords: Mapping[str, Any], name: str) -> None:
        self._inner = inner
        self._assertions = dict(keywords)
        try:
            self._validator = make_validator(self._assertions)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise InvalidSignature(f"extra_json_schema of {name} is no JSON Schema: {reason}") from error

    def takes(self) -> frozenset[str]:
        """See `Kind.takes`."""
        return self._inner.takes()

    def label(self) -> str:
        """See `Kind.label`."""
        return self._inner.label()

    def children(self) -> Sequence[Kind]:
        """See `Kind.children`."""
        return (self._inner,)

    def schema(self, definitions: Definitions) -> dict[str, Any]:
        """See `Kind.schema`."""
        inner = self._inner.schema(definitions)
        if inner.keys() & self._assertions.keys():
            return {**inner, "allOf": [*inner.get("allOf", ()), self._assertions]}
        return {**inner, **self._assertions}

    def load(self, value: Any, path: Path, report: Report) -> Any:
        """See `Kind.load`."""
        for error in self._validator.iter_errors(value):
            report.add(path, f"{shown(value)} does not fit {error.validator!s}: {shown(error.validator_value)}")
        return self._inner.load(value, path, report)
