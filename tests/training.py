"""A net that trains in a blink, and what tests of training compare."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from graphs import model_of

from onnxprune.bridge import OnnxModule, to_torch
from onnxprune.graph import load_model
from onnxprune.train import Samples, open_data
from onnxprune.train.record import EpochRecord, TrainRecord

NORMED = """g (float[N,3,6,6] x, float[8,3,3,3] w1, float[8] s1, float[8] b1, float[8] m1, float[8] v1,
   float[8,1,3,3] wd, float[6,8,1,1] w2, float[6] s2, float[6] b2, float[6] m2, float[6] v2,
   float[5,6] wf, float[5] bf) => (float[N,5] y) {
  a = Conv<pads=[1,1,1,1]>(x, w1)
  n = BatchNormalization(a, s1, b1, m1, v1)
  r = Relu(n)
  d = Conv<group=8, pads=[1,1,1,1]>(r, wd)
  e = Conv(d, w2)
  k = BatchNormalization(e, s2, b2, m2, v2)
  t = Relu(k)
  p = GlobalAveragePool(t)
  f = Flatten(p)
  y = Gemm<transB=1>(f, wf, bf)
}"""


def student_and_teacher() -> tuple[OnnxModule, OnnxModule]:
    """A teacher with two normalised convolutions, and a student with damaged weights."""
    teacher, student = to_torch(model_of(NORMED)), to_torch(model_of(NORMED))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(torch.rand(parameter.shape, generator=generator) + 0.5)
    return student, teacher


def samples(count: int = 64, seed: int = 0) -> Samples:
    """Labelled images for it."""
    rng = np.random.default_rng(seed)
    model = load_model(model_of(NORMED))
    arrays = {
        "x": rng.standard_normal((count, 3, 6, 6)).astype(np.float32),
        "labels": rng.integers(0, 5, count),
    }
    return open_data(arrays, model.inputs(), outputs=model.outputs())


def bits(module: OnnxModule) -> dict[str, bytes]:
    """Name → bytes of every weight and running statistic."""
    return {name: tensor.detach().contiguous().numpy().tobytes() for name, tensor in module.state_dict().items()}


def without_seconds(record: TrainRecord) -> Mapping[str, object]:
    """A record less what differs from run to run."""
    facts = {name: value for name, value in vars(record).items() if name != "epochs"}
    return facts | {"epochs": [{**vars(e), "seconds": 0} for e in record.epochs]}


def losses(records: tuple[EpochRecord, ...]) -> list[float]:
    """The mean loss of every epoch."""
    return [record.loss for record in records]
