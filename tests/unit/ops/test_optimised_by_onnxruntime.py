"""Models that onnxruntime's own optimizer and quantiser have rewritten are pruned as exactly as before."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from bridging import convnet, images
from contrib import TOLERANCE, assert_certified, assert_counterpart, sizes
from graphs import model_of
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

GELU = """g (float[N,5,12] x, float[12,16] w0, float[16] s, float[16] t, float[16,24] w1, float[24] b1, float[24,16] w2,
   float[16] b2, float[16] s2, float[16] t2, float[16,4] w3) => (float[N,5,4] y) {
  root = Constant<value_float=1.4142135>()  one = Constant<value_float=1.0>()  half = Constant<value_float=0.5>()
  a = MatMul(x, w0)
  n = LayerNormalization<axis=-1>(a, s, t)
  h = MatMul(n, w1)  hb = Add(h, b1)
  d = Div(hb, root)  e = Erf(d)  p = Add(e, one)  m = Mul(hb, p)  g = Mul(m, half)
  o = MatMul(g, w2)  ob = Add(o, b2)
  r = Add(ob, n)
  u = LayerNormalization<axis=-1>(r, s2, t2)
  k = Transpose<perm=[0,2,1]>(u)  q = MatMul(u, k)  z = Mul(q, half)
  v = MatMul(z, u)
  y = MatMul(v, w3)
}"""


class Batches(CalibrationDataReader):
    """Three batches for `convnet`."""

    def __init__(self) -> None:
        self._left = iter([{"x": images(4, seed)} for seed in range(3)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def optimised(proto: onnx.ModelProto, path) -> onnx.ModelProto:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def operators(proto: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in proto.graph.node}


def test_fused_convolutions_lose_the_same_channels(tmp_path):
    model = optimised(convnet(), tmp_path / "fused.onnx")
    assert "FusedConv" in operators(model)
    item = assert_certified(model)
    assert sizes(item) == [8, 12]
    assert_counterpart(model)


@pytest.mark.parametrize("approximate", [False, True])
def test_fused_transformer_layer_loses_the_same_channels(tmp_path, approximate):
    plain = model_of(GELU)
    model = optimised(plain, tmp_path / "fused.onnx")
    assert {"BiasGelu", "FusedMatMul", "SkipLayerNormalization"} <= operators(model)
    before, after = (assert_certified(m, approximate=approximate) for m in (plain, model))
    assert sizes(after) == sizes(before) == ([16, 24] if approximate else [24])
    assert_counterpart(model)


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
def test_statically_quantised_net_loses_the_same_channels(tmp_path, kind):
    source, target = tmp_path / "plain.onnx", tmp_path / "quantised.onnx"
    onnx.save(convnet(), source)
    quantize_static(source, target, Batches(), per_channel=True, activation_type=kind, weight_type=QuantType.QInt8)
    model = onnx.load(target)
    assert {"DequantizeLinear", "QuantizeLinear"} <= operators(model)
    assert sizes(assert_certified(model)) == [8, 12]
    assert_counterpart(model, TOLERANCE)


def test_dynamically_quantised_layers_lose_the_same_channels(tmp_path):
    source, target = tmp_path / "plain.onnx", tmp_path / "quantised.onnx"
    onnx.save(
        model_of(
            """g (float[N,5,12] x, float[12,16] w1, float[16] b1, float[16,4] w2) => (float[N,5,4] y) {
              a = MatMul(x, w1)
              c = Add(a, b1)
              r = Relu(c)
              y = MatMul(r, w2)
            }"""
        ),
        source,
    )
    # seven bits: on processors without VNNI, onnxruntime's product of uint8 and int8 saturates
    quantize_dynamic(source, target, per_channel=True, reduce_range=True)
    model = onnx.load(target)
    assert {"DynamicQuantizeLinear", "MatMulInteger"} <= operators(model)
    assert sizes(assert_certified(model)) == [16]
    assert_counterpart(model)
