"""Timing: order, counts and statistics exactly, real models only by what cannot be otherwise."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from onnxprune.core.errors import DataError, InternalError
from onnxprune.runtime import latency as latency_module
from onnxprune.runtime.latency import Latency, LatencyComparison, LatencyOptions, Ratio, measure
from onnxprune.runtime.session import make_session
from onnxprune.runtime.timing import TurnLimits, take_turns, warm_up

SEEDED = LatencyOptions(seed=1)
QUICK = LatencyOptions(repeats=12, warmup_s=0.01, min_time_s=0.05, settle_time_s=0.2, threads=1)


def matmuls(width: int, count: int) -> onnx.ModelProto:
    steps = " ".join(f"t{i + 1} = MatMul(t{i}, w)" for i in range(count))
    head = f"g (float[n, {width}] t0) => (float[n, {width}] t{count})"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {head} {{ {steps} }}')
    weight = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32) / width
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def feeds(width: int) -> dict[str, np.ndarray]:
    return {"t0": np.ones((64, width), np.float32)}


def test_more_work_measures_slower() -> None:
    found = measure({"small": matmuls(128, 1), "large": matmuls(128, 40)}, feeds(128), QUICK)
    assert list(found.latencies) == ["small", "large"]
    assert list(found.ratios) == ["large"]
    ratio = found.ratios["large"]
    assert ratio.value > 2
    assert ratio.low <= ratio.value <= ratio.high
    small, large = found.latencies["small"], found.latencies["large"]
    assert large.p50_us > small.p50_us > 0
    assert small.n == large.n >= QUICK.repeats
    assert small.calls >= large.calls >= 1
    for item in (small, large):
        assert item.p50_us <= item.p90_us <= item.p95_us
        assert item.iqr_us >= 0


def test_conditions_are_those_of_the_sessions() -> None:
    session = make_session(matmuls(8, 1), threads=1)
    found = measure({"a": session, "b": session}, feeds(8), QUICK)
    assert (found.provider, found.threads, found.batch) == ("CPUExecutionProvider", 1, 1)


def test_sessions_that_differ_in_threads_are_refused() -> None:
    sessions = {str(n): make_session(matmuls(8, 1), threads=n) for n in (1, 2)}
    with pytest.raises(InternalError, match="differ in provider or threads"):
        measure(sessions, feeds(8), QUICK)


def test_one_model_has_no_ratio() -> None:
    assert measure({"a": matmuls(8, 1)}, feeds(8), QUICK).ratios == {}


def test_bfloat16_outputs_are_timed_too() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n, 8] t0) => (bfloat16[n, 8] y) { y = Cast<to = 16>(t0) }'
    )
    assert measure({"a": model}, feeds(8), QUICK).latencies["a"].p50_us > 0


def test_feeds_that_do_not_fit_are_refused_before_timing() -> None:
    with pytest.raises(DataError):
        measure({"a": matmuls(8, 1)}, feeds(9), QUICK)


def never(_: object) -> bool:
    return False


def test_turns_alternate_and_count() -> None:
    seen: list[str] = []
    calls = {name: lambda name=name: seen.append(name) for name in "ab"}
    samples = take_turns(calls, {"a": 2, "b": 1}, TurnLimits(6, 0, 0, 10), never)
    text = "".join(seen)
    rounds = [text[start : start + 5] for start in range(0, len(text), 5)]
    # one call goes before each sample, untimed
    assert len(rounds) == 6
    assert set(rounds) == {"aaabb", "bbaaa"}
    assert samples["a"].shape == samples["b"].shape == (6,)
    assert (samples["a"] > 0).all()


def test_turns_stop_at_the_time_limit_after_five_rounds() -> None:
    samples = take_turns({"a": lambda: time.sleep(0.002)}, {"a": 1}, TurnLimits(1000, 0, 0, 0.001), never)
    assert len(samples["a"]) == 5


def test_turns_go_on_for_the_least_time() -> None:
    start = time.perf_counter()
    samples = take_turns({"a": lambda: time.sleep(0.001)}, {"a": 1}, TurnLimits(1, 0.05, 0, 10), never)
    assert time.perf_counter() - start >= 0.05
    assert len(samples["a"]) > 1


def test_warm_up_gives_the_settled_time() -> None:
    calls = iter([0.004] * 8 + [0.0005] * 10_000)
    assert 0.0005 <= warm_up(lambda: time.sleep(next(calls)), 0.05) < 0.003


def test_warm_up_of_a_slow_model_ends_in_time() -> None:
    start = time.perf_counter()
    warm_up(lambda: time.sleep(0.05), 0.01)
    assert time.perf_counter() - start < 0.35  # eight calls would take 0.4


def test_summary_of_known_samples() -> None:
    found = latency_module._summary(np.arange(1, 102) * 1e-6, calls=3)
    assert found.p50_us == pytest.approx(51)
    assert found.p90_us == pytest.approx(91)
    assert found.p95_us == pytest.approx(96)
    assert found.iqr_us == pytest.approx(50)
    assert found.mean_us == pytest.approx(51)
    assert (found.n, found.calls) == (101, 3)
    assert found.spread == pytest.approx(50 / 51)


def test_turns_end_when_the_samples_are_settled() -> None:
    sizes: list[int] = []

    def settled(samples: Mapping[str, np.ndarray]) -> bool:
        sizes.append(len(samples["a"]))
        return len(sizes) == 3

    samples = take_turns({"a": int}, {"a": 1}, TurnLimits(10, 0, 60, 60), settled)
    assert sizes == [10, 20, 30]
    assert len(samples["a"]) == 30


def noisy_halving(rounds: int, seed: int = 0) -> dict[str, np.ndarray]:
    """A model twice as fast as its reference, both interrupted in a third of the rounds."""
    rng = np.random.default_rng(seed)
    samples = {}
    for name, seconds in (("reference", 2e-3), ("model", 1e-3)):
        jitter = np.exp(0.05 * rng.standard_normal(rounds))
        samples[name] = seconds * jitter + 0.02 * (rng.random(rounds) < 1 / 3)
    return samples


def test_ratio_and_its_interval_cover_the_truth_in_spite_of_interruptions() -> None:
    found = latency_module._ratios(noisy_halving(400), SEEDED)["model"]
    assert found.value == pytest.approx(0.5, rel=0.03)
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.05
    assert found == latency_module._ratios(noisy_halving(400), SEEDED)["model"]


def test_a_lower_percentile_holds_where_most_runs_are_interrupted() -> None:
    samples = noisy_halving(400)
    for seconds in samples.values():
        seconds[::2] += 0.02
    low = LatencyOptions(percentile=10, seed=1)
    assert latency_module._ratios(samples, low)["model"].value == pytest.approx(0.5, rel=0.05)
    middle = LatencyOptions(percentile=50, seed=1)
    assert latency_module._ratios(samples, middle)["model"].value > 0.8


def test_samples_settle_with_their_number() -> None:
    assert not latency_module._is_settled(noisy_halving(20), QUICK)
    assert latency_module._is_settled(noisy_halving(4000), QUICK)
    assert latency_module._is_settled({"only": np.ones(20)}, QUICK)


def test_noise_is_said_above_thirty_per_cent() -> None:
    calm, wild = (Latency(100, 120, 130, iqr, 100, 50, 1) for iqr in (30, 31))
    assert latency_module._notes({"calm": calm}, QUICK) == ()
    (note,) = latency_module._notes({"calm": calm, "wild": wild}, QUICK)
    assert "spread (IQR over median) of wild is 31%" in note
    comparison = LatencyComparison({"wild": wild}, {"wild": Ratio(1, 1, 1, 0)}, "CPUExecutionProvider", 1, 1)
    assert comparison.noisy


def test_samples_that_ran_out_of_time_are_said() -> None:
    (note,) = latency_module._notes({"a": Latency(1, 1, 1, 0, 1, 5, 1)}, QUICK)
    assert "Only 5 of 12" in note
