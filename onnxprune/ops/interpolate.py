"""The PyTorch side of Resize: every coordinate mapping of the standard, axis by axis.

Along one axis of size I, resized by s to O, output position t reads input coordinate c(t):

    half_pixel            (t + ½)/s − ½
    pytorch_half_pixel    the same, 0 where O = 1
    align_corners         t (I − 1)/(O − 1)
    asymmetric            t/s
    half_pixel_symmetric  I/2 (1 − O/(sI)) + (t + ½)/s − ½
    tf_crop_and_resize    start (I − 1) + t (end − start)(I − 1)/(O − 1)

and combines the nearest, the two (linear) or the four (cubic) neighbours of c. With antialias and
s < 1 the interpolation kernel k(d) becomes k(s d), over 1/s times as many neighbours, and the
weights are divided by their sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from onnxprune.core.errors import ModelError
from onnxprune.ops.base import attribute

if TYPE_CHECKING:
    import torch

__all__ = ["ResizeOptions", "resize"]


@dataclass(frozen=True)
class ResizeOptions:
    """The attributes of a Resize, with the defaults of its version."""

    mode: str
    coordinates: str
    nearest: str
    cubic_a: float
    exclude_outside: bool
    extrapolation: float
    antialias: bool
    axes: tuple[int, ...] | None
    policy: str
    where: str

    @classmethod
    def of(cls, node: gs.Node, opset: int) -> ResizeOptions:
        """Returns the options of `node` in operator set `opset`."""
        modern = node.op == "Resize" and opset >= 11
        places = attribute(node, "axes")
        return cls(
            mode=str(attribute(node, "mode", "nearest")),
            coordinates=str(
                attribute(node, "coordinate_transformation_mode", "half_pixel" if modern else "asymmetric")
            ),
            nearest=str(attribute(node, "nearest_mode", "round_prefer_floor" if modern else "floor")),
            cubic_a=float(attribute(node, "cubic_coeff_a", -0.75)),
            exclude_outside=bool(attribute(node, "exclude_outside", 0)),
            extrapolation=float(attribute(node, "extrapolation_value", 0.0)),
            antialias=bool(attribute(node, "antialias", 0)),
            axes=None if places is None else tuple(places),
            policy=str(attribute(node, "keep_aspect_ratio_policy", "stretch")),
            where=f"{node.op} '{node.name}'",
        )


def resize(
    x: torch.Tensor,
    options: ResizeOptions,
    roi: list[float] | None,
    scales: list[float] | None,
    sizes: list[int] | None,
) -> torch.Tensor:
    """Returns `x` resized.

    Args:
        x: The input.
        options: What the node says.
        roi: Region of interest for tf_crop_and_resize, starts then ends.
        scales: Scale per axis of `options.axes`, or None.
        sizes: Size per axis, where there are no scales.
    """
    places = list(range(x.dim())) if options.axes is None else [p % x.dim() for p in options.axes]
    scales, sizes = _targets(x, options, places, scales, sizes)
    crop = options.coordinates == "tf_crop_and_resize"
    active = [i for i, p in enumerate(places) if sizes[i] != x.shape[p] or crop]
    fast = _fast_path(x, options, [places[i] for i in active], [scales[i] for i in active], [sizes[i] for i in active])
    if fast is not None:
        return fast
    for i in active:
        region = (roi[i], roi[i + len(places)]) if roi and crop else (0.0, 1.0)
        x = _resize_axis(x, options, places[i], sizes[i], scales[i], region)
    return x


def _targets(
    x: torch.Tensor, options: ResizeOptions, places: list[int], scales: list[float] | None, sizes: list[int] | None
) -> tuple[list[float], list[int]]:
    if scales is not None:
        return scales, [math.floor(x.shape[p] * s) for p, s in zip(places, scales, strict=True)]
    sizes = sizes or []
    scales = [size / x.shape[p] for size, p in zip(sizes, places, strict=True)]
    if options.policy != "stretch":
        scale = min(scales) if options.policy == "not_larger" else max(scales)
        return [scale] * len(places), [int(scale * x.shape[p] + 0.5) for p in places]
    return scales, sizes


def _fast_path(
    x: torch.Tensor, options: ResizeOptions, places: list[int], scales: list[float], sizes: list[int]
) -> torch.Tensor | None:
    """torch's own kernels, where they mean the same; None elsewhere."""
    import torch.nn.functional as F

    if not places:
        return x
    exact = all(abs(s * x.shape[p] - size) < 1e-6 for s, p, size in zip(scales, places, sizes, strict=True))
    if places != [2, 3] or x.dim() != 4 or not x.is_floating_point() or not exact:
        return None
    half = options.coordinates in ("half_pixel", "pytorch_half_pixel")
    if (
        options.mode == "linear"
        and not options.antialias
        and min(sizes) > 1
        and (half or options.coordinates == "align_corners")
    ):
        return F.interpolate(x, sizes, mode="bilinear", align_corners=not half)
    if options.mode == "nearest" and options.coordinates == "asymmetric" and options.nearest == "floor":
        return F.interpolate(x, sizes, mode="nearest")
    return None


def _resize_axis(
    x: torch.Tensor, options: ResizeOptions, dim: int, size: int, scale: float, region: tuple[float, float]
) -> torch.Tensor:
    import torch

    length = x.shape[dim]
    where = _coordinates(options, length, size, scale, region).to(x.device)
    shape = [1] * x.dim()
    shape[dim] = size
    if options.mode == "nearest":
        y = x.index_select(dim, _nearest(options.nearest, where).long().clamp(0, length - 1))
    else:
        base = torch.floor(where)
        taps = _taps(options, where - base, min(scale, 1.0) if options.antialias else 1.0)
        if options.exclude_outside:
            inside = [(o, torch.where((base + o < 0) | (base + o > length - 1), 0.0, w)) for o, w in taps]
            norm = sum((w for _, w in inside), torch.zeros_like(where))
            taps = [(o, w / norm) for o, w in inside]
        y = torch.zeros((), dtype=x.dtype, device=x.device)
        for offset, weight in taps:
            index = (base + offset).long().clamp(0, length - 1)
            y = y + x.index_select(dim, index) * weight.to(x.dtype).view(shape)
    if options.coordinates == "tf_crop_and_resize":
        outside = ((where < 0) | (where > length - 1)).view(shape)
        y = torch.where(outside, torch.full((), options.extrapolation, dtype=x.dtype, device=x.device), y)
    return y


def _coordinates(
    options: ResizeOptions, length: int, size: int, scale: float, region: tuple[float, float]
) -> torch.Tensor:
    import torch

    t = torch.arange(size, dtype=torch.float64)
    kind = options.coordinates
    if kind == "half_pixel" or (kind == "pytorch_half_pixel" and size > 1):
        return (t + 0.5) / scale - 0.5
    if kind == "align_corners":
        return t * (length - 1) / (size - 1) if size > 1 else t * 0
    if kind == "asymmetric":
        return t / scale
    if kind == "pytorch_half_pixel":
        return t * 0
    if kind == "half_pixel_symmetric":
        return length / 2 * (1 - size / (scale * length)) + (t + 0.5) / scale - 0.5
    if kind == "tf_crop_and_resize":
        start, end = region
        if size == 1:
            return t * 0 + 0.5 * (start + end) * (length - 1)
        return start * (length - 1) + t * (end - start) * (length - 1) / (size - 1)
    raise ModelError(f"{options.where} maps coordinates by {kind!r}, which is not known here.")


def _nearest(mode: str, where: torch.Tensor) -> torch.Tensor:
    import torch

    if mode == "round_prefer_floor":
        return torch.ceil(where - 0.5)
    if mode == "round_prefer_ceil":
        return torch.floor(where + 0.5)
    return torch.floor(where) if mode == "floor" else torch.ceil(where)


def _taps(options: ResizeOptions, fraction: torch.Tensor, stretch: float) -> list[tuple[int, torch.Tensor]]:
    """Returns (offset from the neighbour below, weights) for each neighbour; the kernel is k(stretch · distance)."""
    import torch

    reach, kernel = (1, _linear_kernel) if options.mode == "linear" else (2, _cubic_kernel(options.cubic_a))
    first = math.floor(-reach / stretch) + 1
    offsets = range(first, 2 - first)
    weights = [kernel(stretch * (fraction - offset).abs()) for offset in offsets]
    if stretch < 1:
        norm = sum(weights, torch.zeros_like(fraction))
        weights = [weight / norm for weight in weights]
    return list(zip(offsets, weights, strict=True))


def _linear_kernel(distance: torch.Tensor) -> torch.Tensor:
    return (1 - distance).clamp(min=0)


def _cubic_kernel(a: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Returns Keys' kernel (1981, eq. 4), zero from a distance of two on."""
    import torch

    def kernel(d: torch.Tensor) -> torch.Tensor:
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))

    return kernel
