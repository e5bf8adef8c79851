"""Values that no training made: tables, counters, masks and the constants of image normalisation.

An exporter writes a buffer like a weight, and names are no evidence, so the values themselves must tell.
Each rule asks for what learned numbers cannot be by chance, and leaves the rest a weight. "Equal" allows
for rounding to the type, to 16 bits where float32 values come from there; so a table must span far more.

    circle       pairs (c, s) with c² + s² = r² for one r, at eight angles or more: cosines and sines of rotary
                 and sinusoidal positions, in two tensors of one shape or side by side in one
    progression  x[i, j, …] = a + b i + c j + …, or x[i] = a qⁱ, over eight entries or more: positions, grids,
                 frequencies, the bins of a distribution, the slopes of ALiBi
    mask         nothing but 0 and numbers ≤ −100, or a triangle of ones
    input scale  one number per colour channel of an image input, before the first layer
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.graph import Model

__all__ = ["fixed_values"]

Floats = NDArray[np.float64]
Reader = tuple[gs.Node, int]

_FEWEST = 8
_ANGLE_STEP = 1e-3
_MARGIN = 16
_LARGEST_MASKED = -100.0
_MOST_COLOURS = 4
_IMAGE_RANK = 4
_SMALLEST_TRIANGLE = 4
_BFLOAT16_EPS, _FLOAT16_EPS = 2.0**-8, 2.0**-11
_MOVERS = frozenset(
    ("Cast", "Concat", "Expand", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
)
_SCALERS = frozenset(("Add", "Div", "Mul", "Sub"))
_TABLE_READERS = _MOVERS | _SCALERS | {"GroupQueryAttention", "RotaryEmbedding"}

_CIRCLE = "holds cosines and sines"
_PROGRESSION = "counts in equal steps or ratios"
_MASK = "is a mask"
_INPUT_SCALE = "scales the image input"


def fixed_values(model: Model, read_by: Mapping[str, Sequence[Reader]], names: Sequence[str]) -> dict[str, str]:
    """Returns initializer → what it holds, for initializers whose values no training made.

    Args:
        model: The model.
        read_by: Initializer → the (node, input slot) pairs that read it.
        names: Initializers to look at, of a float type.
    """
    initializers = model.initializers()
    known = {name: initializers[name] for name in names}
    scales = dict.fromkeys(_input_scales(model, known), _INPUT_SCALE)
    found = {name: reason for name, constant in known.items() if (reason := _of_one(model, name, constant.shape))}
    tables = [
        name
        for name in known
        if name not in found and read_by.get(name) and all(node.op in _TABLE_READERS for node, _ in read_by[name])
    ]
    return found | dict.fromkeys(_tables_of_two(model, tables), _CIRCLE) | scales


def _of_one(model: Model, name: str, shape: Sequence[int]) -> str:
    if math.prod(shape) < 2:
        return ""
    values = model.read(name)
    if _is_mask(values):
        return _MASK
    if _is_progression(values):
        return _PROGRESSION
    return _CIRCLE if any(_on_a_circle(c, s) for c, s in _pairs_in_one(values)) else ""


def _is_mask(values: NDArray[Any]) -> bool:
    hidden = values <= _LARGEST_MASKED
    if bool(hidden.any()) and bool((hidden | (values == 0)).all()):
        return not bool(hidden.all())
    square = values.ndim > 1 and values.shape[-1] == values.shape[-2] >= _SMALLEST_TRIANGLE
    return square and bool((values == np.tril(np.ones(values.shape[-2:], dtype=values.dtype))).all())


def _is_progression(values: NDArray[Any]) -> bool:
    if values.size < _FEWEST or max(values.shape) < _FEWEST or not bool(np.isfinite(values).all()):
        return False
    steps = [np.diff(_sample(values, axis).astype(np.float64)) for axis in range(values.ndim)]
    tolerance = 4 * _eps(values) * float(np.abs(values).max())
    if float(values.max()) - float(values.min()) <= _MARGIN * tolerance:
        return False  # all but constant, such as trained scales
    moving = [step for step in steps if step.size and bool((np.abs(step) > tolerance).any())]
    if not moving or min(step.size + 1 for step in moving) < _FEWEST:
        return False
    if all(np.ptp(step) <= tolerance for step in moving):
        start = values[(0,) * values.ndim].astype(np.float64)
        grid = sum(
            (float(step.mean()) * np.arange(values.shape[axis]).reshape(-1, *[1] * (values.ndim - axis - 1))
             for axis, step in enumerate(steps) if step.size),
            np.zeros(values.shape),
        )  # fmt: skip
        return bool(np.allclose(values.astype(np.float64), start + grid, rtol=0, atol=8 * tolerance))
    return len(moving) == 1 and moving[0].size + 1 == values.size and _is_geometric(values.reshape(-1))


def _sample(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Returns the entries along one axis at the start of all others."""
    return values[tuple(slice(None) if i == axis else 0 for i in range(values.ndim))]


def _is_geometric(values: NDArray[Any]) -> bool:
    wide = values.astype(np.float64)
    if bool((wide == 0).any()):
        return False
    ratios = wide[1:] / wide[:-1]
    return bool(np.ptp(ratios) <= 8 * _eps(values) * abs(float(ratios[0])))


def _eps(values: NDArray[Any]) -> float:
    """Returns the relative rounding of the type that values were made in: that of 16 bits where they fit."""
    if values.dtype != np.float32:
        return {"bfloat16": _BFLOAT16_EPS, "float16": _FLOAT16_EPS}.get(values.dtype.name, 2.0**-52)
    few = np.asarray(values.flat[: 4 * _FEWEST])  # most weights have more bits in their first entries
    for eps, fits in ((_BFLOAT16_EPS, _fits_bfloat16), (_FLOAT16_EPS, _fits_float16)):
        if fits(few) and fits(values):
            return eps
    return 2.0**-23


def _fits_bfloat16(values: NDArray[Any]) -> bool:
    return not bool((values.view(np.uint32) & 0xFFFF).any())


def _fits_float16(values: NDArray[Any]) -> bool:
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float16) == values).all())


def _pairs_in_one(values: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yields the ways in which a table may hold cosines beside sines: in halves of blocks, or in turn."""
    for axis in {0, values.ndim - 1} if values.ndim > 1 else ():
        size = values.shape[axis]
        if size == values.ndim == 2:
            continue  # rows of length two may be learned directions
        moved = np.moveaxis(values, axis, -1)
        for blocks in (1, 2, 3):
            if size % (2 * blocks) == 0:
                halves = moved.reshape(*moved.shape[:-1], blocks, 2, -1)
                yield halves[..., 0, :], halves[..., 1, :]
        if size % 2 == 0:
            yield moved[..., 0::2], moved[..., 1::2]


def _on_a_circle(cosines: NDArray[Any], sines: NDArray[Any]) -> bool:
    """Returns whether all points but those at zero lie on one circle, at eight angles or more."""
    if cosines.size < _FEWEST:
        return False
    few = slice(0, 4 * _FEWEST)  # most weights fail on their first entries
    slack = 32 * max(_eps(cosines), _eps(sines))
    for part in (few, slice(None)):
        c, s = (x.reshape(-1)[part].astype(np.float64) for x in (cosines, sines))
        norms = c * c + s * s
        norms = norms[norms > 0]
        if not norms.size or np.ptp(norms) > slack * norms.max():
            return False
    # what rounding may do to a radius must not make an angle: trained scales near one are no table
    angles = np.unique(np.round(np.arctan2(s, c) / max(_ANGLE_STEP, slack)))
    return angles.size >= _FEWEST


def _tables_of_two(model: Model, names: Sequence[str]) -> set[str]:
    found: set[str] = set()
    by_shape: dict[tuple[int, ...], list[str]] = {}
    known = model.initializers()
    for name in names:
        shape = tuple(int(n) for n in known[name].shape)
        if math.prod(shape) >= _FEWEST and len(shape) > 1:
            by_shape.setdefault(shape, []).append(name)
    for members in by_shape.values():
        values = {name: model.read(name) for name in members} if len(members) > 1 else {}
        for i, first in enumerate(members):
            for second in members[i + 1 :]:
                if values[first].dtype == values[second].dtype and _on_a_circle(values[first], values[second]):
                    found |= {first, second}
    return found


def _input_scales(model: Model, known: Mapping[str, gs.Constant]) -> Iterator[str]:
    """Yields what an image input is scaled and shifted with, as long as nothing else has touched it."""
    colours = {t.name for t in model.graph.inputs if t.shape is not None and len(t.shape) == _IMAGE_RANK}
    for node in model.nodes:
        images = [tensor.name for tensor in node.inputs if tensor.name in colours]
        if not images or len(node.outputs) != 1:
            continue
        others = [tensor.name for tensor in node.inputs if tensor.name and tensor.name not in colours]
        if node.op in _MOVERS and node.op != "Concat":
            colours.add(node.outputs[0].name)
        elif node.op in _SCALERS and len(others) == 1 and others[0] in known and _per_colour(known[others[0]].shape):
            colours.add(node.outputs[0].name)
            yield others[0]


def _per_colour(shape: Sequence[int]) -> bool:
    sizes = [int(size) for size in shape if size > 1]
    return (
        len(shape) in (1, _IMAGE_RANK - 1, _IMAGE_RANK) and len(sizes) <= 1 and all(s <= _MOST_COLOURS for s in sizes)
    )
