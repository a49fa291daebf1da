"""What the check of types found out."""

from collections.abc import Mapping
from dataclasses import dataclass

from stepflow_sdk.flows.diagnostics import Diagnostic
from stepflow_sdk.flows.document import Flow
from stepflow_sdk.flows.types.types import Type
from stepflow_sdk.flows.types.words import in_words
from stepflow_sdk.flows.types.writing import SchemaWriter
from stepflow_sdk.flows.values import Json, is_object


@dataclass(frozen=True, slots=True)
class StepTypes:
    """The types of one step.

    Attributes:
        id: The step.
        component: Its component.
        input: What the component is called with.
        output: The result of the step.
        is_declared: Whether the flow's own schemas say what the result is.
    """

    id: str
    component: str
    input: Type
    output: Type
    is_declared: bool = False


@dataclass(frozen=True, slots=True)
class TypeReport:
    """The types of a flow, and what is wrong with them.

    Attributes:
        flow: The flow.
        diagnostics: What was found: codes 1100, 1101, 2100 and 2101 of the flow format.
        steps: The types of each step, by its id.
        output: The type of the flow's output.
    """

    flow: Flow
    diagnostics: list[Diagnostic]
    steps: Mapping[str, StepTypes]
    output: Type

    def annotated(self) -> dict[str, Json]:
        """The flow's document in normal form, with the schema of every step and of the output that are known.

        What the flow declares itself stays as it is. Not to be changed: parts of it are the flow's own.
        """
        document = self.flow.to_json()
        own = self.flow.schemas or {}
        writer = SchemaWriter(self.flow.schemas)
        properties = dict(_object(own.get("properties")))
        steps = _object(properties.get("steps"))
        inferred: dict[str, Json] = {}
        for step in self.steps.values():
            if not step.is_declared and not isinstance(schema := writer.schema(step.output), bool):
                inferred[step.id] = schema
        if inferred:
            declared = _object(steps.get("properties"))
            properties["steps"] = {"type": "object", **steps, "properties": {**declared, **inferred}}
        if properties.get("output") is None and not isinstance(schema := writer.schema(self.output), bool):
            properties["output"] = schema
        if not properties:
            return document
        schemas: dict[str, Json] = {"type": "object", **own, "properties": properties}
        if writer.definitions:
            schemas["$defs"] = writer.definitions
        return _with_schemas(document, schemas)

    def inputs(self) -> dict[str, Json]:
        """What each step is called with: by its id a JSON Schema with its definitions, true where nothing is known."""
        return {step.id: SchemaWriter().document(step.input) for step in self.steps.values()}

    def in_words(self) -> dict[str, tuple[str, str]]:
        """What each step is called with and what it gives, in words, by its id."""
        return {step.id: (in_words(step.input), in_words(step.output)) for step in self.steps.values()}


def _with_schemas(document: dict[str, Json], schemas: dict[str, Json]) -> dict[str, Json]:
    """The document with its schemas where the normal form has them, before the steps."""
    first = ("name", "description", "version")
    before: dict[str, Json] = {key: value for key, value in document.items() if key in first}
    return {**before, "schemas": schemas, **{key: value for key, value in document.items() if key != "schemas"}}


def _object(value: Json) -> Mapping[str, Json]:
    return value if is_object(value) else {}
