"""Every float operator's PyTorch counterpart in float64, float32, float16 and bfloat16.

The float64 result is the reference. Found values lie within 8 units in the last place of the type, of the
largest magnitude of that output: room for a sum of some dozen terms, each rounded.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from float_cases import cases_of, in_type
from node_cases import NodeCase
from onnx import TensorProto

from onnxprune.bridge import to_torch
from onnxprune.ops import OPS
from onnxprune.ops.registry import TWINS

TYPES = {
    TensorProto.FLOAT: (torch.float32, 2.0**-23),
    TensorProto.FLOAT16: (torch.float16, 2.0**-10),
    TensorProto.BFLOAT16: (torch.bfloat16, 2.0**-7),
}
ULPS = 8
EXCEPTIONS = dict.fromkeys(
    (
        "::And", "::BitShift", "::BitwiseAnd", "::BitwiseNot", "::BitwiseOr", "::BitwiseXor", "::BlackmanWindow",
        "::Constant", "::ConstantOfShape", "::ConvInteger", "::Equal", "::EyeLike", "::HammingWindow", "::HannWindow",
        "::MatMulInteger", "::NonZero", "::Not", "::Or", "::Xor",
    ),
    "reads no float in its cases",
) | {
    "::Cast": "is about types: see the standard's cases",
    "::BitCast": "reads the bytes of one type",
    "::DynamicQuantizeLinear": "defined for float32 alone",
    "::ReduceProd": "the standard's cases multiply the numbers from 1 on, which soon is more than float16 holds",
}  # fmt: skip


def _outputs(case: NodeCase, kind: int, dtype: torch.dtype) -> list[torch.Tensor]:
    module = to_torch(in_type(case.model, kind))
    feeds = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in ((name, torch.from_numpy(np.array(array))) for name, array in case.inputs.items())
    }
    with torch.no_grad():
        found = module.call_with({}, feeds)
    return list(found) if isinstance(found, tuple) else [found]


def _float_case(operator: str) -> NodeCase | None:
    """Returns the smallest case that reads float32 alone among floats, or float64 alone."""
    for case in cases_of(operator):
        values = [*case.model.graph.input, *case.model.graph.output]
        kinds = {v.type.tensor_type.elem_type for v in values} & {TensorProto.DOUBLE, *TYPES}
        if len(kinds) == 1 and any(array.dtype.kind == "f" for array in case.inputs.values()):
            return case
    return None


@pytest.mark.parametrize("operator", sorted({*OPS.names(), *TWINS.names()} - EXCEPTIONS.keys()))
def test_counterpart_gives_the_same_in_every_float_type(operator):
    case = _float_case(operator)
    assert case is not None, "no case in one float type: add one to float_cases, or the operator to EXCEPTIONS"
    expected = _outputs(case, TensorProto.DOUBLE, torch.float64)
    for kind, (dtype, ulp) in TYPES.items():
        for found, reference in zip(_outputs(case, kind, dtype), expected, strict=True):
            assert found.dtype == (dtype if reference.dtype == torch.float64 else reference.dtype)
            wide = found.double()
            worst = (wide - reference.double()).nan_to_num().abs().max().item() if found.numel() else 0.0
            largest = reference.double().nan_to_num(posinf=0.0, neginf=0.0).abs().max().item()
            assert worst <= ULPS * ulp * (largest + 1e-6), dtype
