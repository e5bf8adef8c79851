"""The CUDA kernels against a float64 reference: their own source and launches, on a device that is emulated.

onnxruntime runs them as operators of the CPU, whose memory the emulated device takes for its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from block_sparse_cases import ConvCase, MatMulCase, activation, model_of, run_session, session_of
from cuda_cases import CONVS, MATMULS, TOLERANCE, of_element
from cuda_emulation import ELEMENTS, emulator, selected

from onnxprune.kernels import ACTIVATIONS, Window

SHAPES = ["128x128", "128x64", "128x32", "64x64", "32x64", "16x32"]


@pytest.fixture(autouse=True)
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulated device that float32 is multiplied on as it is."""
    for name in ("ONNXPRUNE_CUDA_DRIVER", "ONNXPRUNE_NVRTC"):
        monkeypatch.setenv(name, str(emulator()))
    monkeypatch.setenv("ONNXPRUNE_CUDA_TF32", "0")


def for_element(case: Any, element: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns the case with what is multiplied so."""
    monkeypatch.setenv("ONNXPRUNE_CUDA_TF32", "1" if element == "tf32" else "0")
    return of_element(case, element)


def session_for(case: MatMulCase | ConvCase, arrays: dict[str, Any], **options: Any) -> Any:
    """Returns a session on the emulated device."""
    with selected():
        return session_of(model_of(case, arrays, **options), kernels=True)


def check(case: MatMulCase | ConvCase, element: str) -> None:
    """Compares a case with the reference, relative to its largest value before the activation, which may hide it."""
    arrays = case.arrays()
    found = run_session(session_for(case, arrays), arrays)
    largest = float(np.abs(replace(case, act="").expected(arrays)).max(initial=0.0)) if case.act else 0.0
    compare(found, case.expected(arrays), element, repr(case), largest)


def compare(found: Any, expected: Any, element: str, what: str = "", largest: float = 0.0) -> None:
    assert found.shape == expected.shape
    scale = max(1.0, largest, float(np.abs(expected).max(initial=0.0)))
    off = np.abs(found.astype(np.float64) - expected)
    assert not np.isnan(off).any(), what
    assert off.max(initial=0.0) <= TOLERANCE[element] * scale, what


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("case", MATMULS, ids=lambda c: f"{c.block}x{c.width}-{c.inputs}to{c.outputs}-{c.lead}")
def test_matmul_equals_the_reference(case: MatMulCase, element: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(for_element(case, element, monkeypatch), element)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("case", CONVS, ids=lambda c: f"{c.block}x{c.width}-{c.image}-k{c.window.kernel_shape}")
def test_conv_equals_the_reference(case: ConvCase, element: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(for_element(case, element, monkeypatch), element)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_blocks_equals_the_reference(shape: str, element: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXPRUNE_CUDA_SHAPE", shape)
    width = max(32, int(shape.partition("x")[2]))
    matmul = MatMulCase(tiles=2, width=width, block=8, kept=21, inputs=200, lead=(140,), cut=3, act="Relu")
    check(for_element(matmul, element, monkeypatch), element)
    conv = ConvCase(tiles=2, width=width, block=8, kept=3, inputs=32, image=(12, 12), window=Window((3, 3), (1,) * 4))
    check(for_element(conv, element, monkeypatch), element)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_copies_that_arrive_at_once_overwrite_nothing_that_is_read(
    shape: str, element: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMULATED_EARLY_COPIES", "1")
    test_every_shape_of_blocks_equals_the_reference(shape, element, monkeypatch)


@pytest.mark.parametrize("element", ["float16", "float32"])
@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_activations_equal_the_reference(act: str, element: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check(replace(for_element(MATMULS[6], element, monkeypatch), act=act), element)
    check(replace(for_element(CONVS[1], element, monkeypatch), act=act), element)


@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_not_a_number_stays_one(act: str) -> None:
    case = MatMulCase(tiles=1, width=32, block=8, kept=1, inputs=8, lead=(1,), act=act)
    arrays = case.arrays() | {"x": np.full((1, 8), np.nan, np.float32)}
    assert np.isnan(run_session(session_for(case, arrays), arrays)).all()


@pytest.mark.parametrize("inputs", [16, 13])
def test_inputs_beyond_the_layer_do_not_matter(inputs: int) -> None:
    # the last block reaches beyond K, into the next row, and all that lies there is infinite
    case = MatMulCase(tiles=1, width=32, block=32, kept=1, inputs=inputs, lead=(4,))
    arrays = case.arrays()
    arrays["x"][1:] = np.inf
    arrays["weight"][:, inputs:] = np.nan
    found = run_session(session_for(case, arrays), arrays)
    np.testing.assert_allclose(found[0], arrays["x"][0] @ arrays["weight"][0, :inputs] + arrays["bias"], atol=1e-5)


def test_rows_change_from_run_to_run() -> None:
    case = MatMulCase(tiles=2, width=64, block=8, kept=4, inputs=48, lead=(1,), cut=1)
    arrays = case.arrays()
    session = session_for(case, arrays)
    for rows in (1, 16, 0, 17, 129, 300, 2):
        x = np.random.default_rng(rows).standard_normal((rows, 48)).astype(np.float32)
        compare(run_session(session, {"x": x}), case.expected(arrays | {"x": x}), "float32")


def test_images_change_from_run_to_run() -> None:
    case = ConvCase(tiles=1, width=64, block=8, kept=2, inputs=24, image=(8, 8))
    arrays = case.arrays()
    session = session_for(case, arrays)
    for batch, height, across in ((1, 8, 8), (3, 8, 8), (2, 5, 12), (0, 8, 8), (1, 1, 1)):
        x = np.random.default_rng(batch).standard_normal((batch, 24, height, across)).astype(np.float32)
        compare(run_session(session, {"x": x}), case.expected(arrays | {"x": x}), "float32")


@pytest.mark.parametrize("case", [MATMULS[1], CONVS[3]], ids=["matmul", "conv"])
def test_tiles_that_keep_nothing_give_the_bias(case: MatMulCase | ConvCase) -> None:
    arrays = case.arrays()
    empty = [0 if axis == 1 else size for axis, size in enumerate(arrays["weight"].shape)]
    arrays |= {"weight": np.zeros(empty, np.float32), "index": np.zeros((case.tiles, 0), np.int64)}
    found = run_session(session_for(case, arrays, bodies=False), arrays)
    compare(found, case.expected(arrays), "float32")


def test_memory_that_is_not_aligned_is_read_and_written() -> None:
    import onnxruntime as ort

    case = MatMulCase(tiles=1, width=64, block=8, kept=4, inputs=48, lead=(20,))
    arrays = case.arrays()
    room = np.zeros(20 * 64 + 4, np.float32)
    start = (-room.ctypes.data // 4 + 1) % 4  # four bytes behind an address that 16 divides
    x, y = room[start : start + 20 * 48].reshape(20, 48), np.zeros_like(room)[start : start + 20 * 64].reshape(20, 64)
    x[:] = arrays["x"]
    assert x.ctypes.data % 16 == 4
    binding = (session := session_for(case, arrays)).io_binding()
    binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
    session.run_with_iobinding(binding)
    assert isinstance(session, ort.InferenceSession)
    compare(y, case.expected(arrays), "float32")


@pytest.mark.slow
@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("seed", range(60))
def test_random_layers_equal_the_reference(seed: int, element: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    tiles, kept = (int(rng.integers(1, top)) for top in (4, 6))
    width, block = int(rng.choice([32, 64, 96, 128, 256])), int(rng.choice([8, 16, 24, 32, 64]))
    sizes = {
        "tiles": tiles,
        "width": width,
        "block": block,
        "kept": kept,
        "inputs": int(rng.integers(1, 200)),
        "cut": int(rng.integers(width)) if rng.integers(2) else 0,
        "act": str(rng.choice(list(ACTIVATIONS))),
        "seed": seed,
    }
    monkeypatch.setenv("EMULATED_PROCESSORS", str(rng.choice([1, 4, 100])))
    if rng.integers(2):
        lead = tuple(int(n) for n in rng.integers(1, 30, int(rng.integers(0, 3))))
        check(for_element(MatMulCase(**sizes, lead=lead), element, monkeypatch), element)
        return
    rank = int(rng.integers(1, 4))
    kernel, strides, dilations = (
        tuple(int(n) for n in rng.integers(1, top, rank)) for top in (4 if rank < 3 else 3, 4, 3)
    )
    pads = tuple(int(n) for n in rng.integers(0, 3, 2 * rank))
    image = tuple(int(n) for n in rng.integers(5, 12 if rank < 3 else 7, rank))
    case = ConvCase(**sizes, image=image, window=Window(kernel, pads, strides, dilations), bias=bool(rng.integers(2)))
    check(for_element(case, element, monkeypatch), element)


@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_activations_hold_over_their_range(act: Any) -> None:
    values = np.concatenate([np.linspace(-90, 90, 481), np.linspace(-1, 1, 31), [0.0, -0.0, 1e-30, -1e-30]])
    case = MatMulCase(tiles=1, width=32, block=8, kept=1, inputs=8, lead=(len(values),), act=act)
    arrays = case.arrays()
    arrays["x"] = np.zeros((len(values), 8), np.float32)
    arrays["x"][:, 0] = values
    arrays["index"][:] = 0
    arrays["weight"][:], arrays["bias"][:] = 1, 0
    expected = activation(act).values(arrays["x"][:, :1].astype(np.float64))
    found = run_session(session_for(case, arrays), arrays)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=3e-6, atol=1e-6)
