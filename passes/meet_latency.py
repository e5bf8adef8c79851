"""meet_latency: the cut model is timed, and the budget that was planned with is set right by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from onnxprune.core.budget import Budget
from onnxprune.core.errors import BudgetError
from onnxprune.core.stage import Bench, Pass
from onnxprune.cost import human_cost
from onnxprune.graph import Model
from onnxprune.passes.allocate_budget import AllocateBudget
from onnxprune.passes.learn_latency import LatencyPlan
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.passes.validate_model import timing_feeds, timing_options
from onnxprune.runtime import make_session, measure, stand_in

__all__ = ["MeetLatency"]

TRIES = 6
_AIM = 0.985
_BAND = 0.97
_STEP = 2.0
_TOLERATED = 1.03


@dataclass(frozen=True)
class _Try:
    """A cut that was timed: factor on the planned limit, time over the target, what it gave."""

    scale: float
    off: float
    artifacts: Mapping[str, Any]


@dataclass(frozen=True)
class MeetLatency(Pass):
    """Edits "allocation", "plan" and "slim" until the slim model takes the time that it may take.

    Of the cuts that were tried the slowest within the budget stays; where none is, the fastest, if it is
    so close that the next measurement may find it within.

    Attributes:
        budget: The latency budget.
        allocate: Makes other allocations.
        provider: Execution provider.
        threads: Threads within one operator, or None.
        seed: Draws the inputs.
    """

    budget: Budget
    allocate: AllocateBudget
    provider: str = "auto"
    threads: int | None = None
    seed: int = 0

    name = "meet_latency"
    needs = (
        "original",
        "model",
        "working",
        "analysis",
        "scores",
        "latency_plan",
        "allocation",
        "plan",
        "slim",
        "feeds",
    )
    edits = ("allocation", "plan", "slim")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Times and cuts anew.

        Raises:
            BudgetError: when no cut is fast enough; the fastest is named.
        """
        plan = bench.take("latency_plan", LatencyPlan)
        wanted = self.budget.limit(plan.original_us) / plan.original_us
        current: Mapping[str, Any] = {name: bench.artifacts[name] for name in self.edits}
        tries: list[_Try] = []
        scale = 1.0
        while True:
            tries.append(_Try(scale, self._ratio(bench, current["slim"]) / wanted, current))
            if len(tries) == TRIES or _BAND <= tries[-1].off <= 1:
                break
            scale = self._next(tries)
            try:
                chosen = self.allocate.again(bench, {"latency": scale})
            except BudgetError:
                break
            if chosen["plan"].kept == current["plan"].kept:
                break
            current = {**chosen, **self._cut(bench, chosen)}
        within = [t for t in tries if t.off <= 1]
        best = max(within, key=lambda t: t.off) if within else min(tries, key=lambda t: t.off)
        cuts = f"{len(tries)} cut{'s' * (len(tries) > 1)}"
        if best.off > _TOLERATED:
            allowed = wanted * plan.original_us
            raise BudgetError(
                f"The latency budget cannot be met: {human_cost('latency', allowed)} are allowed, and the fastest of "
                f"{cuts} takes {human_cost('latency', best.off * allowed)}. Ask for more; `onnxprune inspect` tells "
                "which channels are frozen and why."
            )
        bench.note(
            f"The latency budget was met by timing {cuts}: the one that is kept takes {best.off:.1%} of what it may."
        )
        return best.artifacts

    @staticmethod
    def _next(tries: list[_Try]) -> float:
        """The limit to plan with next: a step in proportion, kept between what was too slow and too fast."""
        last = tries[-1]
        scale = last.scale * min(max(_AIM / last.off, 1 / _STEP), _STEP)
        slow = min((t.scale for t in tries if t.off > 1), default=float("inf"))
        fast = max((t.scale for t in tries if t.off <= 1), default=0.0)
        if not fast < scale < slow and 0 < fast < slow < float("inf"):
            scale = (fast * slow) ** 0.5
        return scale

    @staticmethod
    def _cut(bench: Bench, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
        artifacts = {name: bench.artifacts[name] for name in PruneChannels.needs} | {"plan": chosen["plan"]}
        return PruneChannels().run(Bench(artifacts))

    def _ratio(self, bench: Bench, slim: Model) -> float:
        """Returns the slim model's time over the original's."""
        original = stand_in(bench.take("original", Model)).model
        feeds = timing_feeds(bench, original, self.seed)
        options = replace(timing_options(feeds, self.provider, self.threads, self.seed), settle_time_s=8.0)
        models = {"original": original, "slim": stand_in(slim).model}
        sessions = {n: make_session(m, provider=options.provider, threads=options.threads) for n, m in models.items()}
        return measure(sessions, feeds, options).ratios["slim"].median
