"""Weights of which some entries stay at zero while the others learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from bridging import convnet, labelled

from onnxprune.bridge import to_torch
from onnxprune.core.errors import InternalError
from onnxprune.graph import load_model
from onnxprune.train import TrainOptions, open_data
from onnxprune.train.loop import train

OPTIONS = TrainOptions(epochs=2, batch_size=32, lr=0.05, device="cpu")


def _data():
    model = load_model(convnet())
    return open_data(labelled(160), model.inputs(), outputs=model.outputs())


def _masks(student):
    """Half of every weight matrix."""
    rng = np.random.default_rng(3)
    found = {name: rng.random(tuple(p.shape)) < 0.5 for name, p in student.named_parameters() if p.dim() > 1}
    assert found
    return found


def _trained(masks, **options):
    student = to_torch(convnet())
    before = {name: p.detach().clone().numpy() for name, p in student.named_parameters()}
    train(student, to_torch(convnet()), _data(), replace(OPTIONS, **options), masks=masks)
    return before, {name: p.detach().numpy() for name, p in student.named_parameters()}


@pytest.mark.parametrize("options", [{}, {"optimizer": "adamw", "lr": 1e-3}, {"ema": 0.9}], ids=str)
def test_masked_entries_stay_at_zero_and_the_others_learn(options):
    masks = _masks(to_torch(convnet()))
    before, after = _trained(masks, **options)
    for name, mask in masks.items():
        assert not after[name][~mask].any()
        assert (after[name][mask] != before[name][mask]).mean() > 0.9


def test_what_is_masked_does_not_count_when_gradients_are_clipped():
    steps = {}
    for name, masks in {"whole": {}, "masked": _masks(to_torch(convnet()))}.items():
        student = to_torch(convnet())
        for key, mask in masks.items():
            student.state_dict()[key].mul_(torch.from_numpy(mask))
        before = {key: p.detach().clone() for key, p in student.named_parameters()}
        options = replace(OPTIONS, epochs=1, batch_size=160, grad_clip=1e-3, weight_decay=0.0)
        train(student, to_torch(convnet()), _data(), options, masks=masks)
        steps[name] = float(sum((p.detach() - before[key]).square().sum() for key, p in student.named_parameters()))
    # one step of the same clipped length, however many entries it has
    assert steps["masked"] == pytest.approx(steps["whole"], rel=1e-3)


def test_nothing_is_held_afterwards():
    student = to_torch(convnet())
    masks = _masks(student)
    train(student, to_torch(convnet()), _data(), OPTIONS, masks=masks)
    train(student, to_torch(convnet()), _data(), OPTIONS)
    values = dict(student.named_parameters())
    assert all(values[name].detach().numpy()[~mask].any() for name, mask in masks.items())


@pytest.mark.parametrize("name", ["no such weight", None])
def test_a_mask_that_fits_no_parameter_is_our_bug(name):
    student = to_torch(convnet())
    known = next(name for name, p in student.named_parameters() if p.dim() > 1)
    with pytest.raises(InternalError, match="the mask of parameter"):
        train(student, to_torch(convnet()), _data(), OPTIONS, masks={name or known: np.ones(3, dtype=np.bool_)})


def test_a_masked_run_is_the_same_again():
    masks = _masks(to_torch(convnet()))
    (_, first), (_, second) = _trained(masks), _trained(masks)
    assert all(np.array_equal(first[name], second[name]) for name in first)
