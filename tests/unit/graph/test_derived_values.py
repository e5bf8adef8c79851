"""Slices and overwritten slices that are read piece by piece."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from onnxprune.graph import derived_values, keep_values, overwrite_values
from onnxprune.graph import values as values_module
from onnxprune.graph.values import EmbeddedValues, ExternalValues, StoredValues, value_digest, value_slabs

SHAPE = (150, 6, 40)
KEEPS = [(0, np.arange(150) % 3 > 0), (2, np.arange(40) < 25)]


def stored(kind: str, folder: Path, dtype: type = np.float32) -> tuple[StoredValues, np.ndarray]:
    array = np.random.default_rng(0).standard_normal(SHAPE).astype(dtype)
    tensor = numpy_helper.from_array(array, "w")
    if kind == "embedded":
        return EmbeddedValues(tensor), array
    (folder / "w.bin").write_bytes(b"\xff" * 64 + tensor.raw_data)
    header = TensorProto(name="w", data_type=tensor.data_type, dims=array.shape)
    return ExternalValues(header, folder / "w.bin", 64), array


@pytest.mark.parametrize("kind", ["embedded", "external"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int8])
def test_kept_slices_equal_those_of_the_whole_array(
    kind: str, dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values_module, "_PIECE_BYTES", 10_000)
    source, array = stored(kind, tmp_path, dtype)
    kept = keep_values(source, KEEPS)
    want = array[KEEPS[0][1]][:, :, KEEPS[1][1]]
    assert isinstance(kept, StoredValues) is (array.nbytes >= 2**16)
    assert kept.shape == want.shape
    assert kept.dtype == want.dtype
    got = kept.load() if isinstance(kept, StoredValues) else kept
    np.testing.assert_array_equal(got, want)
    assert value_digest(kept) == value_digest(np.ascontiguousarray(want))


@pytest.mark.parametrize("kind", ["embedded", "external"])
@pytest.mark.parametrize("fill", [0, 1])
def test_overwritten_slices_hold_the_fill_and_nothing_else_changes(
    kind: str, fill: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values_module, "_PIECE_BYTES", 10_000)
    source, array = stored(kind, tmp_path)
    masked = overwrite_values(source, KEEPS, fill)
    want = array.copy()
    want[~KEEPS[0][1]] = fill
    want[:, :, ~KEEPS[1][1]] = fill
    assert isinstance(masked, StoredValues)
    np.testing.assert_array_equal(masked.load(), want)
    np.testing.assert_array_equal(numpy_helper.to_array(masked.proto("other")), want)
    np.testing.assert_array_equal(source.load(), array)


def test_slices_of_slices_are_read_from_the_first_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derived_values, "_SMALLEST_LAZY_BYTES", 1)
    source, array = stored("external", tmp_path)
    again = keep_values(keep_values(source, KEEPS), [(1, np.arange(6) < 4)])
    assert isinstance(again, StoredValues)
    np.testing.assert_array_equal(again.load(), array[KEEPS[0][1]][:, :4, KEEPS[1][1]])


def test_arrays_and_small_values_are_sliced_at_once() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    kept = keep_values(array, [(1, np.array([True, False, True, False]))])
    np.testing.assert_array_equal(kept, array[:, ::2])
    masked = overwrite_values(array, [(0, np.array([True, False, True]))], 0)
    np.testing.assert_array_equal(masked[1], 0)
    assert array[1].all(), "the source itself is left alone"


def test_external_values_come_in_whole_rows_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values_module, "_PIECE_BYTES", 10_000)
    source, array = stored("external", tmp_path)
    slabs = list(value_slabs(source))
    assert max(slab.nbytes for slab in slabs) <= 10_000
    np.testing.assert_array_equal(np.concatenate(slabs), array)


def test_digests_tell_values_shapes_and_types_apart() -> None:
    array = np.arange(6, dtype=np.float32)
    others = [array + 1, array.reshape(2, 3), array.astype(np.float64), np.array(["a", "b"], object)]
    assert len({value_digest(each) for each in [array, *others]}) == 5
