"""Static types of flows: what values look like before anything has run, and whether they fit where they go."""

from stepflow_sdk.flows.types.checking import check_types, type_questions
from stepflow_sdk.flows.types.questions import ComponentQuestion, Components, ComponentSchemas
from stepflow_sdk.flows.types.report import StepTypes, TypeReport

__all__ = [
    "ComponentQuestion",
    "ComponentSchemas",
    "Components",
    "StepTypes",
    "TypeReport",
    "check_types",
    "type_questions",
]
