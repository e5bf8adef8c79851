"""Schemas of torchvision's compiled operators, for a PyTorch that its wheel was not built for.

torchvision's published wheel is built against CUDA; with a CPU build of PyTorch its extension
does not load, and its import fails where it registers shapes for operators nobody defined.
None of the nets here runs these operators: declaring them is enough.
"""

from __future__ import annotations

import torch

__all__ = ["declare_torchvision_operators"]

SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare_torchvision_operators() -> list[torch.library.Library]:
    """Declares what is missing; returns the libraries, which must be kept alive."""
    kept = []
    for name, schema in SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(name + schema)
            kept.append(library)
    return kept


LIBRARIES = declare_torchvision_operators()
