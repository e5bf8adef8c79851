"""Blocks of tiled weights under masks over their ranks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bridging import convnet, images

from onnxprune.bridge import to_torch
from onnxprune.core.errors import InternalError
from onnxprune.trial.block_gates import BlockGate, BlockGates


def _weight(module):
    return next((name, p) for name, p in module.named_parameters() if p.dim() == 4)


def _gate(module, blocks=3):
    """Every output is a tile of its own, every input a block; ranks differ from tile to tile."""
    name, weight = _weight(module)
    rng = np.random.default_rng(2)
    order = np.stack([rng.permutation(weight.shape[1]) for _ in range(weight.shape[0])])
    return name, order, BlockGates((BlockGate("layer", name, order[:, :, None, None].astype(np.int64)),))


def test_ranks_that_are_off_are_gone_from_every_tile():
    module = to_torch(convnet())
    name, order, gates = _gate(module)
    mask = torch.zeros(order.shape[1])
    mask[:2] = 1
    masked = gates.values(module, {"layer": mask})[name]
    weight = dict(module.named_parameters())[name]
    kept = order < 2
    assert (masked.detach().numpy() != 0).any(axis=(2, 3)).sum(axis=1).tolist() == [2] * len(order)
    np.testing.assert_array_equal(masked.detach().numpy()[kept], weight.detach().numpy()[kept])


def test_gradients_reach_masks_and_weights():
    module = to_torch(convnet())
    name, order, gates = _gate(module)
    mask = torch.ones(order.shape[1], requires_grad=True)
    x = torch.from_numpy(images(4))
    module.call_with(gates.values(module, {"layer": mask}), {"x": x}).square().sum().backward()
    weight = dict(module.named_parameters())[name]
    # dL/dm[j] = Σ over entries of rank j of w dL/dw at m = 1
    expected = [float((weight.detach() * weight.grad)[torch.from_numpy(order == j)].sum()) for j in range(len(mask))]
    np.testing.assert_allclose(mask.grad.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_layer_without_a_mask_stays_whole():
    module = to_torch(convnet())
    _, _, gates = _gate(module)
    assert gates.values(module, {}) == {}
    assert gates.groups == ("layer",)


def test_two_gates_of_one_weight_are_our_bug():
    ranks = np.zeros((1, 1), dtype=np.int64)
    with pytest.raises(InternalError, match="one weight"):
        BlockGates((BlockGate("a", "w", ranks), BlockGate("b", "w", ranks)))


def test_blocks_are_switched_beside_channels():
    module = to_torch(convnet())
    name, order, alone = _gate(module)
    parameters = dict(module.named_parameters())

    class Halved:
        groups = ("channels",)

        def values(self, module, masks):
            return {name: 0.5 * parameters[name], "other": parameters[name]} if "channels" in masks else {}

    both = BlockGates((BlockGate("layer", name, order[:, :, None, None].astype(np.int64)),), Halved())
    assert both.groups == ("channels", "layer")
    mask = torch.arange(order.shape[1]).float()
    found = both.values(module, {"layer": mask, "channels": torch.ones(1)})
    expected = alone.values(module, {"layer": mask})[name]
    torch.testing.assert_close(found[name], 0.5 * expected)
    assert set(found) == {name, "other"}
    assert set(both.values(module, {"layer": mask})) == {name}
