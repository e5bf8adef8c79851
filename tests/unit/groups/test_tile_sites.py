"""Which nodes could compute with tiles of their weights."""

from __future__ import annotations

import pytest
from graphs import model_of
from pruning import analysed

from onnxprune.groups import find_tile_sites

CONV = """g (float[N, 4, 8, 8] x, float[6, {inputs}, 3, 3] w) => (float[N, 6, {size}, {size}] y)
{{ y = Conv<{attrs}>(x, w) }}"""
GEMM = "g (float[N, 4] x, float[{shape}] w, float[6] b) => (float[N, 6] y) {{ y = Gemm<{attrs}>(x, w, b) }}"


def _found(text):
    return find_tile_sites(analysed(model_of(text)).analysis)


def test_a_convolution_contracts_its_second_axis():
    (site,) = _found(CONV.format(inputs=4, size=8, attrs="pads=[1, 1, 1, 1]")).sites
    assert (site.node, site.weight, site.operator) == ("conv_0", "w", "Conv")
    assert (site.input_axis, site.output_axis, site.inputs, site.outputs, site.taps) == (1, 0, 4, 6, 9)
    assert site.macs == 64 * 6 * 4 * 9


@pytest.mark.parametrize(("axes", "taps"), [(1, 3), (3, 27)])
def test_a_convolution_may_have_one_to_three_axes(axes, taps):
    image, kernel, out = (", ".join([size] * axes) for size in ("8", "3", "6"))
    text = f"g (float[N, 4, {image}] x, float[6, 4, {kernel}] w) => (float[N, 6, {out}] y) {{ y = Conv(x, w) }}"
    (site,) = _found(text).sites
    assert (site.spatial, site.taps, site.macs) == (axes, taps, 6**axes * 6 * 4 * taps)


@pytest.mark.parametrize(
    ("shape", "attrs", "axes"), [("4, 6", "transB=0", (0, 1)), ("6, 4", "transB=1", (1, 0))], ids=["plain", "turned"]
)
def test_a_linear_layer_contracts_what_its_weight_says(shape, attrs, axes):
    (site,) = _found(GEMM.format(shape=shape, attrs=attrs)).sites
    assert (site.operator, site.input_axis, site.output_axis) == ("MatMul", *axes)
    assert (site.inputs, site.outputs, site.taps, site.macs) == (4, 6, 1, 24)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (CONV.format(inputs=2, size=8, attrs="pads=[1, 1, 1, 1], group=2"), "convolution of 2 groups"),
        (CONV.format(inputs=4, size=4, attrs='auto_pad="SAME_UPPER", strides=[2, 2]'), "depends on the size"),
        (GEMM.format(shape="4, 6", attrs="alpha=0.5"), "scales or transposes"),
        ("g (float[N, 4, 5] x) => (float[N, 4, 4] y) { t = Transpose<perm=[0,2,1]>(x) y = MatMul(x, t) }", "computed"),
        (
            "g (float[N, 4] x, float[4, 4] w) => (float[N, 4] y) { h = MatMul(x, w) y = MatMul(h, w) }",
            "'w' is read in several places",
        ),
        ("g (float[N, 2, 4] x, float[2, 4, 3] w) => (float[N, 2, 1, 3] y) "
         "{ a = Constant<value_ints=[2]>() u = Unsqueeze(x, a) y = MatMul(u, w) }", "has 3 axes"),
    ],
    ids=["groups", "padding", "scaled", "computed", "shared", "batched"],
)  # fmt: skip
def test_what_cannot_be_tiled_says_why(text, why):
    found = _found(text)
    assert found.sites == ()
    assert all(why in reason for reason in found.refused.values())
    assert found.refused


def test_padding_of_a_plain_convolution_is_known_beforehand():
    assert _found(CONV.format(inputs=4, size=8, attrs='auto_pad="SAME_UPPER"')).sites


def test_what_computes_nothing_is_not_mentioned():
    found = _found("g (float[N, 4] x, float[4, 6] w) => (float[N, 6] y) { h = MatMul(x, w) y = Relu(h) }")
    assert [site.node for site in found.sites] == ["matmul_0"]
    assert found.refused == {}
