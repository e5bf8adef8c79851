from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from onnxprune.cost import node_macs, uncounted_nodes

SHAPES = {
    "x": (2, 6, 8, 8),
    "y": (2, 12, 4, 4),
    "a": (5, 3, 7),
    "b": (7, 11),
    "ab": (5, 3, 11),
    "m": (4, 9),
    "n": (9, 6),
    "mn": (4, 6),
    "mt": (9, 4),
    "v": (9,),
    "vn": (6,),
    "s": (2, 5, 3),
    "t": (5, 3),
    "st": (2, 5),
}


def node(
    op: str, inputs: list[str | tuple[int, ...]], output: str, domain: str | None = None, **attrs: object
) -> gs.Node:
    """A node whose tuple inputs are weights of that shape."""
    tensors = [
        gs.Variable(i) if isinstance(i, str) else gs.Constant(f"w{k}", np.zeros(i, np.float32))
        for k, i in enumerate(inputs)
    ]
    return gs.Node(op, name="it", attrs=attrs, inputs=tensors, outputs=[gs.Variable(output)], domain=domain)


@pytest.mark.parametrize(
    ("found", "macs"),
    [
        (node("Conv", ["x", (12, 6, 3, 3), (12,)], "y"), 2 * 12 * 16 * 6 * 9),
        (node("Conv", ["x", (12, 2, 3, 3)], "y", group=3), 2 * 12 * 16 * 2 * 9),
        (node("Conv", ["x", (12, 1, 3, 3)], "y", group=6), 2 * 12 * 16 * 9),
        (node("ConvTranspose", ["y", (12, 6, 2, 2)], "x"), 2 * 12 * 16 * 6 * 4),
        (node("Gemm", ["m", (6, 9), (6,)], "mn", transB=1), 4 * 6 * 9),
        (node("Gemm", ["mt", "n"], "mn", transA=1), 4 * 6 * 9),
        (node("MatMul", ["a", "b"], "ab"), 5 * 3 * 11 * 7),
        (node("MatMul", ["v", "n"], "vn"), 6 * 9),
        (node("MatMul", ["m", "n"], "mn", domain="ai.onnx"), 4 * 6 * 9),
        (node("MatMulInteger", ["m", "n"], "mn"), 4 * 6 * 9),
        (node("QLinearConv", ["x", (), (), (12, 6, 3, 3), (), (), (), ()], "y"), 2 * 12 * 16 * 6 * 9),
        (node("Einsum", ["s", "t"], "st", equation="bij, ij -> bi"), 2 * 5 * 3),
        (node("Einsum", ["a", "b"], "ab", equation="...k,kn->...n"), 5 * 3 * 7 * 11),
        (node("Einsum", ["m"], "mt", equation="ij->ji"), 0),
        (node("Relu", ["x"], "x"), 0),
        (node("BatchNormalization", ["x", (6,), (6,), (6,), (6,)], "x"), 0),
        (node("Conv", ["x", (12, 6, 3, 3)], "y", domain="my.ops"), 0),
    ],
    ids=lambda value: value.op if isinstance(value, gs.Node) else "",
)
def test_macs_follow_from_shapes(found, macs):
    assert node_macs(found, SHAPES) == macs


def test_node_is_listed_and_not_counted_when_a_shape_is_unknown():
    lost = node("Conv", ["elsewhere", (12, 6, 3, 3)], "y")
    assert node_macs(lost, SHAPES) == 0
    assert uncounted_nodes([lost, node("MatMul", ["m", "n"], "mn"), node("Relu", ["gone"], "y")], SHAPES) == (
        "Conv 'it'",
    )


@pytest.mark.parametrize(
    ("found", "macs"),
    [
        # four tiles of three outputs, each of which keeps six of its inputs
        (node("BlockSparseMatMul", ["m", (2, 6, 3), (2, 3)], "mn", "onnxprune", block_k=2), 4 * 2 * 6 * 3),
        # six outputs in two tiles of four
        (node("BlockSparseMatMul", ["m", (2, 6, 4), (2, 3)], "mn", "onnxprune", block_k=2), 4 * 2 * 6 * 4),
        (node("BlockSparseConvRelu", ["x", (12, 4, 3, 3), (2, 2)], "y", "onnxprune", block_c=2), 2 * 16 * 12 * 4 * 9),
        (node("BlockSparseMatMul", ["m", (2, 6, 3), (2, 3)], "mn", "elsewhere"), 0),
        (node("SomethingElse", ["m"], "mn", "onnxprune"), 0),
    ],
    ids=["matmul", "padded", "conv", "another domain", "another operator"],
)
def test_block_sparse_operators_count_what_their_tiles_keep(found, macs):
    assert node_macs(found, SHAPES) == macs
