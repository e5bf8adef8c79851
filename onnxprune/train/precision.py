"""Mixed precision: matrix products and convolutions in 16 bits, weights and losses in 32.

bf16 has float32's range and needs nothing else. fp16 does not: the loss is scaled up before the
backward pass and the gradients down after it, by a factor that adapts (Micikevicius et al.,
"Mixed Precision Training", ICLR 2018, section 3.2).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from onnxprune.core.errors import UsageError
from onnxprune.train.options import AmpMode

__all__ = ["Precision"]

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """How the student computes while it is trained.

    Args:
        mode: What was asked for; "auto" is bf16 on a GPU that computes in it, else float32.
        device: Where the student is.

    Raises:
        UsageError: when the device does not compute in that type.

    Attributes:
        name: "float32", "bf16" or "fp16".
        scaler: Scales the loss in fp16, else None.
    """

    def __init__(self, mode: AmpMode, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        has_bf16 = not on_gpu or torch.cuda.is_bf16_supported(including_emulation=False)
        if mode == "fp16" and not on_gpu:
            raise UsageError("amp = 'fp16' needs a GPU; this run trains on the CPU. Use auto, off or bf16.")
        if mode == "bf16" and not has_bf16:
            raise UsageError("amp = 'bf16': this GPU does not compute in bf16. Use fp16 or off.")
        chosen = ("bf16" if on_gpu and has_bf16 else "off") if mode == "auto" else mode
        self.name = "float32" if chosen == "off" else chosen
        self.scaler = torch.amp.GradScaler("cuda") if chosen == "fp16" else None
        self._dtype = _DTYPES.get(chosen)
        self._device = device.type

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the context that forward passes run in."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, dtype=self._dtype)
