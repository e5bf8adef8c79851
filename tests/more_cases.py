"""One-node models that ONNX's node tests lack: onnxruntime's own domain, and standard operators in other shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

__all__ = ["MORE", "MoreCase"]

MICROSOFT = "com.microsoft"
Shape = Sequence[int] | None


@dataclass(frozen=True)
class MoreCase:
    """How to build one model.

    Attributes:
        operator: Operator type.
        shapes: Shape of each float32 input; None leaves an optional one out.
        outputs: Number of outputs.
        attributes: Of the node.
        values: Slot → value, for inputs that are not random numbers.
        domain: Operator domain.
        opset: Version of the default operator set.
    """

    operator: str
    shapes: tuple[Shape, ...]
    outputs: int = 1
    attributes: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[int, NDArray[Any]] = field(default_factory=dict)
    domain: str = ""
    opset: int = 18

    @property
    def name(self) -> str:
        """What failures call it."""
        return f"{self.domain}::{self.operator} {dict(self.attributes)} {list(self.shapes)}"

    def build(self) -> tuple[onnx.ModelProto, dict[str, NDArray[Any]]]:
        """Returns the model, every input of the node an input of it, and arrays for them."""
        rng = np.random.default_rng(len(self.name))
        arrays: dict[str, NDArray[Any]] = {}
        names = []
        for slot, shape in enumerate(self.shapes):
            names.append("" if shape is None and slot not in self.values else f"i{slot}")
            if slot in self.values:
                arrays[names[-1]] = np.asarray(self.values[slot])
            elif shape is not None:
                arrays[names[-1]] = rng.uniform(-1, 1, shape).astype(np.float32)
        inputs = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in arrays.items()
        ]
        results = [f"o{slot}" for slot in range(self.outputs)]
        node = helper.make_node(self.operator, names, results, name="node", domain=self.domain, **self.attributes)
        graph = helper.make_graph([node], "case", inputs, [onnx.ValueInfoProto(name=name) for name in results])
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        _declare_outputs(model, arrays)
        return model, arrays


def _declare_outputs(model: onnx.ModelProto, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Gives the outputs the types and shapes that onnxruntime gives them."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for value, array in zip(model.graph.output, session.run(None, dict(arrays)), strict=True):
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, array.shape))


def _contrib(
    operator: str, *shapes: Shape, outputs: int = 1, values: Mapping[int, Any] | None = None, **attributes: Any
) -> MoreCase:
    return MoreCase(operator, shapes, outputs, attributes, values or {}, MICROSOFT)


def _plain(
    operator: str, *shapes: Shape, outputs: int = 1, values: Mapping[int, Any] | None = None, **attributes: Any
) -> MoreCase:
    return MoreCase(operator, shapes, outputs, attributes, values or {})


def _int32(*values: int) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


_BOOLS = {0: np.array([[True, False, True]]), 1: np.array([[True], [False]])}
_TURNS = np.linspace(0, 2, 10, dtype=np.float32).reshape(5, 2)

MORE: tuple[MoreCase, ...] = (
    _plain("Conv", (2, 4, 9), (6, 4, 3), (6,)),
    _plain("Conv", (2, 4, 5, 5), (6, 2, 3, 3), group=2),
    _plain("Conv", (1, 4, 5, 5), (8, 1, 3, 3), (8,), group=4),
    _plain("Conv", (1, 2, 4, 4, 4), (4, 2, 3, 3, 3)),
    _plain("ConvTranspose", (1, 4, 5), (4, 6, 2), (6,), strides=[2]),
    _plain("ConvTranspose", (1, 4, 3, 3), (4, 3, 2, 2), (6,), strides=[2, 2], group=2),
    _plain("Gemm", (3, 4), (4, 5), (5,), alpha=0.5, beta=2.0),
    _plain("Gemm", (4, 3), (5, 4), transA=1, transB=1),
    _plain("MatMul", (2, 3, 4, 5), (3, 5, 6)),
    _plain("MatMul", (4,), (2, 4, 3)),
    _plain("Einsum", (2, 3, 4), (4, 2, 5), equation="btc,chd->bthd"),
    _plain("Einsum", (2, 3, 4), (2, 5, 4), equation="bic,bjc->bij"),
    _plain("And", None, None, values=_BOOLS),
    _plain("Or", None, None, values=_BOOLS),
    _plain("Xor", None, None, values=_BOOLS),
    _plain("Not", None, values={0: _BOOLS[0]}),
    _plain("Add", (2, 3, 4, 4), (3, 1, 1)),
    _plain("Mul", (1, 3, 1, 1), (2, 3, 4, 4)),
    _plain("PRelu", (2, 3, 4, 4), (3, 1, 1)),
    _plain("Concat", (2, 3, 4), (2, 5, 4), axis=1),
    _plain("GlobalLpPool", (2, 3, 4, 4), p=3),
    _plain("InstanceNormalization", (2, 3, 5), (3,), (3,)),
    _plain("SimplifiedLayerNormalization", (2, 3, 6), (6,), axis=-1),
    MoreCase("Upsample", ((1, 3, 2, 2), None), values={1: np.array([1, 1, 2, 2], np.float32)}, opset=9),
    # four places in, four out: onnxruntime copies them, and does not interpolate
    _plain("Resize", (1, 2, 4, 4), None, None, values={2: np.array([1, 1, 1.2, 1], np.float32)}, mode="linear"),
    _plain("LSTM", (5, 2, 4), (1, 12, 4), (1, 12, 3), (1, 24), outputs=3, hidden_size=3),
    _plain("LSTM", (5, 2, 4), (2, 12, 4), (2, 12, 3), outputs=3, hidden_size=3, direction="bidirectional"),
    _plain("GRU", (5, 2, 4), (1, 9, 4), (1, 9, 3), (1, 18), outputs=2, hidden_size=3, linear_before_reset=1),
    _plain("RNN", (5, 2, 4), (1, 3, 4), (1, 3, 3), (1, 6), outputs=2, hidden_size=3),
    _contrib("BiasGelu", (2, 3, 4), (4,)),
    _contrib("FastGelu", (2, 3, 4), (4,)),
    _contrib("Gelu", (2, 3, 4)),
    _contrib("QuickGelu", (2, 3, 4), alpha=1.7),
    _contrib("FusedConv", (1, 4, 5, 5), (6, 4, 3, 3), (6,), activation="Relu"),
    _contrib("FusedConv", (1, 4, 5, 5), (6, 2, 3, 3), (6,), (1, 6, 3, 3), group=2, activation="Relu"),
    _contrib("FusedGemm", (3, 4), (4, 5), (5,), activation="Relu"),
    _contrib("FusedGemm", (4, 3), (5, 4), (5,), activation="Tanh", transA=1, transB=1),
    _contrib("FusedMatMul", (2, 3, 4), (4, 5), alpha=0.5),
    _contrib("FusedMatMul", (2, 4, 3), (2, 5, 4), transA=1, transB=1),
    _contrib("Attention", (2, 5, 6), (6, 24), (24,), num_heads=2),
    _contrib("MultiHeadAttention", (2, 5, 8), (2, 3, 8), (2, 3, 12), num_heads=2),
    _contrib("MultiHeadAttention", (2, 5, 8), (2, 3, 8), (2, 3, 8), (24,), num_heads=4),
    _contrib(
        "GroupQueryAttention", (2, 5, 64), (2, 5, 32), (2, 5, 32), None, None, None, None, outputs=3,
        values={5: _int32(4, 4), 6: np.array(5, np.int32)}, num_heads=4, kv_num_heads=2,
    ),
    _contrib(
        "RotaryEmbedding", (1, 5, 8), None, None, None, num_heads=2,
        values={1: np.arange(5).reshape(1, 5), 2: np.cos(_TURNS), 3: np.sin(_TURNS)},
    ),
    _contrib("SkipLayerNormalization", (2, 3, 6), (2, 3, 6), (6,), (6,), (6,)),
    _contrib("SkipSimplifiedLayerNormalization", (2, 3, 6), (2, 3, 6), (6,), (6,)),
    _contrib(
        "EmbedLayerNormalization", None, None, (7, 6), (5, 6), None, (6,), (6,), outputs=2,
        values={0: np.array([[1, 2, 3]], np.int32)},
    ),
)  # fmt: skip
