"""open_search: what keep ratios learn on, for an allocator that asks for it.

From the weights as they are, the importance of channels is that of the criterion. From scratch it
is the norm of what writes a channel, times the scale of the normalisation behind it, of the weights as
they are by then: |γ| ‖W‖ / σ (DSA, Ning et al. 2020, by its released code), which is the norm of the
folded filters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxprune.bridge import OnnxModule, fold_batchnorm, to_torch, write_back
from onnxprune.bridge.roles import tensor_roles
from onnxprune.core.events import SearchProgress
from onnxprune.core.plan import Plan
from onnxprune.core.search import SearchOptions, SearchPoint
from onnxprune.core.stage import Bench, Pass
from onnxprune.criteria import ScoreContext
from onnxprune.criteria.magnitude import Magnitude
from onnxprune.graph import Model, for_training, narrowed_back, read_real
from onnxprune.groups import Analysis
from onnxprune.groups.carry import carried_model
from onnxprune.passes.insert_batchnorm import identity_norms
from onnxprune.passes.score_tiles import TileLevels
from onnxprune.train.bench import take_samples
from onnxprune.train.fresh import fresh_weights
from onnxprune.trial.block_gates import BlockGates
from onnxprune.trial.probe import Probe
from onnxprune.trial.searcher import DataSearcher
from onnxprune.trial.supernet import SupernetOptions
from onnxprune.trial.switches import Switches

__all__ = ["Ground", "Learned", "OpenSearch"]


@dataclass(frozen=True)
class OpenSearch(Pass):
    """Gives "searcher".

    Attributes:
        learning: How the weights learn.
        options: How the keep ratios do.
        batchnorm: Whether a folded net gets normalisation to learn with.
        scratch: Whether weights begin as if nothing had been trained.
    """

    learning: SupernetOptions
    options: SearchOptions = field(default_factory=SearchOptions)
    batchnorm: bool = True
    scratch: bool = False

    name = "open_search"
    needs = ("model", "working", "analysis", "data")
    gives = ("searcher", "learned")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Builds the student and its teacher."""
        working, seed = bench.take("working", Model), self.learning.train.seed
        analysis, levels = bench.take("analysis", Analysis), bench.find("tile_levels", TileLevels)
        probe = bench.find("probe", Probe) or Probe(working, analysis, take_samples(bench, "data"), seed=seed)
        switches = BlockGates(levels.gates, probe.gates) if levels is not None else probe.gates
        ground = Ground.of(bench, working, self.learning, batchnorm=self.batchnorm, scratch=self.scratch)
        learned = Learned(ground.wide, analysis, ground.learning, working if ground.narrow else None)
        searcher = ground.searcher(bench, switches, self.options, learned.importances if self.scratch else None)
        return {"searcher": searcher, "learned": learned}


@dataclass(frozen=True)
class Ground:
    """What a student is made of, and how it learns.

    Attributes:
        wide: The model in float32.
        learning: The same as it learns, perhaps with normalisation.
        narrow: Whether the model's own element types are others.
        options: How the weights learn.
    """

    wide: Model
    learning: Model
    narrow: bool
    options: SupernetOptions

    @classmethod
    def of(
        cls, bench: Bench, model: Model, options: SupernetOptions, *, batchnorm: bool, scratch: bool = False
    ) -> Ground:
        """Gets a model ready to learn on the bench's "data".

        Args:
            bench: Holds "data".
            model: What learns.
            options: How its weights do.
            batchnorm: Whether a folded net gets normalisation to learn with.
            scratch: Whether weights begin as if nothing had been trained.
        """
        wide, note = for_training(model)
        seed = options.train.seed
        learning = identity_norms(wide, take_samples(bench, "data"), seed) if batchnorm else wide
        return cls(wide, fresh_weights(learning, seed) if scratch else learning, note is not None, options)

    def searcher(
        self,
        bench: Bench,
        switches: Switches,
        options: SearchOptions,
        weigh: Callable[[OnnxModule], Mapping[str, NDArray[np.float64]]] | None = None,
    ) -> DataSearcher:
        """Returns a search that is ready to be started; the teacher is the bench's "model".

        Args:
            bench: Holds "model" and "data", and hears of progress.
            switches: Where masks act.
            options: How keep ratios learn.
            weigh: Gives importances of what was learned by then, where those of the start are not to stay.
        """

        def tell(point: SearchPoint, steps: int, left: float) -> None:
            bench.on_event(SearchProgress(point.step, steps, point.loss, point.used, point.undecided, left))

        teacher = to_torch(for_training(bench.take("model", Model))[0])
        data = take_samples(bench, "data")
        return DataSearcher(to_torch(self.learning), teacher, switches, data, self.options, options, tell, weigh=weigh)


@dataclass(frozen=True)
class Learned:
    """Brings what a student learned under masks back to the model that is cut.

    Attributes:
        wide: What is cut, in float32.
        analysis: Its analysis.
        learning: What the student was made of: `wide`, perhaps with normalisation.
        narrow: What is cut, where its element types are others.
    """

    wide: Model
    analysis: Analysis
    learning: Model
    narrow: Model | None = None

    def model(self, student: OnnxModule) -> Model:
        """Returns what is cut with the student's weights, normalisation folded."""
        carried = self._carried(student)
        return carried if self.narrow is None else narrowed_back(carried, self.narrow)

    def importances(self, student: OnnxModule) -> dict[str, NDArray[np.float64]]:
        """Returns group → norm of what writes each channel, float64 [size], of the student's weights."""
        model = self._carried(student)
        context = ScoreContext(self.analysis.groups, partial(read_real, model), self.analysis.labels)
        return dict(Magnitude().score(context).values)

    def _carried(self, student: OnnxModule) -> Model:
        learned = self.learning.copy()
        write_back(student, learned)
        folded = fold_batchnorm(learned)
        sizes = self.analysis.sizes
        everything = Plan("", sizes, {name: tuple(range(size)) for name, size in sizes.items()})
        trained = [name for name, role in tensor_roles(folded).items() if role != "constant"]
        return carried_model(self.wide, self.analysis, everything, folded, trained)
