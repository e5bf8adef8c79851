"""Second sweep: what masked channels hold, and where masking would not equal removal.

The mask of an atom zeroes every slice of every initializer that the atom runs through. Each
rule says what its outputs then hold; a sum over channels that do not hold zero pins the atom,
because dropping those terms would change the sum. Pinning an atom never changes what another
holds, so one sweep settles all.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.axes import Atom, Axis, leaves
from onnxprune.graph.values import is_float
from onnxprune.groups.infer import Inference
from onnxprune.ops.base import AxisList, Mask

__all__ = ["MaskSweep"]


class MaskSweep:
    """Mask states of every tensor; implements what rules ask (`MaskContext`).

    Attributes:
        fills: Initializer → what its masked slices must hold; floats hold zero where absent.
    """

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self._states: dict[str, dict[Atom, Mask]] = {}
        self._initializers = inference.model.initializers()
        self.fills: dict[str, float] = {}
        for node in inference.model.nodes:
            rule = inference.rule(node)
            if rule is not None:
                rule.masked(node, self)

    def axes(self, name: str) -> AxisList:
        """Returns the axes of a tensor."""
        return self._inference.axes(name)

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Returns an initializer's value, or None."""
        return self._inference.constant(name)

    def noted(self, node: gs.Node, key: str) -> Axis | None:
        """Returns an axis that the axis rule noted, or None."""
        return self._inference.noted(node, key)

    def state(self, name: str, atom: Atom) -> Mask:
        """Returns what a tensor holds at the masked channels of `atom`."""
        if name not in self._states:
            self._states[name] = self._initial(name)
        return self._states[name].get(atom, Mask.ABSENT)

    def set(self, name: str, atom: Atom, mask: Mask) -> None:
        """Says what a tensor holds at the masked channels of `atom`."""
        self._states.setdefault(name, {})[atom] = mask

    def fill(self, name: str, value: float) -> bool:
        """Asks that masked slices of an initializer hold `value`; False where they hold another."""
        return self.fills.setdefault(name, value) == value

    def _initial(self, name: str) -> dict[Atom, Mask]:
        constant = self._initializers.get(name)
        if constant is None:
            return {}
        zero = is_float(constant.dtype)
        atoms = {atom for axis in self.axes(name) for atom in leaves(axis)}
        return dict.fromkeys(atoms, Mask.ZERO if zero else Mask.FINITE)
