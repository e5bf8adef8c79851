"""A CUDA device emulated on the CPU: the kernels' own source, compiled by g++ behind a driver that stands in.

`emulator()` gives the library that is driver and NVRTC at once, made once for all runs that have the same sources.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from block_sparse_cases import kernel_library

from onnxprune.kernels.compilation import cache_path

__all__ = ["ELEMENTS", "emulator", "selected", "source"]

ELEMENTS = {"float16": 0, "bfloat16": 1, "tf32": 2, "float32": 3}
_SOURCES = Path(__file__).with_name("cuda_emulator")
_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-mf16c", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas")
_EMULATED = 2


def source() -> str:
    """Returns the source of the kernels as the library holds it."""
    library = ctypes.CDLL(str(kernel_library()))
    library.onnxprune_cuda_source.restype = ctypes.c_char_p
    return bytes(library.onnxprune_cuda_source()).decode()


@cache
def emulator() -> Path:
    """Returns the library; skips the test where there is no g++."""
    if shutil.which("g++") is None:
        pytest.skip("there is no g++ to compile the emulated device with")
    digest = hashlib.sha256(" ".join(_FLAGS).encode() + source().encode())
    for path in sorted(_SOURCES.iterdir()):
        digest.update(path.read_bytes())
    target = cache_path().with_name(f"emulated-{digest.hexdigest()[:16]}.so")
    if not target.is_file():
        _build(target)
    return target


def _build(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".emulated-") as scratch:
        folder = Path(scratch)
        (folder / "source.cuh").write_text(source(), encoding="utf-8")
        commands = [["g++", *_FLAGS, "-c", str(_SOURCES / "driver.cpp"), "-o", str(folder / "driver.o")]]
        for element in ELEMENTS.values():
            defines = [f"-DELEMENT={element}", f'-DKERNEL_SOURCE="{folder / "source.cuh"}"']
            out = ["-o", str(folder / f"{element}.o")]
            commands.append(["g++", *_FLAGS, *defines, "-c", str(_SOURCES / "kernels.cpp"), *out])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        made = folder / "made.so"
        _run(["g++", "-shared", "-o", str(made), *map(str, sorted(folder.glob("*.o")))])
        made.replace(target)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr


@contextmanager
def selected() -> Iterator[None]:
    """Has the sessions that are made within compute block-sparse operators on the emulated device."""
    library = ctypes.CDLL(str(kernel_library()))
    library.onnxprune_kernels_select(_EMULATED)
    try:
        yield
    finally:
        library.onnxprune_kernels_select(0)
