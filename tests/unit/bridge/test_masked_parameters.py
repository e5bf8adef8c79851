"""Masked parameters: dropped channels vanish, and masks get gradients."""

from __future__ import annotations

import pytest
import torch
from bridging import convnet, images
from torch.func import functional_call

from onnxprune.bridge import masked_parameters, to_torch
from onnxprune.core.errors import InternalError


def _slices(mask):
    """Everything that the first convolution's channels run through in `convnet`."""
    return {
        "w1": [(0, mask)],
        "b1": [(0, mask)],
        "wd": [(0, mask)],
        "bd": [(0, mask)],
        "w2": [(1, mask)],
        "w3": [(1, mask)],
    }


def test_full_masks_change_nothing():
    module = to_torch(convnet())
    x = torch.from_numpy(images(2))
    values = masked_parameters(module, _slices(torch.ones(8, dtype=torch.bool)))
    assert torch.equal(functional_call(module, values, (x,)), module(x))


def test_masked_channels_are_zero_and_the_rest_is_untouched():
    module = to_torch(convnet())
    x = torch.from_numpy(images(2))
    mask = torch.tensor([1, 0, 1, 1, 0, 1, 1, 1], dtype=torch.bool)
    with torch.no_grad(), module.record(["s"]) as tape:
        module(x)
        full = tape["s"]
        functional_call(module, masked_parameters(module, _slices(mask)), (x,))
    assert tape["s"][:, ~mask].abs().max() == 0
    assert torch.equal(tape["s"][:, mask], full[:, mask])


def test_gradient_of_a_mask_is_the_loss_change_per_channel():
    module = to_torch(convnet()).double()
    x = torch.from_numpy(images(2)).double()
    mask = torch.ones(8, dtype=torch.float64, requires_grad=True)

    def loss(m):
        return functional_call(module, masked_parameters(module, _slices(m)), (x,)).square().sum()

    (grad,) = torch.autograd.grad(loss(mask), mask)
    step = torch.zeros(8, dtype=torch.float64)
    step[3] = 1e-6
    expected = (loss(mask + step) - loss(mask - step)) / 2e-6
    assert grad[3].item() == pytest.approx(expected.item(), rel=1e-5)


def test_several_axes_and_ones_for_divisors():
    module = to_torch(convnet())
    rows, columns = torch.tensor([1.0] * 11 + [0.0]), torch.tensor([0.0] + [1.0] * 7)
    values = masked_parameters(module, {"w2": [(0, rows), (1, columns)]}, fill_with_one={"w2"})
    assert torch.all(values["w2"][-1] == 1)
    assert torch.all(values["w2"][:, 0] == 1)
    assert torch.equal(values["w2"][:-1, 1:], dict(module.named_parameters())["w2"][:-1, 1:])


def test_mask_that_does_not_fit_is_our_mistake():
    module = to_torch(convnet())
    for slices in ({"w1": [(0, torch.ones(7))]}, {"w1": [(4, torch.ones(8))]}, {"nope": [(0, torch.ones(8))]}):
        with pytest.raises(InternalError, match=next(iter(slices))):
            masked_parameters(module, slices)
