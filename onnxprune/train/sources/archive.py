"""NumPy files: .npy and .npz, mapped where they can be, never running code that a file brings along.

A member that `numpy.savez` stored is a contiguous piece of the archive: behind the local file
header (30 bytes, then the name and the extra field, whose lengths are at bytes 26 and 28;
PKWARE's APPNOTE, section 4.3.7) and behind the .npy header. It is mapped there. A compressed
member has to be unpacked once.

The check sum of every member is computed, piece by piece, so a damaged file is found before training.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from onnxprune.core.errors import DataError
from onnxprune.train.found import UNNAMED, Found
from onnxprune.train.stored import IN_MEMORY_BYTES, Order, Stored, byte_count, collect

__all__ = ["read_file"]

_PIECE = 2**20
_LOCAL_HEADER = 30
_ENCRYPTED = 1
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def read_file(path: Path) -> Found:
    """Returns the arrays of an .npy or .npz file.

    Raises:
        DataError: when the file is damaged, or holds Python objects.
    """
    where = f"Data file {str(path)!r}"
    try:
        if path.suffix == ".npy":
            array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
            return Found(where, ".npy file", {UNNAMED: array})
        return Found(where, ".npz file", _members(path))
    except _UNREADABLE as error:
        raise DataError(
            f"{where} cannot be read: {str(error).rstrip('.')}. Files with Python objects in them are refused; "
            "write plain arrays with numpy.savez or numpy.save."
        ) from error


def _members(path: Path) -> dict[str, Stored]:
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        packed = sum(info.file_size for info in members if info.compress_type != zipfile.ZIP_STORED)
        return {
            info.filename.removesuffix(".npy"): _array(archive, info, path, in_memory=packed <= IN_MEMORY_BYTES)
            for info in members
        }


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, *, in_memory: bool) -> NDArray[Any]:
    """Returns a member, mapped or unpacked; reads it to the end, where zipfile compares the check sum."""
    if info.flag_bits & _ENCRYPTED:
        raise ValueError(f"{info.filename!r} is encrypted")
    with archive.open(info) as stream:
        shape, order, dtype = _header(stream, info.filename)
        start = stream.tell()
        if info.compress_type != zipfile.ZIP_STORED:
            return _unpacked(_pieces(stream), shape, dtype, order, in_memory=in_memory)
        for _ in _pieces(stream):
            pass
    if info.file_size - start != byte_count(shape, dtype):
        raise ValueError(f"{info.filename!r} has {info.file_size - start} bytes where its header says more or fewer")
    if byte_count(shape, dtype) == 0:
        return np.zeros(shape, dtype)
    offset = _data_offset(path, info) + start
    return np.asarray(np.memmap(path, dtype, "r", offset=offset, shape=shape, order=order))


def _header(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], Order, np.dtype[Any]]:
    """Reads what stands before an array's values in the .npy format."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):  # version 3 differs in allowing field names that are not Latin-1
        raise ValueError(f"{name!r} is of .npy version {version}, which only arrays of records need")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError(f"{name!r} holds Python objects")
    return shape, "F" if fortran else "C", dtype


def _unpacked(
    pieces: Iterator[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], order: Order, *, in_memory: bool
) -> NDArray[Any]:
    try:
        return collect(pieces, shape, dtype, in_memory=in_memory, order=order)
    except OSError as error:
        raise OSError(
            f"{error} while it was unpacked to a temporary file of {byte_count(shape, dtype):,} bytes; set TMPDIR to a "
            "folder with room, or store the arrays uncompressed (numpy.savez)"
        ) from error


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(_PIECE):
        yield piece


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Returns where a member's bytes begin in the archive."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(_LOCAL_HEADER)
    name, extra = struct.unpack("<HH", header[26:30])
    return int(info.header_offset + _LOCAL_HEADER + name + extra)
