"""Small models and data under the names that the guides use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from graphs import model_of
from torch import Tensor, nn

from onnxprune.bridge import from_torch

__all__ = ["write_classifier", "write_detector", "write_encoder"]

CLASSIFIER = """g (float[N,3,16,16] image, float[32,3,3,3] w1, float[32] b1, float[48,32,3,3] w2, float[48] b2,
   float[64,48,3,3] w3, float[64] b3, float[5,64] wf, float[5] bf) => (float[N,5] logits) {
  a = Conv<pads=[1,1,1,1]>(image, w1, b1)
  b = Relu(a)
  c = Conv<pads=[1,1,1,1], strides=[2,2]>(b, w2, b2)
  d = Relu(c)
  e = Conv<pads=[1,1,1,1]>(d, w3, b3)
  f = Relu(e)
  p = GlobalAveragePool(f)
  h = Flatten(p)
  logits = Gemm<transB=1>(h, wf, bf)
}"""
DETECTOR = """g (float[N,3,16,16] image, float[16,3,3,3] w1, float[24,16,3,3] w2, float[32,24,3,3] w3,
   float[32,56,3,3] w4, float[4,32,1,1] wb, float[6,32,1,1] ws) => (float[N,4,8,8] boxes, float[N,6,8,8] scores) {
  a = Conv<pads=[1,1,1,1]>(image, w1)
  b = Relu(a)
  c = Conv<pads=[1,1,1,1], strides=[2,2]>(b, w2)
  fine = Relu(c)
  d = Conv<pads=[1,1,1,1], strides=[2,2]>(fine, w3)
  coarse = Relu(d)
  scales = Constant<value_floats=[1.0, 1.0, 2.0, 2.0]>()
  up = Resize<mode="nearest">(coarse, , scales)
  both = Concat<axis=1>(fine, up)
  e = Conv<pads=[1,1,1,1]>(both, w4)
  f = Relu(e)
  boxes = Conv(f, wb)
  scores = Conv(f, ws)
}"""
BUILD = """
import torch
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
"""


class Encoder(nn.Module):
    """One pre-norm layer of attention and hidden units over embedded tokens, and a class for the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 32)
        self.before, self.between = nn.LayerNorm(32), nn.LayerNorm(32)
        self.query, self.key, self.value, self.out = (nn.Linear(32, 32) for _ in range(4))
        self.up, self.down, self.head = nn.Linear(32, 128), nn.Linear(128, 32), nn.Linear(32, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns logits, float32 [batch, 5], of tokens, int64 [batch, sequence]."""
        states = self.embed(tokens)
        normal = self.before(states)
        q, k, v = (layer(normal).unflatten(-1, (4, 8)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        shares = (q @ k.transpose(-1, -2) * 8**-0.5).softmax(-1)
        states = states + self.out((shares @ v).transpose(1, 2).flatten(2))
        states = states + self.down(torch.relu(self.up(self.between(states))))
        logits: Tensor = self.head(states.mean(1))
        return logits


def write_classifier(folder: Path) -> None:
    """Writes model.onnx, train.npz, test.npz, inputs.npz (no labels) and nets.py."""
    onnx.save(model_of(CLASSIFIER, ("image",)), folder / "model.onnx")
    rng = np.random.default_rng(0)
    for name, count in (("train", 96), ("test", 64), ("inputs", 96)):
        arrays = {"image": rng.integers(0, 256, (count, 3, 16, 16), np.uint8)}
        if name == "inputs":
            arrays["image"] = rng.standard_normal((count, 3, 16, 16)).astype(np.float32)
        else:
            arrays["labels"] = rng.integers(0, 5, count)
        np.savez(folder / f"{name}.npz", **arrays)
    (folder / "nets.py").write_text(BUILD, encoding="utf-8")


def write_detector(folder: Path) -> None:
    """Writes detector.onnx, images.npz and held.npz."""
    onnx.save(model_of(DETECTOR, ("image",)), folder / "detector.onnx")
    rng = np.random.default_rng(0)
    for name, count in (("images", 96), ("held", 64)):
        np.savez(folder / f"{name}.npz", image=rng.integers(0, 256, (count, 3, 16, 16), np.uint8))


def write_encoder(folder: Path) -> None:
    """Writes encoder.onnx, train.npz and test.npz."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Encoder()
    tokens = torch.arange(24).reshape(2, 12)
    model = from_torch(net, {"tokens": tokens}, dynamic={"tokens": {0: "batch", 1: "sequence"}})
    onnx.save(model, folder / "encoder.onnx")
    rng = np.random.default_rng(0)
    for name, count in (("train", 96), ("test", 64)):
        np.savez(folder / f"{name}.npz", tokens=rng.integers(0, 40, (count, 12)), labels=rng.integers(0, 5, count))
