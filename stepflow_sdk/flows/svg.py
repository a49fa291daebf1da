"""Flows as SVG, drawn without any other program."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, NamedTuple

from stepflow_sdk.flows.document import Flow
from stepflow_sdk.flows.graph import Edge, Node, flow_graph
from stepflow_sdk.flows.layout import Spot, place_nodes

__all__ = ["as_svg"]

_SANS: Final = "Inter, 'Helvetica Neue', Helvetica, Arial, 'DejaVu Sans', sans-serif"
_MONO: Final = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_MARGIN: Final = 32.0
_GAP: Final = 36.0
_LAYER_GAP: Final = 56.0
_HEADING: Final = 44.0
_MOST_COLUMNS: Final = 44
_ESCAPES: Final = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"}
# XML 1.0 has no way to write these, not even as references.
_NOT_IN_XML: Final = re.compile("[^\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Line(NamedTuple):
    """A kind of line in a box: height and size in pixels, font, weight, and its colours, alive and grey."""

    height: float
    size: float
    font: str
    weight: int
    colour: str
    grey: str = "#94a3b8"

    def width(self, text: str) -> float:
        # Nobody can measure without the font; this is a little more than the common ones need.
        per_column = 0.61 if self.font is _MONO else 0.6
        return _columns(text) * self.size * per_column


_NAME: Final = _Line(20, 14, _SANS, 600, "#0f172a")
_COMPONENT: Final = _Line(18, 12, _MONO, 400, "#475569")
_NOTE: Final = _Line(17, 11, _SANS, 400, "#b45309")
_HEADING_LINE: Final = _Line(24, 18, _SANS, 600, "#0f172a")
_ALIVE: Final = "#475569"
_GREY: Final = "#cbd5e1"
_FILLS: Final = {"input": "#e0f2fe", "step": "#ffffff", "output": "#dcfce7"}
_STROKES: Final = {"input": "#0284c7", "step": "#64748b", "output": "#16a34a"}


def as_svg(flow: Flow, *, details: bool = True) -> str:
    """Draw a flow: a box for each step with its component, the input above, the output below.

    Dashed arrows are references that count only sometimes; steps that never run, and their arrows, are grey. Names
    that are too long are cut, and shown whole where the pointer rests on the box. Without ``details`` a step is its id
    alone.
    """
    return _Drawing(flow, details=details).text()


class _Drawing:
    def __init__(self, flow: Flow, *, details: bool) -> None:
        self._flow = flow
        self._graph = flow_graph(flow)
        self._boxes = [_lines(node)[: None if details else 1] for node in self._graph.nodes]
        self._layout = place_nodes(self._graph, [_width(lines) for lines in self._boxes], _GAP)
        self._rows = self._find_rows(_MARGIN + (_HEADING if flow.name else 0))
        heading = _HEADING_LINE.width(_cut(flow.name)) if flow.name else 0.0
        self._width = max(self._layout.width, heading) + 2 * _MARGIN
        self._left = (self._width - self._layout.width) / 2

    def text(self) -> str:
        width, height = _n(self._width), _n(self._rows[-1][1] + _MARGIN)
        size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_SANS}">',
            f"<title>{_text(self._flow.name or 'flow')}</title>",
            f"<desc>{_text(self._flow.description or '')}</desc>",
            f"<defs>{_arrow_head('arrow', _ALIVE)}{_arrow_head('arrow-grey', _GREY)}</defs>",
            '<rect width="100%" height="100%" fill="#f8fafc"/>',
        ]
        if self._flow.name:
            parts.append(_written(_HEADING_LINE, self._flow.name, self._width / 2, _MARGIN + 16))
        parts += self._arrows()
        for node, spot, lines in zip(self._graph.nodes, self._layout.nodes, self._boxes, strict=True):
            parts += _box(node, lines, self._left + spot.x, self._middle(spot))
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _find_rows(self, top: float) -> list[tuple[float, float]]:
        """Where each layer begins and ends; where many arrows arrive there is more room for them."""
        tallest = [0.0] * len(self._layout.layers)
        for spot, lines in zip(self._layout.nodes, self._boxes, strict=True):
            tallest[spot.layer] = max(tallest[spot.layer], _height(lines))
        rows: list[tuple[float, float]] = []
        for layer, height in zip(self._layout.layers, tallest, strict=True):
            rows.append((top, top + height))
            top += height + _LAYER_GAP + min(40.0, 4.0 * (len(layer) - 1))
        return rows

    def _middle(self, spot: Spot) -> float:
        top, bottom = self._rows[spot.layer]
        return (top + bottom) / 2

    def _arrows(self) -> Iterator[str]:
        nodes = self._graph.nodes
        # The grey ones first, so that they lie below.
        drawn = sorted(
            zip(self._graph.edges, self._layout.routes, strict=True), key=lambda pair: self._is_alive(pair[0])
        )
        for edge, route in drawn:
            source, target = nodes[edge.source], nodes[edge.target]
            colour, head = (_ALIVE, "arrow") if self._is_alive(edge) else (_GREY, "arrow-grey")
            dashes = ' stroke-dasharray="6 5"' if edge.is_conditional else ""
            yield (
                f'<path class="edge" d="{self._path(edge, route)}" fill="none" stroke="{colour}" '
                f'stroke-width="1.5"{dashes} marker-end="url(#{head})">'
                f"<title>{_text(source.name)} → {_text(target.name)}</title></path>"
            )

    def _is_alive(self, edge: Edge) -> bool:
        return self._graph.nodes[edge.source].is_reachable and self._graph.nodes[edge.target].is_reachable

    def _path(self, edge: Edge, route: tuple[Spot, ...]) -> str:
        """From the lower edge of a box, in curves between the layers and straight through them, to the upper edge."""
        first, last = route[0], route[-1]
        x = self._left + first.x
        y = self._rows[first.layer][1]
        parts = [f"M{_n(x)} {_n(self._middle(first) + _height(self._boxes[edge.source]) / 2)}V{_n(y)}"]
        for spot in route[1:]:
            top, bottom = self._rows[spot.layer]
            before, x = x, self._left + spot.x
            end = self._middle(last) - _height(self._boxes[edge.target]) / 2 - 1 if spot is last else bottom
            # The last bit is straight, for the head of the arrow to point down.
            top -= 8 if spot is last else 0
            parts.append(f"C{_n(before)} {_n((y + top) / 2)} {_n(x)} {_n((y + top) / 2)} {_n(x)} {_n(top)}V{_n(end)}")
            y = bottom
        return "".join(parts)


def _lines(node: Node) -> list[tuple[_Line, str]]:
    lines = [(_NAME, node.name)]
    if node.component is not None:
        lines.append((_COMPONENT, node.component))
    if node.notes:
        lines.append((_NOTE, " · ".join(node.notes)))
    return lines


def _width(lines: list[tuple[_Line, str]]) -> float:
    return max(88.0, *(line.width(_cut(text)) + 32 for line, text in lines))


def _height(lines: list[tuple[_Line, str]]) -> float:
    return sum(line.height for line, _ in lines) + 16


def _box(node: Node, lines: list[tuple[_Line, str]], x: float, middle: float) -> Iterator[str]:
    width, height = _width(lines), _height(lines)
    y = middle - height / 2
    fill, stroke = (_FILLS[node.kind], _STROKES[node.kind]) if node.is_reachable else ("#f1f5f9", _GREY)
    radius = height / 2 if node.kind != "step" else 8
    whole = _text(" · ".join(text for _, text in lines))
    yield f'<g class="{node.kind}{"" if node.is_reachable else " unreachable"}"><title>{whole}</title>'
    yield (
        f'<rect x="{_n(x - width / 2)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{_n(radius)}" '
        f'fill="{fill}" stroke="{stroke}" stroke-width="1.5"/>'
    )
    y += 8
    for line, text in lines:
        # Letters stand on their base line, which is a little below the middle of the line.
        yield _written(line, text, x, y + line.height / 2 + line.size * 0.35, is_grey=not node.is_reachable)
        y += line.height
    yield "</g>"


def _written(line: _Line, text: str, x: float, y: float, *, is_grey: bool = False) -> str:
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="middle" font-family="{line.font}" font-size="{_n(line.size)}" '
        f'font-weight="{line.weight}" fill="{line.grey if is_grey else line.colour}">{_text(_cut(text))}</text>'
    )


def _arrow_head(name: str, colour: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0.8L10 5L0 9.2z" fill="{colour}"/></marker>'
    )


def _columns(text: str) -> int:
    """How many letters wide a text is; those of East Asia count twice."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _cut(text: str) -> str:
    if _columns(text) <= _MOST_COLUMNS:
        return text
    room, kept = _MOST_COLUMNS - 1, 0
    for letter in text:
        room -= _columns(letter)
        if room < 0:
            break
        kept += 1
    return f"{text[:kept]}…"


def _text(text: str) -> str:
    return _NOT_IN_XML.sub(" ", text).translate(_ESCAPES)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
