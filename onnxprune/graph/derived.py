"""Which tensors depend on nothing but constants and the shapes of others."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from onnxprune.graph.frontier import RANDOM_OPS
from onnxprune.graph.model import Model

__all__ = ["shape_derived"]


def shape_derived(model: Model) -> list[str]:
    """Returns the names of computed tensors whose value the input's shapes decide alone, in graph order.

    Shape starts such a computation; every deterministic standard operator that reads only such
    tensors and constants carries it on. Operators with bodies do not: a body may read data.
    What is computed from constants alone is not among them (`constant_frontier` decides on it).
    """
    constant = set(model.initializers())
    derived: dict[str, None] = {}
    for node in model.nodes:
        reads = [t.name for t in node.inputs if t.name]
        has_body = any(isinstance(value, gs.Graph) for value in node.attrs.values())
        if has_body or node.domain not in (None, "", "ai.onnx") or node.op in RANDOM_OPS:
            continue
        names = [t.name for t in node.outputs if t.name]
        if all(name in constant for name in reads):
            constant.update(names)
        elif node.op in ("Shape", "Size") or all(name in constant or name in derived for name in reads):
            derived.update(dict.fromkeys(names))
    return list(derived)
