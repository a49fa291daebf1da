"""Static checks of a flow: the diagnostics that need neither components nor a configuration (section c.9)."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from stepflow_sdk.errors import InvalidFlow
from stepflow_sdk.flows.diagnostics import MALFORMED_SCHEMA, Diagnostic, Level, Reporter, did_you_mean, invalid_flow
from stepflow_sdk.flows.document import Flow, Step
from stepflow_sdk.flows.expressions import (
    Constant,
    Expression,
    InputReference,
    StepReference,
    VariableReference,
    referenced_steps,
    walk,
)
from stepflow_sdk.flows.loader import parse_flow
from stepflow_sdk.flows.old_document import OldFlow
from stepflow_sdk.flows.paths import format_path
from stepflow_sdk.flows.schema_forms import malformed_schemas
from stepflow_sdk.flows.values import Json, PathParts, is_object
from stepflow_sdk.flows.variables import declares_variables

_UNREACHABLE: Final = (1000, "unreachableStep")
_NO_NAME: Final = (1001, "missingFlowName")
_NO_DESCRIPTION: Final = (1002, "missingFlowDescription")
_UNVALIDATED_ACCESS: Final = (1003, "unvalidatedFieldAccess")
_NO_VARIABLES_SCHEMA: Final = (1004, "missingVariableSchema")
_INVALID_SUBFLOW: Final = (2003, "invalidSubflowLiteral")
_UNDEFINED_VARIABLE: Final = (2004, "undefinedVariable")
_UNDEFINED_REQUIRED_VARIABLE: Final = (2005, "undefinedRequiredVariable")
_INVALID_COMPONENT: Final = (2500, "invalidComponent")
_DUPLICATE_STEP: Final = (3000, "duplicateStepId")
_EMPTY_STEP: Final = (3001, "emptyStepId")
_SELF_REFERENCE: Final = (3002, "selfReference")
_UNDEFINED_STEP: Final = (3003, "undefinedStepReference")

_LEVELS: Final[Mapping[int, Level]] = {1: "warning", 2: "error", 3: "fatal"}
_PUT_BLOB: Final = "/builtin/put_blob"


def check_flow(flow: Flow) -> list[Diagnostic]:
    """Find what is wrong with a flow without running it.

    References are checked in step inputs, the output and variable defaults, in every branch, also one that is
    never taken, but not inside ``$literal``; a literal that is given to ``/builtin/put_blob`` as a flow is
    checked as a flow. What parsing warned of comes first.

    Returns:
        The findings; a flow with a ``fatal`` one cannot be run, and command lines refuse ``error`` as well.
    """
    return [*flow.warnings, *_Checker(flow).check()]


def require_runnable(flow: Flow, *, refuse_errors: bool = False) -> list[Diagnostic]:
    """Check a flow, and refuse it when something fatal is found.

    Args:
        flow: The flow.
        refuse_errors: Refuse findings of level ``error`` too, as upstream's command line does.

    Returns:
        The findings that do not stand in the way.

    Raises:
        InvalidFlow: There are others; ``diagnostics`` lists all of them.
    """
    findings = check_flow(flow)
    refused = ("fatal", "error") if refuse_errors else ("fatal",)
    if any(finding.level in refused for finding in findings):
        raise invalid_flow(findings)
    return findings


class _Checker:
    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._reporter = Reporter(flow.source)
        self._ids = {step.id for step in flow.steps}
        properties = (flow.schemas or {}).get("properties")
        self._schemas: Mapping[str, Json] = properties if is_object(properties) else {}

    def check(self) -> list[Diagnostic]:
        if self._flow.name is None:
            self._add(_NO_NAME, (), "the flow has no 'name'")
        if self._flow.description is None:
            self._add(_NO_DESCRIPTION, (), "the flow has no 'description'")
        seen: dict[str, int] = {}
        for index, step in enumerate(self._flow.steps):
            self._check_step(step, ("steps", index), seen)
            seen.setdefault(step.id, index)
        self._check_references(self._flow.output, ("output",), seen, None)
        self._check_reachability()
        for place, message in malformed_schemas(self._flow):
            self._reporter.add(MALFORMED_SCHEMA, place, message, level="warning")
        return self._reporter.findings

    def _add(self, finding: tuple[int, str], path: PathParts, message: str, **data: Json) -> None:
        level = _LEVELS[finding[0] // 1000]
        experimental = finding is _UNVALIDATED_ACCESS
        self._reporter.add(finding, path, message, level=level, data=data or None, experimental=experimental)

    def _check_step(self, step: Step, path: PathParts, seen: Mapping[str, int]) -> None:
        if not step.id.strip():
            self._add(_EMPTY_STEP, (*path, "id"), "the id of a step must not be blank")
        elif step.id in seen:
            message = f"the id {step.id[:60]!r} is taken by steps[{seen[step.id]}]"
            self._add(_DUPLICATE_STEP, (*path, "id"), message, stepId=step.id)
        if not step.component.startswith("/"):
            message = f"the component {step.component[:60]!r} does not start with '/', so that no route leads to it"
            self._add(_INVALID_COMPONENT, (*path, "component"), message, component=step.component)
        for place, expression in step.expressions():
            self._check_references(expression, (*path, *place), seen, step.id)
        self._check_subflow(step, path)

    def _check_references(
        self, expression: Expression, path: PathParts, seen: Mapping[str, int], holder: str | None
    ) -> None:
        for place, node in walk(expression, path):
            if isinstance(node, StepReference):
                self._check_step_reference(node, place, seen, holder)
            elif isinstance(node, VariableReference):
                self._check_variable(node, place)
            elif isinstance(node, InputReference) and node.path and self._schemas.get("input") is None:
                message = f"{format_path(node.path)!r} of the input cannot be checked: the flow has no input schema"
                self._add(_UNVALIDATED_ACCESS, place, message)

    def _check_step_reference(
        self, node: StepReference, path: PathParts, seen: Mapping[str, int], holder: str | None
    ) -> None:
        place = (*path, *node.KEY)
        if holder is not None and node.step == holder:
            self._add(_SELF_REFERENCE, place, f"step {holder[:60]!r} refers to itself", stepId=holder)
        elif node.step not in seen:
            if node.step in self._ids:
                hint = "it comes later in the list; a step can only refer to earlier ones"
            else:
                hint = self._hint("fatal", node.step, seen) or f"steps before it: {_listed(seen)}"
            message = f"there is no step {node.step[:60]!r} to refer to; {hint}"
            self._add(_UNDEFINED_STEP, place, message, referencedStep=node.step)
        elif node.path and not self._has_step_schema(node.step):
            message = f"{format_path(node.path)!r} of step {node.step[:60]!r} cannot be checked: it has no schema"
            self._add(_UNVALIDATED_ACCESS, path, message, stepId=node.step)

    def _has_step_schema(self, step: str) -> bool:
        steps = self._schemas.get("steps")
        declared = steps.get("properties") if is_object(steps) else None
        return is_object(declared) and step in declared

    def _check_variable(self, node: VariableReference, path: PathParts) -> None:
        name = node.name
        place = (*path, *node.KEY)
        where = "variables" if isinstance(self._flow, OldFlow) else "schemas.properties.variables"
        if not declares_variables(self._flow.schemas):
            said = f"the flow has no schema for its variables ({where})"
            self._add(_NO_VARIABLES_SCHEMA, place, said)
        elif name is not None and name not in self._flow.variables:
            finding = _UNDEFINED_REQUIRED_VARIABLE if node.default is None else _UNDEFINED_VARIABLE
            declared = self._flow.variables
            hint = self._hint("error", name, declared) or f"declared: {_listed(declared)}"
            message = f"variable {name[:60]!r} is not declared in {where}; {hint}"
            self._add(finding, place, message, variable=name)

    def _hint(self, level: Level, name: str, known: Mapping[str, object]) -> str | None:
        return did_you_mean(name, known) if self._reporter.has_hints(level) else None

    def _check_reachability(self) -> None:
        uses = {
            step.id: [used for _, expression in step.expressions() for used in referenced_steps(expression)]
            for step in self._flow.steps
        }
        waiting = [step.id for step in self._flow.steps if step.must_execute or self._flow.runs_every_step]
        waiting += referenced_steps(self._flow.output)
        needed: set[str] = set()
        while waiting:
            step_id = waiting.pop()
            if step_id not in needed:
                needed.add(step_id)
                waiting += uses.get(step_id, ())
        for index, step in enumerate(self._flow.steps):
            if step.id not in needed:
                message = f"step {step.id[:60]!r} never runs: the output does not need it, nor is it mustExecute"
                self._add(_UNREACHABLE, ("steps", index), message, stepId=step.id)

    def _check_subflow(self, step: Step, path: PathParts) -> None:
        """A flow that a step stores is a flow of its own: what is fatal inside is fatal outside."""
        literal = _stored_flow(step)
        if literal is None:
            return
        place = (*path, "input", "data", "$literal")
        try:
            subflow = parse_flow(literal[0])
        except InvalidFlow as error:
            self._add(_INVALID_SUBFLOW, place, f"the literal is not a flow: {error}")
            return
        for finding in _Checker(subflow).check():
            self._reporter.add(
                (finding.code, finding.kind),
                place,
                f"in the flow that is stored here, at {finding.path}: {finding.formatted}",
                level=finding.level,
                data=finding.data,
                experimental=finding.experimental,
            )


def _stored_flow(step: Step) -> tuple[Json] | None:
    """The literal that a ``put_blob`` step stores as a flow; wrapped, for the literal may be null."""
    if step.component != _PUT_BLOB:
        return None
    fields = dict(_fields(step.input))
    data, blob_type = fields.get("data"), fields.get("blob_type")
    if not isinstance(blob_type, Constant) or blob_type.value != "flow" or not isinstance(data, Constant):
        return None
    source = data.to_json()
    return (source["$literal"],) if is_object(source) and "$literal" in source else None


def _fields(expression: Expression) -> Iterator[tuple[str, Expression]]:
    """The fields of an object expression, also of one that was folded into a constant."""
    if not isinstance(expression, Constant):
        for place, child in expression.children():
            yield str(place[0]), child
        return
    source = expression.to_json()
    if is_object(source) and is_object(expression.value) and "$literal" not in source:
        for key, value in expression.value.items():
            yield key, Constant(value, source.get(key))


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(repr(name[:40]) for name in islice(names, 8)) or "none"
