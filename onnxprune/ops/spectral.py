"""Fourier transforms and what goes with them: DFT, STFT, window functions, mel filters.

A complex number is a pair along the last axis. With `onesided` the upper half of the spectrum of
a real signal, which mirrors the lower, is left out. Windows of N samples, with M = N (periodic)
or N − 1:

    Hann      sin²(π n / M)
    Hamming   25/46 − 21/46 cos(2π n / M)
    Blackman  0.42 − 0.5 cos(2π n / M) + 0.08 cos(4π n / M)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.ops.base import TwinContext, attribute
from onnxprune.ops.identity import torch_dtype
from onnxprune.ops.registry import register_twin
from onnxprune.ops.twin import Twin

if TYPE_CHECKING:
    import torch

    from onnxprune.ops.base import TorchFunction

__all__ = ["DFT", "STFT", "MelWeightMatrix", "WindowFunction"]

_WINDOWS: dict[str, tuple[float, ...]] = {
    "BlackmanWindow": (0.42, -0.5, 0.08),
    "HammingWindow": (25 / 46, -21 / 46),
    "HannWindow": (0.5, -0.5),
}
_AXIS_IS_AN_INPUT = 20
_MEL_SCALE = 2595.0
_MEL_BREAK_HERTZ = 700.0


def _complex(x: torch.Tensor) -> torch.Tensor:
    """Returns the complex tensor that pairs, or real parts alone, along the last axis stand for."""
    import torch

    wide = x.double() if x.dtype == torch.float64 else x.float()
    imaginary = wide[..., 1] if x.shape[-1] > 1 else torch.zeros_like(wide[..., 0])
    return torch.complex(wide[..., 0], imaginary)


def _pairs(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    import torch

    return torch.view_as_real(x.resolve_conj()).to(dtype)


@register_twin
class DFT(Twin):
    """The discrete Fourier transform along one axis, or its inverse."""

    names = ("DFT",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        inverse, onesided = bool(attribute(node, "inverse", 0)), bool(attribute(node, "onesided", 0))
        default = int(attribute(node, "axis", 1 if ctx.opset < _AXIS_IS_AN_INPUT else -2))

        def dft(x: torch.Tensor, length: torch.Tensor | None = None, axis: torch.Tensor | None = None) -> torch.Tensor:
            dim = (default if axis is None else int(axis.item())) % x.dim()
            whole = 2 * (x.shape[dim] - 1) if inverse and onesided else x.shape[dim]
            count = whole if length is None else int(length.item())
            signal = _complex(x)
            if inverse and onesided:
                real: torch.Tensor = torch.fft.irfft(signal, count, dim)
                return real.unsqueeze(-1).to(x.dtype)
            y = torch.fft.ifft(signal, count, dim) if inverse else torch.fft.fft(signal, count, dim)
            return _pairs(y.narrow(dim, 0, count // 2 + 1) if onesided else y, x.dtype)

        return dft


@register_twin
class STFT(Twin):
    """The DFT of overlapping frames, each multiplied by a window."""

    names = ("STFT",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        onesided = bool(attribute(node, "onesided", 1))

        def stft(
            x: torch.Tensor, step: torch.Tensor, window: torch.Tensor | None = None, length: torch.Tensor | None = None
        ) -> torch.Tensor:
            whole = x.shape[1] if window is None else len(window)
            size = whole if length is None else int(length.item())
            signal = _complex(x if x.dim() > 2 else x.unsqueeze(-1))
            frames = signal.unfold(1, size, int(step.item()))
            y = torch.fft.fft(frames if window is None else frames * window.to(frames.real.dtype), dim=-1)
            return _pairs(y[..., : size // 2 + 1] if onesided else y, x.dtype)

        return stft


@register_twin
class WindowFunction(Twin):
    """A window of as many samples as the input says."""

    names = tuple(sorted(_WINDOWS))

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        dtype = torch_dtype(int(attribute(node, "output_datatype", onnx.TensorProto.FLOAT)))
        periodic = bool(attribute(node, "periodic", 1))

        def window(size: torch.Tensor) -> torch.Tensor:
            count = int(size.item())
            angle = torch.arange(count, dtype=torch.float64, device=size.device)
            angle = angle * (2 * math.pi / (count if periodic else max(count - 1, 1)))
            terms = [factor * torch.cos(i * angle) for i, factor in enumerate(_WINDOWS[node.op])]
            return sum(terms[1:], terms[0]).to(dtype)

        return window


@register_twin
class MelWeightMatrix(Twin):
    """Triangles, evenly spaced in mel, over the bins of a spectrum: [dft_length // 2 + 1, bins]."""

    names = ("MelWeightMatrix",)

    def torch(self, node: gs.Node, ctx: TwinContext) -> TorchFunction:
        import torch

        dtype = torch_dtype(int(attribute(node, "output_datatype", onnx.TensorProto.FLOAT)))

        def mel_weights(*inputs: torch.Tensor) -> torch.Tensor:
            bins, length, rate, low, high = (value.item() for value in inputs)
            matrix = _mel_matrix(int(bins), int(length), float(rate), float(low), float(high))
            return torch.from_numpy(matrix).to(inputs[0].device, dtype)

        return mel_weights


def _mel_matrix(bins: int, length: int, rate: float, low: float, high: float) -> NDArray[np.float64]:
    bounds = _MEL_SCALE * np.log10(1 + np.array([low, high]) / _MEL_BREAK_HERTZ)
    mels = bounds[0] + np.arange(bins + 2) * (bounds[1] - bounds[0]) / (bins + 2)
    hertz = _MEL_BREAK_HERTZ * (10 ** (mels / _MEL_SCALE) - 1)
    corners = np.floor((length + 1) * hertz / rate).astype(int)
    place = np.arange(length // 2 + 1)[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rising = (place - left) / np.maximum(centre - left, 1)
    falling = (right - place) / np.maximum(right - centre, 1)
    rises = (place >= left) & (place <= centre) & (centre > left)
    falls = (place >= centre) & (place < right)
    peak = (place == centre) & (centre == left)
    return np.where(falls, falling, np.where(rises, rising, np.where(peak, 1.0, 0.0)))
