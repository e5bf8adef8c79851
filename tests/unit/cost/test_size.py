from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs
import pytest

from onnxprune.cost.size import element_bytes


@pytest.mark.parametrize(
    ("dtype", "width"),
    [
        (np.float64, 8),
        (np.float32, 4),
        (np.float16, 2),
        (ml_dtypes.bfloat16, 2),
        (ml_dtypes.float8_e4m3fn, 1),
        (ml_dtypes.float4_e2m1fn, 0.5),
    ],
)
def test_element_takes_what_onnx_stores(dtype, width):
    assert element_bytes(gs.Constant("w", np.zeros(8, dtype=dtype))) == width
