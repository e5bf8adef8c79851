"""The options of `onnxprune retrain`."""

from __future__ import annotations

from pathlib import Path

from onnxprune.core.errors import UsageError
from onnxprune.recipe.fields import ModelSource
from onnxprune.recipe.training import TrainingFields

__all__ = ["Retraining"]


class Retraining(TrainingFields):
    """The options of retraining a model as it is; those of data and training are `TrainingFields`'.

    Attributes:
        slim: The model to train: a path, or an onnx.ModelProto.
        teacher: What it learns from, with the same inputs and outputs; None for labels alone.
    """

    slim: ModelSource
    teacher: ModelSource | None = None

    @property
    def out_path(self) -> Path | None:
        """`out`, where unset `<stem>.retrained.onnx` in the current folder; None for a model in memory."""
        if self.out is not None:
            return self.out
        return Path(f"{self.slim.stem}.retrained.onnx") if isinstance(self.slim, Path) else None

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """
        if self.data is None:
            raise UsageError("There is nothing to train on. Give --data.")
        super().check_together()
        if not self.training_epochs:
            raise UsageError("--epochs 0 trains nothing. Give at least one epoch.")
        seen: dict[Path, str] = {}
        places = (("SLIM", self.slim), ("--teacher", self.teacher), ("--out", self.out_path))
        for name, path in (*places, ("--report", self.report_path), ("--run-dir", self.run_path)):
            if not isinstance(path, Path):
                continue
            other = seen.setdefault(path.resolve(), name)
            if other != name and name in ("--out", "--report", "--run-dir"):
                raise UsageError(f"{other} and {name} are the same file, {path}. Give {name} another name.")
