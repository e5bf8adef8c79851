"""What single options of training do to a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from training import bits, losses, samples, student_and_teacher

from onnxprune.core.errors import DataError, UsageError
from onnxprune.train import TrainOptions
from onnxprune.train.average import Average
from onnxprune.train.loop import train
from onnxprune.train.optimizers import make_optimizer
from onnxprune.train.precision import Precision
from onnxprune.train.record import EpochRecord, TrainRecord

OPTIONS = TrainOptions(epochs=4, batch_size=16, lr=0.05, device="cpu")


def _train(options, **arguments):
    student, teacher = student_and_teacher()
    return train(student, teacher, samples(), options, **arguments), student


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_weight_decay_spares_vectors(optimizer):
    student, _ = student_and_teacher()
    made = make_optimizer(student, TrainOptions(optimizer=optimizer, weight_decay=0.125))
    decay = {id(p): group["weight_decay"] for group in made.param_groups for p in group["params"]}
    found = {name: decay[id(p)] for name, p in student.named_parameters()}
    assert {name for name, value in found.items() if value == 0.125} == {"w1", "wd", "w2", "wf"}
    assert {name for name, value in found.items() if value == 0} == {"s1", "b1", "s2", "b2", "bf"}


@pytest.mark.parametrize("options", [replace(OPTIONS, optimizer="adamw", lr=0.01), replace(OPTIONS, amp="bf16")])
def test_other_optimizer_and_precision_lower_the_loss(options):
    record, _ = _train(replace(options, distill_weight=1.0))
    assert losses(record.epochs)[-1] < 0.8 * losses(record.epochs)[0]
    assert record.precision == ("bf16" if options.amp == "bf16" else "float32")


def test_average_follows_its_formula():
    layer = torch.nn.Linear(1, 1, bias=False)
    average, expected = Average(layer, 0.5), layer.weight.item()
    for step in range(20):
        with torch.no_grad():
            layer.weight.fill_(float(step))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.values["weight"].item() == pytest.approx(expected, rel=1e-6)


def test_average_is_what_is_kept():
    last, plain = _train(OPTIONS)
    averaged, student = _train(replace(OPTIONS, ema=0.9))
    assert losses(averaged.epochs) == losses(last.epochs)
    assert bits(student) != bits(plain)


def test_early_stop_ends_the_run_after_epochs_without_improvement():
    steps = []
    options = replace(OPTIONS, epochs=20, lr=1e-12, early_stop=2)
    record, _ = _train(options, validation=samples(16, seed=3), on_progress=steps.append)
    assert record.stopped_early
    assert len(record.epochs) - record.kept_epoch == 2
    assert (steps[-1].step, steps[-1].seconds_left) == (steps[-1].steps, 0)


def test_early_stop_without_validation_is_a_usage_error():
    with pytest.raises(UsageError, match="early_stop = 2"):
        _train(replace(OPTIONS, early_stop=2))


def test_fp16_on_a_cpu_is_a_usage_error():
    with pytest.raises(UsageError, match=r"fp16.*GPU"):
        _train(replace(OPTIONS, amp="fp16"))
    assert Precision("auto", torch.device("cpu")).name == "float32"


def test_progress_names_the_metric():
    seen = []
    _train(replace(OPTIONS, epochs=1), validation=samples(16, seed=3), on_progress=seen.append)
    assert {progress.metric_name for progress in seen} == {"accuracy"}
    assert seen[-1].metric is not None


class _Short:
    """Samples that claim more than they give."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __len__(self):
        return len(self._inner) + 32


def test_epoch_with_fewer_batches_than_promised_is_a_data_error():
    student, teacher = student_and_teacher()
    with pytest.raises(DataError, match="Epoch 1 ended after 4 of 6 batches"):
        train(student, teacher, _Short(samples()), replace(OPTIONS, epochs=1))


class _Unstable(_Short):
    """Samples whose rows are others in each pass."""

    stable = False

    def __len__(self):
        return len(self._inner)


def test_teacher_asked_beforehand_or_in_each_step_gives_the_same_curve():
    beforehand, _ = _train(OPTIONS)
    student, teacher = student_and_teacher()
    stepwise = train(student, teacher, _Unstable(samples()), OPTIONS)
    assert np.allclose(losses(beforehand.epochs), losses(stepwise.epochs), rtol=1e-5, atol=0)


def test_schedule_may_span_several_runs():
    whole, _ = _train(OPTIONS)
    rates = []
    for start in (0, 2):
        record, _ = _train(replace(OPTIONS, epochs=2, schedule_start=start, schedule_epochs=4))
        rates += [epoch.lr for epoch in record.epochs]
    assert rates == [epoch.lr for epoch in whole.epochs]


def test_records_of_runs_in_sequence_count_on():
    epochs = tuple(EpochRecord(n, 1.0, None, 0.1, 1.0) for n in (1, 2))
    first = TrainRecord(epochs, 2, "accuracy", notes=("a",))
    both = first.followed_by(TrainRecord(epochs, 1, "accuracy", notes=("a", "b")))
    assert [epoch.epoch for epoch in both.epochs] == [1, 2, 3, 4]
    assert (both.kept_epoch, both.notes) == (3, ("a", "b"))


@pytest.mark.slow
def test_compiled_student_has_the_same_curve():
    plain, _ = _train(replace(OPTIONS, epochs=2))
    compiled, _ = _train(replace(OPTIONS, epochs=2, compile=True))
    assert np.allclose(losses(plain.epochs), losses(compiled.epochs), rtol=1e-4, atol=0)


def test_failure_to_compile_names_the_reason(monkeypatch):
    class BackendError(RuntimeError):
        pass

    BackendError.__module__ = "torch._dynamo.exc"

    def failing(net):
        def call(*inputs):
            raise BackendError("no compiler\nmore")

        return call

    monkeypatch.setattr(torch, "compile", failing)
    with pytest.raises(UsageError, match=r"torch\.compile failed on this model \(BackendError: no compiler\)"):
        _train(replace(OPTIONS, compile=True))
