"""What the check of types has to know of components, and how it is told."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from stepflow_sdk.flows.values import Json


class ComponentSchemas(NamedTuple):
    """What is known of a component.

    Attributes:
        input, output: JSON Schemas; none where it states none.
        problem: Why it cannot be called at all, for people; none where it can.
    """

    input: Json = None
    output: Json = None
    problem: str | None = None


class ComponentQuestion(NamedTuple):
    """Asks for the schemas of the component of one step.

    Attributes:
        step: The step's id.
        component: The component's path in the flow.
        input_schema: A JSON Schema of what it will be called with, for components whose output depends on that.
    """

    step: str
    component: str
    input_schema: Json


Components: TypeAlias = Mapping[str, ComponentSchemas] | Callable[[ComponentQuestion], ComponentSchemas | None]
"""The schemas of components by their paths, or a function that knows them; none for one of which nothing is known."""
