"""The allocators, by the name that `--allocator` takes."""

from __future__ import annotations

from onnxprune.allocate.base import Allocator
from onnxprune.core.registry import Registry

__all__ = ["ALLOCATORS"]

ALLOCATORS: Registry[type[Allocator]] = Registry("allocator", "onnxprune.allocate")
