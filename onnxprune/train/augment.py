"""Random changes of images, drawn anew for each image of each batch.

Images are float inputs of four axes, after normalisation. All numbers are drawn on the CPU from
the generator given, so that they are the same on any device. Flips and shifts alone take pixels
as they are (beyond the edge the image is mirrored). With a crop or a rotation, everything that
moves pixels becomes one map from output to input positions, p and q in [−1, 1]² from edge to
edge, and one bilinear resampling:

    q = A⁻¹ R A (S p + t) + d

S scales by the sides of the crop (and mirrors), t is its place, R rotates about the centre,
A = diag(width, height) makes that a rotation in pixels, d is the shift. Crops keep a share of
the area that is uniform from the smallest to 1, and an aspect ratio of 3/4 to 4/3 of the image's
as far as that fits (after Szegedy et al. 2015, section 6). Erasing is Cutout (DeVries and Taylor
2017, section 3.2), with the image's mean colour in the patch; its centre may lie at the edge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F

from onnxprune.core.errors import UsageError
from onnxprune.train.augment_options import AugmentOptions, parse_augment_options

__all__ = ["Augment", "parse_augment"]

_CHANNELS = (1, 3, 4)
_LOG_ASPECT = math.log(4 / 3)
Draws = Mapping[str, torch.Tensor]


class Augment:
    """Changes the images of a batch; false where it changes nothing.

    Args:
        options: Which changes.
    """

    def __init__(self, options: AugmentOptions) -> None:
        self.options = options

    def __bool__(self) -> bool:
        return self.options != AugmentOptions()

    def check_labels(self, labels_shape: Sequence[int] | None) -> None:
        """Checks that the labels stay right when pixels move.

        Args:
            labels_shape: Shape of the labels, samples first, or None without any.

        Raises:
            UsageError: when there is a label for each position and pixels change their places.
        """
        if labels_shape is not None and len(labels_shape) > 2 and self.options.moves:
            raise UsageError(
                f"augment: labels of shape {['samples', *labels_shape[1:]]} belong to positions of the image, which "
                "flip, shift, crop and rotate would move away from them. Use jitter, noise or erase alone, or leave "
                "the labels out."
            )

    def apply(self, inputs: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Returns the inputs with changed images; several image inputs are moved and lit alike.

        Args:
            inputs: Input name → tensor. Images are float [batch, …] of four axes, with channels
                last where only the last axis can be channels (1, 3 or 4), else after the batch.
            generator: On the CPU.

        Raises:
            UsageError: when there is something to change and no input is an image.
        """
        if not self:
            return inputs
        images = [name for name, tensor in inputs.items() if tensor.dim() == 4 and tensor.is_floating_point()]
        if not images:
            shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in inputs.items())
            raise UsageError(
                f"augment: images are float inputs of four axes, and the model takes {shapes}. Leave --augment out."
            )
        draws = _draws(self.options, len(inputs[images[0]]), generator)
        return inputs | {name: self._one(inputs[name], draws, generator) for name in images}

    def _one(self, image: torch.Tensor, draws: Draws, generator: torch.Generator) -> torch.Tensor:
        options = self.options
        last = image.shape[3] in _CHANNELS and image.shape[1] not in _CHANNELS
        x = image.permute(0, 3, 1, 2) if last else image
        local = {name: drawn.to(image.device, torch.float32) for name, drawn in draws.items()}
        if options.resamples:
            x = _resample(x, local)
        elif options.moves:
            x = _take(x, local)
        if options.jitter:
            x = _jitter(x, local)
        if options.noise:
            # drawn for the image as it lies, so that the order in memory does not matter
            drawn = torch.randn(image.shape, generator=generator).to(image.device, image.dtype)
            x = x + options.noise * (drawn.permute(0, 3, 1, 2) if last else drawn)
        if options.erase:
            x = _erase(x, local, options.erase)
        x = (x.permute(0, 2, 3, 1) if last else x).to(image.dtype)
        if image.is_contiguous():
            return x.contiguous()
        return x.contiguous(memory_format=torch.channels_last)


def _draws(options: AugmentOptions, count: int, generator: torch.Generator) -> Draws:
    """Returns numbers per image, float64 [count], in an order that only the options decide."""

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=generator, dtype=torch.float64) * (high - low) + low

    zero = torch.zeros(count, dtype=torch.float64)
    found = dict.fromkeys(("flip", "down", "right", "angle", "crop_y", "crop_x"), zero)
    found |= {"height": zero + 1, "width": zero + 1}
    if options.flip:
        found["flip"] = (uniform(0, 1) < 0.5).double()
    if options.shift:
        for name in ("down", "right"):
            found[name] = uniform(-options.shift, options.shift + 1).floor().clamp(max=options.shift)
    if options.crop:
        area = uniform(options.crop, 1)
        # a large crop has room for less than the full range of aspect ratios
        aspect = (uniform(-1, 1) * (-area.log()).clamp(max=_LOG_ASPECT)).exp()
        found["height"], found["width"] = (area / aspect).sqrt(), (area * aspect).sqrt()
        found["crop_y"], found["crop_x"] = (uniform(-1, 1) * (1 - found[side]) for side in ("height", "width"))
    if options.rotate:
        found["angle"] = uniform(-options.rotate, options.rotate) * (math.pi / 180)
    if options.jitter:
        found["contrast"] = uniform(1 - options.jitter, 1 + options.jitter)
        found["brightness"] = uniform(-options.jitter, options.jitter)
    if options.erase:
        found["hole_y"], found["hole_x"] = uniform(0, 1), uniform(0, 1)
    return found


def _take(x: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Flips and shifts by taking pixels: the same values at other places."""
    rows = _mirrored(x.shape[2], draws["down"])
    columns = _mirrored(x.shape[3], draws["right"])
    columns = torch.where(draws["flip"][:, None] > 0, columns.flip(1), columns)
    # one gather over whole images: several times faster than indexing both axes
    places = (rows[:, :, None] * x.shape[3] + columns[:, None, :]).flatten(1)[:, None]
    return x.flatten(2).gather(2, places.expand(-1, x.shape[1], -1)).reshape(x.shape)


def _mirrored(size: int, shift: torch.Tensor) -> torch.Tensor:
    """Returns which pixel goes where along an axis, int64 [batch, size], mirrored at the outermost pixels."""
    at = torch.arange(size, device=shift.device) - shift.long()[:, None]
    period = max(2 * (size - 1), 1)
    at = at.remainder(period)
    return torch.minimum(at, period - at)


def _resample(x: torch.Tensor, draws: Draws) -> torch.Tensor:
    height, width = x.shape[2:]
    cos, sin = draws["angle"].cos(), draws["angle"].sin()
    turn = torch.stack((cos, -sin * height / width, sin * width / height, cos), 1).reshape(-1, 2, 2)
    sides = torch.stack((draws["width"] * (1 - 2 * draws["flip"]), draws["height"]), 1)
    place = torch.stack((draws["crop_x"], draws["crop_y"]), 1)
    shift = torch.stack((draws["right"] * (-2 / width), draws["down"] * (-2 / height)), 1)
    theta = torch.cat((turn * sides[:, None, :], turn @ place[:, :, None] + shift[:, :, None]), 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _jitter(x: torch.Tensor, draws: Draws) -> torch.Tensor:
    values = x.float().flatten(1)
    mean, spread = values.mean(1), values.std(1, correction=0)
    factor, offset = (t[:, None, None, None] for t in (draws["contrast"], draws["brightness"] * spread))
    mean = mean[:, None, None, None]
    return (x - mean) * factor + mean + offset


def _erase(x: torch.Tensor, draws: Draws, side: float) -> torch.Tensor:
    inside = []
    for size, name in zip(x.shape[2:], ("hole_y", "hole_x"), strict=True):
        hole = max(round(side * size), 1)
        start = (draws[name] * size).floor() - hole // 2
        at = torch.arange(size, device=x.device)
        inside.append((at >= start[:, None]) & (at < start[:, None] + hole))
    patch = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(patch, x.mean((2, 3), keepdim=True), x)


def parse_augment(text: str) -> Augment:
    """Returns the changes that `text` lists, such as "flip,shift:4".

    Raises:
        UsageError: as `parse_augment_options`.
    """
    return Augment(parse_augment_options(text))
