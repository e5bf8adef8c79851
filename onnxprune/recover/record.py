"""What a recovery leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LayerRecovery", "RecoveryRecord", "StageRecovery"]


@dataclass(frozen=True)
class LayerRecovery:
    """One layer in one stage.

    Attributes:
        node: Label of the node.
        error_before: Squared error of the layer's target on held-out samples over the target's
            variance, with everything before the layer as the stage left it; NaN where not measured.
        error_after: The same with the change, whether it was kept or not; NaN where none was tried.
        kept: Whether the stage changed the layer; it counts where the stage itself was kept.
        reason: What was changed, or why nothing was.
    """

    node: str
    error_before: float
    error_after: float
    kept: bool
    reason: str


@dataclass(frozen=True)
class StageRecovery:
    """One method over the whole net.

    Attributes:
        method: Its name.
        error_before: Error of the net's outputs on held-out samples before it.
        error_after: The same after it.
        kept: Whether its changes stay.
        reason: Why they do not, or "".
        seconds: How long it took.
        layers: What it did to each layer, in graph order.
    """

    method: str
    error_before: float
    error_after: float
    kept: bool
    reason: str
    seconds: float
    layers: tuple[LayerRecovery, ...]

    @property
    def changed(self) -> int:
        """The number of layers that the stage changed."""
        return sum(layer.kept for layer in self.layers)


@dataclass(frozen=True)
class RecoveryRecord:
    """All stages.

    Attributes:
        samples: Calibration samples that changes were fitted on.
        held_out: Further samples that decided what is kept.
        error_before: Error of the pruned net's outputs on the held-out samples (see
            `onnxprune.recover.outputs`).
        error_after: The same of the net that is given back; never above `error_before`.
        stages: In the order in which they were tried.
        skipped: Node label → why a node with a weight was left alone.
    """

    samples: int
    held_out: int
    error_before: float
    error_after: float
    stages: tuple[StageRecovery, ...]
    skipped: tuple[tuple[str, str], ...] = ()
