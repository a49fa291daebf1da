"""Which steps of a run were needed late: only once a condition or an earlier operand had been evaluated.

Published orchestrators get these shapes wrong (section c.1 of the flow format). They are found by looking at what the
bundled runtime did, with a model of which steps an orchestrator schedules at first.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from stepflow_sdk.flows import MISSING, PENDING, Failure, Flow, Needs, parse_flow, resolve
from stepflow_sdk.flows.expressions import Coalesce, Expression, If, StepReference, VariableReference, referenced_steps
from stepflow_sdk.runtime.overrides import apply_overrides
from stepflow_sdk.runtime.runs import RunStore

TRANSPORT_CODES = range(-32399, -32299)


class Lateness(NamedTuple):
    """Whether a step was needed late: by an output, by the input of a step, or by the default of a variable in one."""

    output: bool
    input: bool
    default: bool


class Trouble(NamedTuple):
    """What a case met that an orchestrator does not take well.

    Attributes:
        late: Which steps were needed late, over all runs.
        transport: Whether a step failed with the code of a broken transport.
    """

    late: Lateness
    transport: bool


class _Scope:
    """One item of a run, as far as its steps are known."""

    def __init__(self, input: Any, variables: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self.input = input
        self.variables = variables
        self.values = values

    def step(self, step_id: str, /) -> object:
        return self.values.get(step_id, PENDING)

    def variable(self, name: str, /) -> object:
        return self.variables.get(name, MISSING)


def lateness(flow: Flow, input: Any, variables: Mapping[str, Any], ended: Mapping[str, Any]) -> Lateness:
    """What was needed late by one item whose steps have these ends.

    Args:
        flow: The flow that was run, with its overrides.
        input: The input of the item.
        variables: The variables of the run.
        ended: The ends of the steps that were needed, by their ids.
    """
    nothing = _Scope(input, variables, {})
    inputs = {step.id: step.input for step in flow.steps}
    first: set[str] = set()
    waiting = [*_first_needs(flow.output, nothing), *(step.id for step in flow.steps if step.must_execute)]
    while waiting:
        step_id = waiting.pop()
        if step_id not in first and step_id in inputs:
            first.add(step_id)
            waiting += _first_needs(inputs[step_id], nothing)
    known = _Scope(input, variables, {step_id: value for step_id, value in ended.items() if step_id in first})
    return Lateness(
        output=isinstance(resolve(flow.output, known), Needs),
        input=any(isinstance(resolve(inputs[step_id], known), Needs) for step_id in first & set(ended)),
        default=any(_uses_default(inputs[step_id], known) for step_id in first & set(ended)),
    )


def _first_needs(expression: Expression, scope: _Scope) -> set[str]:
    """The steps that an orchestrator schedules for an expression before anything has run."""
    match expression:
        case StepReference(step=step):
            return {step}
        case VariableReference():
            return set()  # the default is forgotten
        case If(condition=condition):
            if needed := _first_needs(condition, scope):
                return needed
            chosen = _branch(expression, resolve(condition, scope))
            return set() if chosen is None else _first_needs(chosen, scope)
        case Coalesce(operands=operands):
            for operand in operands:
                if (needed := _first_needs(operand, scope)) or resolve(operand, scope) is not None:
                    return needed
            return set()
        case _:
            return {step for _, child in expression.children() for step in _first_needs(child, scope)}


def _branch(expression: If, condition: object) -> Expression | None:
    # What needs a step still is a forgotten default, which fails there.
    taken = condition is not None and condition is not False and not isinstance(condition, Failure | Needs)
    return expression.then if taken else expression.otherwise


def _uses_default(expression: Expression, scope: _Scope) -> bool:
    """Whether the default of a variable is used in it, and refers to a step."""
    match expression:
        case VariableReference(path=path, declared=declared, default=default) if default is not None:
            is_used = isinstance(VariableReference(path, declared, None).resolve(scope), Failure)
            return is_used and bool(referenced_steps(default))
        case If(condition=condition):
            chosen = _branch(expression, resolve(condition, scope))
            return _uses_default(condition, scope) or (chosen is not None and _uses_default(chosen, scope))
        case Coalesce(operands=operands):
            for operand in operands:
                if _uses_default(operand, scope):
                    return True
                if resolve(operand, scope) is not None:
                    break
            return False
        case _:
            return any(_uses_default(child, scope) for _, child in expression.children())


async def trouble_of(store: RunStore, run_ids: Iterable[str], document: Callable[[str], Any]) -> Trouble:
    """What these runs met.

    Args:
        store: What the bundled runtime kept of them.
        run_ids: The run of a case, and those that its steps started.
        document: Gives the document of a flow by its id.
    """
    found: list[Lateness] = []
    transport = False
    for run_id in run_ids:
        record = await store.get(run_id)
        assert record is not None
        flow = apply_overrides(parse_flow(document(record.flow_id)), record.overrides)
        ended: dict[int, dict[str, Any]] = {}
        for step in await store.steps(run_id):
            ended.setdefault(step.item, {})[step.step_id] = step.outcome
            transport |= isinstance(step.outcome, Failure) and step.outcome.code in TRANSPORT_CODES
        for index, input in enumerate(await store.inputs(run_id)):
            found.append(lateness(flow, input, record.variables or {}, ended.get(index, {})))
    late = Lateness(*(any(column) for column in zip(*found, strict=True))) if found else Lateness(False, False, False)
    return Trouble(late, transport)
