"""learn_latency: what a latency budget plans with, from models that were cut and timed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from onnxprune.allocate.alignment import AlignOption, alignment_unit
from onnxprune.axes import Poly
from onnxprune.core.stage import Bench, Pass
from onnxprune.cost.latency_fit import LatencySample, fit_latency
from onnxprune.cost.latency_samples import SampleCache, cache_folder, draw_widths, time_widths
from onnxprune.graph import Model
from onnxprune.groups import Analysis
from onnxprune.passes.validate_model import timing_feeds, timing_options
from onnxprune.runtime import LatencyOptions, measure, stand_in
from onnxprune.train.workers import workers

__all__ = ["LatencyPlan", "LearnLatency"]

SAMPLES = 64
_SAVE_EVERY = 8


@dataclass(frozen=True)
class LatencyPlan:
    """What is known of a model's latency.

    Attributes:
        cost: Microseconds of a run, as a polynomial in kept counts.
        original_us: Microseconds of the original, the median.
    """

    cost: Poly
    original_us: float

    def to_json(self) -> str:
        """Returns it as text, exactly."""
        return json.dumps({"cost": list(self.cost.terms.items()), "original_us": self.original_us})

    @classmethod
    def from_json(cls, text: str) -> LatencyPlan:
        """Reads what `to_json` wrote."""
        content = json.loads(text)
        return cls(Poly({tuple(names): weight for names, weight in content["cost"]}), content["original_us"])


@dataclass(frozen=True)
class LearnLatency(Pass):
    """Gives "latency_plan"; of several processes, the first times alone and tells the others.

    Attributes:
        align: "auto", or the multiple that kept counts prefer.
        provider: Execution provider.
        threads: Threads within one operator, or None.
        seed: Draws widths and inputs.
        samples: Widths to time.
    """

    align: AlignOption = "auto"
    provider: str = "auto"
    threads: int | None = None
    seed: int = 0
    samples: int = SAMPLES

    name = "learn_latency"
    needs = ("original", "working", "analysis", "feeds")
    gives = ("latency_plan",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Times and fits."""
        team = workers()
        told = team.on_first(lambda: self._plan(bench).to_json().encode())
        return {"latency_plan": LatencyPlan.from_json(told.decode())}

    def _plan(self, bench: Bench) -> LatencyPlan:
        original, analysis = bench.take("original", Model), bench.take("analysis", Analysis)
        feeds = timing_feeds(bench, stand_in(original).model, self.seed)
        options = timing_options(feeds, self.provider, self.threads, self.seed)
        samples = self._samples(bench, feeds, options)
        elements = Poly.sum(list(analysis.tensor_elements.values()))
        fit = fit_latency(analysis.macs, elements, samples)
        once = replace(options, stands=1)
        whole = measure({"original": stand_in(original).model}, feeds, once).latencies["original"].p50_us
        bench.note(
            f"Latency was learned from {len(samples)} cut models, timed against the original: on widths not seen the "
            f"prediction is off by {fit.error:.1%} (root mean square)."
        )
        scale = whole / float(fit.poly(analysis.sizes))
        return LatencyPlan(fit.poly * scale, whole)

    def _samples(self, bench: Bench, feeds: Mapping[str, NDArray[Any]], options: LatencyOptions) -> list[LatencySample]:
        original, analysis = bench.take("original", Model), bench.take("analysis", Analysis)
        units = {group.name: alignment_unit(group, self.align) for group in analysis.groups}
        widths = draw_widths(analysis.sizes, units, self.samples, self.seed)
        cache = SampleCache(cache_folder(), original.sha256, options)
        known = {_key(sample.counts): sample for sample in cache.read()}
        left = [counts for counts in widths if _key(counts) not in known]
        quick = replace(options, repeats=12, warmup_s=0.03, min_time_s=0.15, settle_time_s=0.4, max_time_s=3.0)
        timed = time_widths(original, bench.take("working", Model), analysis, feeds, left, quick)
        for count, sample in enumerate(timed, start=1):
            known[_key(sample.counts)] = sample
            if count % _SAVE_EVERY == 0 or count == len(left):
                cache.write(list(known.values()))
        return [known[_key(counts)] for counts in widths]


def _key(counts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items()))
