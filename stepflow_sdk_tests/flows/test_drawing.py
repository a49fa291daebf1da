"""Drawings of flows: the graph, and what is made of it."""

import re
from itertools import combinations
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings

from stepflow_sdk.flows import as_dot, as_mermaid, as_svg, parse_flow
from stepflow_sdk.flows.graph import flow_graph
from stepflow_sdk_tests.flows.strategies import documents

SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]


def step(id: str, input: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": id, "component": f"/c/{id}", "input": input, **more}


def edges_of(document: dict[str, Any]) -> dict[tuple[str, str], bool]:
    graph = flow_graph(parse_flow(document))
    return {(graph.nodes[edge.source].name, graph.nodes[edge.target].name): edge.is_conditional for edge in graph.edges}


def drawn(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def boxes_of(root: ET.Element) -> list[Box]:
    found = root.findall(f"{SVG}g/{SVG}rect")
    return [(*(float(box.get(name, "nan")) for name in ("x", "y", "width", "height")),) for box in found]  # type: ignore[misc]  # four of them


def are_apart(one: Box, other: Box) -> bool:
    return (
        one[0] + one[2] <= other[0]
        or other[0] + other[2] <= one[0]
        or one[1] + one[3] <= other[1]
        or other[1] + other[3] <= one[1]
    )


FLOW: dict[str, Any] = {
    "name": "a <flow> & more",
    "description": "d",
    "steps": [
        step("a", {"$input": "$.x"}),
        step("b", [{"$step": "a"}, {"$step": "a", "path": "$.y"}], onError={"action": "useDefault"}),
        step("lost", {"$step": "a"}),
        step("sure", None, mustExecute=True),
        step("c", {"$if": {"$step": "a"}, "then": {"$step": "b"}, "else": {"$input": "$"}}),
    ],
    "output": {"$coalesce": [{"$step": "c"}, {"$step": "b"}, {"$variable": "v", "default": {"$step": "sure"}}]},
}


def test_references_are_edges_and_those_that_count_sometimes_are_conditional() -> None:
    assert edges_of(FLOW) == {
        ("input", "a"): False,
        ("a", "b"): False,
        ("a", "lost"): False,
        ("a", "c"): False,
        ("b", "c"): True,
        ("input", "c"): True,
        ("c", "output"): False,
        ("b", "output"): True,
        ("sure", "output"): True,
    }


def test_one_sure_reference_makes_an_edge_sure() -> None:
    maybe = {"$if": True, "then": {"$step": "a"}}
    for output in ([maybe, {"$step": "a"}], [{"$step": "a"}, maybe]):
        assert edges_of({"steps": [step("a")], "output": output}) == {("a", "output"): False}


def test_what_is_inside_a_literal_is_no_reference() -> None:
    assert edges_of({"steps": [step("a")], "output": {"$literal": {"$step": "a"}}}) == {}


def test_steps_that_nothing_needs_are_unreachable() -> None:
    graph = flow_graph(parse_flow(FLOW))
    assert [node.name for node in graph.nodes if not node.is_reachable] == ["lost"]
    assert {node.name: node.notes for node in graph.nodes if node.notes} == {
        "b": ("default on error",),
        "lost": ("never runs",),
        "sure": ("always runs",),
    }


def test_mermaid_has_every_node_and_every_edge() -> None:
    assert as_mermaid(parse_flow(FLOW)).splitlines() == [
        "flowchart TD",
        '    input(["input"])',
        '    step1["a<br/>/c/a"]',
        '    step2["b<br/>/c/b<br/>default on error"]',
        '    step3["lost<br/>/c/lost<br/>never runs"]',
        '    step4["sure<br/>/c/sure<br/>always runs"]',
        '    step5["c<br/>/c/c"]',
        '    output(["output"])',
        "    input --> step1",
        "    step1 --> step2",
        "    step1 --> step3",
        "    step1 --> step5",
        "    step2 -.-> step5",
        "    input -.-> step5",
        "    step5 --> output",
        "    step2 -.-> output",
        "    step4 -.-> output",
        "    classDef unreachable fill:#f1f5f9,stroke:#cbd5e1,color:#94a3b8",
        "    class step3 unreachable",
    ]


def test_dot_has_every_node_and_every_edge() -> None:
    lines = as_dot(parse_flow(FLOW)).splitlines()
    assert lines[0] == 'digraph "a <flow> & more" {'
    assert '    step1 [label="a\\n/c/a"];' in lines
    assert '    step3 [label="lost\\n/c/lost\\nnever runs", color="#cbd5e1", fontcolor="#94a3b8"];' in lines
    assert "    step1 -> step2;" in lines
    assert "    step2 -> step5 [style=dashed];" in lines
    assert (len([line for line in lines if "->" in line]), lines[-1]) == (9, "}")


@pytest.mark.parametrize("name", ['say "hi"', "a\\", "end", "x\ny", "#1;", "`**b**`", "<b>&", "--> b", "日本"])
def test_no_name_breaks_out_of_its_label(name: str) -> None:
    flow = parse_flow({"name": name, "steps": [step(name)], "output": {"$step": name}})
    label = re.fullmatch(r'    step1\["(.*)<br/>(.*)"\]', as_mermaid(flow).splitlines()[2])
    assert label
    assert not re.search(r'["<>&`\\]|#(?!\d+;)', label[1])
    head, _, _, line, *_ = as_dot(flow).splitlines()
    for text in (head, line):
        assert re.fullmatch(r'[^"]*"(?:[^"\\]|\\.)*"[^"]*', text), text
    texts = [text.text for text in drawn(as_svg(flow)).iter(f"{SVG}text")]
    assert texts.count(name.replace("\n", " ")) == 2


def test_svg_has_a_box_for_every_node_and_an_arrow_for_every_edge() -> None:
    root = drawn(as_svg(parse_flow(FLOW)))
    groups = {group.findtext(f"{SVG}text"): group for group in root.findall(f"{SVG}g")}
    assert set(groups) == {"input", "a", "b", "lost", "sure", "c", "output"}
    assert "/c/a" in [text.text for text in groups["a"].iter(f"{SVG}text")]
    assert groups["lost"].get("class") == "step unreachable"
    arrows = {arrow.findtext(f"{SVG}title"): arrow for arrow in root.findall(f"{SVG}path")}
    assert {name for name, arrow in arrows.items() if arrow.get("stroke-dasharray")} == {
        "b → c", "input → c", "b → output", "sure → output",
    }  # fmt: skip
    assert {name for name, arrow in arrows.items() if "grey" in arrow.get("marker-end", "")} == {"a → lost"}
    assert len(arrows) == 9
    assert root.findtext(f"{SVG}title") == "a <flow> & more"


def test_svg_arrows_lead_from_the_lower_edge_of_a_box_to_the_upper_edge_of_another() -> None:
    root = drawn(as_svg(parse_flow(FLOW)))
    boxes = dict(zip([group.findtext(f"{SVG}text") for group in root.findall(f"{SVG}g")], boxes_of(root), strict=True))
    for arrow in root.findall(f"{SVG}path"):
        source, target = (arrow.findtext(f"{SVG}title") or "").split(" → ")
        start = re.match(r"M([\d.]+) ([\d.]+)V", arrow.get("d", ""))
        end = re.search(r" ([\d.]+) [\d.]+V([\d.]+)$", arrow.get("d", ""))
        assert start
        assert end
        x, y, width, height = boxes[source]
        assert (float(start[1]), float(start[2])) == pytest.approx((x + width / 2, y + height), abs=0.3)
        x, y, width, _ = boxes[target]
        assert (float(end[1]), float(end[2]) + 1) == pytest.approx((x + width / 2, y), abs=0.3)


def test_long_names_are_cut_and_kept_where_the_pointer_rests() -> None:
    name = "a very long name of a step " * 10
    root = drawn(as_svg(parse_flow({"name": name, "steps": [step(name)], "output": {"$step": name}})))
    assert float(root.get("width", "inf")) < 900
    assert all(len(text.text or "") <= 44 for text in root.iter(f"{SVG}text"))
    assert any(name in (title.text or "") for title in root.findall(f"{SVG}g/{SVG}title"))


def test_what_xml_cannot_hold_is_left_out() -> None:
    flow = parse_flow({"name": "a\x00b\x1b\ufffe", "steps": [step("x\x07")], "output": {"$step": "x\x07"}})
    assert drawn(as_svg(flow)).findtext(f"{SVG}title") == "a b  "


@given(documents())
@settings(max_examples=100, deadline=None)
def test_in_every_drawing_boxes_are_apart_inside_and_in_the_order_of_references(document: dict[str, Any]) -> None:
    flow = parse_flow(document)
    graph = flow_graph(flow)
    root = drawn(as_svg(flow))
    boxes = boxes_of(root)
    assert len(boxes) == len(flow.steps) + 2
    assert all(are_apart(one, other) for one, other in combinations(boxes, 2))
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    assert all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in boxes)
    for edge in graph.edges:
        assert boxes[edge.source][1] + boxes[edge.source][3] < boxes[edge.target][1]
    assert len(root.findall(f"{SVG}path")) == len(graph.edges)
    assert as_mermaid(flow).count("> ") >= len(graph.edges)


def test_a_hundred_steps_that_refer_to_many_are_drawn() -> None:
    steps = [step(f"s{n}", [{"$step": f"s{before}"} for before in range(max(0, n - 30), n, 3)]) for n in range(100)]
    root = drawn(as_svg(parse_flow({"name": "large", "steps": steps, "output": {"$step": "s99"}})))
    boxes = boxes_of(root)
    assert len(boxes) == 102
    assert all(are_apart(one, other) for one, other in combinations(boxes, 2))


def test_an_empty_flow_is_drawn() -> None:
    assert len(boxes_of(drawn(as_svg(parse_flow({}))))) == 2
