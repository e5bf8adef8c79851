"""Where a computed shape comes from: sizes read from a tensor that loses channels shrink by themselves.

A node whose own axes stay whole would then be told to make less, so its shape is written anew.
"""

from __future__ import annotations

from collections import deque

import onnx_graphsurgeon as gs

from onnxprune.ops.base import Edit

__all__ = ["sizes_change"]


def sizes_change(shape: gs.Tensor, edit: Edit) -> bool:
    """Returns whether a computed shape reads the size of a tensor that loses channels."""
    queue, seen = deque([shape]), {id(shape)}
    while queue:
        for node in queue.popleft().inputs:
            if node.op in ("Shape", "Size"):
                if not all(edit.keep(axis).all() for axis in edit.axes(node.inputs[0].name)):
                    return True
                continue
            for tensor in node.inputs:
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    queue.append(tensor)
    return False
