"""Runs models of any size: small ones in one session, large ones part after part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxprune.graph import Model
from onnxprune.runtime.capture import Capture, capture, join
from onnxprune.runtime.parts import Feeds, PartRun, divide, run_parts
from onnxprune.runtime.session import Session, make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["PART_BYTES", "Runner"]

PART_BYTES = 128 * 2**20
"""Weights of a model that runs in one session, and of a part of one that does not."""


class Runner:
    """Runs a model on the CPU, unoptimised; what it holds between calls is small or one session.

    Args:
        model: The model; every operator must be known to onnxruntime.
        part_bytes: Weights above which the model runs part after part; None for `PART_BYTES`.

    Raises:
        ModelError: when onnxruntime cannot load a model that runs in one session.
    """

    def __init__(self, model: Model, part_bytes: int | None = None) -> None:
        limit = PART_BYTES if part_bytes is None else part_bytes
        self._model = model
        self._session: Session | None = None
        if model.weight_bytes() <= limit:
            self._session = make_session(model, optimize=False)
        else:
            self._skeleton = model.skeleton()
            self._parts = divide(self._skeleton, limit)

    def run(self, *feeds: Feeds) -> list[dict[str, AnyArray]]:
        """Returns the outputs of one run for each of `feeds`; all go through a part before the next is made.

        Raises:
            DataError: when the arrays do not fit the model's inputs.
            ModelError: when the model cannot be loaded or fails while it runs.
        """
        if self._session is not None:
            return [run(self._session, each) for each in feeds]
        return run_parts(self._skeleton, self._parts, feeds, _run_part)

    def capture(self, feeds: Mapping[str, AnyArray]) -> Capture:
        """Returns every tensor of the main graph as it is in a run on `feeds`.

        Raises:
            DataError: when the arrays do not fit the model's inputs.
            ModelError: when the model cannot be loaded or fails while it runs.
        """
        if self._session is not None:
            return capture(self._model.to_proto(), feeds)
        found: list[Capture] = []

        def visit(part: PartRun) -> Sequence[Feeds]:
            found.append(capture(part.model, part.feeds[0], folder=part.folder))
            return _run_part(part)

        run_parts(self._skeleton, self._parts, [feeds], visit)
        return join(found)


def _run_part(part: PartRun) -> list[dict[str, AnyArray]]:
    if not part.part.gives:
        return [{} for _ in part.feeds]
    session = make_session(part.model, optimize=False, folder=part.folder, lean=True)
    return [run(session, each) for each in part.feeds]
