"""Timing: order, counts and statistics exactly, real models only by what cannot be otherwise."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from onnxprune.core.errors import DataError, InternalError
from onnxprune.runtime import latency as latency_module
from onnxprune.runtime import stands as stands_module
from onnxprune.runtime.latency import Latency, LatencyComparison, LatencyOptions, measure
from onnxprune.runtime.ratios import Ratio, find_ratio
from onnxprune.runtime.session import make_session
from onnxprune.runtime.stands import StandLimits, Stands, take_stands
from onnxprune.runtime.timing import Call, TurnLimits, take_turns, warm_up

ONE_STAND = Stands(({},), {})
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


def ratio_of(*stands: dict[str, np.ndarray], percentile: float = 25.0) -> Ratio:
    return find_ratio(stands, "model", "reference", percentile=percentile, seed=1)


def test_ratio_and_its_interval_cover_the_truth_in_spite_of_interruptions() -> None:
    found = ratio_of(noisy_halving(400))
    assert found.value == pytest.approx(0.5, rel=0.03)
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.05
    assert found == ratio_of(noisy_halving(400))


def test_a_lower_percentile_holds_where_most_runs_are_interrupted() -> None:
    samples = noisy_halving(400)
    for seconds in samples.values():
        seconds[::2] += 0.02
    assert ratio_of(samples, percentile=10).value == pytest.approx(0.5, rel=0.05)
    assert ratio_of(samples, percentile=50).value > 0.8


def test_samples_settle_with_their_number() -> None:
    assert not latency_module._is_settled((noisy_halving(20),), QUICK)
    assert latency_module._is_settled((noisy_halving(4000),), QUICK)
    assert latency_module._is_settled(({"only": np.ones(20)},), QUICK)


def test_noise_is_said_above_thirty_per_cent() -> None:
    calm, wild = (Latency(100, 120, 130, iqr, 100, 50, 1) for iqr in (30, 31))
    assert latency_module._notes({"calm": calm}, ONE_STAND, QUICK) == ()
    (note,) = latency_module._notes({"calm": calm, "wild": wild}, ONE_STAND, QUICK)
    assert "spread (IQR over median) of wild is 31%" in note
    comparison = LatencyComparison({"wild": wild}, {"wild": Ratio(1, 1, 1, 0)}, "CPUExecutionProvider", 1, 1)
    assert comparison.noisy


def test_samples_that_ran_out_of_time_are_said() -> None:
    (note,) = latency_module._notes({"a": Latency(1, 1, 1, 0, 1, 5, 1)}, ONE_STAND, QUICK)
    assert "Only 5 of 12" in note


def drifting(stands: int, off: float, seed: int) -> list[dict[str, np.ndarray]]:
    """Stands of two models that are as fast as each other, apart from what sessions differ by."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(stands):
        ours, theirs = np.exp(off * rng.standard_normal(2))
        jitter = np.exp(0.01 * rng.standard_normal((2, 60)))
        found.append({"model": 1e-3 * ours * jitter[0], "reference": 1e-3 * theirs * jitter[1]})
    return found


def test_intervals_over_stands_hold_what_sessions_differ_by() -> None:
    found = [ratio_of(*drifting(8, 0.02, seed)) for seed in range(200)]
    assert sum(ratio.low <= 1 <= ratio.high for ratio in found) >= 180
    assert np.median([ratio.high - ratio.low for ratio in found]) < 0.08
    # the same samples as if they came from one pair of sessions: too sure of themselves
    alone = [ratio_of(*drifting(1, 0.02, seed)) for seed in range(200)]
    assert sum(ratio.low <= 1 <= ratio.high for ratio in alone) < 100


def test_intervals_are_wider_the_more_stands_differ() -> None:
    calm, wild = (ratio_of(*drifting(6, off, 3)) for off in (0.0, 0.05))
    assert wild.high - wild.low > 3 * (calm.high - calm.low)


def limits(**more: float) -> StandLimits:
    given = {"stands": 6, "repeats": 12, "warmup_s": 0.0, "min_time_s": 0.0, "settle_time_s": 5.0, "max_time_s": 9.0}
    return StandLimits(**given | {"seed": 0} | more)  # type: ignore[arg-type]


def test_each_stand_is_made_anew_and_takes_its_share_of_samples() -> None:
    made: list[int] = []

    def make(number: int) -> dict[str, Call]:
        made.append(number)
        return {"a": int, "b": int}

    found = take_stands(make, limits(), lambda _: True)
    assert made == [0, 1, 2, 3, 4, 5]
    assert len(found.samples) == 6
    assert all(len(stand["a"]) == len(stand["b"]) >= 2 for stand in found.samples)
    assert len(found.pooled("b")) == sum(len(stand["b"]) for stand in found.samples)


def test_stands_go_on_until_they_are_settled() -> None:
    found = take_stands(lambda _: {"a": int}, limits(), lambda stands: len(stands) == 9)
    assert len(found.samples) == 9
    found = take_stands(lambda _: {"a": int}, limits(settle_time_s=0.0), lambda _: False)
    assert len(found.samples) == 3


def test_slow_sessions_are_made_less_often() -> None:
    def slow(_: int) -> dict[str, Call]:
        time.sleep(0.05)
        return {"a": int}

    found = take_stands(slow, limits(settle_time_s=0.2), lambda _: True)
    assert len(found.samples) == 3
    assert found.costly_s == 0


def test_sessions_that_take_minutes_are_made_once_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stands_module, "_LONGEST_S", 0.05)
    made: list[int] = []

    def slow(number: int) -> dict[str, Call]:
        made.append(number)
        time.sleep(0.05)
        return {"a": int}

    found = take_stands(slow, limits(), lambda _: True)
    assert made == [0]
    assert found.costly_s >= 0.05
    (note,) = latency_module._notes({"a": Latency(1, 1, 1, 0, 1, 50, 1)}, found, QUICK)
    assert "Sessions were made once" in note


def test_models_get_sessions_of_their_own_in_each_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    real = latency_module.make_session

    def counted(model: onnx.ModelProto, **options: object) -> object:
        made.append(model)
        return real(model, **options)

    monkeypatch.setattr(latency_module, "make_session", counted)
    monkeypatch.setattr(latency_module, "_is_settled", lambda *_: True)  # however noisy the machine is
    models = {"a": matmuls(8, 1), "b": matmuls(8, 2)}
    found = measure(models, feeds(8), replace(QUICK, settle_time_s=30.0, stands=4))
    assert found.stands >= 4
    assert len(made) == 2 * found.stands
    once = measure({name: make_session(model, threads=1) for name, model in models.items()}, feeds(8), QUICK)
    assert once.stands == 1
    assert len(made) == 2 * found.stands


def test_every_model_is_held_against_every_other_one() -> None:
    found = measure({"a": matmuls(8, 1), "b": matmuls(8, 2), "c": matmuls(8, 3)}, feeds(8), QUICK)
    assert found.ratios == found.against["a"]
    assert {name: set(others) for name, others in found.against.items()} == {
        "a": {"b", "c"},
        "b": {"a", "c"},
        "c": {"a", "b"},
    }
    assert found.against["b"]["c"].value == pytest.approx(found.ratios["c"].value / found.ratios["b"].value)


def test_the_best_form_is_one_that_was_shown_to_be_faster() -> None:
    calm = Latency(1, 1, 1, 0, 1, 50, 1)
    ratios = {"unclear": Ratio(0.9, 0.7, 1.1, 0), "fast": Ratio(0.8, 0.7, 0.9, 0), "slim": Ratio(0.1, 0.1, 0.1, 0)}
    latencies = {"original": calm} | dict.fromkeys(ratios, calm)
    comparison = LatencyComparison(latencies, ratios, "CPUExecutionProvider", 1, 1)
    assert comparison.best_form(["unclear", "fast"]) == "fast"
    assert comparison.best_form(["unclear"]) == "original"
