"""Runs of a session as functions without arguments: as a caller copies, or with everything kept on the device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from onnxprune.runtime.provider_options import device_of
from onnxprune.runtime.session import Session
from onnxprune.runtime.timing import Call
from onnxprune.runtime.values import AnyArray, from_ort_value, is_numpy_type, to_ort_values

__all__ = ["FixedRun", "copying_run", "resident_run"]


def copying_run(session: Session, feeds: Mapping[str, AnyArray]) -> Call:
    """Returns a run that takes `feeds` from the caller and gives outputs back to it."""
    names, arrays = [o.name for o in session.get_outputs()], dict(feeds)
    if all(is_numpy_type(v.type) for v in (*session.get_inputs(), *session.get_outputs())):
        return lambda: session.run(names, arrays)
    values = to_ort_values(feeds)
    return lambda: session.run_with_ort_values(names, values)


def resident_run(session: Session, feeds: Mapping[str, AnyArray]) -> Call:
    """Returns a run whose inputs and outputs stay where the session's first provider computes."""
    device = device_of(session.get_providers()[0])
    binding, held = _bound(session, feeds, device)
    for output in session.get_outputs():
        binding.bind_output(output.name, device, 0)

    def call() -> object:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return held  # keeps the inputs alive as long as the call

    return call


class FixedRun:
    """A run whose inputs and outputs lie at addresses that never change, as replaying a recorded run asks for.

    Args:
        session: The session.
        feeds: Input name → array.
        outputs: Output name → array of the shape and dtype that these inputs give.
    """

    def __init__(self, session: Session, feeds: Mapping[str, AnyArray], outputs: Mapping[str, AnyArray]) -> None:
        self._session = session
        device = device_of(session.get_providers()[0])
        self._binding, self._inputs = _bound(session, feeds, device)
        self._outputs = {
            name: ort.OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype.type, device, 0)
            for name, array in outputs.items()
        }
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def __call__(self) -> None:
        """Runs once, and waits until the outputs are there."""
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def outputs(self) -> dict[str, AnyArray]:
        """Returns what the last run gave, by name."""
        return {name: from_ort_value(value) for name, value in self._outputs.items()}


def _bound(
    session: Session, feeds: Mapping[str, AnyArray], device: str
) -> tuple[ort.IOBinding, dict[str, ort.OrtValue]]:
    """Returns a binding of inputs on `device`, and the values that it reads."""
    binding = session.io_binding()
    held = {
        name: ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0) for name, array in feeds.items()
    }
    for name, value in held.items():
        binding.bind_ortvalue_input(name, value)
    return binding, held
