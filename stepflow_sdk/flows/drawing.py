"""Flows as text for programs that draw: Mermaid and DOT."""

import re
from typing import Final

from stepflow_sdk.flows.document import Flow
from stepflow_sdk.flows.graph import FlowGraph, Node, flow_graph

__all__ = ["as_dot", "as_mermaid"]

# What else stands in a label could end it, or be taken for markup: it is written as a number.
_UNSAFE: Final = re.compile(r"[^\w ./:,\-{}*]|\n")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def as_mermaid(flow: Flow, *, details: bool = True) -> str:
    """Draw a flow as a Mermaid flowchart.

    Dashed arrows are references that count only sometimes; steps that never run are grey. Without ``details`` a step is
    its id alone.
    """
    graph = flow_graph(flow)
    lines = ["flowchart TD"]
    for index, node in enumerate(graph.nodes):
        label = "<br/>".join(map(_mermaid_text, _label(node, details=details)))
        lines.append(
            f'    {_name(graph, index)}["{label}"]' if node.kind == "step" else f'    {node.name}(["{label}"])'
        )
    for edge in graph.edges:
        arrow = "-.->" if edge.is_conditional else "-->"
        lines.append(f"    {_name(graph, edge.source)} {arrow} {_name(graph, edge.target)}")
    grey = [_name(graph, index) for index, node in enumerate(graph.nodes) if not node.is_reachable]
    if grey:
        lines.append("    classDef unreachable fill:#f1f5f9,stroke:#cbd5e1,color:#94a3b8")
        lines.append(f"    class {','.join(grey)} unreachable")
    return "\n".join(lines) + "\n"


def as_dot(flow: Flow, *, details: bool = True) -> str:
    """Draw a flow in the DOT language of Graphviz; dashed, grey and ``details`` as in `as_mermaid`."""
    graph = flow_graph(flow)
    lines = [
        f"digraph {_dot_text(flow.name or 'flow')} {{",
        '    node [shape=box, style=rounded, fontname="Helvetica"];',
    ]
    for index, node in enumerate(graph.nodes):
        # Lines of a label are separated by the two characters that DOT reads as a line break.
        label = '"' + "\\n".join(_dot_text(part)[1:-1] for part in _label(node, details=details)) + '"'
        style = "" if node.kind == "step" else ", shape=oval"
        if not node.is_reachable:
            style = ', color="#cbd5e1", fontcolor="#94a3b8"'
        lines.append(f"    {_name(graph, index)} [label={label}{style}];")
    for edge in graph.edges:
        style = " [style=dashed]" if edge.is_conditional else ""
        lines.append(f"    {_name(graph, edge.source)} -> {_name(graph, edge.target)}{style};")
    return "\n".join([*lines, "}"]) + "\n"


def _name(graph: FlowGraph, index: int) -> str:
    # Ids of steps may be any text, and "end" and others are words of the language.
    node = graph.nodes[index]
    return f"step{index}" if node.kind == "step" else node.name


def _label(node: Node, *, details: bool) -> list[str]:
    if not details:
        return [node.name]
    return [node.name, *([] if node.component is None else [node.component]), *node.notes]


def _mermaid_text(text: str) -> str:
    return _UNSAFE.sub(lambda match: f"#{ord(match[0])};", _CONTROL.sub(" ", text))


def _dot_text(text: str) -> str:
    shown = _CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{shown}"'
