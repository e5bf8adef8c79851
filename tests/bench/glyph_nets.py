"""The glyphs47 data and its nets as PyTorch modules, their batch normalisation in place."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["BATCH", "EXAMPLE", "Images", "accuracy", "load_net", "logits", "macs", "reestimate"]

BATCH = 128
EXAMPLE = (1, 3, 32, 32)
CALIBRATION = 1024


@dataclass(frozen=True)
class Images:
    """uint8 images [N, 32, 32, 3] and their classes, int64 [N]."""

    pixels: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def load(cls, path: Path) -> Images:
        """Returns what an .npz holds."""
        with np.load(path) as archive:
            return cls(torch.from_numpy(archive["images"]), torch.from_numpy(archive["labels"]))

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Images:
        """Returns the first `count`; the classes lie mixed in the files."""
        return Images(self.pixels[:count], self.labels[:count])

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        """Returns float32 [rows, 3, 32, 32] as the nets expect it."""
        pixels = self.pixels[rows].permute(0, 3, 1, 2).float()
        return pixels.div_(255).sub_(0.5).div_(0.25).contiguous(memory_format=torch.channels_last)

    def batches(self) -> Iterator[torch.Tensor]:
        """Yields all images in order."""
        for start in range(0, len(self), BATCH):
            yield self.batch(torch.arange(start, min(start + BATCH, len(self))))


def load_net(shared: Path, name: str) -> nn.Module:
    """Returns a trained net.

    Args:
        shared: Folder with models/torch/nets.py and the weights.
        name: resnet20, mobilenetv2 or vgg.
    """
    from safetensors.torch import load_file

    folder = shared / "models" / "torch"
    spec = importlib.util.spec_from_file_location("glyph_net_sources", folder / "nets.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{folder / 'nets.py'}: cannot be loaded.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net: nn.Module = module.build(name)
    net.load_state_dict(load_file(folder / f"{name}.safetensors"))
    return net.eval()


def logits(net: nn.Module, images: Images) -> torch.Tensor:
    """Returns the outputs for all images, float32 [N, classes]; leaves the net in evaluation mode."""
    net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    with torch.no_grad():
        return torch.cat([net(batch) for batch in images.batches()])


def accuracy(net: nn.Module, images: Images) -> float:
    """Returns the share of images classified rightly."""
    return float((logits(net, images).argmax(1) == images.labels).double().mean())


def macs(net: nn.Module) -> float:
    """Returns MACs of one image by onnxprune's formula: elements of the output × Π weight.shape[1:]."""
    total = 0.0

    def count(layer: Any, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        net.eval()(torch.zeros(EXAMPLE))
    for hook in hooks:
        hook.remove()
    return total


def reestimate(net: nn.Module, images: Images, seed: int) -> None:
    """Takes the running statistics of batch normalisation anew, a plain average over 1,024 images."""
    layers = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(images))[:CALIBRATION])
    net.train()
    with torch.no_grad():
        for start in range(0, len(rows), BATCH):
            net(images.batch(rows[start : start + BATCH]))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    net.eval()
