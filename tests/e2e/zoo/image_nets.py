"""Encoder-decoders for images: U-Net, U-Net with attention gates, super-resolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from case import IMAGE, Case, Factory, image_case
from torch import nn

__all__ = ["IMAGE_NETS"]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class AttentionGate(nn.Module):
    """Weights a skip connection by a map computed from it and from the coarser signal (Oktay et al. 2018)."""

    def __init__(self, skip: int, signal: int, inner: int) -> None:
        super().__init__()
        self.from_skip = nn.Conv2d(skip, inner, 1)
        self.from_signal = nn.Conv2d(signal, inner, 1)
        self.to_map = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        return skip * torch.sigmoid(self.to_map(F.relu(self.from_skip(skip) + self.from_signal(signal))))


class UNet(nn.Module):
    """Two levels down and up; one step up is learned, the other bilinear.

    Args:
        width: Channels of the first level.
        gated: Whether skip connections pass attention gates.
    """

    def __init__(self, width: int = 32, gated: bool = False) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.down1 = _block(3, width)
        self.down2 = _block(width, 2 * width)
        self.bottom = _block(2 * width, 4 * width)
        self.up = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.up2 = _block(4 * width, 2 * width)
        self.up1 = _block(3 * width, width)
        self.head = nn.Conv2d(width, 5, 1)
        self.gate2 = AttentionGate(2 * width, 2 * width, width) if gated else None
        self.gate1 = AttentionGate(width, 2 * width, width) if gated else None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        first = self.down1(image)
        second = self.down2(self.pool(first))
        x = self.up(self.bottom(self.pool(second)))
        second = self.gate2(second, x) if self.gate2 is not None else second
        x = self.up2(torch.cat([x, second], 1))
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        first = self.gate1(first, x) if self.gate1 is not None else first
        return self.head(self.up1(torch.cat([x, first], 1)))


class SuperResolution(nn.Module):
    """ESPCN (Shi et al. 2016) with a GroupNorm: the last channels are shuffled into pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 5, padding=2)
        self.second = nn.Conv2d(64, 32, 3, padding=1)
        self.norm = nn.GroupNorm(8, 32)
        self.third = nn.Conv2d(32, 64, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.last = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.first(image))
        x = F.relu(self.norm(self.second(x)))
        return self.last(F.relu(self.shuffle(self.third(x))))


def _unet() -> Case:
    return image_case(UNet(), 64, IMAGE)


def _attention_unet() -> Case:
    return image_case(UNet(gated=True), 64, IMAGE)


def _espcn() -> Case:
    return image_case(SuperResolution(), 32, IMAGE)


IMAGE_NETS: dict[str, Factory] = {"unet": _unet, "attention_unet": _attention_unet, "espcn": _espcn}
