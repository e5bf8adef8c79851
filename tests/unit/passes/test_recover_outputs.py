"""The pass that recovers a pruned model before training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from bridging import answers, convnet, gap, images
from graphs import model_of
from pruning import Analysed, analysed, plan_of, random_plan

from onnxprune.core.plan import Plan
from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.graph import Model
from onnxprune.passes.fold_batchnorm import FoldBatchnorm
from onnxprune.passes.insert_batchnorm import InsertBatchnorm
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.recover_outputs import RecoverOutputs
from onnxprune.recover import RecoverOptions, RecoveryRecord
from onnxprune.train import open_data

OPTIONS = RecoverOptions(samples=128, min_rows=512, rows_per_column=4)


def _bench(item: Analysed, plan: Plan, samples: int = 128, **inputs: np.ndarray) -> Bench:
    data = open_data(inputs or {"x": images(samples)}, item.model.inputs())
    model = item.model
    bench = Bench({"model": model, "working": model, "analysis": item.analysis, "plan": plan, "data": data})
    run_passes([PruneChannels()], bench)
    return bench


def _error(bench: Bench) -> float:
    x = {"x": images(64, seed=9)}
    expected = answers(bench.take("model", Model), x)["y"]
    return float(np.square(answers(bench.take("slim", Model), x)["y"] - expected).mean())


def test_slim_model_comes_closer_to_the_original_on_new_inputs():
    item = analysed(convnet())
    bench = _bench(item, random_plan(item.analysis, share=0.75))
    before = _error(bench)
    run_passes([RecoverOutputs(OPTIONS)], bench)
    assert _error(bench) < 0.5 * before
    record = bench.take("recovery", RecoveryRecord)
    assert (record.samples, record.held_out) == (96, 32)
    assert record.error_after < record.error_before


def test_what_was_recovered_takes_a_normalisation_and_gives_it_back():
    item = analysed(convnet())
    bench = _bench(item, random_plan(item.analysis, share=0.75))
    run_passes([RecoverOutputs(OPTIONS)], bench)
    recovered = _error(bench)
    run_passes([InsertBatchnorm(), FoldBatchnorm()], bench)
    onnx.checker.check_model(bench.take("slim", Model).to_proto())
    assert _error(bench) < 2 * recovered


def test_nothing_is_done_where_nothing_was_cut():
    item = analysed(convnet())
    bench = _bench(item, plan_of(item.analysis, {}))
    slim = bench.take("slim", Model)
    run_passes([RecoverOutputs(OPTIONS)], bench)
    assert bench.take("slim", Model) is slim
    assert bench.take("recovery", RecoveryRecord).stages == ()


def test_too_few_samples_are_said_aloud():
    item = analysed(convnet())
    bench = _bench(item, random_plan(item.analysis), samples=8)
    run_passes([RecoverOutputs(OPTIONS)], bench)
    assert bench.take("recovery", RecoveryRecord).stages == ()
    assert any("fewer than 16 samples" in note for note in bench.notes)


def test_samples_that_do_not_fit_into_memory_are_left_out():
    item = analysed(convnet())
    bench = _bench(item, random_plan(item.analysis))
    run_passes([RecoverOutputs(replace(OPTIONS, max_bytes=1_200_000))], bench)
    record = bench.take("recovery", RecoveryRecord)
    assert 16 <= record.samples + record.held_out < 128
    assert any("as many as memory holds" in note for note in bench.notes)


def test_model_with_a_baked_batch_size_is_recovered_with_batches_of_that_size():
    item = analysed(
        model_of(
            """g (float[4,6] x, float[8,6] w, float[8] b, float[3,8] u, float[3] c) => (float[4,3] y) {
              a = Gemm<transB=1>(x, w, b)
              r = Relu(a)
              y = Gemm<transB=1>(r, u, c)
            }"""
        )
    )
    x = np.random.default_rng(0).standard_normal((102, 6)).astype(np.float32)
    bench = _bench(item, random_plan(item.analysis, share=0.75), x=x)
    run_passes([RecoverOutputs(OPTIONS)], bench)
    record = bench.take("recovery", RecoveryRecord)
    assert record.samples + record.held_out == 100
    assert record.error_after < record.error_before


def test_same_seed_gives_the_same_model():
    item = analysed(convnet())
    plan = random_plan(item.analysis)
    benches = [_bench(item, plan) for _ in range(2)]
    for bench in benches:
        run_passes([RecoverOutputs(OPTIONS)], bench)
    first, second = (answers(bench.take("slim", Model), {"x": images(4)})["y"] for bench in benches)
    assert gap(first, second) == 0
