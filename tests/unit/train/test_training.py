"""The training loop on a net that trains in a second."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from bridging import convnet
from graphs import model_of

from onnxprune.bridge import to_torch
from onnxprune.core.errors import DataError, Interrupted, ModelError, OnnxPruneError
from onnxprune.graph import load_model
from onnxprune.train import TrainOptions, open_data
from onnxprune.train.batching import usable_batch_size
from onnxprune.train.forward import outputs_of, padded
from onnxprune.train.loop import train
from onnxprune.train.record import TrainingInterrupted

OPTIONS = TrainOptions(epochs=3, batch_size=32, lr=0.05, device="cpu")


def _modules():
    """A teacher, and a student with damaged weights."""
    teacher, student = to_torch(convnet()), to_torch(convnet())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(torch.rand(parameter.shape, generator=generator) * 2)
    return student, teacher


def _data(count=320, seed=0, labelled=True):
    x = np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)
    arrays = {"x": x}
    if labelled:
        with torch.no_grad():
            arrays["labels"] = to_torch(convnet())(torch.from_numpy(x)).argmax(1).numpy()
    model = load_model(convnet())
    return open_data(arrays, model.inputs(), outputs=model.outputs())


def _state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("labelled", [True, False])
def test_training_lowers_the_loss_and_raises_the_score(labelled):
    student, teacher = _modules()
    before = _state(teacher)
    record = train(student, teacher, _data(labelled=labelled), OPTIONS, validation=_data(128, 9, labelled))
    losses = [epoch.loss for epoch in record.epochs]
    assert losses[2] < 0.7 * losses[0]
    assert record.metric_name == ("accuracy" if labelled else "agreement")
    assert record.epochs[-1].metric > 0.6
    assert not student.training
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


def test_same_seed_gives_the_same_bits_whatever_the_global_state():
    states = []
    for noise in (1, 2):
        student, teacher = _modules()
        torch.manual_seed(noise)
        np.random.default_rng(noise)
        train(student, teacher, _data(), OPTIONS)
        states.append(_state(student))
    other, teacher = _modules()
    train(other, teacher, _data(), TrainOptions(epochs=3, batch_size=32, lr=0.05, device="cpu", seed=1))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], tensor) for name, tensor in other.state_dict().items())


def test_global_random_state_is_left_alone():
    student, teacher = _modules()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(student, teacher, _data(64), TrainOptions(epochs=1, batch_size=32, device="cpu"))
    assert torch.equal(before, torch.get_rng_state())


def test_best_epoch_on_validation_is_kept():
    student, teacher = _modules()
    seen = {}

    def remember(progress):
        seen[progress.epoch] = _state(student)

    record = train(student, teacher, _data(), OPTIONS, validation=_data(64, 9), on_progress=remember)
    best = max(record.epochs, key=lambda epoch: (epoch.metric, -epoch.epoch))
    assert record.kept_epoch == best.epoch
    assert all(torch.equal(seen[best.epoch][name], tensor) for name, tensor in student.state_dict().items())


def test_progress_counts_steps_and_tells_what_is_left():
    student, teacher = _modules()
    seen = []
    train(student, teacher, _data(100), TrainOptions(epochs=2, batch_size=32, device="cpu"), on_progress=seen.append)
    steps = [p.step for p in seen]
    assert (seen[-1].step, seen[-1].steps, seen[-1].epoch, seen[-1].epochs) == (6, 6, 2, 2)
    assert steps == sorted(steps)
    assert seen[-1].seconds_left == 0
    assert all(p.lr > 0 and p.loss > 0 and p.metric is None for p in seen)


def test_interruption_keeps_the_last_finished_epoch():
    student, teacher = _modules()
    seen = {}

    def stop(progress):
        seen[progress.epoch] = _state(student)
        if progress.epoch == 2 and progress.step == 15:
            raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match=r"after 1 finished epoch; the weights of epoch 1") as caught:
        train(student, teacher, _data(), OPTIONS, on_progress=stop)
    assert isinstance(caught.value, Interrupted)
    assert caught.value.record.kept_epoch == 1
    assert all(torch.equal(seen[1][name], tensor) for name, tensor in student.state_dict().items())
    assert not student.training


def test_interruption_in_the_first_epoch_keeps_the_start():
    student, teacher = _modules()
    before = _state(student)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match="no weights were changed"):
        train(student, teacher, _data(), OPTIONS, on_progress=stop)
    assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())


def test_divergence_says_to_lower_the_learning_rate():
    student, teacher = _modules()
    before = _state(student)
    options = TrainOptions(epochs=3, batch_size=32, lr=1e8, grad_clip=0.0, device="cpu")
    with pytest.raises(OnnxPruneError, match=r"diverged.*--lr"):
        train(student, teacher, _data(), options)
    assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())


def test_fewer_samples_than_a_batch_still_train():
    student, teacher = _modules()
    record = train(student, teacher, _data(10), TrainOptions(epochs=2, batch_size=64, device="cpu"))
    assert record.kept_epoch == 2


def test_batch_of_one_is_too_small_for_normalisation():
    proto = model_of(
        """g (float[N,4] x, float[4,5] w, float[5] s, float[5] b, float[5] m, float[5] v) => (float[N,5] y) {
          h = MatMul(x, w)
          y = BatchNormalization(h, s, b, m, v)
        }"""
    )
    data = open_data({"x": np.ones((4, 4), np.float32)}, load_model(proto).inputs())
    with pytest.raises(DataError, match=r"batch of 1 is too small.*--batch-size"):
        train(to_torch(proto), to_torch(proto), data, TrainOptions(epochs=1, batch_size=1, device="cpu"))


STATIC = """g (float[{n},3,4,4] x, float[5,3,1,1] w) => (float[{n},80] y) {{
  c = Conv(x, w)
  s = Constant<value = int64[2] {{{shape}}}>()
  y = Reshape(c, s)
}}"""


def _static(n, shape, count=16):
    proto = model_of(STATIC.format(n=n, shape=shape))
    x = np.random.default_rng(0).standard_normal((count, 3, 4, 4)).astype(np.float32)
    return to_torch(proto), open_data({"x": x}, load_model(proto).inputs())


def test_static_batch_is_raised_only_where_the_graph_allows_it():
    assert usable_batch_size(*_static(4, "-1, 80"), 8) == 8
    assert usable_batch_size(*_static(4, "4, 80"), 8) == 4
    assert usable_batch_size(*_static(1, "-1, 80"), 8) == 8
    with pytest.raises(ModelError, match="one sample at a time"):
        usable_batch_size(*_static(1, "1, -1"), 8)
    with pytest.raises(DataError, match="4 samples at once"):
        usable_batch_size(*_static(4, "4, 80", count=3), 8)


def test_labels_of_validation_alone_are_known_from_the_start():
    student, teacher = _modules()
    options = replace(OPTIONS, epochs=1)
    record = train(student, teacher, _data(64, labelled=False), options, validation=_data(64, 9))
    assert record.metric_name == "accuracy"


def test_kept_features_of_the_teacher_do_not_depend_on_the_order_of_their_names():
    records = []
    for features in (("r", "t"), ("t", "r")):  # the graph computes r before t
        student, teacher = _modules()
        options = replace(OPTIONS, epochs=2, features=features, feature_weight=1.0)
        records.append([epoch.loss for epoch in train(student, teacher, _data(64), options).epochs])
    assert records[0] == pytest.approx(records[1], rel=1e-5)


def test_last_batch_of_a_static_model_is_filled_up_and_cut_again():
    module, data = _static(4, "4, 80")
    module.eval()
    x = torch.from_numpy(data.first(8).inputs["x"])
    with torch.no_grad():
        found = padded(module, {"x": x[4:7]}, rows=4).values[0]
        assert torch.equal(found, outputs_of(module, {"x": x[4:8]}).values[0][:3])


def test_number_for_each_class_is_learned():
    student, teacher = _modules()
    model, x = load_model(convnet()), np.random.default_rng(0).standard_normal((64, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        shares = teacher.eval()(torch.from_numpy(x)).sigmoid().numpy()
    data = open_data({"x": x, "labels": shares}, model.inputs(), outputs=model.outputs())
    record = train(student, teacher, data, replace(OPTIONS, distill_weight=0.0), validation=data)
    assert record.metric_name == "accuracy"
    assert record.notes == ()
    assert record.epochs[-1].loss < record.epochs[0].loss
