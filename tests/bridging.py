"""Small graphs for the bridge and for training, and onnxruntime's answer to a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from graphs import model_of
from numpy.typing import NDArray

from onnxprune.graph import Model
from onnxprune.runtime import make_session, run

CONVNET = """g (float[N,3,8,8] x, float[8,3,3,3] w1, float[8] b1, float[8,1,3,3] wd, float[8] bd,
   float[12,8,1,1] w2, float[12,8,1,1] w3, float[5,12] wf, float[5] bf) => (float[N,5] y) {
  a = Conv<pads=[1,1,1,1]>(x, w1, b1)
  r = Relu(a)
  d = Conv<group=8, pads=[1,1,1,1]>(r, wd, bd)
  s = Add(d, r)
  c = Conv(s, w2)
  h = Conv(r, w3)
  j = Add(c, h)
  t = Relu(j)
  p = GlobalAveragePool(t)
  f = Flatten(p)
  y = Gemm<transB=1>(f, wf, bf)
}"""


def convnet(seed: int = 0) -> onnx.ModelProto:
    """A residual net with a depthwise convolution, biases here and there, and five classes."""
    return model_of(CONVNET, seed=seed)


def images(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Inputs of `convnet`: float32 [count, 3, 8, 8]."""
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)


def labelled(count: int) -> dict[str, NDArray[Any]]:
    """Images and classes for `convnet`: "x" float32 [count, 3, 8, 8], "labels" int64 [count]."""
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((count, 3, 8, 8)).astype(np.float32), "labels": rng.integers(0, 5, count)}


def answers(model: Model | onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What onnxruntime gives, unoptimised."""
    proto = model if isinstance(model, onnx.ModelProto) else model.to_proto()
    return run(make_session(proto, optimize=False, threads=1), feeds)


def gap(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Largest difference over the largest magnitude of `b`."""
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / (np.abs(b).max() + 1e-12))
