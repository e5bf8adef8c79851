"""FusedMatMul and FusedGemm."""

from __future__ import annotations

import itertools

import pytest
from contrib import assert_certified, assert_counterpart, contrib_model, sizes
from pruning import analysed

FLAGS = list(itertools.product((0, 1), repeat=4))


def layers(trans: int):
    weight = "float[16,12]" if trans else "float[12,16]"
    return contrib_model(
        f"""g (float[N,5,12] x, {weight} w1, float[16] b1, float[16,4] w2) => (float[N,5,4] y) {{
          a = com.microsoft.FusedMatMul<alpha=0.5, transB={trans}>(x, w1)
          c = Add(a, b1)
          r = Sigmoid(c)
          y = MatMul(r, w2)
        }}"""
    )


@pytest.mark.parametrize("trans", [0, 1])
def test_columns_go_and_are_produced(trans):
    item = assert_certified(layers(trans))
    assert sizes(item) == [16]
    (producer,) = item.analysis.groups[0].producers
    assert (producer.node, producer.axis) == ("fusedmatmul_0", 1 - trans)
    assert item.analysis.node_macs["fusedmatmul_0"](item.analysis.sizes) == 5 * 12 * 16


def attention(flags: tuple[int, int, int, int]):
    """Scores of queries [B, S, 4, 8] and keys: each transposed so that FusedMatMul undoes it."""
    trans_a, trans_b, batch_a, batch_b = flags

    def perm(trans: int, batch: int, wants: list[int]) -> str:
        # `wants` puts rows and columns last; then trans and transBatch are undone
        order = list(wants)
        if trans:
            order[-2:] = order[:-3:-1]
        if batch:
            order = [order[-2], *order[:-2], order[-1]]
        return ",".join(str(i) for i in order)

    return contrib_model(
        f"""g (float[N,5,12] x, float[12,32] wq, float[12,32] wk, float[12,32] wv, float[32,4] wo)
        => (float[N,5,4] y) {{
          shape = Constant<value_ints=[0,0,4,8]>()
          q = MatMul(x, wq)  q1 = Reshape(q, shape)  q2 = Transpose<perm=[{perm(trans_a, batch_a, [0, 2, 1, 3])}]>(q1)
          k = MatMul(x, wk)  k1 = Reshape(k, shape)  k2 = Transpose<perm=[{perm(trans_b, batch_b, [0, 2, 3, 1])}]>(k1)
          v = MatMul(x, wv)  v1 = Reshape(v, shape)  v2 = Transpose<perm=[0,2,1,3]>(v1)
          s = com.microsoft.FusedMatMul<alpha=0.35, transA={trans_a}, transB={trans_b}, transBatchA={batch_a},
                                        transBatchB={batch_b}>(q2, k2)
          p = Softmax<axis=-1>(s)
          c = MatMul(p, v2)
          c1 = Transpose<perm=[0,2,1,3]>(c)
          flat = Constant<value_ints=[0,0,32]>()
          c2 = Reshape(c1, flat)
          y = MatMul(c2, wo)
        }}"""
    )


@pytest.mark.parametrize("flags", FLAGS)
def test_heads_and_their_widths_go_whatever_is_transposed(flags):
    assert sizes(assert_certified(attention(flags))) == [4, 8, 8]


@pytest.mark.parametrize("flags", FLAGS)
def test_product_gives_onnxruntimes_outputs(flags):
    assert_counterpart(attention(flags))


def test_contraction_of_channels_that_do_not_mask_to_zero_is_frozen():
    text = """g (float[N,5,12] x, float[12,8] wq, float[12,8] wk) => (float[N,5,5] y) {
      q = MatMul(x, wq)  k = MatMul(x, wk)
      a = Sigmoid(q)  b = Sigmoid(k)
      y = com.microsoft.FusedMatMul<transB=1>(a, b)
    }"""
    item = analysed(contrib_model(text))
    assert sizes(item) == []
    assert "sums over channels that are not zero where masked" in item.reasons("matmul_0")


ACTIVATIONS = ("Relu", "Tanh", "Sigmoid", "LeakyRelu", "Elu", "Softplus", "Softsign", "ThresholdedRelu")


def gemm(activation: str, after: str = "f = Identity(a)"):
    return contrib_model(
        f"""g (float[N,12] x, float[16,12] w1, float[16] b1, float[16,4] w2) => (float[N,4] y) {{
          a = com.microsoft.FusedGemm<transB=1, alpha=0.5, beta=0.7, activation="{activation}",
                                      activation_alpha=0.3>(x, w1, b1)
          {after}
          y = Gemm(f, w2)
        }}"""
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_gemm_loses_its_features_exactly(activation):
    assert sizes(assert_certified(gemm(activation))) == [16]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_gemm_gives_onnxruntimes_outputs(activation):
    assert_counterpart(gemm(activation))


@pytest.mark.parametrize(("activation", "expected"), [("Tanh", [16]), ("Softplus", [])])
def test_fused_gemm_keeps_zeros_where_its_activation_does(activation, expected):
    assert sizes(analysed(gemm(activation, "f = LpNormalization<axis=1>(a)"))) == expected
