"""A flow as a graph: what refers to what."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from stepflow_sdk.flows.document import Flow, OnError, Step
from stepflow_sdk.flows.expressions import Coalesce, Expression, If, InputReference, StepReference, VariableReference
from stepflow_sdk.flows.old_document import OldStep

__all__ = ["Edge", "FlowGraph", "Node", "NodeKind", "flow_graph"]

NodeKind: TypeAlias = Literal["input", "step", "output"]


@dataclass(frozen=True, slots=True)
class Node:
    """The input of a flow, one of its steps, or its output.

    Attributes:
        kind: Which of them.
        name: The id of the step; else ``input`` or ``output``.
        component: The component of the step.
        notes: What is special about the step, in a few words each.
        is_reachable: Whether the flow can need it; a step that is not never runs.
    """

    kind: NodeKind
    name: str
    component: str | None = None
    notes: tuple[str, ...] = ()
    is_reachable: bool = True


@dataclass(frozen=True, slots=True)
class Edge:
    """References from one node to another, in the direction that values go.

    Attributes:
        source: The index of the node that gives the value.
        target: The index of the node that uses it.
        is_conditional: Whether each of the references counts only sometimes: a branch of ``$if``, a later operand of
            ``$coalesce``, the default of ``$variable``.
    """

    source: int
    target: int
    is_conditional: bool


@dataclass(frozen=True, slots=True)
class FlowGraph:
    """The nodes (input, steps in document order, output) and at most one edge from one to another."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def flow_graph(flow: Flow) -> FlowGraph:
    """Make the graph of a flow; references to steps that are not there are left out."""
    indexes = {step.id: index for index, step in reversed(list(enumerate(flow.steps, 1)))}
    users = [(index, used) for index, step in enumerate(flow.steps, 1) for _, used in step.expressions()]
    edges: dict[tuple[int, int], bool] = {}
    for target, expression in [*users, (len(flow.steps) + 1, flow.output)]:
        for name, is_conditional in _references(expression, is_conditional=False):
            source = 0 if name is None else indexes.get(name)
            if source is not None and source < target:
                edges[source, target] = edges.get((source, target), True) and is_conditional
    needed = _needed(flow, edges)
    nodes = [
        Node("input", "input"),
        *(_node(step, is_reachable=index in needed) for index, step in enumerate(flow.steps, 1)),
        Node("output", "output"),
    ]
    return FlowGraph(tuple(nodes), tuple(Edge(*ends, conditional) for ends, conditional in edges.items()))


def _references(expression: Expression, *, is_conditional: bool) -> Iterator[tuple[str | None, bool]]:
    """The steps that an expression refers to; None is the input of the flow."""
    if isinstance(expression, StepReference):
        yield expression.step, is_conditional
    elif isinstance(expression, InputReference):
        yield None, is_conditional
    for place, child in expression.children():
        is_later = (
            isinstance(expression, VariableReference)
            or (isinstance(expression, If) and place != ("$if",))
            or (isinstance(expression, Coalesce) and place[-1] != 0)
        )
        yield from _references(child, is_conditional=is_conditional or is_later)


def _needed(flow: Flow, edges: dict[tuple[int, int], bool]) -> set[int]:
    sources: dict[int, list[int]] = {}
    for source, target in edges:
        sources.setdefault(target, []).append(source)
    waiting = [index for index, step in enumerate(flow.steps, 1) if step.must_execute or flow.runs_every_step]
    waiting.append(len(flow.steps) + 1)
    needed: set[int] = set()
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            waiting += sources.get(index, ())
    return needed


def _node(step: Step, *, is_reachable: bool) -> Node:
    notes = [*(["always runs"] if step.must_execute else []), *_on_error(step.on_error)]
    if isinstance(step, OldStep) and step.skip_if is not None:
        notes.append("may be skipped")
    if not is_reachable:
        notes.append("never runs")
    return Node("step", step.id, step.component, tuple(notes), is_reachable)


def _on_error(on_error: OnError | None) -> Iterator[str]:
    if on_error is not None and on_error.action == "useDefault":
        yield "default on error"
    elif on_error is not None and on_error.action == "retry":
        yield "retried on error"
