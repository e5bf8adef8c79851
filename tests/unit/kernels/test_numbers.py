"""Kernels and bodies against a float64 reference, over shapes, blocks, windows, activations and element types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from block_sparse_cases import ConvCase, MatMulCase, activation, model_of, session_of

from onnxprune.kernels import ACTIVATIONS, Window

TOLERANCE = {"float16": 4e-3, "float32": 1e-5, "float64": 1e-12}

MATMULS = [
    MatMulCase(tiles=4, width=32, block=1, kept=9, inputs=40, lead=(7,)),
    MatMulCase(tiles=3, width=128, block=16, kept=3, inputs=96, lead=(2, 3, 5)),
    MatMulCase(tiles=3, width=16, block=8, kept=2, inputs=64, lead=(1,)),
    MatMulCase(tiles=3, width=48, block=8, kept=2, inputs=64, lead=(2,)),
    MatMulCase(tiles=5, width=20, block=4, kept=3, inputs=30, lead=(13,), cut=7),
    MatMulCase(tiles=2, width=5, block=3, kept=4, inputs=10, lead=(6,), cut=2),
    MatMulCase(tiles=1, width=1, block=1, kept=1, inputs=1, lead=(1,)),
    MatMulCase(tiles=2, width=40, block=2, kept=3, inputs=4, lead=(9,)),  # blocks listed twice
    MatMulCase(tiles=2, width=64, block=16, kept=60, inputs=1500, lead=(33,), cut=3),  # several chunks of inputs
    MatMulCase(tiles=40, width=32, block=16, kept=40, inputs=1024, lead=(40,)),  # several groups of strips
    MatMulCase(tiles=2, width=16, block=4, kept=2, inputs=16, lead=()),
]
SQUARE = Window((3, 3), (1, 1, 1, 1))
CONVS = [
    ConvCase(tiles=2, width=8, block=1, kept=3, inputs=6, image=(9, 9)),
    ConvCase(tiles=2, width=32, block=8, kept=2, inputs=24, image=(14, 14)),
    ConvCase(tiles=3, width=8, block=4, kept=2, inputs=14, image=(7, 7), cut=5, bias=False),
    ConvCase(tiles=2, width=20, block=4, kept=3, inputs=14, image=(10, 5), cut=3),
    ConvCase(tiles=2, width=8, block=2, kept=2, inputs=8, image=(28, 28), window=Window((1, 1))),
    ConvCase(tiles=2, width=16, block=8, kept=9, inputs=80, image=(6, 5), window=Window((1, 1))),
    ConvCase(tiles=2, width=8, block=2, kept=2, inputs=8, image=(1, 3), window=Window((1, 1), (), (2, 2))),
    ConvCase(tiles=2, width=32, block=8, kept=8, inputs=64, image=(9, 8), window=Window((1, 1), (), (2, 2))),
    ConvCase(tiles=2, width=8, block=1, kept=3, inputs=6, image=(15, 17), window=Window((3, 3), (1, 1, 1, 1), (2, 2))),
    ConvCase(tiles=2, width=32, block=4, kept=2, inputs=8, image=(15, 18), window=Window((3, 3), (1, 1, 1, 1), (2, 2))),
    ConvCase(tiles=2, width=8, block=1, kept=3, inputs=6, image=(11, 9), window=Window((5, 3), (0, 2, 3, 1), (3, 1))),
    ConvCase(tiles=2, width=16, block=2, kept=3, inputs=6, image=(11, 9), window=Window((5, 3), (0, 2, 3, 1), (3, 1))),
    ConvCase(tiles=2, width=8, block=1, kept=3, inputs=6, image=(12, 13), window=Window((3, 3), (), (), (2, 3))),
    ConvCase(tiles=2, width=16, block=1, kept=9, inputs=12, image=(12, 13), window=Window((3, 3), (), (), (2, 3))),
    ConvCase(
        tiles=2, width=6, block=1, kept=3, inputs=6, image=(9, 9), window=Window((3, 3), (4,) * 4, (4, 4), (3, 3))
    ),
    ConvCase(tiles=2, width=8, block=1, kept=2, inputs=4, image=(9, 9), window=Window((2, 2), (5, 5, 6, 6), (3, 3))),
    ConvCase(tiles=2, width=8, block=1, kept=1, inputs=3, image=(20, 21), window=Window((7, 7), (3,) * 4, (2, 2))),
    ConvCase(tiles=1, width=1, block=1, kept=1, inputs=1, image=(1, 1), window=Window((1, 1)), batch=1),
    ConvCase(tiles=2, width=8, block=2, kept=3, inputs=8, image=(31,), window=Window((5,), (2, 2), (2,))),
    ConvCase(tiles=2, width=32, block=8, kept=2, inputs=24, image=(31,), window=Window((5,), (2, 2), (2,))),
    ConvCase(tiles=2, width=8, block=2, kept=2, inputs=8, image=(5, 6, 7), window=Window((3, 3, 3), (1,) * 6)),
    ConvCase(
        tiles=2, width=16, block=2, kept=2, inputs=8, image=(5, 6, 7), window=Window((3, 3, 3), (1,) * 6, (2,) * 3)
    ),
    ConvCase(tiles=2, width=8, block=8, kept=20, inputs=180, image=(7, 7)),  # several chunks of channels
    ConvCase(tiles=2, width=32, block=8, kept=20, inputs=180, image=(24, 23)),  # and several bands of pixels
    ConvCase(tiles=2, width=8, block=1, kept=3, inputs=6, image=(40, 33)),
]


def check(case: MatMulCase | ConvCase, *, kernels: bool, **options: Any) -> None:
    """Compares a case with the reference, relative to its largest value."""
    arrays = case.arrays()
    session = session_of(model_of(case, arrays, **options), kernels=kernels)
    fed = {value.name for value in session.get_inputs()}
    (found,) = session.run(None, {name: value for name, value in arrays.items() if name in fed})
    expected = case.expected(arrays)
    assert found.dtype == case.dtype
    assert found.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[case.dtype] * scale, err_msg=repr(case))


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "bodies"])
@pytest.mark.parametrize("case", MATMULS, ids=lambda c: f"{c.block}x{c.width}-{c.inputs}to{c.outputs}-{c.lead}")
def test_matmul_equals_the_reference(case: MatMulCase, kernels: bool) -> None:
    check(case, kernels=kernels)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "bodies"])
@pytest.mark.parametrize("case", CONVS, ids=lambda c: f"{c.block}x{c.width}-{c.image}-k{c.window.kernel_shape}")
def test_conv_equals_the_reference(case: ConvCase, kernels: bool) -> None:
    check(case, kernels=kernels)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "bodies"])
@pytest.mark.parametrize("opset", [13, 14, 17, 20, 23])
@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_activations_equal_the_reference(act: str, opset: int, kernels: bool) -> None:
    check(MatMulCase(tiles=3, width=20, block=2, kept=2, inputs=9, act=act), kernels=kernels, opset=opset)
    check(ConvCase(tiles=2, width=6, block=1, kept=2, inputs=4, image=(5, 9), act=act), kernels=kernels, opset=opset)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "bodies"])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("act", ["", "Relu", "Clip", "Silu"])
def test_other_element_types_equal_the_reference(act: str, dtype: str, kernels: bool) -> None:
    check(MatMulCase(tiles=3, width=20, block=2, kept=2, inputs=9, act=act, dtype=dtype), kernels=kernels)
    if kernels or dtype != "float64":  # onnxruntime itself has no Conv in float64
        conv = ConvCase(tiles=2, width=6, block=1, kept=2, inputs=4, image=(5, 9), cut=1, act=act, dtype=dtype)
        check(conv, kernels=kernels)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "bodies"])
@pytest.mark.parametrize("case", [MATMULS[4], CONVS[0], CONVS[1]], ids=["matmul", "conv pixels", "conv rows"])
def test_weights_that_are_computed_equal_the_reference(case: MatMulCase | ConvCase, kernels: bool) -> None:
    check(case, kernels=kernels, constant=False)


@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_activations_hold_over_their_whole_range(act: Any) -> None:
    values = np.concatenate(
        [np.linspace(-110, 110, 4001), np.linspace(-1, 1, 2001), [0.0, -0.0, 1e-30, -1e-30, 3e38, -3e38]]
    )
    case = MatMulCase(tiles=1, width=1, block=1, kept=1, inputs=1, lead=(len(values),), act=act)
    arrays = case.arrays()
    arrays["x"], arrays["weight"], arrays["bias"] = (
        values.astype(np.float32).reshape(-1, 1),
        np.ones((1, 1, 1), np.float32),
        np.zeros(1, np.float32),
    )
    with np.errstate(over="ignore"):
        expected = activation(act).values(arrays["x"].astype(np.float64))
        (found,) = session_of(model_of(case, arrays), kernels=True).run(None, {"x": arrays["x"]})
        np.testing.assert_allclose(found, expected.astype(np.float32), rtol=2e-6, atol=4e-7)


@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_not_a_number_stays_one_or_is_clipped_as_by_the_body(act: Any) -> None:
    case = MatMulCase(tiles=1, width=16, block=1, kept=1, inputs=1, lead=(1,), act=act)
    arrays = case.arrays() | {"x": np.array([[np.nan]], np.float32)}
    (found,) = session_of(model_of(case, arrays), kernels=True).run(None, {"x": arrays["x"]})
    assert np.isnan(found).all()


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "bodies"])
def test_inputs_beyond_the_layer_do_not_matter(kernels: bool) -> None:
    # the last block reaches beyond K, and the last value of x, which it holds, is infinite
    case = MatMulCase(tiles=1, width=16, block=4, kept=2, inputs=6, lead=(2,))
    arrays = case.arrays()
    arrays["index"][:] = [[0, 1]]
    arrays["weight"][:, 6:] = 0
    arrays["weight"] = np.abs(arrays["weight"])
    arrays["x"][:, 5] = np.inf
    (found,) = session_of(model_of(case, arrays), kernels=kernels).run(None, {"x": arrays["x"]})
    assert np.isposinf(found).all()


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "bodies"])
def test_rows_change_from_run_to_run(kernels: bool) -> None:
    case = MatMulCase(tiles=3, width=24, block=4, kept=2, inputs=30, lead=(1,), cut=1)
    arrays = case.arrays()
    session = session_of(model_of(case, arrays), kernels=kernels)
    for rows in (1, 2, 3, 50, 0, 7, 200, 1):
        x = np.random.default_rng(rows).standard_normal((rows, 30)).astype(np.float32)
        (found,) = session.run(None, {"x": x})
        np.testing.assert_allclose(found, case.expected(arrays | {"x": x}), rtol=0, atol=1e-5)


@pytest.mark.parametrize("width", [8, 32])
def test_images_change_from_run_to_run(width: int) -> None:
    case = ConvCase(tiles=2, width=width, block=4, kept=2, inputs=16, image=(8, 8))
    arrays = case.arrays()
    session = session_of(model_of(case, arrays), kernels=True)
    for batch, height, across in ((1, 8, 8), (3, 8, 8), (2, 5, 20), (0, 8, 8), (1, 1, 1), (3, 8, 8)):
        x = np.random.default_rng(batch).standard_normal((batch, 16, height, across)).astype(np.float32)
        (found,) = session.run(None, {"x": x})
        np.testing.assert_allclose(found, case.expected(arrays | {"x": x}), rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", [MATMULS[4], CONVS[2], CONVS[3]], ids=["matmul", "conv pixels", "conv rows"])
def test_tiles_that_keep_nothing_give_the_bias(case: MatMulCase | ConvCase) -> None:
    arrays = case.arrays()
    empty = [0 if axis == 1 else size for axis, size in enumerate(arrays["weight"].shape)]
    arrays |= {"weight": np.zeros(empty, np.float32), "index": np.zeros((case.tiles, 0), np.int64)}
    (found,) = session_of(model_of(case, arrays, bodies=False), kernels=True).run(None, {"x": arrays["x"]})
    np.testing.assert_allclose(found, case.expected(arrays), rtol=0, atol=1e-6)
