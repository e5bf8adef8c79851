"""Archives of arrays: mapped where they can be, unpacked once where not, refused when damaged."""

from __future__ import annotations

import mmap
import zipfile

import numpy as np
import pytest

from onnxprune.core.errors import DataError
from onnxprune.graph import TensorSpec
from onnxprune.train import open_data
from onnxprune.train.sources import archive
from onnxprune.train.stored import collect

IMAGE = (TensorSpec("image", np.dtype("float32"), ("batch", 3, 8, 8)),)
PAIR = (TensorSpec("a", np.dtype("float32"), (None, 2)), TensorSpec("b", np.dtype("int64"), (None, 3)))


def _is_mapped(array):
    """Whether an array's memory belongs to a mapped file."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap) or isinstance(getattr(array, "obj", None), mmap.mmap)


def _values(seed=0):
    rng = np.random.default_rng(seed)
    return {"a": rng.standard_normal((7, 2)).astype(np.float32), "b": rng.integers(0, 9, (7, 3))}


@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh some other file in front\n"], ids=["plain", "prefixed"])
def test_stored_members_are_mapped_where_they_lie(tmp_path, prefix):
    values, path = _values(), tmp_path / "d.npz"
    np.savez(path, **values)
    path.write_bytes(prefix + path.read_bytes())
    data = open_data(path, PAIR)
    for column, (name, expected) in zip(data.columns, values.items(), strict=True):
        assert column.name == name
        assert _is_mapped(column.array)
        assert np.array_equal(column.array, expected)


def test_members_with_the_first_axis_fastest_are_read_right(tmp_path):
    values = {name: np.asfortranarray(array) for name, array in _values().items()}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "d.npz", **values)
        batch = open_data(tmp_path / "d.npz", PAIR).first(7)
        assert all(np.array_equal(batch.inputs[name], array) for name, array in values.items())


@pytest.mark.parametrize("limit", [2**20, 0], ids=["memory", "temporary file"])
def test_compressed_members_are_unpacked_to(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(archive, "IN_MEMORY_BYTES", limit)
    values = _values()
    np.savez_compressed(tmp_path / "d.npz", **values)
    data = open_data(tmp_path / "d.npz", PAIR)
    assert [_is_mapped(column.array) for column in data.columns] == [limit == 0] * 2
    assert all(np.array_equal(column.array, values[column.name]) for column in data.columns)


def test_unpacking_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = collect([b"\1\0", b"\2\0"], (2,), np.dtype("<i2"), in_memory=False)
    assert list(tmp_path.iterdir()) == []
    assert array.tolist() == [1, 2]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("pieces", [[b"123"], [b"1234", b"5"]], ids=["short", "long"])
def test_bytes_that_do_not_fill_the_shape_are_refused(pieces, in_memory):
    with pytest.raises(ValueError, match="has 4 bytes, and"):
        collect(pieces, (4,), np.dtype("u1"), in_memory=in_memory)


def test_full_disk_while_unpacking_says_what_to_do(tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    np.savez_compressed(tmp_path / "d.npz", **_values())
    with pytest.raises(DataError, match=r"No space left.*TMPDIR"):
        open_data(tmp_path / "d.npz", PAIR)


def test_damaged_values_of_a_stored_member_are_found(tmp_path):
    np.savez(tmp_path / "d.npz", image=np.zeros((50, 3, 8, 8), np.uint8))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[5000] ^= 1
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read: Bad CRC-32.*image\.npy"):
        open_data(tmp_path / "d.npz", IMAGE)


def test_member_with_python_objects_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", image=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="Python objects"):
        open_data(tmp_path / "d.npz", IMAGE)


def test_member_shorter_than_its_header_says_is_refused(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((2, 3, 8, 8), np.uint8))
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "d.npz", "w", kind) as file:
            file.writestr("image.npy", (tmp_path / "image.npy").read_bytes()[:-5])
        with pytest.raises(DataError, match="cannot be read"):
            open_data(tmp_path / "d.npz", IMAGE)


def test_other_members_are_left_alone(tmp_path):
    np.savez(tmp_path / "d.npz", image=np.zeros((2, 3, 8, 8), np.float32))
    with zipfile.ZipFile(tmp_path / "d.npz", "a") as file:
        file.writestr("notes.txt", "made on a Tuesday")
    assert len(open_data(tmp_path / "d.npz", IMAGE)) == 2


def test_empty_member_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", image=np.zeros((0, 3, 8, 8), np.float32))
    with pytest.raises(DataError, match="is empty"):
        open_data(tmp_path / "d.npz", IMAGE)
