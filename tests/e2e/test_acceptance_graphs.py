"""What users of earlier tools complained about: kinds of graphs (cases 8, 9 and 15 of the list)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from graphs import model_of
from onnx import numpy_helper
from recount import macs

from onnxprune.cli.main import cli
from onnxprune.runtime import capture

BUDGET = 0.5
pytestmark = pytest.mark.usefixtures("quick_latency")


def filled(text: str, data: tuple[str, ...], constants: dict[str, Any], **options: Any) -> onnx.ModelProto:
    """Returns the model of a graph in ONNX text, with `constants` for inputs that hold no weights."""
    model = model_of(text, data=(*data, *constants), **options)
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        model.graph.input.remove(next(i for i in model.graph.input if i.name == name))
    onnx.checker.check_model(model)
    return model


def prune(model: onnx.ModelProto, tmp_path: Path, *options: str) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Returns the slim model and the report of `compress --flops 0.5`."""
    onnx.save(model, tmp_path / "net.onnx")
    words = ["compress", str(tmp_path / "net.onnx"), "--flops", str(BUDGET), "-o", str(tmp_path / "slim.onnx")]
    outcome = CliRunner().invoke(cli, [*words, "--align", "1", "--json", *options])
    assert outcome.exit_code == 0, outcome.output
    slim, report = onnx.load(tmp_path / "slim.onnx"), json.loads(outcome.stdout)
    onnx.checker.check_model(slim, full_check=True)
    assert report["certificate"]["passed"]
    shares = [macs(m) for m in (slim, model)]
    assert 0.98 * BUDGET <= shares[0] / shares[1] <= BUDGET
    return slim, report


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Returns initializer → shape."""
    return {i.name: tuple(i.dims) for i in model.graph.initializer}


def test_case_08_linear_reshape_transposed_convolution(tmp_path):
    model = filled(
        """g (float[N,10] z, int64[4] shape, float[10,192] w1, float[192] b1,
           float[12,16,4,4] w2, float[16] b2, float[3,16,3,3] w3)
           => (float[N,3,16,16] y) {
          h = Gemm(z, w1, b1)
          r = Relu(h)
          m = Reshape(r, shape)
          t = ConvTranspose<strides=[4,4]>(m, w2, b2)
          a = Relu(t)
          y = Conv<pads=[1,1,1,1]>(a, w3)
        }""",
        ("z",),
        {"shape": np.array([-1, 12, 4, 4])},
    )
    slim, _ = prune(model, tmp_path)
    shapes = shapes_of(slim)
    maps = shapes["w2"][0]
    assert maps < 12
    assert shapes["w1"] == (10, 16 * maps)
    target = numpy_helper.to_array(next(i for i in slim.graph.initializer if i.name == "shape"))
    assert list(target) == [-1, maps, 4, 4]


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_case_08_pixel_shuffle_keeps_its_blocks_and_loses_channels(tmp_path, mode):
    model = filled(
        f"""g (float[N,3,8,8] x, float[32,3,3,3] w1, float[32] b1, float[64,32,3,3] w2, float[64] b2,
           float[3,16,3,3] w3) => (float[N,3,16,16] y) {{
          a = Conv<pads=[1,1,1,1]>(x, w1, b1)
          r = Relu(a)
          c = Conv<pads=[1,1,1,1]>(r, w2, b2)
          s = DepthToSpace<blocksize=2, mode="{mode}">(c)
          t = Relu(s)
          y = Conv<pads=[1,1,1,1]>(t, w3)
        }}""",
        ("x",),
        {},
    )
    slim, report = prune(model, tmp_path)
    shapes = shapes_of(slim)
    assert shapes["w2"][0] == 4 * shapes["w3"][1]
    assert sorted(g["size"] for g in report["groups"]) == [16, 32]


def test_case_08_resize_to_constant_sizes(tmp_path):
    model = filled(
        """g (float[2,3,8,8] x, int64[4] sizes, float[24,3,3,3] w1, float[24] b1, float[24,24,3,3] w2,
           float[5,48,1,1] w3) => (float[2,5,8,8] y) {
          a = Conv<pads=[1,1,1,1]>(x, w1, b1)
          r = Relu(a)
          d = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
          c = Conv<pads=[1,1,1,1]>(d, w2)
          u = Resize<mode="nearest">(c, , , sizes)
          k = Concat<axis=1>(r, u)
          y = Conv(k, w3)
        }""",
        ("x",),
        {"sizes": np.array([2, 24, 8, 8])},
    )
    slim, _ = prune(model, tmp_path)
    sizes = numpy_helper.to_array(next(i for i in slim.graph.initializer if i.name == "sizes"))
    assert sizes[1] == shapes_of(slim)["w2"][0] < 24


ENCODER = """g (float[N,3,H,W] image, int64[1] minus, int64[1] one, int64[1] zero, int64[1] heads,
   int64[1] width, int64[1] neg, float[1] eps, float[1] n,
   float[32,3,4,4] w0, float[32] b0, float[32,32] wq, float[32] bq,
   float[32,32] wk, float[32] bk, float[32,32] wv, float[32] bv, float[32,32] wo, float[32] bo, float[32] g1,
   float[32] e1, float[32,64] w1, float[64] b1, float[64,32] w2, float[6,32] wc, float[6] bc) => (float[N,S,6] y) {
  p = Conv<strides=[4,4]>(image, w0, b0)
  r = Relu(p)
  sp = Shape(r)
  nb = Gather(sp, zero)
  ch = Gather(sp, one)
  flat = Concat<axis=0>(nb, ch, minus)
  f = Reshape(r, flat)
  t = Transpose<perm=[0,2,1]>(f)
  mean = ReduceMean<keepdims=1>(t, neg)
  d = Sub(t, mean)
  q2 = Mul(d, d)
  var = ReduceMean<keepdims=1>(q2, neg)
  ve = Add(var, eps)
  sd = Sqrt(ve)
  u = Div(d, sd)
  us = Mul(u, g1)
  h = Add(us, e1)
  qm = MatMul(h, wq)
  qb = Add(qm, bq)
  km = MatMul(h, wk)
  kb = Add(km, bk)
  vm = MatMul(h, wv)
  vb = Add(vm, bv)
  st = Shape(t)
  len = Gather(st, one)
  split = Concat<axis=0>(nb, len, heads, width)
  q4 = Reshape(qb, split)
  k4 = Reshape(kb, split)
  v4 = Reshape(vb, split)
  q = Transpose<perm=[0,2,1,3]>(q4)
  k = Transpose<perm=[0,2,3,1]>(k4)
  v = Transpose<perm=[0,2,1,3]>(v4)
  sq = Shape(q)
  wd = Gather(sq, neg)
  wf = Cast<to=1>(wd)
  ws = Sqrt(wf)
  qk = MatMul(q, k)
  sc = Div(qk, ws)
  at = Softmax<axis=-1>(sc)
  o4 = MatMul(at, v)
  ot = Transpose<perm=[0,2,1,3]>(o4)
  join = Concat<axis=0>(nb, len, minus)
  o = Reshape(ot, join)
  om = MatMul(o, wo)
  ob = Add(om, bo)
  x1 = Add(t, ob)
  m1 = MatMul(x1, w1)
  mb = Add(m1, b1)
  mr = Relu(mb)
  m2 = MatMul(mr, w2)
  x2 = Add(x1, m2)
  x2m = Mul(x2, n)
  wt = Transpose<perm=[1,0]>(wc)
  ym = MatMul(x2m, wt)
  y = Add(ym, bc)
}"""
ENCODER_CONSTANTS = {
    "minus": np.array([-1]),
    "one": np.array([1]),
    "zero": np.array([0]),
    "heads": np.array([4]),
    "width": np.array([8]),
    "neg": np.array([-1]),
    "eps": np.array([1e-5], dtype=np.float32),
    "n": np.array([0.5], dtype=np.float32),
}


def test_case_09_decomposed_encoder_with_shape_chains_and_dynamic_size(tmp_path):
    model = filled(ENCODER, ("image",), ENCODER_CONSTANTS)
    onnx.save(model, tmp_path / "net.onnx")
    words = ["compress", str(tmp_path / "net.onnx"), "--flops", "0.75", "-o", str(tmp_path / "slim.onnx"), "--json"]
    outcome = CliRunner().invoke(cli, [*words, "--align", "1"])
    assert outcome.exit_code == 0, outcome.output
    groups = json.loads(outcome.stdout)["groups"]
    # heads, width of query and key, width of value, hidden units; the residual width is behind the statistics
    assert sorted(g["size"] for g in groups) == [4, 8, 8, 64]
    slim = onnx.load(tmp_path / "slim.onnx")
    for batch, side in ((1, 16), (2, 24), (3, 32)):
        image = np.random.default_rng(0).normal(size=(batch, 3, side, side)).astype(np.float32)
        assert capture(slim, {"image": image}).shapes["y"] == (batch, (side // 4) ** 2, 6)


def test_case_09_pyramid_pooling_resized_to_a_size_read_at_run_time(tmp_path):
    model = filled(
        """g (float[N,3,H,W] x, int64[1] zero, int64[1] two, int64[1] four,
           float[24,3,3,3] w1, float[24] b1,
           float[16,24,3,3] wa, float[16,24,1,1] wb, float[16] bb, float[8,32,1,1] wc, float[4,8,1,1] wd)
           => (float[N,4,H,W] y) {
          a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w1, b1)
          r = Relu(a)
          p = Conv<pads=[2,2,2,2], dilations=[2,2]>(r, wa)
          g = GlobalAveragePool(r)
          q = Conv(g, wb, bb)
          qr = Relu(q)
          sp = Shape(p)
          hw = Slice(sp, two, four, zero)
          sq = Shape(qr)
          nc = Slice(sq, zero, two, zero)
          to = Concat<axis=0>(nc, hw)
          u = Resize<mode="linear">(qr, , , to)
          k = Concat<axis=1>(p, u)
          c = Conv(k, wc)
          cr = Relu(c)
          o = Conv(cr, wd)
          so = Shape(o)
          sn = Slice(so, zero, two, zero)
          sx = Shape(x)
          sh = Slice(sx, two, four, zero)
          full = Concat<axis=0>(sn, sh)
          y = Resize<mode="linear">(o, , , full)
        }""",
        ("x",),
        {"zero": np.array([0]), "two": np.array([2]), "four": np.array([4])},
    )
    slim, report = prune(model, tmp_path)
    assert sorted(g["size"] for g in report["groups"]) == [8, 16, 16, 24]
    image = np.random.default_rng(0).normal(size=(2, 3, 20, 28)).astype(np.float32)
    assert capture(slim, {"x": image}).shapes["y"] == (2, 4, 20, 28)


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_case_15_hidden_units_of_recurrent_layers_go(tmp_path, op):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    model = filled(
        f"""g (float[T,N,12] x, float[2,{gates * 16},12] w, float[2,{gates * 16},16] r, float[2,{gates * 32}] b,
           int64[3] shape, float[32,20] w1, float[20] b1, float[20,5] w2) => (float[T,N,5] y) {{
          a, h = {op}<hidden_size=16, direction="bidirectional">(x, w, r, b)
          t = Transpose<perm=[0,2,1,3]>(a)
          f = Reshape(t, shape)
          m = MatMul(f, w1)
          mb = Add(m, b1)
          mr = Tanh(mb)
          y = MatMul(mr, w2)
        }}""",
        ("x",),
        {"shape": np.array([0, 0, 32])},
    )
    onnx.save(model, tmp_path / "net.onnx")
    words = ["compress", str(tmp_path / "net.onnx"), "--params", "0.5", "-o", str(tmp_path / "slim.onnx"), "--json"]
    outcome = CliRunner().invoke(cli, [*words, "--align", "1"])
    assert outcome.exit_code == 0, outcome.output
    assert sorted(g["size"] for g in json.loads(outcome.stdout)["groups"]) == [16, 20]
    slim = onnx.load(tmp_path / "slim.onnx")
    hidden = next(a.i for node in slim.graph.node for a in node.attribute if a.name == "hidden_size")
    shapes = shapes_of(slim)
    assert hidden < 16
    assert (shapes["w"], shapes["r"]) == ((2, gates * hidden, 12), (2, gates * hidden, hidden))
    assert shapes["w1"][0] == 2 * hidden


def test_case_15_grouped_query_attention_loses_key_value_groups_and_widths(tmp_path):
    model = filled(
        """g (float[N,6,32] x, int64[4] qs, int64[4] ks, int64[5] up, int64[5] rep, int64[4] full, int64[3] join,
           float[1] scale, float[32,64] wq, float[32,16] wk, float[32,16] wv, float[64,32] wo, float[32,7] wy)
           => (float[N,6,7] y) {
          q0 = MatMul(x, wq)
          q1 = Reshape(q0, qs)
          q = Transpose<perm=[0,2,1,3]>(q1)
          k0 = MatMul(x, wk)
          k1 = Reshape(k0, ks)
          k2 = Transpose<perm=[0,2,1,3]>(k1)
          k3 = Reshape(k2, up)
          k4 = Expand(k3, rep)
          k5 = Reshape(k4, full)
          k = Transpose<perm=[0,1,3,2]>(k5)
          v0 = MatMul(x, wv)
          v1 = Reshape(v0, ks)
          v2 = Transpose<perm=[0,2,1,3]>(v1)
          v3 = Reshape(v2, up)
          v4 = Expand(v3, rep)
          v = Reshape(v4, full)
          s = MatMul(q, k)
          sc = Mul(s, scale)
          a = Softmax<axis=-1>(sc)
          o = MatMul(a, v)
          ot = Transpose<perm=[0,2,1,3]>(o)
          oj = Reshape(ot, join)
          r = MatMul(oj, wo)
          t = Add(x, r)
          y = MatMul(t, wy)
        }""",
        ("x",),
        {
            "qs": np.array([0, 0, 8, 8]),
            "ks": np.array([0, 0, 2, 8]),
            "up": np.array([0, 2, 1, 6, 8]),
            "rep": np.array([1, 1, 4, 1, 1]),
            "full": np.array([-1, 8, 6, 8]),
            "join": np.array([0, 0, 64]),
            "scale": np.array([0.3535], dtype=np.float32),
        },
    )
    slim, report = prune(model, tmp_path)
    # two key-value groups, four queries each, width of query and key, width of value
    assert sorted(g["size"] for g in report["groups"]) == [2, 4, 8, 8]
    shapes = shapes_of(slim)
    assert shapes["wq"][1] < 64
    assert shapes["wk"][1] <= 16
