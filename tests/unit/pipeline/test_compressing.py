"""Runs of `compress` with training, on a net that trains in a second: phases, resuming, what is left behind."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from bridging import convnet

import onnxprune
from onnxprune.core.errors import UsageError
from onnxprune.core.events import PassFinished, TrainProgress
from onnxprune.core.plan import Plan


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(convnet(), path)
    return path


def _data(count=192):
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((count, 3, 8, 8)).astype(np.float32), "labels": rng.integers(0, 5, count)}


def _compress(model, **options):
    given = {
        "flops": 0.5,
        "data": _data(),
        "epochs": 2,
        "batch_size": 32,
        "align": 1,
        "out": model.with_name("slim.onnx"),
    }
    return onnxprune.compress(model, **(given | options))


def _bytes(model):
    return model.with_name("slim.onnx").read_bytes()


def _macs(result):
    return result.report["after"]["macs"] / result.report["before"]["macs"]


@pytest.mark.parametrize("iteration", ["imp", "gmp"])
def test_phases_end_at_the_budget_and_never_give_back_channels(model, iteration):
    plans = {}

    def keep_plan(event):
        if isinstance(event, PassFinished) and event.name == "retrain":
            plans[len(plans)] = Plan.from_json((model.parent / "run" / "plan.json").read_text())

    result = _compress(model, phases=2, iteration=iteration, run_dir=model.parent / "run", on_event=keep_plan)
    assert 0.49 <= _macs(result) <= 0.5
    first, last = plans[0], plans[1]
    assert all(set(last.kept[name]) <= set(first.kept[name]) for name in last.kept)
    assert sum(map(len, last.kept.values())) < sum(map(len, first.kept.values()))
    assert [epoch["phase"] for epoch in result.report["training"]["epochs"]] == [1, 2]


def test_dense_epochs_come_before_the_first_cut(model):
    result = _compress(model, phases=2, epochs=3, iteration="bimp", dense_epochs=1)
    assert [epoch["phase"] for epoch in result.report["training"]["epochs"]] == [0, 1, 2]
    assert _macs(result) <= 0.5


def test_run_folder_is_gone_when_a_run_is_done(model):
    _compress(model)
    assert sorted(p.name for p in model.parent.iterdir()) == ["net.onnx", "slim.onnx", "slim.report.json"]


def test_stopped_run_goes_on_to_the_same_bytes(model):
    _compress(model, phases=2, epochs=4)
    expected = _bytes(model)
    steps = 0

    def stop(event):
        nonlocal steps
        if isinstance(event, TrainProgress):
            steps += 1
            if steps == 17:
                raise KeyboardInterrupt

    model.with_name("slim.onnx").unlink()
    with pytest.raises((KeyboardInterrupt, onnxprune.OnnxPruneError)):
        _compress(model, phases=2, epochs=4, checkpoint_seconds=0.0, on_event=stop)
    assert model.with_name("slim.run").is_dir()
    assert not model.with_name("slim.onnx").exists()
    _compress(model, phases=2, epochs=4, checkpoint_seconds=0.0, resume=True)
    assert _bytes(model) == expected
    assert not model.with_name("slim.run").exists()


def test_validation_data_choose_the_epoch(model):
    result = _compress(model, val_share=0.25, epochs=2)
    training = result.report["training"]
    assert all(epoch["metric"] is not None for epoch in training["epochs"])
    assert training["samples"] == 144


def test_report_names_the_command_that_repeats_the_run(model):
    report = _compress(model, recover=False, optimizer="adamw", lr=1e-3).report
    assert "--optimizer adamw" in report["command"]
    assert "--no-recover" in report["command"]
    assert report["options"]["batchnorm"] is True
    json.dumps(report)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phases": 3, "epochs": 2}, "--phases 3 needs at least one epoch for each phase"),
        ({"phases": 2, "data": None, "epochs": None}, "needs training data"),
        ({"dense_epochs": 1}, "belongs to --iteration bimp"),
        ({"val_share": 0.1, "val_data": "x.npz"}, "two ways to the same"),
        ({"early_stop": 1}, "--early-stop needs validation data"),
        ({"schedule": "sgdr"}, "schedule = 'sgdr'"),
        ({"optimizer": "lion"}, "optimizer = 'lion'"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_runs(model, options, message):
    with pytest.raises(UsageError, match=message):
        _compress(model, **options)
