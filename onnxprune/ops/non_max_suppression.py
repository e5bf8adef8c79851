"""NonMaxSuppression: which boxes stay when those that overlap a better one go. Nothing here is a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.ops.base import AxisContext, AxisList, OpRule, TwinContext, attribute, describe
from onnxprune.ops.common import fresh, pin_input
from onnxprune.ops.registry import register_op

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["NonMaxSuppression"]

Floats = NDArray[np.floating]


@register_op
class NonMaxSuppression(OpRule):
    """Boxes and scores to rows of (image, class, box), the best first."""

    names = ("NonMaxSuppression",)

    def axes(self, node: gs.Node, ctx: AxisContext) -> list[AxisList]:
        for slot in range(len(node.inputs)):
            pin_input(node, slot, ctx, "ranks boxes along this axis")
        return [fresh(ctx.shape(node.outputs[0].name), f"{describe(node)} gives positions")]

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        by_center = bool(attribute(node, "center_point_box", 0))

        def non_max_suppression(
            boxes: torch.Tensor,
            scores: torch.Tensor,
            most: torch.Tensor | None = None,
            overlap: torch.Tensor | None = None,
            least: torch.Tensor | None = None,
        ) -> torch.Tensor:
            limit = 0 if most is None else int(most.item())
            allowed = 0.0 if overlap is None else float(overlap.item())
            floor = -np.inf if least is None else float(least.item())
            corners = _corners(_array(boxes), by_center)
            rows = [
                (image, label, box)
                for image, classes in enumerate(_array(scores))
                for label, row in enumerate(classes)
                for box in _kept(corners[image], row, limit, allowed, floor)
            ]
            return torch.tensor(rows, dtype=torch.int64, device=boxes.device).reshape(-1, 3)

        return non_max_suppression


def _array(values: torch.Tensor) -> Floats:
    import torch

    plain = values.detach().cpu()
    array: Floats = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return array


def _corners(boxes: Floats, by_center: bool) -> Floats:
    """Returns [images, boxes, 4] as low corner, then high corner."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if by_center:
        return np.concatenate([first - second / 2, first + second / 2], -1)
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], -1)


def _kept(boxes: Floats, scores: Floats, limit: int, allowed: float, floor: float) -> list[int]:
    kept: list[int] = []
    for box in np.argsort(-scores, kind="stable"):
        if len(kept) >= limit:
            break
        if scores[box] > floor and all(_overlap(boxes[box], boxes[other]) <= allowed for other in kept):
            kept.append(int(box))
    return kept


def _overlap(a: Floats, b: Floats) -> float:
    """Returns intersection over union of two boxes."""
    shared = float(np.prod(np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared
    return shared / union if union > 0 else 0.0
