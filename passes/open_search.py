"""open_search: what keep ratios learn on, for an allocator that asks for it.

From the weights as they are, the importance of channels is that of the criterion. From scratch it
is the norm of what writes a channel, times the scale of the normalisation behind it, of the weights as
they are by then: |γ| ‖W‖ / σ (DSA, Ning et al. 2020, by its released code), which is the norm of the
folded filters.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from onnxprune.train.bench import take_samples
from onnxprune.train.fresh import fresh_weights
from onnxprune.trial.probe import Probe
from onnxprune.trial.searcher import DataSearcher
from onnxprune.trial.supernet import SupernetOptions

__all__ = ["Learned", "OpenSearch"]


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
        working, data, seed = bench.take("working", Model), take_samples(bench, "data"), self.learning.train.seed
        analysis = bench.take("analysis", Analysis)
        probe = bench.find("probe", Probe) or Probe(working, analysis, data, seed=seed)
        wide, note = for_training(working)
        learning = identity_norms(wide, data, seed) if self.batchnorm else wide
        if self.scratch:
            learning = fresh_weights(learning, seed)
        student = to_torch(learning)
        learned = Learned(wide, analysis, learning, None if note is None else working)
        teacher = to_torch(for_training(bench.take("model", Model))[0])

        def tell(point: SearchPoint, steps: int, left: float) -> None:
            bench.on_event(SearchProgress(point.step, steps, point.loss, point.used, point.undecided, left))

        searcher = DataSearcher(
            student,
            teacher,
            probe.gates,
            data,
            self.learning,
            self.options,
            tell,
            weigh=learned.importances if self.scratch else None,
        )
        return {"searcher": searcher, "learned": learned}


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
