"""The instruction set is chosen when a session gets the library; the AVX-512 loops also run emulated, in halves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from block_sparse_cases import ConvCase, MatMulCase, kernel_library, model_of, session_of

from onnxprune.kernels import ACTIVATIONS, Window, available, build, register
from onnxprune.kernels.compilation import cache_path

VARIABLE = "ONNXPRUNE_KERNELS_ISA"
CASES = [
    MatMulCase(tiles=3, width=40, block=4, kept=5, inputs=70, lead=(25,), cut=3),
    MatMulCase(tiles=3, width=64, block=4, kept=5, inputs=70, lead=(5,)),
    MatMulCase(tiles=2, width=64, block=16, kept=60, inputs=1500, lead=(33,)),
    ConvCase(tiles=2, width=11, block=2, kept=3, inputs=9, image=(14, 19)),
    ConvCase(tiles=2, width=8, block=2, kept=3, inputs=9, image=(5, 40), window=Window((3, 3), (1, 1, 1, 1), (2, 2))),
    ConvCase(tiles=2, width=32, block=8, kept=2, inputs=24, image=(9, 11)),
]


@pytest.fixture(scope="module")
def emulating() -> Path:
    """The library with the AVX-512 loops compiled for AVX2."""
    flags = ("-DONNXPRUNE_EMULATE_AVX512", "-Wno-psabi")
    target = cache_path().with_name(cache_path().stem + "-emulating.so")
    return target if target.is_file() else build(target, extra_flags=flags)


def test_avx2_is_used_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "avx2")
    assert available(kernel_library()).isa == "avx2"


@pytest.mark.parametrize("wanted", ["none", "neon"])
def test_no_kernels_are_registered_where_none_are_asked_for(wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, wanted)
    found = available(kernel_library())
    assert not found
    assert found.library == kernel_library()
    assert "AVX2" in found.reason
    options: Any = object()  # is not touched
    assert not register(options, library=kernel_library())


def test_library_itself_registers_nothing_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime as ort

    case = CASES[0]
    arrays = case.arrays()
    monkeypatch.setenv(VARIABLE, "none")
    options = ort.SessionOptions()
    options.register_custom_ops_library(str(kernel_library()))
    session = ort.InferenceSession(
        model_of(case, arrays).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    np.testing.assert_allclose(session.run(None, {"x": arrays["x"]})[0], case.expected(arrays), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_wide_vectors_equal_the_reference(case: Any, emulating: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "avx512")
    assert available(emulating).isa == "avx512"
    arrays = case.arrays()
    (found,) = session_of(model_of(case, arrays), kernels=True, library=emulating).run(None, {"x": arrays["x"]})
    np.testing.assert_allclose(found, case.expected(arrays), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("act", list(ACTIVATIONS))
def test_wide_activations_equal_the_reference(act: str, emulating: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "avx512")
    case = MatMulCase(tiles=2, width=40, block=4, kept=2, inputs=20, act=act)
    arrays = case.arrays()
    (found,) = session_of(model_of(case, arrays), kernels=True, library=emulating).run(None, {"x": arrays["x"]})
    np.testing.assert_allclose(found, case.expected(arrays), rtol=0, atol=1e-5)
