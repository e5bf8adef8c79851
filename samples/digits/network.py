"""A small residual network for 8×8 digits, its training, and its export to ONNX."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DigitNet", "accuracy", "export", "train"]


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut; the first one may halve height and width."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Returns float32 [batch, channels_out, height / stride, width / stride]."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class DigitNet(nn.Module):
    """A stem, three residual blocks, global pooling and a linear layer: 0.17 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(32)
        self.blocks = nn.Sequential(Block(32, 32, 1), Block(32, 64, 2), Block(64, 80, 1))
        self.head = nn.Linear(80, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Returns logits, float32 [batch, 10], of images, float32 [batch, 1, 8, 8]."""
        features: Tensor = self.blocks(F.relu(self.bn(self.stem(image))))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


def train(images: Tensor, labels: Tensor, *, epochs: int, seed: int) -> DigitNet:
    """Returns a trained network in evaluation mode.

    Args:
        images: float32 [samples, 1, 8, 8].
        labels: int64 [samples].
        epochs: Passes over the samples.
        seed: Seed of the initial weights and of the order of samples.
    """
    batch = 64
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # torch.nn draws initial weights from the global generator only
        net = DigitNet()
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for start in range(0, len(images) // batch * batch, batch):
            chosen = order[start : start + batch]
            optimizer.zero_grad()
            loss = F.cross_entropy(net(images[chosen]), labels[chosen], label_smoothing=0.05)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def accuracy(net: DigitNet, images: Tensor, labels: Tensor) -> float:
    """Returns the share of samples, in [0, 1], that `net` classifies correctly."""
    return float((net(images).argmax(1) == labels).float().mean())


def export(net: DigitNet, path: Path) -> None:
    """Writes `net` as an ONNX file with a dynamic batch; the exporter folds BatchNorm."""
    # the exporter warns of its own deprecations, and that torchvision is not there
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.onnx.export(
            net,
            (torch.zeros(2, 1, 8, 8),),
            path,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
