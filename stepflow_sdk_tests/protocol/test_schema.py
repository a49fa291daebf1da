"""The generated schema against the published one."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from stepflow_sdk.protocol import protocol_schema

FACTS = json.loads((Path(__file__).parent / "protocol_facts.json").read_text())


def normal(schema: Any) -> Any:
    """What a schema says, apart from how: no titles, defaults or order; unions and null in one spelling."""
    if isinstance(schema, list):
        return sorted((normal(item) for item in schema), key=lambda item: json.dumps(item, sort_keys=True))
    if not isinstance(schema, dict):
        return schema
    said = {
        key: {name: normal(inner) for name, inner in value.items()} if key == "properties" else normal(value)
        for key, value in schema.items()
        if key not in ("title", "default", "description")
    }
    if isinstance(said.get("type"), list):
        types = said.pop("type")
        null = [{"type": "null"}] if "null" in types else []
        rest = [{"type": kind, **said} for kind in types if kind != "null"]
        return {"anyOf": normal(rest + null)}
    return said


def test_the_definitions_have_the_names_of_the_published_schema() -> None:
    assert set(protocol_schema()["$defs"]) == set(FACTS["$defs"])


@pytest.mark.parametrize("name", sorted(FACTS["$defs"]))
def test_a_definition_says_what_the_published_one_says(name: str) -> None:
    assert normal(protocol_schema()["$defs"][name]) == normal(FACTS["$defs"][name])


def test_the_whole_schema_says_what_the_published_one_says() -> None:
    assert normal(protocol_schema()) == normal(FACTS)


@pytest.mark.parametrize("runs", [False, True])
def test_the_schema_is_a_valid_schema(runs: bool) -> None:
    jsonschema.Draft202012Validator.check_schema(protocol_schema(runs=runs))


def test_the_runs_methods_are_added_on_request() -> None:
    defs = protocol_schema(runs=True)["$defs"]
    assert {"runs/submit", "runs/get"} <= set(defs["Method"]["enum"])
    assert "flowId" in defs["SubmitRunProtocolParams"]["properties"]
    assert set(FACTS["$defs"]) < set(defs)
