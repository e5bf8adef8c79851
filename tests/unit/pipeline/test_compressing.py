"""Runs of `compress` with training, on a net that trains in a second: phases, resuming, what is left behind."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from bridging import convnet, labelled
from graphs import model_of

import onnxprune
from onnxprune.core.errors import UsageError
from onnxprune.core.events import PassFinished, SearchProgress, TrainProgress
from onnxprune.core.plan import Plan

FILES = ["net.onnx", "slim.onnx", "slim.report.html", "slim.report.json", "slim.report.md"]


def _compress(model, **options):
    given = {
        "flops": 0.5,
        "data": labelled(192),
        "epochs": 2,
        "batch_size": 32,
        "align": 1,
        "allocator": "global",  # which decides at once
        "out": model.with_name("slim.onnx"),
    }
    return onnxprune.compress(model, **(given | options))


def _bytes(model):
    return model.with_name("slim.onnx").read_bytes()


def _stopped(model, after, **options):
    """A run that is interrupted after some steps of training, its output of before taken away."""
    steps = 0

    def stop(event):
        nonlocal steps
        steps += isinstance(event, TrainProgress)
        if steps == after:
            raise KeyboardInterrupt

    model.with_name("slim.onnx").unlink()
    with pytest.raises((KeyboardInterrupt, onnxprune.OnnxPruneError)):
        _compress(model, **options, on_event=stop)


def _macs(result):
    return result.report["after"]["macs"] / result.report["before"]["macs"]


@pytest.mark.parametrize("iteration", ["imp", pytest.param("gmp", marks=pytest.mark.slow)])
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
    assert sorted(p.name for p in model.parent.iterdir()) == FILES


@pytest.mark.slow
def test_stopped_run_goes_on_to_the_same_bytes(model):
    _compress(model, phases=2, epochs=4)
    expected = _bytes(model)
    _stopped(model, 17, phases=2, epochs=4, checkpoint_seconds=0.0)
    assert model.with_name("slim.run").is_dir()
    assert not model.with_name("slim.onnx").exists()
    _compress(model, phases=2, epochs=4, checkpoint_seconds=0.0, resume=True)
    assert _bytes(model) == expected
    assert not model.with_name("slim.run").exists()


@pytest.mark.slow
def test_a_run_that_goes_on_decides_nothing_again(model):
    options = {"allocator": "dsa", "phases": 2, "epochs": 4, "checkpoint_seconds": 0.0}
    expected = _compress(model, **options).report
    bytes_of_it, seen = _bytes(model), []
    _stopped(model, 17, **options)
    assert model.with_name("slim.run").is_dir()
    assert not model.with_name("slim.onnx").exists()
    report = _compress(model, **options, resume=True, on_event=seen.append).report
    assert _bytes(model) == bytes_of_it
    assert not any(isinstance(event, SearchProgress) for event in seen)
    assert report["notes"] == expected["notes"]
    assert report["groups"] == expected["groups"]
    assert len(report["search"]["points"]) == len(expected["search"]["points"])
    assert sorted(p.name for p in model.parent.iterdir()) == FILES


@pytest.mark.slow
def test_a_run_that_carries_what_it_searched_goes_on_to_the_same_bytes(model):
    options = {"allocator": "dsa", "search_carry": True, "epochs": 2, "checkpoint_seconds": 0.0}
    _compress(model, **options)
    expected = _bytes(model)
    _stopped(model, 5, **options)
    _compress(model, **options, resume=True)
    assert _bytes(model) == expected


def test_keep_ratios_that_were_learned_are_in_the_report(model):
    seen = []
    result = _compress(model, allocator="dsa", search_epochs=3, epochs=1, on_event=seen.append)
    search = result.report["search"]
    assert search["steps"] == round(3 * 173 / 32)
    assert search["points"][-1]["used"]["flops"] <= 1 + 1e-9
    assert set(search["points"][0]["ratios"]) == {group["name"] for group in result.report["groups"]}
    assert [e.step for e in seen if isinstance(e, SearchProgress)] == [point["step"] for point in search["points"]]
    assert 0.49 <= _macs(result) <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"search_constraint": "admm", "search_masks": "soft"}], ids=str)
def test_learned_ratios_give_the_same_bytes_again(model, options):
    for name in ("first", "second"):
        _compress(model, allocator="dsa", out=model.with_name(f"{name}.onnx"), **options)
    assert model.with_name("first.onnx").read_bytes() == model.with_name("second.onnx").read_bytes()


@pytest.mark.slow
def test_the_iterative_method_meets_the_budget(model):
    result = _compress(model, allocator="netadapt", epochs=1)
    assert 0.49 <= _macs(result) <= 0.5


@pytest.mark.slow
def test_from_scratch_nothing_is_left_of_what_was_trained(model):
    for seed in (0, 1):
        onnx.save(convnet(seed), model)
        # labels alone teach, so that the original has no other way in
        result = _compress(
            model, allocator="dsa", from_scratch=True, distill_weight=0.0, out=model.with_name(f"{seed}.onnx")
        )
        assert 0.49 <= _macs(result) <= 0.5
    first, second = (onnx.load(model.with_name(f"{seed}.onnx")).graph.initializer for seed in (0, 1))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(one), onnx.numpy_helper.to_array(other))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"epochs": 1}, "dsa"),
        ({"epochs": 0}, "global"),
        ({"data": None, "epochs": None, "batch_size": None}, "global"),
    ],
    ids=["trained", "untrained", "no data"],
)
def test_allocator_follows_from_what_is_given_and_is_said(model, options, name):
    report = _compress(model, **options, allocator=None).report
    assert sum(note.startswith(f"The budget is shared out by {name}, ") for note in report["notes"]) == 1
    assert (report["search"] is not None) == (name == "dsa")


def test_allocator_that_is_asked_for_is_taken(model):
    report = _compress(model, epochs=1, allocator="uniform").report
    assert not any("shared out by" in note for note in report["notes"])
    assert report["search"] is None


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
        ({"dense_epochs": 2, "iteration": "bimp"}, r"none is left to train after the cut\. Give --epochs 3 or more"),
        ({"dense_epochs": 1, "iteration": "bimp", "data": None, "epochs": None}, "--dense-epochs 1 needs training"),
        ({"gates": "metric>=0.5", "eval_data": "x.npz"}, "bounds a metric of your own. Name it with --metric"),
        ({"allocator": "dsa", "data": None, "epochs": None}, "learns on training data"),
        ({"allocator": "netadapt", "from_scratch": True}, "Give --allocator dsa"),
        (
            {"from_scratch": True, "allocator": None, "data": None, "epochs": None},
            "--from-scratch keeps what weights learn",
        ),
        (
            {"search_carry": True, "allocator": None, "data": None, "epochs": None},
            "--search-carry keeps what weights learn",
        ),
        ({"allocator": "dsa", "from_scratch": True, "phases": 2}, "begins anew"),
        ({"search_masks": "hard"}, "--search-masks hard"),
        ({"val_share": 0.1, "val_data": "x.npz"}, "two ways to the same"),
        ({"early_stop": 1}, "--early-stop needs validation data"),
        ({"schedule": "sgdr"}, "schedule = 'sgdr'"),
        ({"optimizer": "lion"}, "optimizer = 'lion'"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_runs(model, options, message):
    with pytest.raises(UsageError, match=message):
        _compress(model, **options)


BAKED = """g (float[4,3,8,8] x, float[8,3,3,3] w1, float[8] b1, float[5,8] wf, float[5] bf) => (float[4,5] y) {
  a = Conv<pads=[1,1,1,1]>(x, w1, b1)
  r = Relu(a)
  p = GlobalAveragePool(r)
  s = Constant<value = int64[2] {4, 8}>()
  f = Reshape(p, s)
  y = Gemm<transB=1>(f, wf, bf)
}"""


def _static(size):
    proto = convnet()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    return proto


@pytest.mark.parametrize(
    "proto",
    [_static(1), pytest.param(_static(8), marks=pytest.mark.slow), model_of(BAKED)],
    ids=["1", "8", "baked"],
)
def test_model_with_a_static_batch_size_is_retrained(proto):
    # 30 and 13 samples: neither divides by the batch size, and no batch of four fits the first two
    result = onnxprune.compress(
        proto,
        flops=0.6,
        align=1,
        data=labelled(30),
        val_data=labelled(13),
        eval_data=labelled(13),
        epochs=2,
        batch_size=16,
    )
    assert len(result.report["training"]["epochs"]) == 2
    assert result.report["evaluation"]["n"] == 13


def test_metric_of_ones_own_is_measured_on_evaluation_data(model, tmp_path, monkeypatch):
    (tmp_path / "own_metric_compress.py").write_text("def score(outputs, labels, teacher):\n    return 0.25\n")
    monkeypatch.chdir(tmp_path)
    result = _compress(
        model,
        epochs=1,
        data=labelled(64),
        eval_data=labelled(16),
        metric="own_metric_compress:score",
        gates="metric>=0.2",
    )
    assert result.report["evaluation"]["after"]["custom"] == 0.25


def test_labels_that_are_no_classes_do_not_end_a_run_after_training(model, tmp_path, monkeypatch):
    (tmp_path / "own_loss_compress.py").write_text(
        "def loss(student, teacher, labels):\n    return (student['y'].sum(1) - labels[:, 0]).square().mean()\n"
    )
    monkeypatch.chdir(tmp_path)
    data = labelled(64) | {"labels": np.linspace(-2, 2, 128, dtype=np.float32).reshape(64, 2)}
    report = _compress(model, epochs=1, data=data, eval_data=data, loss="own_loss_compress:loss").report
    assert report["evaluation"]["after"]["top1"] is None
    assert report["evaluation"]["agreement"] is not None
    assert any("no class indices" in note for note in report["notes"])
