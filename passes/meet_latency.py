"""meet_latency: the cut model is timed, and the budget that was planned with is set right by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from onnxprune.core.budget import Budget
from onnxprune.core.errors import BudgetError
from onnxprune.core.stage import Bench, Pass
from onnxprune.cost import human_cost
from onnxprune.graph import Model
from onnxprune.groups import Analysis, prune
from onnxprune.passes.allocate_budget import AllocateBudget
from onnxprune.passes.learn_latency import LatencyPlan
from onnxprune.passes.validate_model import timing_feeds, timing_options
from onnxprune.runtime import LatencyOptions, Session, make_session, measure, stand_in
from onnxprune.train.workers import workers

__all__ = ["MeetLatency", "Race"]

TRIES = 6
_AIM = 0.985
_BAND = 0.97
_STEP = 2.0
_TOLERATED = 1.03
_SETTLE_S = 8.0


class Race:
    """Times models against one that stays.

    Args:
        original: The one that stays; every operator of it can run.
        feeds: Input name → array.
        options: How to measure.
    """

    def __init__(self, original: Model, feeds: Mapping[str, NDArray[Any]], options: LatencyOptions) -> None:
        self._feeds, self._options = feeds, options
        self._original = self._session(original)

    def ratio(self, slim: Model) -> float:
        """Returns the median time of `slim` over the original's, measured turn by turn."""
        sessions = {"original": self._original, "slim": self._session(stand_in(slim).model)}
        return measure(sessions, self._feeds, self._options).ratios["slim"].value

    def _session(self, model: Model) -> Session:
        return make_session(model, provider=self._options.provider, threads=self._options.threads)


@dataclass(frozen=True)
class _Try:
    """A cut that was timed: factor on the planned limit, time over the target, what it gave."""

    scale: float
    off: float
    artifacts: Mapping[str, Any]


@dataclass(frozen=True)
class MeetLatency(Pass):
    """Edits "allocation" and "plan" until the slim model takes the time that it may take.

    Of the cuts that were tried the slowest within the budget stays; where none is, the fastest, if it is
    so close that the next measurement may find it within. Of several processes only the first times; the
    others get its plan by `share_plan`.

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
    needs = ("original", "model", "working", "analysis", "scores", "latency_plan", "allocation", "plan", "feeds")
    edits = ("allocation", "plan")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Times and cuts anew.

        Raises:
            BudgetError: when no cut is fast enough; the fastest is named.
        """
        if not workers().first:
            return {name: bench.artifacts[name] for name in self.edits}
        plan = bench.take("latency_plan", LatencyPlan)
        wanted = self.budget.limit(plan.original_us) / plan.original_us
        current: Mapping[str, Any] = {name: bench.artifacts[name] for name in self.edits}
        working, analysis = bench.take("working", Model), bench.take("analysis", Analysis)
        race, tries, scale = self._race(bench), list[_Try](), 1.0
        while True:
            slim = prune(working, analysis, current["plan"])
            tries.append(_Try(scale, race.ratio(slim) / wanted, current))
            if len(tries) == TRIES or _BAND <= tries[-1].off <= 1:
                break
            scale = self._next(tries)
            try:
                chosen = self.allocate.again(bench, {"latency": scale})
            except BudgetError:
                break
            if chosen["plan"].kept == current["plan"].kept:
                break
            current = chosen
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

    def _race(self, bench: Bench) -> Race:
        """Returns what cut models are timed against."""
        original = stand_in(bench.take("original", Model)).model
        feeds = timing_feeds(bench, original, self.seed)
        options = replace(timing_options(feeds, self.provider, self.threads, self.seed), settle_time_s=_SETTLE_S)
        return Race(original, feeds, options)
