"""Flow documents: reading, building, checking, and the value expressions in them."""

from stepflow_sdk.flows.builder import FlowBuilder
from stepflow_sdk.flows.builder_values import Reference, StepHandle, Value
from stepflow_sdk.flows.canonical import blob_id, canonical_json
from stepflow_sdk.flows.checks import check_flow, require_runnable
from stepflow_sdk.flows.diagnostics import Diagnostic, did_you_mean
from stepflow_sdk.flows.document import Flow, OnError, Step
from stepflow_sdk.flows.drawing import as_dot, as_mermaid
from stepflow_sdk.flows.expressions import Expression, referenced_steps, resolve
from stepflow_sdk.flows.files import read_document
from stepflow_sdk.flows.json_text import parse_json
from stepflow_sdk.flows.loader import load_flow, parse_flow
from stepflow_sdk.flows.old_document import OldFlow, OldStep
from stepflow_sdk.flows.outcomes import Broken, Failure, Needs, Scope, Skipped
from stepflow_sdk.flows.paths import follow, format_path, parse_path
from stepflow_sdk.flows.source import Document
from stepflow_sdk.flows.svg import as_svg
from stepflow_sdk.flows.types import ComponentQuestion, ComponentSchemas, TypeReport, check_types, type_questions
from stepflow_sdk.flows.values import MISSING, PENDING, UNKNOWN, ValueKey, is_mock_behaviors
from stepflow_sdk.flows.variables import VariableDeclaration
from stepflow_sdk.flows.yaml_dump import dump_yaml
from stepflow_sdk.flows.yaml_text import parse_yaml

__all__ = [
    "MISSING",
    "PENDING",
    "UNKNOWN",
    "Broken",
    "ComponentQuestion",
    "ComponentSchemas",
    "Diagnostic",
    "Document",
    "Expression",
    "Failure",
    "Flow",
    "FlowBuilder",
    "Needs",
    "OldFlow",
    "OldStep",
    "OnError",
    "Reference",
    "Scope",
    "Skipped",
    "Step",
    "StepHandle",
    "TypeReport",
    "Value",
    "ValueKey",
    "VariableDeclaration",
    "as_dot",
    "as_mermaid",
    "as_svg",
    "blob_id",
    "canonical_json",
    "check_flow",
    "check_types",
    "did_you_mean",
    "dump_yaml",
    "follow",
    "format_path",
    "is_mock_behaviors",
    "load_flow",
    "parse_flow",
    "parse_json",
    "parse_path",
    "parse_yaml",
    "read_document",
    "referenced_steps",
    "require_runnable",
    "resolve",
    "type_questions",
]
