"""Runs models of any size: small ones in one session, large ones part after part."""

from __future__ import annotations

from collections.abc import Sequence

from onnxprune.graph import Model
from onnxprune.runtime.capture import Capture, captures, join
from onnxprune.runtime.parts import Feeds, PartRun, divide, run_parts
from onnxprune.runtime.session import Session, make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["PART_BYTES", "Runner", "observe"]

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


def observe(model: Model, *feeds: Feeds, part_bytes: int | None = None) -> list[Capture]:
    """Returns every tensor of the main graph as it is in runs on each of `feeds`, on the CPU and unoptimised.

    Args:
        model: The model; every operator must be known to onnxruntime.
        feeds: For each run, input name → array; all go through a part before the next is made.
        part_bytes: As `Runner` takes it.

    Raises:
        DataError: when the arrays do not fit the model's inputs.
        ModelError: when the model cannot be loaded or fails while it runs.
    """
    limit = PART_BYTES if part_bytes is None else part_bytes
    if model.weight_bytes() <= limit:
        return captures(model.to_proto(), feeds)
    found: list[list[Capture]] = []

    def visit(part: PartRun) -> Sequence[Feeds]:
        found.append(captures(part.model, part.feeds, folder=part.folder))
        return _run_part(part)

    skeleton = model.skeleton()
    run_parts(skeleton, divide(skeleton, limit), feeds, visit)
    return [join(parts) for parts in zip(*found, strict=True)]


def _run_part(part: PartRun) -> list[dict[str, AnyArray]]:
    if not part.part.gives:
        return [{} for _ in part.feeds]
    session = make_session(part.model, optimize=False, folder=part.folder, lean=True)
    return [run(session, each) for each in part.feeds]
