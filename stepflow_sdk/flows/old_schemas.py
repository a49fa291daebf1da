"""Puts the schemas of a document of 0.7 or 0.8 together as 0.9 has them (section a.6 of the flow format)."""

from collections.abc import Mapping
from typing import Any

from stepflow_sdk.flows.values import Json, is_array, is_object

__all__ = ["combined_schemas", "foreign_references"]


def combined_schemas(
    input_schema: Json, output_schema: Json, variables: Json, steps: Mapping[str, Json]
) -> tuple[dict[str, Json] | None, list[str]]:
    """Make the ``schemas`` object; None when there is no schema at all.

    The ``$defs`` of the parts become those of the whole, so that ``#/$defs/X`` means what it did.

    Args:
        input_schema: Of the flow's input.
        output_schema: Of the flow's output.
        variables: The schema of its variables.
        steps: The output schemas of steps, by id.

    Returns:
        The object, and the names in ``$defs`` that two parts define differently: of these the first counts.
    """
    definitions: dict[str, Json] = {}
    clashes: list[str] = []
    properties: dict[str, Json] = {}
    for key, schema in (("input", input_schema), ("output", output_schema), ("variables", variables)):
        if schema is not None:
            properties[key] = _hoisted(schema, definitions, clashes)
    if steps:
        outputs = {name: _hoisted(schema, definitions, clashes) for name, schema in steps.items()}
        properties["steps"] = {"type": "object", "properties": outputs}
    if not properties:
        return None, clashes
    schemas: dict[str, Json] = {"type": "object", "properties": properties}
    if definitions:
        schemas["$defs"] = definitions
    return schemas, clashes


def foreign_references(schema: Json) -> list[str]:
    """The references in a schema that lead to another place once the schema is a part of ``schemas``."""
    if is_array(schema):
        return [found for item in schema for found in foreign_references(item)]
    if not is_object(schema):
        return []
    reference = schema.get("$ref")
    found = [reference] if isinstance(reference, str) and _is_local(reference) else []
    return [*found, *(inner for value in schema.values() for inner in foreign_references(value))]


def _is_local(reference: str) -> bool:
    return reference.startswith("#") and not reference.startswith("#/$defs/")


def _hoisted(schema: Json, definitions: dict[str, Any], clashes: list[str]) -> Json:
    if not is_object(schema) or not is_object(schema.get("$defs")):
        return schema
    for name, definition in schema["$defs"].items():
        if definitions.setdefault(name, definition) != definition and name not in clashes:
            clashes.append(name)
    return {key: value for key, value in schema.items() if key != "$defs"}
