"""Ways to cut a net with Torch-Pruning to a number of MACs.

Its documentation offers channels that compete over the whole net, within groups of the same
pattern ("isomorphic") or within a layer; kept counts rounded to multiples of 8; and its paper's
runs prune in 400 steps with the importance taken anew. All of them are here, with the group norm
(p = 2, normalised by the group's mean, or by its maximum as those runs do) and with Taylor scores.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from glyph_nets import BATCH, CALIBRATION, EXAMPLE, Images, macs
from torch import nn

__all__ = ["VARIANTS", "Pruner", "Variant"]

SLACK = 1.01
STEPS = 400
LEAST_LEFT = 0.25
COARSE = 40
FINE = 16


@dataclass(frozen=True)
class Variant:
    """One way to use Torch-Pruning.

    Attributes:
        scope: Where channels compete: over the whole net, over groups of one pattern, in a layer.
        importance: "mean" and "max" normalise the group norm, "taylor" takes gradients.
        steps: 1, or small steps with the importance taken anew.
        round_to: Kept counts are multiples of it; 0 for any.
    """

    scope: Literal["global", "isomorphic", "local"] = "global"
    importance: Literal["mean", "max", "taylor"] = "mean"
    steps: int = 1
    round_to: int = 0

    def __str__(self) -> str:
        words = [self.scope, {"mean": "L2", "max": "L2/max", "taylor": "Taylor"}[self.importance]]
        words += [f"{self.steps} steps"] * (self.steps > 1) + [f"multiples of {self.round_to}"] * (self.round_to > 0)
        return " ".join(words)


VARIANTS = (
    Variant(),
    Variant(round_to=8),
    Variant(steps=STEPS),
    Variant(importance="max", steps=STEPS),
    Variant("isomorphic"),
    Variant("isomorphic", round_to=8),
    Variant("local"),
    Variant("local", round_to=8),
    Variant(importance="taylor"),
)


class Pruner:
    """Cuts copies of a net until they need at most `target` MACs, and one percent.

    Args:
        net: Stays as it is.
        target: MACs of one image.
        train: Images and labels for Taylor scores.
    """

    def __init__(self, net: nn.Module, target: float, train: Images) -> None:
        self.net, self.limit, self.train = net, SLACK * target, train
        self._taken: list[torch.Tensor] = []

    def cut(self, variant: Variant) -> nn.Module | None:
        """Returns the first net of a variant within the limit, or None where there is none."""
        if variant.steps > 1:
            return self._walk(variant)
        # the first one: rounded, a still higher ratio may cut less, since layers that would vanish are left alone
        coarse = self._first(variant, np.linspace(0, 1, COARSE + 1))
        if coarse is None:
            return None
        fine = self._first(variant, coarse[0] - np.linspace(1, 0, FINE + 1) / COARSE)
        return (fine or coarse)[1]

    def _first(self, variant: Variant, ratios: Iterable[float]) -> tuple[float, nn.Module] | None:
        for ratio in ratios:
            net = self._once(variant, float(ratio))
            if macs(net) <= self.limit:
                return float(ratio), net
        return None

    def _once(self, variant: Variant, ratio: float) -> nn.Module:
        net = copy.deepcopy(self.net)
        pruner = self._pruner(net, variant, ratio)
        if variant.importance == "taylor":
            for parameter, gradient in zip(net.parameters(), self._gradients(), strict=True):
                parameter.grad = gradient.clone()
        pruner.step()
        net.zero_grad()
        return net

    def _walk(self, variant: Variant) -> nn.Module | None:
        net = copy.deepcopy(self.net)
        pruner = self._pruner(net, variant, 1.0)
        for _ in range(variant.steps):
            pruner.step()
            if macs(net) <= self.limit:
                return net
        return None

    def _pruner(self, net: nn.Module, variant: Variant, ratio: float) -> Any:
        import torch_pruning as tp

        importance = (
            tp.importance.GroupTaylorImportance()
            if variant.importance == "taylor"
            else tp.importance.GroupMagnitudeImportance(p=2, normalizer=variant.importance)
        )
        classifier = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
        return tp.pruner.BasePruner(
            net,
            torch.zeros(EXAMPLE),
            importance=importance,
            global_pruning=variant.scope != "local",
            isomorphic=variant.scope == "isomorphic",
            pruning_ratio=ratio,
            max_pruning_ratio=1 - LEAST_LEFT,
            iterative_steps=variant.steps,
            ignored_layers=[classifier],
            round_to=variant.round_to or None,
        )

    def _gradients(self) -> list[torch.Tensor]:
        """Gradients of the label loss over calibration images, taken once."""
        if not self._taken:
            net = copy.deepcopy(self.net).eval()
            for start in range(0, CALIBRATION, BATCH):
                rows = torch.arange(start, start + BATCH)
                loss = F.cross_entropy(net(self.train.batch(rows)), self.train.labels[rows])
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self._taken = [p.grad for p in net.parameters() if p.grad is not None]
        return self._taken
