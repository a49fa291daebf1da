"""Schemas: self-contained, with titles, descriptions, defaults, constraints and formats."""

import dataclasses
import json
import subprocess
import sys
from datetime import date
from typing import Annotated, Any, TypedDict

import msgspec
import pydantic
from jsonschema import Draft202012Validator

from stepflow_sdk.components import Router

from .helpers import run, spec_of


class Node(msgspec.Struct):
    """A node of a tree.

    Attributes:
        value: What it holds.
    """

    value: int
    children: "list[Node]" = []
    parent: "Node | None" = None


def test_parameters_become_properties_with_their_descriptions_and_defaults() -> None:
    def search(
        query: str, limit: Annotated[int, msgspec.Meta(ge=1, le=100, title="Limit")] = 10, since: date = date.min
    ) -> None:
        """Search the documents.

        All of them.

        Args:
            query: What to look for, in
                plain words.
            limit (int): How many to return.

        Returns:
            Nothing.
        """

    spec = spec_of(search)
    properties = spec.input_schema["properties"]
    assert spec.description == "Search the documents.\n\nAll of them."
    assert spec.input_schema["required"] == ["query"]
    assert properties["query"] == {"type": "string", "description": "What to look for, in plain words."}
    constraints = {"type": "integer", "minimum": 1, "maximum": 100}
    words = {"title": "Limit", "description": "How many to return.", "default": 10}
    assert properties["limit"] == constraints | words
    assert properties["since"]["format"] == "date"
    assert properties["since"]["default"] == "0001-01-01"
    assert spec.output_schema == {"type": "null"}


def test_a_recursive_class_stands_at_the_root_and_in_the_definitions() -> None:
    def grow(node: Node) -> Node:
        return node

    schema = spec_of(grow).input_schema
    assert schema["title"] == "Node"
    assert schema["description"] == "A node of a tree."
    assert schema["properties"]["value"] == {"type": "integer", "description": "What it holds."}
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert list(schema["$defs"]) == ["Node"]


def test_classes_of_one_name_have_definitions_of_their_own() -> None:
    def other() -> Any:
        class Node(msgspec.Struct):
            text: str

        return Node

    left, right = other(), other()

    def join(a: Any, b: Any, c: Any) -> None: ...

    join.__annotations__ = {"a": Node, "b": left, "c": right | None, "return": None}
    definitions = spec_of(join).input_schema["$defs"]
    assert len(definitions) == 3
    assert sorted(next(iter(schema["properties"])) for schema in definitions.values()) == ["text", "text", "value"]


def test_definitions_of_pydantic_models_move_to_the_root() -> None:
    class Inner(pydantic.BaseModel):
        at: date

    class Outer(pydantic.BaseModel):
        inner: Inner
        others: list["Outer"] = []

    Outer.model_rebuild(_types_namespace={"Outer": Outer, "Inner": Inner})

    class Holder(TypedDict):
        one: Outer
        many: dict[str, Inner]

    def take(holder: Holder) -> list[Outer]:
        return [holder["one"]]

    spec = spec_of(take)
    for schema in (spec.input_schema, spec.output_schema):
        text = json.dumps(schema)
        names = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
        assert names <= set(schema["$defs"])
        Draft202012Validator.check_schema(schema)
    value = {"one": {"inner": {"at": "2024-05-31"}}, "many": {}}
    assert Draft202012Validator(spec.input_schema).is_valid(value)
    assert run(spec, value) == [{"inner": {"at": "2024-05-31"}, "others": []}]


def test_a_default_without_json_form_is_left_out() -> None:
    sentinel: Any = object()

    def take(name: str = sentinel) -> bool:
        return name is sentinel

    spec = spec_of(take)
    assert spec.input_schema["properties"] == {"name": {"type": "string"}}
    assert run(spec, {}) is True


def test_generated_docstrings_are_no_descriptions() -> None:
    @dataclasses.dataclass
    class Plain:
        a: int

    def take(plain: Plain) -> None: ...

    assert "description" not in spec_of(take).input_schema


def test_further_json_schema_of_the_author_holds_and_is_shown() -> None:
    def take(email: Annotated[str, msgspec.Meta(extra_json_schema={"format": "email", "x-hint": 1})]) -> None: ...

    assert spec_of(take).input_schema["properties"]["email"] == {"type": "string", "format": "email", "x-hint": 1}


def test_every_schema_is_a_valid_one_and_the_output_without_annotation_is_open() -> None:
    router = Router()

    @router.component
    def free(name: str):  # type: ignore[no-untyped-def]  # the point of this case
        return name

    assert router.specs[0].output_schema == {}
    Draft202012Validator.check_schema(router.specs[0].input_schema)


def test_the_import_pulls_in_neither_jsonschema_nor_pydantic() -> None:
    code = (
        "import sys, stepflow_sdk.components\n"
        "found = {'jsonschema', 'pydantic', 'attrs', 'yaml'} & set(sys.modules)\n"
        "sys.exit(str(found) if found else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
