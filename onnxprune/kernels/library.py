"""The compiled kernels: where they are, whether they run here, and how a session gets them.

The environment variable ONNXPRUNE_KERNELS_ISA, meant for tests, chooses an instruction set: "avx2", "avx512", or
"none" for no kernels at all. It is read when a session's options are given the library.

A session on CUDA gets the kernels for its device, and those of the CPU beside them, or none (see `cuda`).
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import onnx

from onnxprune.core.errors import InputError
from onnxprune.kernels.compilation import cache_path
from onnxprune.kernels.cuda import CUDA, Provider, cuda_obstacle, cuda_state, provider_settings
from onnxprune.kernels.nodes import VERSION

__all__ = ["Availability", "KernelsMissing", "SessionOptions", "available", "available_for", "register"]

_ON_CPU, _ON_CUDA_TOO = 0, 1

_log = logging.getLogger(__name__)


class SessionOptions(Protocol):
    """What is needed of onnxruntime's SessionOptions."""

    def register_custom_ops_library(self, path: str, /) -> object: ...


class KernelsMissing(InputError):
    """There are no kernels for this machine, or they were not built."""


@dataclass(frozen=True)
class Availability:
    """Whether the kernels run here; true where they do.

    Attributes:
        library: The library, where there is one.
        isa: The instruction set that it uses here, on CUDA the architecture of the device, or an empty string.
        reason: Why they do not run, or an empty string.
    """

    library: Path | None
    isa: str
    reason: str

    def __bool__(self) -> bool:
        return not self.reason


def available(library: Path | None = None) -> Availability:
    """Returns whether the kernels run on this machine.

    Args:
        library: The library; None takes that of the installed package, or else what `build` made.
    """
    reasons = []
    for path in _candidates() if library is None else [library]:
        if not path.is_file():
            continue
        found = _examine(path)
        if found or found.library is not None:
            return found
        reasons.append(found.reason)
    return Availability(None, "", reasons[0] if reasons else _not_built(library))


def available_for(
    providers: Sequence[Provider], model: onnx.ModelProto | bytes | Path | None, library: Path | None = None
) -> Availability:
    """Returns whether the kernels run in a session.

    Args:
        providers: The session's execution providers, as onnxruntime takes them.
        model: Its model. On CUDA the kernels do not cover every layer: without a model they are held not to run there.
        library: The library; None takes that of the installed package, or else what `build` made.
    """
    found = available(library)
    cuda = _cuda_among(providers)
    if not found or found.library is None or cuda is None:
        return found
    if model is None:
        return replace(found, isa="", reason="On CUDA, what kernels run depends on the model, which was not given.")
    device, tf32 = provider_settings(cuda)
    reason = cuda_obstacle(model, found.library, device=device, tf32=tf32)
    if reason:
        return replace(found, isa="", reason=reason)
    return replace(found, isa=f"sm_{cuda_state(found.library, device=device).architecture}")


def register(
    options: SessionOptions,
    *,
    strict: bool = False,
    library: Path | None = None,
    providers: Sequence[Provider] = (),
    model: onnx.ModelProto | bytes | Path | None = None,
) -> bool:
    """Gives a session the kernels of the block-sparse operators; returns whether they will run.

    Where they do not run nothing is registered, and the bodies in the model are computed. The kernels on the
    CPU take float32, float16, bfloat16 and float64; a model of another element type must do without. What those on
    CUDA cover is found out from the model, and where they lack a layer the session gets none.

    Args:
        options: onnxruntime's options, before the session is made.
        strict: Whether it is an error when they do not run.
        library: The library; None takes that of the installed package, or else what `build` made.
        providers: The session's execution providers, as onnxruntime takes them; none means the CPU.
        model: The session's model, which is needed for CUDA.

    Raises:
        KernelsMissing: when they do not run, and `strict`.
    """
    found = available_for(providers, model, library)
    if not found or found.library is None:
        if strict:
            raise KernelsMissing(found.reason)
        _log.info("Block-sparse operators run by their bodies: %s", found.reason)
        return False
    library_path = str(found.library)
    if _cuda_among(providers) is None:
        options.register_custom_ops_library(library_path)
        return True
    # the choice holds for registrations of this thread, and the one that follows is the only one
    select = ctypes.CDLL(library_path).onnxprune_kernels_select
    select(_ON_CUDA_TOO)
    try:
        options.register_custom_ops_library(library_path)
    finally:
        select(_ON_CPU)
    return True


def _cuda_among(providers: Sequence[Provider]) -> Provider | None:
    return next((p for p in providers if (p if isinstance(p, str) else p[0]) == CUDA), None)


def _candidates() -> Iterator[Path]:
    """Yields where a library may be."""
    yield from sorted(Path(__file__).parent.glob("_library*.so"))
    yield cache_path()  # last, as its name is a digest of all sources


def _not_built(library: Path | None) -> str:
    if library is not None:
        return f"{library} does not exist."
    return "The kernels were not built: no compiler was there at installation. `onnxprune build-ops` builds them."


def _examine(path: Path) -> Availability:
    try:
        loaded = ctypes.CDLL(str(path))
        version = int(loaded.onnxprune_kernels_version())
        loaded.onnxprune_kernels_isa.restype = ctypes.c_char_p
        isa = (loaded.onnxprune_kernels_isa() or b"").decode()
        _ = loaded.onnxprune_kernels_select  # which older builds lack
    except (OSError, AttributeError) as error:
        return Availability(None, "", f"{path} cannot be loaded: {error}. `onnxprune build-ops` builds it anew.")
    if version != VERSION:
        reason = f"{path} computes version {version} of the operators, not {VERSION}. `onnxprune build-ops` builds it."
        return Availability(None, "", reason)
    if not isa:
        return Availability(
            path, "", "The kernels need AVX2, which this machine does not have or ONNXPRUNE_KERNELS_ISA excludes."
        )
    return Availability(path, isa, "")
