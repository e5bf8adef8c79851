"""What a model's outputs and losses say about each channel, by gradients on calibration data.

With gates m = 1 on all channels, two kinds of gradients are taken, one row per small batch:

- slopes: g = ∂L/∂m of the labels' loss L, by which L changes at first order as −g when a
  channel goes (Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019);
- draws: u = ∂(Σ rᵀz)/∂m / √batch with random r such that E[r rᵀ] is the curvature H of the
  distance between outputs z and the original's, so that E[u uᵀ] = E[Jᵀ H J], the Gauss-Newton matrix
  of that distance, which is flat at m = 1. To second order, dropping the channels S adds

      ½ E[(Σ_{i ∈ S} u_i)²]

  to it: the OBD and Fisher criteria (LeCun et al. 1990; Theis et al. 2018), without labels.

For class scores the distance is KL(original ‖ pruned), and Σ rᵀz = log p(y) of a class y drawn
from the model's own p; for other values it is half the squared difference in units of their variance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from onnxprune.bridge import OnnxModule, to_torch
from onnxprune.core.errors import DataError, UsageError
from onnxprune.graph import Model, for_training
from onnxprune.groups import Analysis
from onnxprune.train.batching import static_batch_size, usable_batch_size
from onnxprune.train.feeding import Fed, Feeder
from onnxprune.train.forward import outputs_of
from onnxprune.train.losses import Objective, Outputs
from onnxprune.train.options import TrainOptions
from onnxprune.train.samples import Samples
from onnxprune.train.targets import Target, find_label_target, find_targets
from onnxprune.trial.gates import Gates, find_gates
from onnxprune.trial.readings import Readings, mean_magnitudes, mean_ranks, read_activations

__all__ = ["Probe"]

Rows = dict[str, NDArray[np.float64]]
SAMPLES = 1024
BATCH = 8
_FLOOR = 1e-6
_RANKED = 64  # samples whose maps are ranked


class Probe:
    """A model on calibration data.

    Args:
        model: The model whose channels are judged.
        analysis: Its analysis.
        data: Where samples are drawn from.
        samples: How many, at most.
        seed: Draws them, and what is random in the gradients.

    Attributes:
        samples: How many are drawn.
    """

    def __init__(
        self, model: Model, analysis: Analysis, data: Samples, *, samples: int = SAMPLES, seed: int = 0
    ) -> None:
        self._model, self._analysis, self._data = for_training(model)[0], analysis, data
        self.samples, self._seed = min(samples, len(data)), seed

    @cached_property
    def module(self) -> OnnxModule:
        """The model as a module, in evaluation mode."""
        return to_torch(self._model).eval()

    @cached_property
    def gates(self) -> Gates:
        """The gates of all groups that can have one."""
        return find_gates(self._model, self._analysis, self._data.first(self._batch).inputs, self._seed)

    @cached_property
    def draws(self) -> Rows:
        """Group → u, float64 [batches, channels]; groups without a gate are absent."""
        return self._gradients(self._draw())

    def entry_losses(self, taps: Mapping[str, tuple[int, ...]]) -> Rows:
        """Returns what entries of a weight cost when they go: ½ E[(Σ u)²], u = w ∂(Σ rᵀz)/∂w / √batch.

        Args:
            taps: Initializers that the module trains → axes along which entries go together, such as those of a
                kernel; each of the other entries goes alone.

        Returns:
            Initializer → float64, shaped as the weight, of size one along its taps.
        """
        parameters = dict(self.module.named_parameters())
        chosen = {name: parameters[name] for name in taps}
        sums = {name: torch.zeros((), dtype=torch.float64) for name in taps}
        value, batches = self._draw(), 0
        for fed in self._batches():
            outputs = outputs_of(self.module, fed.inputs).values
            grads = torch.autograd.grad(value(fed, outputs), list(chosen.values()), allow_unused=True)
            for (name, parameter), grad in zip(chosen.items(), grads, strict=True):
                change = torch.zeros_like(parameter) if grad is None else grad * parameter.detach()
                together = change.double().sum(taps[name], keepdim=True) if taps[name] else change.double()
                sums[name] = sums[name] + together.square()
            batches += 1
        found = {name: (0.5 / batches * total).numpy() for name, total in sums.items()}
        if any(not np.isfinite(losses).all() for losses in found.values()):
            raise DataError("A gradient on the calibration data is not finite. Look for extreme values in the data.")
        return found

    def _draw(self) -> Callable[[Fed, tuple[torch.Tensor, ...]], torch.Tensor]:
        """Returns what gives Σ rᵀz / √batch, r drawn anew for each batch, always in the same order."""
        generator = torch.Generator().manual_seed(self._seed)
        targets = self._targets
        if all(target.kind == "ignored" for target in targets):
            raise UsageError("No output of the model is a float tensor: there is nothing to judge channels by.")

        def total(fed: Fed, outputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
            drawn = [_drawn(target, tensor, generator) for target, tensor in zip(targets, outputs, strict=True)]
            return torch.stack([value for value in drawn if value is not None]).sum() / math.sqrt(len(fed))

        return total

    @cached_property
    def slopes(self) -> Rows:
        """Group → g, float64 [batches, channels]; groups without a gate are absent.

        Raises:
            UsageError: when the data has no labels.
            DataError: when the labels fit none of the outputs.
        """
        sample, outputs = self._sample
        if sample.labels is None:
            raise UsageError(
                "This criterion takes gradients of the labels' loss, and the data has no labels. Choose fisher, "
                "which needs none."
            )
        objective = Objective(
            self.module,
            outputs,
            TrainOptions(distill_weight=0.0),
            labels_shape=sample.labels.shape,
            labels_integer=not sample.labels.is_floating_point(),
        )

        def loss(fed: Fed, outputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
            return objective.loss(Outputs(outputs), Outputs(tuple(t.detach() for t in outputs)), fed.labels)

        return self._gradients(loss)

    @cached_property
    def magnitudes(self) -> Readings:
        """Group → mean |activation| of each channel where weights read it, as shares over those places."""
        return read_activations(self.module, self._analysis, self._batches(), mean_magnitudes)

    @cached_property
    def ranks(self) -> Readings:
        """Group → mean rank of each channel's maps where weights read it, as shares over those places."""
        batches = itertools.islice(self._batches(), max(1, _RANKED // self._batch))
        return read_activations(self.module, self._analysis, batches, mean_ranks)

    def _gradients(self, value: Callable[[Fed, tuple[torch.Tensor, ...]], torch.Tensor]) -> Rows:
        sizes = {name: self._analysis.sizes[name] for name in self.gates.groups}
        rows: dict[str, list[NDArray[np.float64]]] = {name: [] for name in sizes}
        for fed in self._batches():
            masks = {name: torch.ones(size, requires_grad=True) for name, size in sizes.items()}
            outputs = outputs_of(self.module, fed.inputs, values=self.gates.values(self.module, masks)).values
            found = torch.autograd.grad(value(fed, outputs), list(masks.values()), allow_unused=True)
            for (name, size), grad in zip(sizes.items(), found, strict=True):
                rows[name].append(np.zeros(size) if grad is None else grad.double().numpy())
        if any(not np.isfinite(row).all() for each in rows.values() for row in each):
            raise DataError("A gradient on the calibration data is not finite. Look for extreme values in the data.")
        return {name: np.stack(each) for name, each in rows.items()}

    def _batches(self) -> Iterator[Fed]:
        feeder = Feeder(self.module, torch.device("cpu"))
        rng = np.random.default_rng(self._seed)
        for batch in self._data.calibration(self.samples, rng, self._batch):
            # a graph that takes no other number has no use for the last, smaller batch
            if len(batch.rows) == self._batch or static_batch_size(self.module) != self._batch:
                yield feeder.place(feeder.prepare(batch))

    @cached_property
    def _batch(self) -> int:
        return min(usable_batch_size(self.module, self._data, BATCH), len(self._data))

    @cached_property
    def _sample(self) -> tuple[Fed, tuple[torch.Tensor, ...]]:
        """The first batch, and the model's outputs for it."""
        sample = next(self._batches())
        with torch.no_grad():
            return sample, outputs_of(self.module, sample.inputs).values

    @cached_property
    def _targets(self) -> tuple[Target, ...]:
        sample, outputs = self._sample
        targets = find_targets(self.module, outputs)
        if sample.labels is None:
            return targets
        shapes = [tuple(tensor.shape) for tensor in outputs]
        integer = not sample.labels.is_floating_point()
        spoken = find_label_target(targets, shapes, tuple(sample.labels.shape), integer)
        if spoken is None or spoken.axis is None or targets[spoken.index].kind != "values":
            return targets
        # labels tell that these values are scores of classes
        dense = Target(targets[spoken.index].name, "classes", spoken.axis)
        return (*targets[: spoken.index], dense, *targets[spoken.index + 1 :])


def _drawn(target: Target, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor | None:
    """Returns Σ rᵀz of an output, summed over samples and averaged within each in the sense of √; None if ignored."""
    if target.kind == "ignored":
        return None
    z = tensor.float()
    if target.kind == "values":
        each = max(1, z[0].numel()) if z.dim() else 1
        noise = torch.randn(z.shape, generator=generator)
        spread = z.detach().var(correction=0).clamp_min(_FLOOR).sqrt()
        return (noise * z).sum() / (spread * math.sqrt(each))
    if target.kind == "binary":
        p = z.clamp(_FLOOR, 1 - _FLOOR)
        drawn = torch.rand(z.shape, generator=generator) < p.detach()
        each = max(1, z[0].numel()) if z.dim() else 1
        return torch.where(drawn, p, 1 - p).log().sum() / math.sqrt(each)
    axis = target.axis if target.axis is not None else 1
    logs = _log_probabilities(target, z, axis).movedim(axis, -1)
    flat = logs.reshape(-1, logs.shape[-1])
    chosen = torch.multinomial(flat.detach().exp(), 1, generator=generator)
    positions = max(1, len(flat) // max(1, len(z)))
    return flat.gather(1, chosen).sum() / math.sqrt(positions)


def _log_probabilities(target: Target, z: torch.Tensor, axis: int) -> torch.Tensor:
    if target.kind == "probabilities":
        return z.clamp_min(_FLOOR).log()
    if target.kind == "log_probabilities":
        return z
    return F.log_softmax(z, axis)
