"""Places the nodes of a flow's graph in layers, from the input at the top to the output at the bottom.

The usual steps: a layer for each node by the longest way to it; bends where an arrow crosses layers; an order in each
layer that crosses few arrows; and positions as near to the neighbours' as the order allows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from stepflow_sdk.flows.graph import FlowGraph

__all__ = ["Layout", "Spot", "place_nodes"]

_SWEEPS: Final = 8
_BEND_WIDTH: Final = 12.0
# Bends hold their line against boxes, so that long arrows are straight.
_BEND_WEIGHT: Final = 4.0


@dataclass(eq=False)
class Spot:
    """A place in a layer, for a node or for the bend of an arrow.

    Attributes:
        layer: From 0 at the top.
        width: In pixels.
        x: Its middle, in pixels.
        above, below: The spots that arrows come from and go to.
    """

    layer: int
    width: float
    weight: float = 1.0
    x: float = 0.0
    order: float = 0.0
    above: list["Spot"] = field(default_factory=list["Spot"], repr=False)
    below: list["Spot"] = field(default_factory=list["Spot"], repr=False)


@dataclass(frozen=True)
class Layout:
    """Where everything is.

    Attributes:
        nodes: The spot of each node.
        routes: For each edge the spots that its arrow goes through, from node to node.
        layers: The spots of each layer, from left to right.
        width: That of the whole, in pixels.
    """

    nodes: tuple[Spot, ...]
    routes: tuple[tuple[Spot, ...], ...]
    layers: tuple[tuple[Spot, ...], ...]
    width: float


def place_nodes(graph: FlowGraph, widths: Sequence[float], gap: float) -> Layout:
    """Place the nodes of a graph, whose edges lead from lower to higher indexes.

    Args:
        graph: The graph.
        widths: How wide each node is.
        gap: What stays free between two of one layer.
    """
    spots = [Spot(layer, width) for layer, width in zip(_layers(graph), widths, strict=True)]
    layers: list[list[Spot]] = [[] for _ in range(spots[-1].layer + 1)]
    for spot in spots:
        layers[spot.layer].append(spot)
    routes = _routes(graph, spots, layers)
    _sort(layers)
    _spread(layers, gap)
    left = min(spot.x - spot.width / 2 for layer in layers for spot in layer)
    for layer in layers:
        for spot in layer:
            spot.x -= left
    width = max(spot.x + spot.width / 2 for layer in layers for spot in layer)
    return Layout(tuple(spots), tuple(routes), tuple(map(tuple, layers)), width)


def _layers(graph: FlowGraph) -> list[int]:
    """One more than that of the lowest node above; the output is below everything."""
    layers = [0] + [1] * (len(graph.nodes) - 1)
    for edge in sorted(graph.edges, key=lambda edge: edge.source):
        layers[edge.target] = max(layers[edge.target], layers[edge.source] + 1)
    layers[-1] = max(layers[:-1]) + 1
    return layers


def _routes(graph: FlowGraph, spots: list[Spot], layers: list[list[Spot]]) -> list[tuple[Spot, ...]]:
    """Add bends; the arrows of one kind from one node share theirs, which keeps a drawing of many arrows calm."""
    chains: dict[tuple[int, bool], list[Spot]] = {}
    routes: list[tuple[Spot, ...]] = []
    for edge in graph.edges:
        source, target = spots[edge.source], spots[edge.target]
        chain = chains.setdefault((edge.source, edge.is_conditional), [source])
        while chain[-1].layer < target.layer - 1:
            bend = Spot(chain[-1].layer + 1, _BEND_WIDTH, _BEND_WEIGHT)
            _join(chain[-1], bend)
            layers[bend.layer].append(bend)
            chain.append(bend)
        way = chain[: target.layer - source.layer]
        _join(way[-1], target)
        routes.append((*way, target))
    return routes


def _join(upper: Spot, lower: Spot) -> None:
    upper.below.append(lower)
    lower.above.append(upper)


def _sort(layers: list[list[Spot]]) -> None:
    """Order each layer by the middle of what it is joined to, downwards and upwards in turn."""
    for layer in layers:
        _number(layer)
    for sweep in range(_SWEEPS):
        is_down = sweep % 2 == 0
        for layer in layers if is_down else reversed(layers):
            middles = {id(spot): _middle(spot.above if is_down else spot.below, spot.order) for spot in layer}
            layer.sort(key=lambda spot: middles[id(spot)])
            _number(layer)


def _number(layer: list[Spot]) -> None:
    for index, spot in enumerate(layer):
        # Relative to the layer: a lone node is in the middle, whatever the layer beside it holds.
        spot.order = index - (len(layer) - 1) / 2


def _middle(neighbours: list[Spot], otherwise: float) -> float:
    return sum(spot.order for spot in neighbours) / len(neighbours) if neighbours else otherwise


def _spread(layers: list[list[Spot]], gap: float) -> None:
    for layer in layers:
        _settle(layer, [0.0] * len(layer), gap)
    for sweep in range(_SWEEPS):
        is_down = sweep % 2 == 0
        for layer in layers if is_down else reversed(layers):
            wanted: list[float] = []
            for spot in layer:
                near = spot.above if is_down else spot.below
                wanted.append(sum(other.x for other in near) / len(near) if near else spot.x)
            _settle(layer, wanted, gap)


def _settle(layer: list[Spot], wanted: list[float], gap: float) -> None:
    """Put each spot as near as possible to where it is wanted, in order and with the gaps between.

    This is a regression on rising values: neighbours that would overlap become one block, at their common mean.
    """
    offsets = [0.0]
    for left, right in pairwise(layer):
        free = gap if left.width > _BEND_WIDTH or right.width > _BEND_WIDTH else _BEND_WIDTH
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + free)
    blocks: list[tuple[float, float, int]] = []
    for spot, offset, place in zip(layer, offsets, wanted, strict=False):
        mean, weight, count = place - offset, spot.weight, 1
        while blocks and blocks[-1][0] > mean:
            before, heft, number = blocks.pop()
            mean = (before * heft + mean * weight) / (heft + weight)
            weight, count = weight + heft, count + number
        blocks.append((mean, weight, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    for spot, offset, mean in zip(layer, offsets, means, strict=False):
        spot.x = mean + offset
