"""Cases of every operator, with or without axis rule, and the same in another float type."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
from node_cases import NodeCase, all_cases
from onnx import TensorProto, helper
from standard_suite import suite

__all__ = ["cases_of", "in_type"]

OWN: dict[str, tuple[dict[str, int], tuple[tuple[int, ...], ...]]] = {
    "::CastLike": ({}, ((2, 3), (1,))),
    "::Trilu": ({}, ((2, 3, 4),)),
    "com.microsoft::BiasAdd": ({}, ((2, 3, 4), (4,), (2, 3, 4))),
    "com.microsoft::BiasSplitGelu": ({}, ((2, 3, 8), (8,))),
}
"""Attributes and float inputs for operators that have no float case elsewhere."""


_WIDE = (TensorProto.FLOAT, TensorProto.DOUBLE)


@cache
def cases_of(operator: str) -> tuple[NodeCase, ...]:
    """Returns the cases of an operator ("::Conv") that have no empty inputs, those with the least data first."""
    found = list(all_cases().get(operator, ()))
    if operator in OWN:
        found.append(_own_case(operator))
    if not found:
        for entry in suite():
            if entry.operator == operator and not entry.unusual and "_expanded" not in entry.name:
                inputs, _ = entry.case.data_sets[0]
                arrays = {v.name: np.asarray(a) for v, a in zip(entry.case.model.graph.input, inputs, strict=True)}
                found.append(NodeCase(entry.name, operator, entry.case.model, arrays))
    whole = [case for case in found if all(array.size for array in case.inputs.values())]
    return tuple(sorted(whole, key=lambda case: sum(array.size for array in case.inputs.values())))


def in_type(model: onnx.ModelProto, kind: int) -> onnx.ModelProto:
    """Returns the model with another element type in place of float32 and float64."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value in (*changed.graph.input, *changed.graph.output):
        if value.type.tensor_type.elem_type in _WIDE:
            value.type.tensor_type.elem_type = kind
    for node in changed.graph.node:
        for item in node.attribute:
            if item.name in ("to", "dtype") and item.i in _WIDE:
                item.i = kind
    return changed


def _own_case(operator: str) -> NodeCase:
    (domain, kind), (attributes, shapes) = operator.split("::"), OWN[operator]
    arrays = {f"i{i}": np.random.default_rng(i).uniform(-1, 1, s).astype("f4") for i, s in enumerate(shapes)}
    node = helper.make_node(kind, list(arrays), ["y"], domain=domain, **attributes)
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in arrays.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(shapes[0]))
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph([node], "own", inputs, [output]), opset_imports=sets, ir_version=8)
    return NodeCase(operator, operator, model, arrays)
