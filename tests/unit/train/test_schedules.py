"""Every schedule against its formula, and what all of them promise."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.core.errors import InternalError, UsageError
from onnxprune.train.schedules import FIXED, SCHEDULES, ScheduleOptions, adaptive_scale, make_schedule

DECAYS = ("cosine", "linear", "step")


def _rates(name, steps=100, per_epoch=10, **options):
    schedule = make_schedule(ScheduleOptions(name, **{"peak": 1.0, "original_epochs": 20, **options}), steps, per_epoch)
    return [schedule.lr(step) for step in range(steps)]


@given(
    name=st.sampled_from(SCHEDULES),
    steps=st.integers(1, 300),
    per_epoch=st.integers(1, 50),
    peak=st.floats(1e-6, 10),
    original_epochs=st.floats(0.01, 300),
    ratio=st.floats(1e-6, 1),
    decay=st.sampled_from(DECAYS),
)
def test_every_rate_is_positive_and_at_most_the_peak(name, steps, per_epoch, peak, original_epochs, ratio, decay):
    rates = _rates(
        name, steps, per_epoch, peak=peak, original_epochs=original_epochs, final_lr_ratio=ratio, original_decay=decay
    )
    assert all(0 < rate <= peak * (1 + 1e-12) for rate in rates)


@given(name=st.sampled_from(SCHEDULES), steps=st.integers(1, 300), decay=st.sampled_from(DECAYS))
def test_rates_rise_during_the_warm_up_and_never_afterwards(name, steps, decay):
    warm = make_schedule(ScheduleOptions(name, original_decay=decay), steps, 7).warmup_steps
    rates = _rates(name, steps, original_decay=decay)
    assert all(a < b for a, b in itertools.pairwise(rates[:warm]))
    assert all(a >= b for a, b in itertools.pairwise(rates[max(warm - 1, 0) :]))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_need_no_warm_up(name, steps):
    schedule = make_schedule(ScheduleOptions(name, peak=1.0), steps, 1)
    assert schedule.warmup_steps == 0
    assert schedule.lr(0) == (pytest.approx(0.01) if name == "ft" else schedule.lr(0))
    assert all(schedule.lr(step) > 0 for step in range(steps))


@pytest.mark.parametrize("name", ["clr", "llr", "allr", "slr", "constant", "stepped", "cosine", "linear"])
def test_warm_up_is_a_cosine_ramp_one_step_ahead(name):
    rates = _rates(name)
    assert rates[:10] == pytest.approx([rates[10] * (1 - math.cos(math.pi * (t + 1) / 10)) / 2 for t in range(10)])
    assert rates[9] == rates[10] == pytest.approx(1)


@pytest.mark.parametrize(("steps", "warmup"), [(1, 1.0), (2, 0.5), (3, 1.0)])
def test_warm_up_leaves_at_least_one_step(steps, warmup):
    rates = _rates("linear", steps, warmup=warmup)
    assert max(rates) == 1 == rates[-1]


def test_fine_tuning_is_the_last_rate_of_the_original():
    assert _rates("ft", final_lr_ratio=0.02) == pytest.approx([0.02] * 100)


def test_rewinding_replays_the_last_steps_of_the_original():
    original = _rates("lrw", 200)
    assert original[0] == 1
    assert original[-1] == pytest.approx(0.01)
    assert original[100] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi * 100 / 199)) / 2)
    assert _rates("lrw", 60) == original[-60:]


def test_rewinding_beyond_the_original_begins_with_its_first_rate():
    longer = _rates("lrw", 250)
    assert longer[:50] == [1.0] * 50
    assert longer[50:] == _rates("lrw", 200)


def test_scaled_squeezes_the_whole_original_into_the_run():
    original, rates = _rates("lrw", 200), _rates("slr")
    assert rates[10:] == [original[r * 200 // 90] for r in range(90)]


def test_scaled_run_longer_than_the_original_stretches_it():
    original, rates = _rates("lrw", 200), _rates("slr", 500)
    assert rates[50:] == [original[r * 200 // 450] for r in range(450)]


def test_cyclic_falls_along_a_cosine_to_the_last_rate():
    rates = _rates("clr")
    assert rates[55] == pytest.approx((1 + 0.01) / 2)
    assert rates[99] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi * 89 / 90)) / 2)


def test_linear_falls_to_one_step_before_zero():
    assert _rates("llr")[10:] == pytest.approx([(90 - r) / 90 for r in range(90)])
    assert _rates("linear", warmup=0.1) == _rates("llr")


def test_adaptive_linear_scales_the_whole_linear_one():
    assert _rates("allr", lr_scale=0.25) == pytest.approx([rate / 4 for rate in _rates("llr")])


def test_scale_reaches_no_other_schedule():
    assert _rates("llr", lr_scale=0.25) == _rates("llr")


def test_cosine_falls_towards_zero():
    rates = _rates("cosine", warmup=0.0)
    assert rates[50] == pytest.approx(0.5)
    assert 0 < rates[99] < 1e-3


def test_constant_stays_at_the_peak():
    assert _rates("constant", warmup=0.0) == [1.0] * 100


def test_stepped_has_three_plateaus_whatever_the_original():
    rates = _rates("stepped", warmup=0.0, original_decay="linear")
    assert rates == pytest.approx([1.0] * 50 + [0.1] * 25 + [0.01] * 25)


@pytest.mark.parametrize(("decay", "middle"), [("cosine", 0.505), ("linear", 0.505), ("step", 0.1)])
def test_assumed_curve_of_the_original(decay, middle):
    rates = _rates("lrw", 201, 1, original_epochs=201, original_decay=decay)
    assert (rates[0], rates[101], rates[200]) == pytest.approx((1.0, middle, 0.01), abs=0.01)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_schedule_refuses_a_warm_up(name):
    with pytest.raises(UsageError, match=f"warmup = 0.2: schedule '{name}' has a warm-up of its own"):
        ScheduleOptions(name, warmup=0.2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "lrr"}, "schedule = 'lrr': must be one of ft, lrw, slr"),
        ({"original_decay": "poly"}, "original_decay = 'poly'"),
        ({"peak": 0.0}, "peak = 0.0"),
        ({"peak": math.nan}, "peak = nan"),
        ({"original_epochs": math.inf}, "original_epochs = inf"),
        ({"final_lr_ratio": 0.0}, "final_lr_ratio = 0.0"),
        ({"final_lr_ratio": 1.5}, "final_lr_ratio = 1.5"),
        ({"lr_scale": 0.0}, "lr_scale = 0.0"),
        ({"name": "linear", "warmup": 1.5}, "warmup = 1.5: must lie in 0..1"),
        ({"name": "linear", "warmup": math.nan}, "warmup = nan"),
    ],
)
def test_value_outside_its_domain_is_a_usage_error(options, said):
    with pytest.raises(UsageError, match=said):
        ScheduleOptions(**options)


@pytest.mark.parametrize(("steps", "per_epoch"), [(0, 1), (1, 0)])
def test_run_without_steps_is_a_usage_error(steps, per_epoch):
    with pytest.raises(UsageError, match="needs steps"):
        make_schedule(ScheduleOptions(), steps, per_epoch)


@pytest.mark.parametrize("step", [-1, 100])
def test_step_outside_the_run_is_our_mistake(step):
    with pytest.raises(InternalError, match="100 steps"):
        make_schedule(ScheduleOptions(), 100, 10).lr(step)


def test_scale_is_the_relative_distance_over_the_root_of_the_share():
    # ‖W‖ = 5, ‖W_p‖ = 4: what is gone has norm 3
    assert adaptive_scale(5, 4, 0.64, 1, 100) == pytest.approx(3 / 5 / 0.8)


def test_scale_of_random_pruning_is_one():
    assert adaptive_scale(1, math.sqrt(0.7), 0.3, 1, 100) == pytest.approx(1)


@pytest.mark.parametrize(("epochs", "expected"), [(1, 0.2), (30, 0.3), (100, 1.0), (500, 1.0)])
def test_scale_has_the_length_of_the_run_as_its_lower_end(epochs, expected):
    # the distance alone gives 0.2
    assert adaptive_scale(1, math.sqrt(1 - 0.04 * 0.5), 0.5, epochs, 100) == pytest.approx(expected)


def test_scale_is_never_above_one():
    assert adaptive_scale(1, 0, 0.25, 1, 100) == 1


@pytest.mark.parametrize(("before", "share"), [(0.0, 0.5), (3.0, 0.0)])
def test_scale_without_pruning_is_its_lower_end(before, share):
    assert adaptive_scale(before, before, share, 20, 100) == pytest.approx(0.2)


def test_scale_of_norms_that_grew_counts_the_distance():
    assert adaptive_scale(1, math.sqrt(1.1), 0.4, 1, 100) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((-1, 1, 0.5, 1, 1), "norm_before = -1"),
        ((1, math.nan, 0.5, 1, 1), "norm_after = nan"),
        ((1, 1, 1.5, 1, 1), "pruned_share = 1.5"),
        ((1, 1, 0.5, 1, 0), "original_epochs = 0"),
    ],
)
def test_scale_refuses_what_lies_outside_its_domain(arguments, said):
    with pytest.raises(UsageError, match=said):
        adaptive_scale(*arguments)
