"""A detector of the YOLOv8 family: C2f stages, SPPF, a PAN neck, an anchor-free head with DFL.

Written from the published descriptions (Jocher et al. 2023; DFL: Li et al. 2020, section 3.2).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from case import IMAGE, Case, Factory, image_case
from torch import nn

__all__ = ["DETECTORS"]

STRIDES = (8, 16, 32)


class ConvUnit(nn.Module):
    """Convolution, BatchNorm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(self.norm(self.conv(x)))


class Bottleneck(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, width: int, shortcut: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvUnit(width, width, 3), ConvUnit(width, width, 3))
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.shortcut else self.body(x)


class C2f(nn.Module):
    """A split, bottlenecks one after the other on one half, and all of their outputs side by side."""

    def __init__(self, inputs: int, outputs: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        width = outputs // 2
        self.enter = ConvUnit(inputs, 2 * width)
        self.steps = nn.ModuleList(Bottleneck(width, shortcut) for _ in range(depth))
        self.leave = ConvUnit((2 + depth) * width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = list(self.enter(x).chunk(2, 1))
        for step in self.steps:
            parts.append(step(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Sppf(nn.Module):
    """Max pooling at three scales, by pooling three times."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = ConvUnit(width, width // 2)
        self.leave = ConvUnit(2 * width, width)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.enter(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Head(nn.Module):
    """Per map: box distances as distributions over `bins`, and class scores; decoded to boxes."""

    def __init__(self, widths: tuple[int, ...], classes: int, bins: int = 16) -> None:
        super().__init__()
        self.bins = bins
        box, score = max(16, widths[0] // 4, 4 * bins), max(widths[0], classes)
        self.boxes = nn.ModuleList(
            nn.Sequential(ConvUnit(w, box, 3), ConvUnit(box, box, 3), nn.Conv2d(box, 4 * bins, 1)) for w in widths
        )
        self.scores = nn.ModuleList(
            nn.Sequential(ConvUnit(w, score, 3), ConvUnit(score, score, 3), nn.Conv2d(score, classes, 1))
            for w in widths
        )
        self.register_buffer("values", torch.arange(bins, dtype=torch.float32).reshape(1, bins, 1, 1))

    def forward(self, maps: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        found, scores = [], []
        for x, box, score, stride in zip(maps, self.boxes, self.scores, STRIDES, strict=True):
            found.append(self._decode(box(x), stride))
            scores.append(score(x).flatten(2))
        return torch.cat(found, 2), torch.cat(scores, 2).sigmoid()

    def _decode(self, raw: torch.Tensor, stride: int) -> torch.Tensor:
        batch, _, height, width = raw.shape
        bins = raw.view(batch, 4, self.bins, height * width).transpose(1, 2).softmax(1)
        distance = F.conv2d(bins, self.values).view(batch, 4, height * width)
        ys, xs = torch.arange(height) + 0.5, torch.arange(width) + 0.5
        grid = torch.stack([xs.expand(height, width), ys[:, None].expand(height, width)]).flatten(1)[None]
        start, end = grid - distance[:, :2], grid + distance[:, 2:]
        return torch.cat([(start + end) / 2, end - start], 1) * stride


class Yolo(nn.Module):
    """Backbone, neck and head.

    Args:
        width: Channels of the first stage.
        classes: Number of classes.
    """

    def __init__(self, width: int = 16, classes: int = 20) -> None:
        super().__init__()
        w = width
        self.stem = nn.Sequential(ConvUnit(3, w, 3, 2), ConvUnit(w, 2 * w, 3, 2), C2f(2 * w, 2 * w, 1))
        self.stage3 = nn.Sequential(ConvUnit(2 * w, 4 * w, 3, 2), C2f(4 * w, 4 * w, 2))
        self.stage4 = nn.Sequential(ConvUnit(4 * w, 8 * w, 3, 2), C2f(8 * w, 8 * w, 2))
        self.stage5 = nn.Sequential(ConvUnit(8 * w, 16 * w, 3, 2), C2f(16 * w, 16 * w, 1), Sppf(16 * w))
        self.up4, self.up3 = C2f(24 * w, 8 * w, 1, False), C2f(12 * w, 4 * w, 1, False)
        self.down3, self.down4 = ConvUnit(4 * w, 4 * w, 3, 2), ConvUnit(8 * w, 8 * w, 3, 2)
        self.out4, self.out5 = C2f(12 * w, 8 * w, 1, False), C2f(24 * w, 16 * w, 1, False)
        self.head = Head((4 * w, 8 * w, 16 * w), classes)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        third = self.stage3(self.stem(image))
        fourth = self.stage4(third)
        fifth = self.stage5(fourth)
        middle = self.up4(torch.cat([F.interpolate(fifth, scale_factor=2.0), fourth], 1))
        fine = self.up3(torch.cat([F.interpolate(middle, scale_factor=2.0), third], 1))
        middle = self.out4(torch.cat([self.down3(fine), middle], 1))
        coarse = self.out5(torch.cat([self.down4(middle), fifth], 1))
        return self.head([fine, middle, coarse])


def _yolo() -> Case:
    return image_case(Yolo(), 64, IMAGE)


DETECTORS: dict[str, Factory] = {"yolo": _yolo}
