"""Packing and the reference operators against dense ones."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.core.errors import InternalError
from onnxprune.tiles import (
    BalancedTiles,
    block_sparse_conv,
    block_sparse_matmul,
    block_sums,
    expand_choice,
    pack,
    pack_conv,
    unpack,
    unpack_conv,
)

SIZES = [(12, 10, 4, 5), (13, 11, 4, 5), (3, 2, 4, 5), (7, 9, 1, 3), (16, 8, 16, 8)]
RTOL = 1e-12  # float64 sums of a few dozen terms


def _choice(saliency, block, tile, density=0.5):
    pattern = BalancedTiles(block, tile, density)
    choice = pattern.choose(block_sums(pattern, saliency)) > 0.5
    mask = expand_choice(pattern, choice, np.arange(saliency.shape[0]), np.arange(saliency.shape[1]))
    return choice, mask


@pytest.mark.parametrize(("inputs", "outputs", "block", "tile"), SIZES)
def test_matmul_weight_comes_back_masked(inputs, outputs, block, tile):
    weight = np.random.default_rng(0).standard_normal((inputs, outputs)).astype(np.float32)
    choice, mask = _choice(np.abs(weight).astype(np.float64), block, tile)
    packed = pack(weight, choice, block, tile)
    assert packed.values.dtype == np.float32
    assert packed.values.shape == (choice.shape[1], choice[:, 0].sum() * block, tile)
    assert packed.index.dtype == np.int64
    assert (np.diff(packed.index, axis=1) > 0).all()
    assert (unpack(packed) == np.where(mask, weight, 0)).all()


@pytest.mark.parametrize(("inputs", "outputs", "block", "tile"), SIZES)
def test_conv_weight_comes_back_masked(inputs, outputs, block, tile):
    weight = np.random.default_rng(1).standard_normal((outputs, inputs, 3, 2)).astype(np.float32)
    choice, mask = _choice(np.abs(weight).sum((2, 3), dtype=np.float64).T, block, tile)
    packed = pack_conv(weight, choice, block, tile)
    assert packed.values.shape == (choice.shape[1] * tile, choice[:, 0].sum() * block, 3, 2)
    assert (unpack_conv(packed) == np.where(mask.T[:, :, None, None], weight, 0)).all()


@pytest.mark.parametrize(("inputs", "outputs", "block", "tile"), SIZES)
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_matmul_is_that_of_the_masked_weight(inputs, outputs, block, tile, lead):
    rng = np.random.default_rng(2)
    weight, x, bias = rng.standard_normal((inputs, outputs)), rng.standard_normal((*lead, inputs)), rng.random(outputs)
    choice, mask = _choice(np.abs(weight), block, tile)
    packed = pack(weight, choice, block, tile)
    y = block_sparse_matmul(x, packed.values, packed.index, block, bias)
    np.testing.assert_allclose(y, x @ (weight * mask) + bias, rtol=RTOL, atol=RTOL)
    assert block_sparse_matmul(x, packed.values, packed.index, block).shape[-1] == choice.shape[1] * tile


def _dense_conv(x, weight, bias, strides, pads, dilations):
    """The definition, point by point."""
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    kernel = weight.shape[2:]
    sizes = [(padded.shape[2 + a] - dilations[a] * (kernel[a] - 1) - 1) // strides[a] + 1 for a in (0, 1)]
    y = np.zeros((len(x), len(weight), *sizes))
    for row in range(sizes[0]):
        for column in range(sizes[1]):
            seen = padded[
                :,
                :,
                row * strides[0] : row * strides[0] + dilations[0] * (kernel[0] - 1) + 1 : dilations[0],
                column * strides[1] : column * strides[1] + dilations[1] * (kernel[1] - 1) + 1 : dilations[1],
            ]
            y[:, :, row, column] = np.tensordot(seen, weight, axes=([1, 2, 3], [1, 2, 3]))
    return y + bias[:, None, None]


@pytest.mark.parametrize(
    ("strides", "pads", "dilations"),
    [([1, 1], [0, 0, 0, 0], [1, 1]), ([2, 1], [1, 0, 2, 1], [1, 1]), ([1, 2], [2, 1, 2, 1], [2, 1])],
)
@pytest.mark.parametrize(("inputs", "outputs", "block", "tile"), SIZES[:3])
def test_conv_is_that_of_the_masked_weight(inputs, outputs, block, tile, strides, pads, dilations):
    rng = np.random.default_rng(3)
    weight, x = rng.standard_normal((outputs, inputs, 3, 2)), rng.standard_normal((2, inputs, 7, 6))
    bias = rng.random(outputs)
    choice, mask = _choice(np.abs(weight).sum((2, 3)).T, block, tile)
    packed = pack_conv(weight, choice, block, tile)
    y = block_sparse_conv(x, packed.values, packed.index, block, bias, strides=strides, pads=pads, dilations=dilations)
    expected = _dense_conv(x, weight * mask.T[:, :, None, None], bias, strides, pads, dilations)
    np.testing.assert_allclose(y, expected, rtol=RTOL, atol=1e-11)


def test_conv_has_plain_defaults():
    rng = np.random.default_rng(4)
    weight, x = rng.standard_normal((4, 4, 3)), rng.standard_normal((1, 4, 5))
    packed = pack_conv(weight, np.ones((2, 2), bool), 2, 2)
    y = block_sparse_conv(x, packed.values, packed.index, 2)
    np.testing.assert_allclose(y[0, :, 0], np.tensordot(weight, x[0, :, :3], axes=([1, 2], [0, 1])), rtol=RTOL)


def test_uneven_tiles_are_refused():
    choice = np.array([[True, False], [True, True]])
    with pytest.raises(InternalError, match="from 1 to 2 blocks"):
        pack(np.ones((4, 4)), choice, 2, 2)


def test_choice_of_another_shape_is_refused():
    with pytest.raises(InternalError, match="2 x 2 blocks"):
        pack(np.ones((4, 4)), np.ones((3, 2), bool), 2, 2)


def test_blocks_outside_of_x_are_refused():
    values, index = np.ones((1, 4, 2)), np.array([[0, 3]])
    with pytest.raises(InternalError, match="names block 3"):
        block_sparse_matmul(np.ones((1, 6)), values, index, 2)
    with pytest.raises(InternalError, match="does not fit"):
        block_sparse_matmul(np.ones((1, 8)), values, index, 3)
