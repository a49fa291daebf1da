"""The check of types: whether what steps are called with fits their components (section c.9 of the flow format)."""

from collections.abc import Generator, Mapping
from typing import Final

from stepflow_sdk.flows.diagnostics import Level, Reporter
from stepflow_sdk.flows.document import Flow, Step
from stepflow_sdk.flows.expressions import StepReference, walk
from stepflow_sdk.flows.graph import flow_graph
from stepflow_sdk.flows.old_document import OldFlow
from stepflow_sdk.flows.paths import show_path
from stepflow_sdk.flows.types.expressions import ExpressionTyper, Names, PathProblem
from stepflow_sdk.flows.types.fitting import fit
from stepflow_sdk.flows.types.questions import ComponentQuestion, Components, ComponentSchemas
from stepflow_sdk.flows.types.report import StepTypes, TypeReport
from stepflow_sdk.flows.types.types import Described, Exactly, Type, Unknown, either
from stepflow_sdk.flows.types.verdicts import Problem, Verdict
from stepflow_sdk.flows.types.writing import SchemaWriter
from stepflow_sdk.flows.values import MISSING, Json, PathParts, is_object

_UNTYPED: Final = (1100, "untypedComponentOutput")
_INDETERMINATE: Final = (1101, "typeCheckIndeterminate")
_MISMATCH: Final = (2100, "typeMismatch")
_UNKNOWN_PROPERTY: Final = (2101, "unknownPropertyInPath")
_NO_COMPONENT: Final = (2500, "invalidComponent")


def check_types(flow: Flow, components: Components, *, strict: bool = False) -> TypeReport:
    """Check what a flow hands from one place to the next, without running it.

    The type of a step's result is what ``schemas.properties.steps`` declares, else what its component reports; the
    input and the variables of the flow are what it declares. Error 2100 and 2101 are told where no value of what comes
    fits or a path can lead nowhere, warning 1101 where some values do not, and warning 1100 for a result that is used
    and of which nothing is known. Steps that never run are left out.

    Args:
        flow: A flow; one with a fatal finding of `check_flow` has no types worth looking at.
        components: What is known of its components.
        strict: Make errors of what may go wrong and of results without a schema, and warn where nothing can be told.

    Returns:
        The findings and the types.
    """
    asking = type_questions(flow, strict=strict)
    answer: ComponentSchemas | None = None
    while True:
        try:
            question = asking.send(answer)
        except StopIteration as done:
            report: TypeReport = done.value
            return report
        answer = components(question) if callable(components) else components.get(question.component)


def type_questions(
    flow: Flow, *, strict: bool = False
) -> Generator[ComponentQuestion, ComponentSchemas | None, TypeReport]:
    """The check of types for a caller that has to wait for answers; see `check_types`.

    Yields:
        One question for each step, in their order; the answer is sent in.

    Returns:
        The findings and the types.
    """
    return (yield from _Checker(flow, strict=strict).check())


class _Checker:
    def __init__(self, flow: Flow, *, strict: bool) -> None:
        self._flow = flow
        self._strict = strict
        self._reporter = Reporter(flow.source)
        self._root: Json = None if flow.schemas is None else dict(flow.schemas)
        self._declared = _object(_object(self._root).get("properties"))
        self._step_schemas = _object(_object(self._declared.get("steps")).get("properties"))
        self._results: dict[str, Type] = {}
        variables = {name: self._variable(name) for name in flow.variables}
        self._names = Names(self._described("input"), self._results, variables)
        self._steps: dict[str, StepTypes] = {}

    def check(self) -> Generator[ComponentQuestion, ComponentSchemas | None, TypeReport]:
        if isinstance(self._flow, OldFlow):
            said = "the types of flows of 0.7 and 0.8 are not checked; `stepflow-sdk upgrade` rewrites such a flow"
            self._add(_INDETERMINATE, (), said)
            return TypeReport(self._flow, self._reporter.findings, {}, Unknown())
        nodes = flow_graph(self._flow).nodes[1:-1]
        used = self._used()
        for index, (step, node) in enumerate(zip(self._flow.steps, nodes, strict=True)):
            typer = ExpressionTyper(self._names)
            given = typer.type_of(step.input, ("steps", index, "input"))
            if not node.is_reachable:
                self._results[step.id] = Unknown()
                continue
            known = yield ComponentQuestion(step.id, step.component, SchemaWriter().document(given))
            schemas = known or ComponentSchemas()
            self._told_paths(typer.problems)
            if schemas.problem is not None:
                place = ("steps", index, "component")
                self._add(
                    _NO_COMPONENT, place, schemas.problem, level="error", stepId=step.id, component=step.component
                )
            else:
                self._check_input(step, index, given, schemas.input)
            is_used = step.id in used and schemas.problem is None
            output = self._result(step, index, schemas.output, is_used=is_used)
            self._results[step.id] = output
            is_declared = step.id in self._step_schemas
            self._steps[step.id] = StepTypes(step.id, step.component, given, output, is_declared)
        output = self._check_output()
        return TypeReport(self._flow, self._reporter.findings, self._steps, output)

    # ---- where types come from ------------------------------------------------------------------------------------

    def _described(self, name: str) -> Type:
        schema = self._declared.get(name)
        return Unknown() if schema is None else Described(schema, self._root)

    def _variable(self, name: str) -> Type:
        declaration = self._flow.variables[name]
        type = Described(declaration.schema, self._root)
        if declaration.default is MISSING or fit(type, Exactly(declaration.default)).verdict is Verdict.FITS:
            return type
        return either(type, Exactly(declaration.default))

    def _used(self) -> set[str]:
        """The steps whose results something refers to."""
        expressions = [*[step.input for step in self._flow.steps], self._flow.output]
        nodes = [node for expression in expressions for _, node in walk(expression)]
        return {node.step for node in nodes if isinstance(node, StepReference)}

    def _result(self, step: Step, index: int, reported: Json, *, is_used: bool) -> Type:
        declared = self._step_schemas.get(step.id)
        type: Type = Unknown()
        if declared is not None:
            type = Described(declared, self._root)
            self._check_declared(step, type, reported)
        elif reported is not None:
            type = Described(reported, reported)
        elif is_used:
            message = f"nothing is known of the result of component {step.component[:60]!r}: it reports no schema"
            self._add(_UNTYPED, ("steps", index, "component"), message, level="error" if self._strict else "warning")
        if step.on_error is not None and step.on_error.action == "useDefault":
            return either(type, Exactly(step.on_error.default_value))
        return type

    # ---- what is told ---------------------------------------------------------------------------------------------

    def _check_input(self, step: Step, index: int, given: Type, wanted: Json) -> None:
        place: PathParts = ("steps", index, "input")
        of = f"the input of component {step.component[:60]!r}"
        if wanted is None:
            if self._strict:
                self._add(_INDETERMINATE, place, f"{of} cannot be checked: no schema of it is known")
            return
        # Where the component refuses its input, the step takes its default.
        is_covered = step.on_error is not None and step.on_error.action == "useDefault"
        for problem in fit(Described(wanted, wanted), given).problems:
            self._told(problem, place, of, is_covered=is_covered, stepId=step.id, component=step.component)

    def _check_declared(self, step: Step, declared: Described, reported: Json) -> None:
        if reported is None:
            return
        place = ("schemas", "properties", "steps", "properties", step.id)
        of = f"the declared result of step {step.id[:60]!r}, against what component {step.component[:60]!r} reports"
        for problem in fit(declared, Described(reported, reported)).problems:
            # A declaration may well say more than a component does.
            if problem.verdict is Verdict.NEVER:
                self._told(problem, place, of, stepId=step.id)

    def _check_output(self) -> Type:
        typer = ExpressionTyper(self._names)
        given = typer.type_of(self._flow.output, ("output",))
        self._told_paths(typer.problems)
        wanted = self._declared.get("output")
        if wanted is not None:
            for problem in fit(Described(wanted, self._root), given).problems:
                self._told(problem, ("output",), "the declared output of the flow")
        return given

    def _told(self, problem: Problem, place: PathParts, of: str, *, is_covered: bool = False, **data: Json) -> None:
        where = f", at {show_path(problem.at)}" if problem.at else ""
        found = (*problem.place, *problem.below) if problem.place is not None else (*place, *problem.at)
        message = f"{of}{where}: {problem.message}"
        code, level = self._code(problem.verdict, _MISMATCH)
        if code is None:
            return
        if is_covered and level == "error":
            level, message = "warning", f"{message}; the step takes its default then"
        self._add(code, found, message, level=level, valuePath=show_path(problem.at), **data)

    def _told_paths(self, problems: list[PathProblem]) -> None:
        for problem in problems:
            code, level = self._code(problem.verdict, _UNKNOWN_PROPERTY)
            if code is not None:
                self._add(code, problem.place, problem.message, level=level)

    def _code(self, verdict: Verdict, error: tuple[int, str]) -> tuple[tuple[int, str] | None, Level]:
        if verdict is Verdict.NEVER or (verdict is Verdict.MAYBE and self._strict):
            return error, "error"
        is_told = verdict is Verdict.MAYBE or self._strict
        return (_INDETERMINATE if is_told else None), "warning"

    def _add(
        self, finding: tuple[int, str], path: PathParts, message: str, *, level: Level = "warning", **data: Json
    ) -> None:
        self._reporter.add(finding, path, message, level=level, data=data or None)


def _object(value: Json) -> Mapping[str, Json]:
    return value if is_object(value) else {}
