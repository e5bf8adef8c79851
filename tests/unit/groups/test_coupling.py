"""Which channels go together, on the graphs where other tools failed their users."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of
from pruning import analysed, disagreement, plan_of, random_plan

TOLERANCE = 1e-5

RESIDUAL = """g (float[N,3,8,8] x, float[16,3,3,3] w1, float[16] b1, float[16,16,3,3] w2, float[16] b2,
   float[4,16,1,1] w3) => (float[N,4,8,8] y) {
  a = Conv<pads=[1,1,1,1]>(x, w1, b1)
  r = Relu(a)
  c = Conv<pads=[1,1,1,1]>(r, w2, b2)
  s = Add(c, r)
  t = Relu(s)
  y = Conv(t, w3)
}"""


def test_residual_addition_couples_both_producers():
    item = analysed(model_of(RESIDUAL))
    assert [g.size for g in item.analysis.groups] == [16]
    producers = {(m.node, m.axis) for m in item.analysis.groups[0].producers}
    assert producers == {("conv_0", 0), ("conv_2", 0)}
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_input_and_output_channels_are_frozen_with_their_names():
    item = analysed(model_of(RESIDUAL))
    assert "input 'x' of the model" in item.reasons("conv_0")
    assert "output 'y' of the model" in item.reasons("conv_5")


CONCATS = {
    "same tensor twice": "k = Concat<axis=1>(a, a)",
    "two producers": "k = Concat<axis=1>(a, b)",
    "producer and its activation": "r = Sigmoid(a)  k = Concat<axis=1>(a, r)",
    "concatenation then addition": "k0 = Concat<axis=1>(a, b)  k = Add(k0, c)",
}


@pytest.mark.parametrize("join", CONCATS.values(), ids=CONCATS.keys())
def test_concatenation_keeps_parts_apart(join):
    item = analysed(
        model_of(
            f"""g (float[N,3,6,6] x, float[8,3,1,1] wa, float[8] ba, float[8,3,1,1] wb, float[16,3,1,1] wc,
                   float[5,16,3,3] wo) => (float[N,5,4,4] y) {{
              a = Conv(x, wa, ba)
              b = Conv(x, wb)
              c = Conv(x, wc)
              {join}
              y = Conv(k, wo)
            }}"""
        )
    )
    assert item.analysis.groups
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE


def test_concatenation_of_a_tensor_with_itself_is_one_group():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w, float[5,16,1,1] wo) => (float[N,5,6,6] y) {
      a = Conv(x, w)
      k = Concat<axis=1>(a, a)
      y = Conv(k, wo)
    }"""
    item = analysed(model_of(text))
    (group,) = item.analysis.groups
    consumer = next(m for m in group.members if m.role == "consumer")
    assert item.analysis.labels(group.name, consumer).tolist() == [*range(8), *range(8)]


SHUFFLE = """g (float[N,3,8,8] x, float[16,3,1,1] w0, float[8,8,1,1] w1, float[8] b1, float[8,1,3,3] wd,
   float[8,8,1,1] w2, float[5,16,1,1] wo) => (float[N,5,8,8] y) {
  s = Conv(x, w0)
  p, q = Split<axis=1, num_outputs=2>(s)
  a = Conv(q, w1, b1)
  r = Relu(a)
  d = Conv<group=8, pads=[1,1,1,1]>(r, wd)
  e = Conv(d, w2)
  k = Concat<axis=1>(p, e)
  shape1 = Constant<value_ints=[-1,2,8,8,8]>()
  u = Reshape(k, shape1)
  v = Transpose<perm=[0,2,1,3,4]>(u)
  shape2 = Constant<value_ints=[-1,16,8,8]>()
  z = Reshape(v, shape2)
  f = Relu(z)
  y = Conv(f, wo)
}"""


def test_channel_shuffle_with_dynamic_batch_runs_at_every_batch_size():
    item = analysed(model_of(SHUFFLE))
    assert item.group("conv_2") == item.group("conv_4")
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed), batches=(1, 2, 6)) < TOLERANCE


def test_spatial_mask_does_not_couple_and_squeeze_excite_gate_does():
    text = """g (float[N,3,8,8] x, float[12,3,3,3] w1, float[1,3,3,3] wm, float[6,12,1,1] wr, float[12,6,1,1] we,
       float[12] be, float[4,12,1,1] wo) => (float[N,4,6,6] y) {
      a = Conv(x, w1)
      m = Conv(x, wm)
      ms = Sigmoid(m)
      b = Mul(a, ms)
      g = GlobalAveragePool(b)
      h = Conv(g, wr)
      i = Relu(h)
      j = Conv(i, we, be)
      k = Sigmoid(j)
      l = Mul(b, k)
      y = Conv(l, wo)
    }"""
    item = analysed(model_of(text))
    assert sorted(g.size for g in item.analysis.groups) == [6, 12]
    assert item.group("conv_0") == item.group("conv_7")
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


@pytest.mark.parametrize("activation", ["Sigmoid", "Exp", "Cos", "Softplus", "Tanh", "Relu", "HardSigmoid"])
def test_bias_and_batch_norm_shift_survive_masking(activation):
    text = f"""g (float[N,3,6,6] x, float[8,3,3,3] w1, float[8] b1, float[8] gamma, float[8] beta, float[8] mean,
       float[8] var, float[8,8,3,3] w2, float[8] b2, float[3,8,1,1] wo) => (float[N,3,2,2] y) {{
      a = Conv(x, w1, b1)
      n = BatchNormalization(a, gamma, beta, mean, var)
      r = {activation}(n)
      c = Conv(r, w2, b2)
      s = {activation}(c)
      y = Conv(s, wo)
    }}"""
    item = analysed(model_of(text))
    assert [g.size for g in item.analysis.groups] == [8, 8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_logarithm_of_channels_is_frozen_with_the_reason():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w1, float[3,8,1,1] wo) => (float[N,3,6,6] y) {
      a = Conv(x, w1)
      r = Exp(a)
      l = Log(r)
      y = Conv(l, wo)
    }"""
    item = analysed(model_of(text))
    assert item.analysis.groups == ()
    assert "Log 'log_2' is not finite on masked channels" in item.reasons("conv_0")


def test_division_by_a_weight_masks_it_to_one():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w1, float[1,8,1,1] d, float[3,8,1,1] wo) => (float[N,3,6,6] y) {
      a = Conv(x, w1)
      q = Div(a, d)
      y = Conv(q, wo)
    }"""
    item = analysed(model_of(text))
    assert item.analysis.fills == {"d": 1}
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_product_of_two_activations_sums_only_over_zeroed_channels():
    text = """g (float[N,5,8] x, float[8,12] wq, float[8,12] wk, float[8,6] wv, float[6,4] wo) => (float[N,5,4] y) {
      q = MatMul(x, wq)
      k = MatMul(x, wk)
      kt = Transpose<perm=[0,2,1]>(k)
      s = MatMul(q, kt)
      p = Softmax<axis=-1>(s)
      v = MatMul(x, wv)
      c = MatMul(p, v)
      y = MatMul(c, wo)
    }"""
    item = analysed(model_of(text))
    assert item.group("matmul_0") == item.group("matmul_1")
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    gated = text.replace("s = MatMul(q, kt)", "e = Sigmoid(q)  f = Sigmoid(kt)  s = MatMul(e, f)")
    frozen = analysed(model_of(gated))
    assert "sums over channels that are not zero where masked" in frozen.reasons("matmul_0")


def test_sum_over_channels_is_exact_and_mean_is_frozen():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w1, float[4,3,1,1] wo) => (float[N,4,6,6] y) {
      a = Conv(x, w1)
      r = Relu(a)
      axes = Constant<value_ints=[1]>()
      m = REDUCE(r, axes)
      c = Conv(x, wo)
      y = Mul(c, m)
    }"""
    summed = analysed(model_of(text.replace("REDUCE", "ReduceSum")))
    assert [g.size for g in summed.analysis.groups] == [8]
    assert disagreement(summed, random_plan(summed.analysis)) < TOLERANCE
    mean = analysed(model_of(text.replace("REDUCE", "ReduceMean")))
    assert mean.analysis.groups == ()
    assert "takes statistics over this axis" in mean.reasons("conv_0")


def test_zero_padded_shortcut_prunes_the_padding_too():
    text = """g (float[N,3,8,8] x, float[8,3,3,3] w1, float[16,8,3,3] w2, float[4,16,1,1] wo) => (float[N,4,4,4] y) {
      a = Conv<pads=[1,1,1,1]>(x, w1)
      r = Relu(a)
      b = Conv<pads=[1,1,1,1], strides=[2,2]>(r, w2)
      h = AveragePool<kernel_shape=[2,2], strides=[2,2]>(r)
      pads = Constant<value_ints=[0,4,0,0,0,4,0,0]>()
      p = Pad(h, pads)
      s = Add(b, p)
      y = Conv(s, wo)
    }"""
    item = analysed(model_of(text))
    assert sorted(g.size for g in item.analysis.groups) == [4, 4, 8]
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE


def test_strided_slice_shuffles_and_halves_subtract():
    text = """g (float[N,3,6,6] x, float[16,3,1,1] w1, float[4,8,1,1] wo) => (float[N,4,6,6] y) {
      a = Conv(x, w1)
      s0 = Constant<value_ints=[0]>()  e0 = Constant<value_ints=[8]>()
      big = Constant<value_ints=[9223372036854775807]>()
      one = Constant<value_ints=[1]>()
      p = Slice(a, s0, e0, one)
      q = Slice(a, e0, big, one)
      d = Sub(p, q)
      r = Relu(d)
      y = Conv(r, wo)
    }"""
    item = analysed(model_of(text))
    assert [(g.size, g.multiple) for g in item.analysis.groups] == [(8, 2)]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_flattened_features_follow_their_channels():
    text = """g (float[N,3,6,6] x, float[8,3,3,3] w1, float[128,10] w2, float[10] b2, float[4,10] w3)
    => (float[N,4] y) {
      a = Conv(x, w1)
      r = Relu(a)
      shape = Constant<value_ints=[-1,128]>()
      f = Reshape(r, shape)
      g = Gemm(f, w2, b2)
      t = Tanh(g)
      y = Gemm<transB=1>(t, w3)
    }"""
    item = analysed(model_of(text))
    assert [(g.name, g.size, g.multiple) for g in item.analysis.groups] == [("conv_0", 8, 16), ("gemm_4", 10, 1)]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_convolution_follows_its_input(multiplier):
    text = f"""g (float[N,3,6,6] x, float[8,3,1,1] w1, float[{8 * multiplier},1,3,3] wd, float[{8 * multiplier}] bd,
       float[4,{8 * multiplier},1,1] wo) => (float[N,4,4,4] y) {{
      a = Conv(x, w1)
      d = Conv<group=8>(a, wd, bd)
      y = Conv(d, wo)
    }}"""
    item = analysed(model_of(text))
    assert sorted(g.size for g in item.analysis.groups) == ([8] if multiplier == 1 else [2, 8])
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_grouped_convolution_drops_groups_and_channels_within(op):
    weight = "float[12,4,3,3]" if op == "Conv" else "float[16,3,3,3]"
    text = f"""g (float[N,3,6,6] x, float[16,3,1,1] w1, {weight} wg, float[12] bg, float[4,12,1,1] wo)
    => (float[N,4,P,Q] y) {{
      a = Conv(x, w1)
      r = Relu(a)
      d = {op}<group=4>(r, wg, bg)
      t = Sigmoid(d)
      y = Conv(t, wo)
    }}"""
    item = analysed(model_of(text))
    assert sorted(g.size for g in item.analysis.groups) == [3, 4, 4]
    for seed in range(4):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE


def test_unknown_operator_freezes_what_it_touches_and_nothing_else():
    text = """g (float[N,3,6,6] x, float[8,3,3,3] w1, float[8,8,3,3] w2, float[4,8,1,1] wo) => (float[N,4,2,2] y) {
      a = Conv(x, w1)
      r = Relu(a)
      b = Conv(r, w2)
      l = Bernoulli(b)
      y = Conv(l, wo)
    }"""
    item = analysed(model_of(text))
    assert [g.name for g in item.analysis.groups] == ["conv_0"]
    assert "Bernoulli 'bernoulli_3' has no axis rule" in item.reasons("conv_2")
    assert item.analysis.unknown_ops == {"Bernoulli": 1}


def test_weight_shared_by_two_layers_loses_the_same_channels():
    text = """g (float[N,3,6,6] x, float[N,3,6,6] z, float[8,3,3,3] w1, float[4,8,1,1] wo) => (float[N,4,4,4] y) {
      a = Conv(x, w1)
      b = Conv(z, w1)
      ra = Relu(a)
      rb = Relu(b)
      m = Mul(ra, rb)
      y = Conv(m, wo)
    }"""
    item = analysed(model_of(text, data=("x", "z")))
    assert [g.size for g in item.analysis.groups] == [8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_costs_are_those_of_the_whole_model_and_of_the_kept_counts():
    item = analysed(model_of(RESIDUAL))
    analysis = item.analysis
    assert analysis.macs(analysis.sizes) == 64 * (16 * 3 * 9 + 16 * 16 * 9 + 4 * 16)
    assert analysis.params(analysis.sizes) == 16 * 27 + 16 + 16 * 144 + 16 + 64
    assert analysis.macs({"conv_0": 5}) == 64 * (5 * 27 + 5 * 5 * 9 + 4 * 5)


def test_surgery_of_the_same_plan_gives_the_same_graph():
    item = analysed(model_of(SHUFFLE))
    from onnxprune.groups import prune

    plan = random_plan(item.analysis)
    first, second = (prune(item.model, item.analysis, plan).to_proto() for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


def test_kept_channels_stay_in_order_with_their_values():
    item = analysed(model_of(RESIDUAL))
    from onnxprune.groups import prune

    keep = (0, 3, 7)
    slim = prune(item.model, item.analysis, plan_of(item.analysis, {"conv_0": keep}))
    assert np.array_equal(slim.read("w1"), item.model.read("w1")[list(keep)])
    assert np.array_equal(slim.read("w2"), item.model.read("w2")[np.ix_(keep, keep)])


HEADS = """g (float[N,T,12] x, CONSTANTS, float[12,24] w, float[24,24] v, float[24,5] o)
    => (float[N,T,5] y) {
  a = MatMul(x, w)
  s4 = Shape(x)
  nt = Slice(s4, first, second)
  hd = Concat<axis=0>(nt, heads)
  b = Reshape(a, hd)
  c = Transpose<perm=[0,2,1,3]>(b)
  cs = Shape(c)
  length = Slice(cs, second, third)
  width = Slice(cs, third, fourth)
  three = Concat<axis=0>(minus, length, width)
  d = Reshape(c, three)
  e = Relu(d)
  cf = Reshape(e, cs)
  f = Transpose<perm=[0,2,1,3]>(cf)
  fs = Concat<axis=0>(nt, minus)
  h = Reshape(f, fs)
  k = MatMul(h, v)
  r = Relu(k)
  y = MatMul(r, o)
}"""


def test_inferred_entry_of_a_computed_target_may_depend_on_what_is_kept():
    """[batch, heads, length, width] to [-1, length, width] and back, as exporters write attention."""
    import onnx
    from onnx import numpy_helper

    constants = {"first": [0], "second": [2], "third": [3], "fourth": [4], "minus": [-1], "heads": [4, 6]}
    declared = ", ".join(f"int64[{len(v)}] {n}" for n, v in constants.items())
    text = HEADS.replace("CONSTANTS", declared)
    model = model_of(text, data=("x", *constants))
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
        model.graph.input.remove(next(i for i in model.graph.input if i.name == name))
    onnx.checker.check_model(model)
    item = analysed(model)
    assert sorted(g.size for g in item.analysis.groups) == [4, 6, 24]
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed), seed=seed) < TOLERANCE


PACKED = """g (float[N,T,8] x, float[24,8] w, float[24] b, float[8,5] o) => (float[N,T,5] y) {
  zero = Constant<value_ints=[0]>()  eight = Constant<value_ints=[8]>()  end = Constant<value_ints=[24]>()
  wq = Slice(w, zero, eight, zero)  bq = Slice(b, zero, eight, zero)
  wr = Slice(w, START, end, zero)  br = Slice(b, eight, end, zero)
  tq = Transpose<perm=[1,0]>(wq)  tr = Transpose<perm=[1,0]>(wr)
  q0 = MatMul(x, tq)  q = Add(q0, bq)
  r0 = MatMul(x, tr)  r = Add(r0, br)
  k, v = Split<axis=-1, num_outputs=2>(r)
  kt = Transpose<perm=[0,2,1]>(k)
  s = MatMul(q, kt)  a = Softmax<axis=-1>(s)
  m = MatMul(a, v)
  y = MatMul(m, o)
}"""


def test_parts_of_a_packed_weight_are_weights_of_their_own():
    item = analysed(model_of(PACKED.replace("START", "eight")))
    assert sorted(g.size for g in item.analysis.groups) == [8, 8]
    assert not {"Slice", "Transpose"} & {node.op for node in item.model.nodes if node.name.startswith("slice")}
    assert float(item.analysis.params(item.analysis.sizes)) == 24 * 8 + 24 + 40
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_parts_that_overlap_stay_one_weight():
    text = """g (float[N,T,8] x, float[8,12] w, float[20,5] o) => (float[N,T,5] y) {
      zero = Constant<value_ints=[0]>()  four = Constant<value_ints=[4]>()
      end = Constant<value_ints=[12]>()  axis = Constant<value_ints=[1]>()
      a = Slice(w, zero, end, axis)  b = Slice(w, four, end, axis)
      p = MatMul(x, a)  q = MatMul(x, b)
      c = Concat<axis=-1>(p, q)
      r = Relu(c)
      y = MatMul(r, o)
    }"""
    item = analysed(model_of(text))
    assert "w" in item.model.initializers()
    # columns 0 to 3 are read once, 4 to 11 twice
    assert sorted(g.size for g in item.analysis.groups) == [4, 8]
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


COSINE = """g (float[N,5,12] x, float[12,8] wq, float[12,8] wk, float[12,8] wv, float[8,5] wo) => (float[N,5,5] y) {
  last = Constant<value_ints=[-1]>()  like = Constant<value_ints=[1,1,8]>()
  least = Constant<value_float=BOUND>()
  q = MatMul(x, wq)  k = MatMul(x, wk)  v = MatMul(x, wv)
  qn = ReduceL2<keepdims=1>(q, last)  qc = Clip(qn, least)  qe = Expand(qc, like)  qd = Div(q, qe)
  kn = ReduceL2<keepdims=1>(k, last)  kc = Clip(kn, least)  ke = Expand(kc, like)  kd = Div(k, ke)
  kt = Transpose<perm=[0,2,1]>(kd)
  s = MatMul(qd, kt)  a = Softmax<axis=-1>(s)
  o = MatMul(a, v)
  y = MatMul(o, wo)
}"""


@pytest.mark.parametrize(("bound", "expected"), [("1e-6", [8, 8]), ("0.0", [8])])
def test_channels_are_divided_by_what_never_vanishes(bound, expected):
    item = analysed(model_of(COSINE.replace("BOUND", bound)))
    assert [g.size for g in item.analysis.groups] == expected
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
