"""Types as JSON Schemas."""

from collections.abc import Callable
from typing import Final

from stepflow_sdk.flows.types.schemas import resolve_reference
from stepflow_sdk.flows.types.types import Described, Either, Exactly, Never, Record, Sequence, Single, Type, Unknown
from stepflow_sdk.flows.values import MISSING, Json, is_array, is_object

_MAPS: Final = ("properties", "patternProperties", "dependentSchemas")
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_ONES: Final = frozenset(
    {"items", "additionalProperties", "additionalItems", "not", "if", "then", "else", "contains", "propertyNames"}
    | {"unevaluatedItems", "unevaluatedProperties"}
)
_OF_DOCUMENTS: Final = ("$defs", "definitions", "$schema", "$id", "$anchor")


class SchemaWriter:
    """Writes types as schemas of one document, and gathers the definitions that they refer to.

    Args:
        home: The document that they go into: what refers to its definitions is left as it is.

    Attributes:
        definitions: What belongs under ``$defs``; those of ``home`` are among them.
    """

    def __init__(self, home: Json = None) -> None:
        self._home = home
        own: Json = home.get("$defs") if is_object(home) else None
        self.definitions: dict[str, Json] = dict(own) if is_object(own) else {}
        self._names: dict[tuple[int, str], str] = {}
        self._unwritten: list[tuple[str, Json, Json]] = []

    def schema(self, type: Type) -> Json:
        """The schema of a type; true for any value and false for none."""
        schema = self._schema(type)
        while self._unwritten:
            name, target, root = self._unwritten.pop()
            self.definitions[name] = self._copy(target, root)
        return schema

    def _schema(self, type: Type) -> Json:  # noqa: PLR0911  # one return a type
        match type:
            case Unknown():
                return True
            case Never():
                return False
            case Exactly():
                return {"const": type.value}
            case Record():
                properties = {name: self._schema(inner) for name, inner in type.fields.items()}
                required = list(type.fields)
                return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
            case Sequence():
                first = [self._schema(item) for item in type.items]
                prefix = {"prefixItems": first} if first else {}
                return {"type": "array", **prefix, "items": False, "minItems": len(first)}
            case Either():
                options = [self._schema(member) for member in type.members]
                return True if any(option is True for option in options) else {"anyOf": options}
            case Described():
                return self._copy(type.schema, type.root)
            case Single():
                return self._copy({**type.keywords, "type": type.kind}, type.root)

    def document(self, type: Type) -> Json:
        """The schema of a type as a document of its own, with its definitions."""
        schema = self.schema(type)
        return {**schema, "$defs": self.definitions} if self.definitions and is_object(schema) else schema

    def _copy(self, schema: Json, root: Json) -> Json:
        if not is_object(schema) or root is self._home:
            return schema
        return {key: self._value(key, value, root) for key, value in schema.items() if key not in _OF_DOCUMENTS}

    def _value(self, key: str, value: Json, root: Json) -> Json:
        copy: Callable[[Json], Json] = lambda inner: self._copy(inner, root)  # noqa: E731  # said three times
        if key == "$ref":
            return self._reference(value, root)
        if key in _MAPS and is_object(value):
            return {name: copy(inner) for name, inner in value.items()}
        if (key in _LISTS or key == "items") and is_array(value):
            return [copy(inner) for inner in value]
        return copy(value) if key in _ONES else value

    def _reference(self, reference: Json, root: Json) -> Json:
        target = resolve_reference(root, reference)
        if target is MISSING:
            return reference
        key = (id(root), str(reference))
        if key not in self._names:
            name = self._free_name(str(reference).rpartition("/")[2].replace("~1", "_").replace("~0", "_"))
            self._names[key] = name
            # Written when there is time for it, for it may hold itself, or a long row of others.
            self.definitions[name] = True
            self._unwritten.append((name, target, root))
        return f"#/$defs/{self._names[key]}"

    def _free_name(self, wanted: str) -> str:
        base = wanted if wanted not in ("", "#") else "Whole"
        name, number = base, 1
        while name in self.definitions:
            number += 1
            name = f"{base}{number}"
        return name
