"""Peak of activation memory: bytes of all tensors that are alive at once, at the worst node.

Nodes run in the order of the graph. While a node runs, its inputs, its outputs and whatever is
still read later or given back are in memory. Weights are not counted (see `size`). Two things
take no memory of their own: a view (Reshape and its like), and the result of an element-wise
operator that writes over an input of the same shape which nobody reads any more; onnxruntime does
both. What its arena and its kernels need beside the tensors is not counted.

The bytes at one node are a polynomial in kept counts, and the peak is the largest of them, so a
memory budget is a bound on every node that is not below another one anyway.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from onnxprune.axes import Poly
from onnxprune.groups import node_label

if TYPE_CHECKING:
    from onnxprune.graph import Model
    from onnxprune.groups import Analysis

__all__ = ["memory_polynomials", "peak_memory"]

DTypes = Mapping[str, "np.dtype[Any]"]
T = TypeVar("T")
_VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_UNKNOWN = 4.0
# fmt: off
_WRITES_OVER = frozenset({
    "Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Div", "Elu", "Erf", "Exp", "FastGelu", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Mul", "Neg", "PRelu", "Pow", "QuickGelu",
    "Reciprocal", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Tanh",
})
# fmt: on


def memory_polynomials(analysis: Analysis, model: Model) -> dict[str, Poly]:
    """Returns "memory at NODE" → bytes of one sample alive there; nodes that are never the worst are left out.

    Args:
        analysis: The analysis of `model`.
        model: The model before surgery; tensors of unknown shape are not counted.
    """
    shapes = analysis.inference.shapes
    inputs = {spec.name for spec in model.inputs()}
    elements = dict(analysis.tensor_elements)
    for name in inputs:
        if name in shapes.first:
            elements[name] = Poly.constant(math.prod(shapes.first[name]) / shapes.batch)
    widths = _widths(model, shapes.dtypes)
    sizes = {name: count * widths.get(name, _UNKNOWN) for name, count in elements.items()}
    found: dict[str, Poly] = {}
    for label, alive in _alive(model, lambda name: sizes.get(name, Poly.constant(0)).terms):
        bytes_there = Poly.sum([sizes[name] for name in alive if name in sizes])
        if any(_below(bytes_there, other) for other in found.values()):
            continue
        found = {key: other for key, other in found.items() if not _below(other, bytes_there)}
        found[f"memory at {label}"] = bytes_there
    return found


def peak_memory(model: Model, shapes: Mapping[str, tuple[int, ...]], dtypes: DTypes) -> float:
    """Returns the bytes of one sample at the worst node of a model as it stands.

    Args:
        model: Any model, before or after surgery.
        shapes: Tensor name → shape in a concrete run.
        dtypes: Tensor name → dtype there.
    """
    first = next((shapes[spec.name] for spec in model.inputs() if shapes.get(spec.name)), ())
    batch = first[0] if first and first[0] else 1
    widths = _widths(model, dtypes)
    sizes = {name: math.prod(shape) * widths.get(name, _UNKNOWN) for name, shape in shapes.items()}
    return (
        max((sum(sizes.get(name, 0.0) for name in alive) for _, alive in _alive(model, shapes.get)), default=0.0)
        / batch
    )


def _widths(model: Model, dtypes: DTypes) -> dict[str, float]:
    """Tensor name → bytes of an element: what the graph declares, else what was seen."""
    declared = {name: getattr(tensor, "dtype", None) for name, tensor in model.graph.tensors().items()}
    known = {**dtypes, **{name: dtype for name, dtype in declared.items() if dtype is not None}}
    found = {}
    for name, dtype in known.items():
        with contextlib.suppress(TypeError):  # a type of ONNX that numpy has no name for
            found[name] = float(np.dtype(dtype).itemsize)
    return found


def _alive(model: Model, size: Callable[[str], T]) -> list[tuple[str, frozenset[str]]]:
    """Node label → tensors with memory of their own that are alive while it runs, in order.

    Args:
        model: A model.
        size: Gives tensors of one size equal values.
    """
    given = [spec.name for spec in model.inputs()]
    results = {spec.name for spec in model.outputs()}
    computed = {tensor.name for node in model.nodes for tensor in node.outputs} | set(given)
    reads = [[t.name for t in node.inputs if t.name in computed] for node in model.nodes]
    last: dict[str, int] = {}
    for position, names in enumerate(reads):
        last |= dict.fromkeys(names, position)
    last |= dict.fromkeys(results, len(reads))
    root = {name: name for name in given}
    for position, (node, names) in enumerate(zip(model.nodes, reads, strict=True)):
        for place, tensor in enumerate(node.outputs):
            root[tensor.name] = tensor.name
            if place or not names:
                continue
            if node.op in _VIEWS:
                root[tensor.name] = root[names[0]]
            elif node.op in _WRITES_OVER:
                dying = [n for n in names if last[n] == position and root[n] not in given]
                root[tensor.name] = root[next((n for n in dying if _same(size, n, tensor.name)), tensor.name)]
    # a place in memory lives from its first tensor to the last reader of any
    until = dict.fromkeys(given, 0)
    for position, node in enumerate(model.nodes):
        for tensor in node.outputs:
            until[root[tensor.name]] = max(until.get(root[tensor.name], 0), last.get(tensor.name, position), position)
    for name in given:
        until[name] = max(until[name], last.get(name, 0))
    found, alive = [], set(given)
    for position, node in enumerate(model.nodes):
        alive |= {root[tensor.name] for tensor in node.outputs}
        found.append((node_label(node), frozenset(alive)))
        alive = {name for name in alive if until[name] > position}
    return found


def _same(size: Callable[[str], T], a: str, b: str) -> bool:
    found = size(a)
    return found is not None and found == size(b)


def _below(a: Poly, b: Poly) -> bool:
    """Whether `a` is at most `b` at every count, seen from the coefficients alone."""
    return all(value <= b.terms.get(key, 0.0) for key, value in a.terms.items())
