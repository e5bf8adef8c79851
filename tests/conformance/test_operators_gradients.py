"""Gradients of every operator's PyTorch counterpart against finite differences, in float64.

The cases are those of the standard and our own, with all float tensors made float64 and moved by a
little noise, so that there are no ties and nothing stands on a kink. What an operator reads as an
option (a bound, a scale factor, a threshold) is held fixed, as it is in training.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from float_cases import cases_of, in_type
from node_cases import NodeCase
from onnx import TensorProto

from onnxprune.bridge import OnnxModule, to_torch
from onnxprune.bridge.roles import OPTION_SLOTS, STATISTIC_SLOTS
from onnxprune.ops import OPS
from onnxprune.ops.registry import TWINS

_WHOLE = "gives integers or truth values"
_STEPS = "takes steps: its slope is zero wherever it has one"
_SIZES = "reads sizes and positions only, and values that are options"
_QUANTISED = (
    "reads or gives integers; inside a model rounding is straight-through, see tests/unit/ops/test_quantization.py"
)
EXCEPTIONS = {
    "::And": _WHOLE, "::ArgMax": _WHOLE, "::ArgMin": _WHOLE, "::BitCast": "reads bytes as another type",
    "::BitShift": _WHOLE, "::BitwiseAnd": _WHOLE, "::BitwiseNot": _WHOLE, "::BitwiseOr": _WHOLE,
    "::BitwiseXor": _WHOLE, "::BlackmanWindow": _SIZES, "::Constant": _SIZES, "::ConstantOfShape": _SIZES,
    "::ConvInteger": _QUANTISED, "::DynamicQuantizeLinear": _QUANTISED, "::Equal": _WHOLE, "::EyeLike": _SIZES,
    "::Greater": _WHOLE, "::GreaterOrEqual": _WHOLE, "::HammingWindow": _SIZES, "::HannWindow": _SIZES,
    "::Hardmax": _STEPS, "::IsInf": _WHOLE, "::IsNaN": _WHOLE, "::Less": _WHOLE, "::LessOrEqual": _WHOLE,
    "::MatMulInteger": _QUANTISED, "::MelWeightMatrix": _SIZES, "::NonMaxSuppression": _WHOLE, "::NonZero": _WHOLE,
    "::Not": _WHOLE, "::OneHot": _SIZES, "::Or": _WHOLE, "::QLinearConv": _QUANTISED, "::QLinearMatMul": _QUANTISED,
    "::QuantizeLinear": _QUANTISED, "::Range": _SIZES, "::Shape": _SIZES, "::Size": _SIZES, "::Xor": _WHOLE,
}  # fmt: skip
"""Operators whose outputs have no gradient, and why."""

DOMAINS: dict[str, tuple[float, float]] = {
    "Acos": (-0.9, 0.9),
    "Acosh": (1.1, 9.0),
    "Asin": (-0.9, 0.9),
    "Atanh": (-0.9, 0.9),
    "Log": (0.1, 9.0),
    "Pow": (0.5, 9.0),
    "Sqrt": (0.1, 9.0),
}
"""Where an operator is defined and its slope is moderate."""

FIXED: dict[str, tuple[int, ...]] = OPTION_SLOTS | {
    "AffineGrid": (),
    "BatchNormalization": STATISTIC_SLOTS,
    "NegativeLogLikelihoodLoss": (2,),
    "SoftmaxCrossEntropyLoss": (2,),
}
"""Inputs that are not moved: options, and what PyTorch takes as given (running statistics, weights of classes)."""

NOISE = 0.03
FEW = 1
LARGE = 24


def _problem(case: NodeCase, *, wide: bool) -> tuple[Callable[..., tuple[torch.Tensor, ...]], list[torch.Tensor]]:
    """Returns the float outputs as a function of the float inputs, and those inputs; in float64 where `wide`."""
    rng = np.random.default_rng(len(case.name))
    module: OnnxModule = to_torch(in_type(case.model, TensorProto.DOUBLE) if wide else case.model)
    kind, names = case.node.op_type, dict(enumerate(case.node.input))
    given = {names.get(slot) for slot in FIXED.get(kind, ())}
    fixed: dict[str, torch.Tensor] = {}
    moving: dict[str, torch.Tensor] = {}
    for name, array in case.inputs.items():
        is_float = array.dtype.kind == "f"
        dtype = np.dtype(np.float64) if is_float and wide else array.dtype
        if not is_float or name in given:
            fixed[name] = torch.from_numpy(np.array(array, dtype=dtype))
            continue
        random = rng.uniform(-1, 1, array.shape)
        noisy = np.where(np.isfinite(array), array, random) + NOISE * random
        inside = np.clip(noisy, *DOMAINS.get(kind, (-np.inf, np.inf))) + rng.uniform(0, 1e-3, array.shape)
        moving[name] = torch.from_numpy(np.array(inside, dtype=dtype)).requires_grad_()

    def outputs(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = module.call_with({}, {**fixed, **dict(zip(moving, values, strict=True))})
        tensors = found if isinstance(found, tuple) else (found,)
        # scores that a mask made infinite have no slope
        return tuple(t.masked_fill(~t.isfinite(), 0.0) for t in tensors if t.is_floating_point())

    return outputs, list(moving.values())


def _has_gradient(case: NodeCase, *, wide: bool = True) -> bool:
    function, inputs = _problem(case, wide=wide)
    return any(t.requires_grad for t in function(*inputs))


def _wrong(case: NodeCase) -> str:
    """Returns how the gradients of a case differ from finite differences, or ""."""
    function, inputs = _problem(case, wide=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            fast = sum(t.numel() for t in inputs) > LARGE
            torch.autograd.gradcheck(function, inputs, fast_mode=fast, atol=1e-6, rtol=1e-4, check_undefined_grad=False)
        except RuntimeError as error:
            return str(error)
    return ""


@pytest.mark.parametrize("operator", sorted({*OPS.names(), *TWINS.names()} - EXCEPTIONS.keys()))
def test_gradients_are_those_of_finite_differences(operator):
    cases = list(itertools.islice(filter(_has_gradient, cases_of(operator)), FEW))
    assert cases, "no case has a gradient: add one to float_cases, or the operator to EXCEPTIONS with the reason"
    assert {case.name: _wrong(case) for case in cases if _wrong(case)} == {}


@pytest.mark.slow
@pytest.mark.parametrize("operator", sorted({*OPS.names(), *TWINS.names()} - EXCEPTIONS.keys()))
def test_gradients_of_every_case_are_those_of_finite_differences(operator):
    cases = filter(_has_gradient, cases_of(operator)[FEW:])
    found = ((case.name, _wrong(case)) for case in cases)
    assert {name: message for name, message in found if message} == {}


def test_operators_without_gradients_are_known_and_have_none():
    assert EXCEPTIONS.keys() <= {*OPS.names(), *TWINS.names()}
    assert [
        case.name for operator in EXCEPTIONS for case in cases_of(operator) if _has_gradient(case, wide=False)
    ] == []
