"""QLinearConv without a kernel_shape, its scales constant, as quantisers may write it."""

from __future__ import annotations

import numpy as np
import torch
from bridging import answers
from graphs import model_of

from onnxprune.bridge import to_torch

TEXT = """g (uint8[1,2,4,4] x) => (uint8[1,3,4,4] y) {
  scale_x = Constant<value = float {0.1}>()
  zero_x = Constant<value = uint8 {3}>()
  w = Constant<value = uint8[3,2,1,1] {1,2,3,4,5,6}>()
  scale_w = Constant<value = float {0.2}>()
  zero_w = Constant<value = uint8 {2}>()
  scale_y = Constant<value = float {0.3}>()
  zero_y = Constant<value = uint8 {4}>()
  y = QLinearConv(x, scale_x, zero_x, w, scale_w, zero_w, scale_y, zero_y)
}"""


def test_kernel_size_is_that_of_the_weight_when_no_attribute_tells_it():
    proto = model_of(TEXT)
    x = np.random.default_rng(0).integers(0, 50, (1, 2, 4, 4)).astype(np.uint8)
    found = to_torch(proto)(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(found, answers(proto, {"x": x})["y"])
