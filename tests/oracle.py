"""An oracle for axis rules: change one channel of an input, run the node, see which outputs change.

A rule says that channel j of an atom lies at certain positions of the inputs and outputs. If the
atom also lies in an output, what is changed at channel j of an input may change the output at
channel j alone. An atom that lies in no output is contracted, and nothing is asked of it here.
Atoms that the rule pins are not asked about, as nothing will be removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from node_cases import NodeCase
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxprune.axes import Atom, leaves
from onnxprune.core.errors import OnnxPruneError
from onnxprune.graph import load_model
from onnxprune.groups import ConcreteShapes
from onnxprune.groups.analysis import channel_labels
from onnxprune.groups.infer import Inference
from onnxprune.runtime import make_session, run

__all__ = ["Contradiction", "contradictions", "free_atoms", "inferred", "node_runner"]

Arrays = Mapping[str, NDArray[Any]]
ENDS = ("input '", "output '")


@dataclass(frozen=True)
class Contradiction:
    """An influence that the rule denies.

    Attributes:
        case: Name of the case.
        probe: How the input was changed.
        input: Name of the changed input.
        output: Name of the output that changed elsewhere.
        channel: The channel that was changed.
        seen: Where the output changed, beyond that channel.
    """

    case: str
    probe: str
    input: str
    output: str
    channel: int
    seen: tuple[int, ...]


def node_runner(case: NodeCase) -> Any:
    """Returns a function from inputs to outputs: onnxruntime's, or ONNX's own where that lacks the node."""
    try:
        session = make_session(case.model, optimize=False, threads=1)
        run(session, dict(case.inputs))
        return lambda arrays: run(session, dict(arrays))
    except OnnxPruneError:
        reference = ReferenceEvaluator(case.model)
        names = [value.name for value in case.model.graph.output]
        return lambda arrays: dict(zip(names, reference.run(None, dict(arrays)), strict=True))


def inferred(case: NodeCase, outputs: Arrays) -> Inference:
    """Returns the axes of a case whose integers and truth values are initializers, and whose floats are data."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for name, array in case.inputs.items():
        if array.dtype.kind != "f":
            model.graph.initializer.append(numpy_helper.from_array(array, name))
            model.graph.input.remove(next(value for value in model.graph.input if value.name == name))
    shapes = {name: array.shape for name, array in {**case.inputs, **outputs}.items()}
    return Inference(load_model(model), ConcreteShapes(shapes, None, 1))


def free_atoms(inference: Inference, names: Iterator[str] | list[str]) -> list[Atom]:
    """Returns the atoms of more than one channel that only the model's own ends keep."""
    found: dict[Atom, None] = {}
    for name in names:
        for axis in inference.axes(name):
            for atom in leaves(axis):
                if atom.size > 1 and all(reason.startswith(ENDS) for reason in atom.reasons):
                    found.setdefault(atom)
    return list(found)


def _at(inference: Inference, name: str, shape: tuple[int, ...], atom: Atom, channel: int) -> NDArray[np.bool_] | None:
    """Returns which elements of a tensor belong to a channel, or None where the tensor has not the atom."""
    hit = np.zeros(shape, dtype=np.bool_)
    carried = False
    for position, axis in enumerate(inference.axes(name)):
        if atom in leaves(axis):
            carried = True
            place = [1] * len(shape)
            place[position] = shape[position]
            hit |= (channel_labels(axis, atom) == channel).reshape(place)
    return hit if carried else None


def _changes(array: NDArray[Any], where: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[Any]]]:
    rng = np.random.default_rng(array.size)
    for probe, value in (
        ("zero", np.zeros_like(array)),
        ("shifted", array + rng.uniform(0.5, 2.0, array.shape).astype(array.dtype)),
        ("nan", np.full_like(array, np.nan)),
    ):
        yield probe, np.where(where, value, array).astype(array.dtype)


def _beyond(before: NDArray[Any], after: NDArray[Any], allowed: NDArray[np.bool_]) -> tuple[int, ...]:
    """Returns the flat positions that changed and were not allowed to."""
    if before.shape != after.shape:
        return tuple(range(after.size))
    same = (
        np.isclose(after, before, rtol=1e-5, atol=1e-6, equal_nan=True) if before.dtype.kind == "f" else after == before
    )
    return tuple(int(i) for i in np.flatnonzero(~same & ~allowed))


def contradictions(case: NodeCase) -> list[Contradiction]:
    """Returns every influence between different channels that the rule of a case denies."""
    runner = node_runner(case)
    before = runner(case.inputs)
    inference = inferred(case, before)
    found = []
    for atom in free_atoms(inference, [*case.inputs, *before]):
        for channel in sorted({0, atom.size // 2, atom.size - 1}):
            allowed = {name: _at(inference, name, array.shape, atom, channel) for name, array in before.items()}
            for name, array in case.inputs.items():
                where = _at(inference, name, array.shape, atom, channel)
                if where is None or array.dtype.kind != "f":
                    continue
                for probe, changed in _changes(array, where):
                    after = runner({**case.inputs, name: changed})
                    for output, places in allowed.items():
                        seen = () if places is None else _beyond(before[output], after[output], places)
                        if seen:
                            found.append(Contradiction(case.name, probe, name, output, channel, seen[:8]))
    return found
