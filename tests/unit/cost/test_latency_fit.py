"""Latency as a polynomial: fitted to times of a made-up machine, judged on widths that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.axes import Poly
from onnxprune.core.errors import InternalError
from onnxprune.cost.latency_fit import LatencySample, fit_latency
from onnxprune.cost.latency_samples import draw_widths

NAMES = [f"g{i}" for i in range(9)]
SIZES = dict(zip(NAMES, [16] * 3 + [32] * 3 + [64] * 3, strict=True))
UNITS = dict.fromkeys(NAMES, 4)


class Machine:
    """Three stages of a trunk and two inner groups; every layer has a speed of its own."""

    def __init__(self, seed: int = 0, noise: float = 0.0) -> None:
        self.rng, self.noise = np.random.default_rng(seed), noise
        macs, elements, true = {}, {}, {(): 2e5}
        for i, name in enumerate(NAMES):
            key = tuple(sorted((name, NAMES[i // 3 * 3])))
            work = 9.0 * (32 >> (i // 3)) ** 2
            macs[key] = macs.get(key, 0.0) + 2 * work
            elements[(name,)] = work / 9
            true[key] = true.get(key, 0.0) + 2 * work * self.rng.uniform(0.5, 2)
            true[(name,)] = work * self.rng.uniform(2, 20)
        self.macs, self.elements, self.true = Poly(macs), Poly(elements), Poly(true)

    def time(self, counts: dict[str, int]) -> LatencySample:
        ratio = self.true(counts) / self.true(SIZES) * np.exp(self.noise * self.rng.standard_normal())
        return LatencySample(counts, float(ratio))

    def off(self, poly: Poly) -> float:
        """Largest relative error on fresh widths."""
        fresh = draw_widths(SIZES, UNITS, 60, seed=99)
        return max(abs(poly(counts) * self.true(SIZES) / self.true(counts) - 1) for counts in fresh)


def test_a_machine_without_noise_is_found():
    machine = Machine()
    fit = fit_latency(machine.macs, machine.elements, [machine.time(c) for c in draw_widths(SIZES, UNITS, 60)])
    assert machine.off(fit.poly) < 0.01
    assert fit.error < 0.01
    assert fit.samples == 60


def test_noise_is_averaged_out_and_its_size_is_told():
    machine = Machine(noise=0.02)
    fit = fit_latency(machine.macs, machine.elements, [machine.time(c) for c in draw_widths(SIZES, UNITS, 60)])
    assert machine.off(fit.poly) < 0.06
    assert 0.01 < fit.error < 0.04


def test_few_samples_give_what_macs_and_elements_tell():
    machine = Machine()
    fit = fit_latency(machine.macs, machine.elements, [machine.time(c) for c in draw_widths(SIZES, UNITS, 8)])
    assert machine.off(fit.poly) < 0.2


def test_latency_never_falls_when_a_count_rises():
    machine = Machine(noise=0.3)
    fit = fit_latency(machine.macs, machine.elements, [machine.time(c) for c in draw_widths(SIZES, UNITS, 12)])
    assert all(value > 0 for value in fit.poly.terms.values())


def test_three_samples_are_too_few():
    machine = Machine()
    with pytest.raises(InternalError, match="too few"):
        fit_latency(machine.macs, machine.elements, [machine.time(c) for c in draw_widths(SIZES, UNITS, 3)])


def test_widths_are_aligned_different_and_go_on_from_shorter_lists():
    widths = draw_widths(SIZES, UNITS, 40)
    assert widths[0] == SIZES
    assert len({tuple(counts.values()) for counts in widths}) == 40
    assert all(counts[n] % 4 == 0 and 4 <= counts[n] <= SIZES[n] for counts in widths for n in NAMES)
    assert draw_widths(SIZES, UNITS, 15) == widths[:15]


def test_a_small_model_has_few_widths():
    assert len(draw_widths({"a": 2}, {"a": 1}, 30)) == 2
