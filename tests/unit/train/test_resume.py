"""A run that was stopped and resumed ends in the bytes of one that was not."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training import bits, samples, student_and_teacher, without_seconds

from onnxprune.core.errors import InputError, UsageError
from onnxprune.train import TrainOptions
from onnxprune.train.loop import train

OPTIONS = TrainOptions(epochs=2, batch_size=16, lr=0.05, device="cpu", checkpoint_seconds=0.0)
STEPS = 8
CASES = {
    "sgd": OPTIONS,
    "without momentum": replace(OPTIONS, momentum=0.0),
    "adamw": replace(OPTIONS, optimizer="adamw", lr=0.01),
    "averaged": replace(OPTIONS, ema=0.9),
    "augmented": replace(OPTIONS, augment="shift:1,noise:0.1"),
    "bf16": replace(OPTIONS, amp="bf16"),
    "features": replace(OPTIONS, feature_weight=0.5, features=("r",)),
    "saved at ends of epochs": replace(OPTIONS, checkpoint_seconds=1e9),
}


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Stop(Exception):
    """Stands for a death in the middle of a step."""


def _run(options, folder, *, stop_at=(), resume=False):
    """Trains, and starts again whenever it is stopped; returns bytes and record."""
    left = sorted(stop_at)

    def stop(progress):
        if left and progress.step >= left[0]:
            left.pop(0)
            raise Stop

    while True:
        student, teacher = student_and_teacher()
        try:
            record = train(
                student,
                teacher,
                samples(),
                options,
                validation=samples(24, seed=9),
                on_progress=stop,
                checkpoint=folder,
                resume=resume,
            )
        except Stop:
            resume = True
            continue
        return bits(student), without_seconds(record)


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
def test_stopped_and_resumed_run_ends_in_the_same_bytes(tmp_path, options):
    stops = sorted(np.random.default_rng(len(options.augment)).choice(np.arange(1, STEPS + 1), 3, replace=False))
    whole = _run(options, None)
    assert _run(options, tmp_path / "state", stop_at=stops) == whole, f"stopped at {stops}"


def test_finished_run_resumes_to_itself(tmp_path):
    first = _run(OPTIONS, tmp_path)
    assert _run(OPTIONS, tmp_path, resume=True) == first


def test_resume_without_a_state_starts_anew(tmp_path):
    assert _run(OPTIONS, tmp_path / "none", resume=True) == _run(OPTIONS, None)


def test_run_that_does_not_resume_forgets_the_earlier_one(tmp_path):
    with pytest.raises(Stop):
        _stopped(tmp_path, OPTIONS, 5)
    other = replace(OPTIONS, seed=3)
    assert _run(other, tmp_path) == _run(other, None)


def _stopped(folder: Path, options: TrainOptions, step: int) -> None:
    student, teacher = student_and_teacher()

    def stop(progress):
        if progress.step == step:
            raise Stop

    train(student, teacher, samples(), options, on_progress=stop, checkpoint=folder)


def _resume(folder, options=OPTIONS, data=None, teacher=None, validation=None):
    student, original = student_and_teacher()
    train(
        student,
        teacher or original,
        data or samples(),
        options,
        validation=validation,
        checkpoint=folder,
        resume=True,
    )


def test_checkpoint_of_another_run_is_refused_with_what_differs(tmp_path):
    with pytest.raises(Stop):
        _stopped(tmp_path, OPTIONS, 5)
    student, _ = student_and_teacher()
    for message, arguments in {
        r"lr was 0\.05 and is 0\.1": {"options": replace(OPTIONS, lr=0.1)},
        r"batch_size was 16 and is 8": {"options": replace(OPTIONS, batch_size=8)},
        r"features was \[\] and is \['r'\]": {"options": replace(OPTIONS, features=("r",), feature_weight=0.5)},
        r"training data: samples was 64 and is 48": {"data": samples(48)},
        r"another training data: first samples": {"data": samples(seed=7)},
        r"another original model": {"teacher": student},
        r"validation data was None": {"validation": samples(24)},
    }.items():
        with pytest.raises(InputError, match=rf"belongs to another run: .*{message}") as caught:
            _resume(tmp_path, **arguments)
        assert "\n" not in str(caught.value)


def test_free_options_may_change_on_resume(tmp_path):
    with pytest.raises(Stop):
        _stopped(tmp_path, OPTIONS, 5)
    _resume(tmp_path, replace(OPTIONS, checkpoint_seconds=5.0))


def test_damaged_checkpoint_is_refused(tmp_path):
    with pytest.raises(Stop):
        _stopped(tmp_path, OPTIONS, 5)
    (tensors,) = tmp_path.glob("generation-*/state.safetensors")
    content = bytearray(tensors.read_bytes())
    content[-3] ^= 1
    tensors.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged: state\.safetensors"):
        _resume(tmp_path)


def test_edited_facts_are_refused(tmp_path):
    with pytest.raises(Stop):
        _stopped(tmp_path, OPTIONS, 5)
    (facts,) = tmp_path.glob("generation-*/state.json")
    body = json.loads(facts.read_text())
    body["facts"]["run"]["step"] += 1
    facts.write_text(json.dumps(body))
    with pytest.raises(InputError, match=r"damaged: state\.json"):
        _resume(tmp_path)


def test_resume_needs_a_folder():
    student, teacher = student_and_teacher()
    with pytest.raises(UsageError, match="checkpoint"):
        train(student, teacher, samples(), OPTIONS, resume=True)
