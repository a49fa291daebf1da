"""The variables that a flow declares (sections a.3 and c.7 of the flow format)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from stepflow_sdk.flows.values import MISSING, Json, Missing, is_array, is_object

_IMPLIED: Final[Mapping[str, Json]] = {"string": "", "number": 0, "integer": 0, "boolean": False, "null": None}
_MOST_HOPS: Final = 16
_READ: Final = ("$ref", "default", "env_var", "is_secret", "properties", "required", "type")


@dataclass(frozen=True, slots=True)
class VariableDeclaration:
    """What ``schemas.properties.variables`` says of one variable.

    Attributes:
        name: Its name.
        schema: Its JSON Schema.
        required: Whether the run has to give it; then its type implies no default.
        default: The schema's default, else the one that its type implies where it is not required: ``""``, 0,
            false, or null for a type that allows it. `MISSING` when there is none.
        is_secret: Whether logs must not show the value.
        env_var: The environment variable that may hold it.
    """

    name: str
    schema: Json
    required: bool
    default: Json | Missing
    is_secret: bool = False
    env_var: str | None = None


def declared_variables(schemas: Mapping[str, Json] | None) -> dict[str, VariableDeclaration]:
    """Read the declarations from a flow's ``schemas``; what has not the form of a schema declares nothing."""
    root = schemas or {}
    definitions = _object(root.get("$defs"))
    variables = _dereferenced(_object(root.get("properties")).get("variables"), definitions)
    listed = variables.get("required")
    required = frozenset(name for name in listed if isinstance(name, str)) if is_array(listed) else frozenset[str]()
    return {
        name: _declaration(name, schema, definitions, required=name in required)
        for name, schema in _object(variables.get("properties")).items()
    }


def declares_variables(schemas: Mapping[str, Json] | None) -> bool:
    """Whether the flow has a variables schema at all."""
    return _object((schemas or {}).get("properties")).get("variables") is not None


def _declaration(name: str, schema: Json, definitions: Mapping[str, Json], *, required: bool) -> VariableDeclaration:
    resolved = _dereferenced(schema, definitions)
    default: Json | Missing = MISSING
    if "default" in resolved:
        default = resolved["default"]
    elif not required:
        default = _implied(resolved.get("type"))
    env_var = resolved.get("env_var")
    return VariableDeclaration(
        name=name,
        schema=schema,
        required=required,
        default=default,
        is_secret=resolved.get("is_secret") is True,
        env_var=env_var if isinstance(env_var, str) else None,
    )


def _implied(types: Json) -> Json | Missing:
    if is_array(types):
        return None if "null" in types else MISSING
    return _IMPLIED.get(types, MISSING) if isinstance(types, str) else MISSING


def _dereferenced(schema: Json, definitions: Mapping[str, Json]) -> Mapping[str, Any]:
    """Follow ``$ref: '#/$defs/X'``; keys beside a reference win over those behind it."""
    merged = _read(schema)
    for _ in range(_MOST_HOPS):
        reference = merged.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
            break
        name = reference.removeprefix("#/$defs/").replace("~1", "/").replace("~0", "~")
        beside = {key: value for key, value in merged.items() if key != "$ref"}
        merged = {**_read(definitions.get(name)), **beside}
    return merged


def _read(schema: Json) -> Mapping[str, Any]:
    # What is referred to may be large, and by many.
    fields = _object(schema)
    return {key: fields[key] for key in _READ if key in fields}


def _object(value: Json) -> Mapping[str, Any]:
    return value if is_object(value) else {}
