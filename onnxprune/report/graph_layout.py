"""Where boxes and wires of a graph go, in pixels, once they lie in ordered layers.

Places x of a layer minimise Σ w (x_i − d_i)² under x_{i+1} − x_i ≥ s_i, where d_i is where the
neighbours would have vertex i; pooling adjacent violators solves this exactly. Layers take turns,
down and up, until the drawing has settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from onnxprune.report.graph_layers import Layers, Wiring

__all__ = ["Layout", "lay_out", "spread"]

Point = tuple[float, float]

BEND_WIDTH, GAP_X, GAP_Y, ROUNDS = 6.0, 18.0, 30.0, 12
PULL = (8.0, 1.0, 4.0)
"""How strongly a link pulls, by how many of its ends are bends: main lines and long wires run straight."""


@dataclass(frozen=True)
class Layout:
    """A finished layout, in pixels.

    Attributes:
        centres: Centre of each box.
        routes: For each wire, one list of points per target: the boxes' centres, and between them
            each bend's upper and lower end, so that wires run straight beside boxes.
        width: Width of the whole.
        height: Height of the whole.
    """

    centres: tuple[Point, ...]
    routes: tuple[tuple[tuple[Point, ...], ...], ...]
    width: float
    height: float


def lay_out(sizes: Sequence[tuple[float, float]], wires: Sequence[Wiring], inputs: int) -> Layout:
    """Returns where boxes and wires go.

    Args:
        sizes: Width and height of each box, in an order in which every wire runs forward.
        wires: The wires.
        inputs: How many boxes, the first ones, are inputs of the graph.
    """
    layers = Layers(len(sizes), wires, inputs)
    width = [w for w, _ in sizes] + [BEND_WIDTH] * (len(layers.rank) - len(sizes))
    x = _places(layers, width)
    left = min((place - w / 2 for place, w in zip(x, width, strict=True)), default=0.0)
    right = max((place + w / 2 for place, w in zip(x, width, strict=True)), default=0.0)
    centre, half, bottom = [], [], 0.0
    for layer in layers.order:
        height = max((sizes[v][1] for v in layer if v < len(sizes)), default=0.0)
        half.append(height / 2)
        centre.append(bottom + height / 2)
        bottom += height + GAP_Y

    def points(vertex: int) -> list[Point]:
        rank, place = layers.rank[vertex], x[vertex] - left
        if vertex < len(sizes):
            return [(place, centre[rank])]
        return [(place, centre[rank] - half[rank]), (place, centre[rank] + half[rank])]

    routes = tuple(
        tuple(tuple(p for v in layers.path(number, wire, target) for p in points(v)) for target in wire.targets)
        for number, wire in enumerate(wires)
    )
    boxes = tuple(points(box)[0] for box in range(len(sizes)))
    return Layout(boxes, routes, right - left, max(bottom - GAP_Y, 0.0))


def _places(layers: Layers, width: Sequence[float]) -> list[float]:
    """Returns the x of each vertex."""
    x = [0.0] * len(width)
    apart = [[(width[a] + width[b]) / 2 + GAP_X for a, b in pairwise(v)] for v in layers.order]
    for layer, gaps in zip(layers.order, apart, strict=True):
        _place(x, layer, spread([0.0] * len(layer), [1.0] * len(layer), gaps))
    for turn in range(ROUNDS):
        nearby = (layers.up, layers.down)[turn % 2]
        for layer, gaps in list(zip(layers.order, apart, strict=True))[:: 1 if turn % 2 == 0 else -1]:
            wanted, weights = [], []
            for vertex in layer:
                pulls = [PULL[(vertex >= layers.count) + (n >= layers.count)] for n in nearby[vertex]]
                mean = sum(p * x[n] for p, n in zip(pulls, nearby[vertex], strict=True)) / (sum(pulls) or 1.0)
                wanted.append(mean if pulls else x[vertex])
                weights.append(sum(pulls) or 0.1)
            _place(x, layer, spread(wanted, weights, gaps))
    return x


def _place(x: list[float], layer: Sequence[int], places: Sequence[float]) -> None:
    for vertex, place in zip(layer, places, strict=True):
        x[vertex] = place


def spread(wanted: Sequence[float], weights: Sequence[float], apart: Sequence[float]) -> list[float]:
    """Returns places nearest to `wanted` (weighted least squares) that keep their order and distance.

    Args:
        wanted: Where each would like to be.
        weights: How much it matters.
        apart: Least distance between neighbours, one fewer than `wanted`.
    """
    offset = [0.0]
    for distance in apart:
        offset.append(offset[-1] + distance)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, count
    for want, weight, shift in zip(wanted, weights, offset, strict=False):
        mean, total, count = want - shift, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, heavy, more = blocks.pop()
            mean = (mean * total + other * heavy) / (total + heavy)
            total, count = total + heavy, count + more
        blocks.append((mean, total, count))
    flat = [mean for mean, _, count in blocks for _ in range(count)]
    return [place + shift for place, shift in zip(flat, offset, strict=False)]
