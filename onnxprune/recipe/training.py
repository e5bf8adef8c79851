"""The options that `compress` and `retrain` share: data, retraining, where a run is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import Field

from onnxprune.core.errors import UsageError
from onnxprune.recipe.base import Options, check_gates, check_images
from onnxprune.recipe.fields import Channels, Counts, DataSource, Gates, ImageSize, Names, ReportPath

if TYPE_CHECKING:
    from onnxprune.train import TrainOptions

__all__ = ["DEFAULT_EPOCHS", "TrainingFields", "TrainingKeywords"]

DEFAULT_EPOCHS = 3


class TrainingKeywords(TypedDict, total=False):
    """The further keywords of `onnxprune.compress` and `onnxprune.retrain`; see `TrainingFields`."""

    val_data: Any
    val_share: float
    image_size: int | tuple[int, int] | str
    skip_corrupt: bool
    optimizer: str
    momentum: float
    weight_decay: float
    schedule: str
    warmup: float
    original_epochs: float
    original_decay: str
    final_lr_ratio: float
    distill_weight: float
    temperature: float
    distill: str
    features: str | tuple[str, ...]
    feature_weight: float
    label_smoothing: float
    grad_clip: float
    ema: float
    amp: str
    early_stop: int
    augment: str
    loss: str
    metric: str
    compile: bool
    device: str
    batchnorm: bool
    checkpoint_seconds: float
    batches: int | str | tuple[int, ...]
    profile: bool
    dense_forms: str


class TrainingFields(Options):
    """What `compress` and `retrain` share; None is the default that `onnxprune.train.TrainOptions` gives.

    Attributes:
        data: Training data: a path, "package.module:callable", or a mapping from names to arrays;
            None for no retraining.
        eval_data: Evaluation data, in the same forms; only measured on, never chosen by.
        val_data: Validation data, in the same forms, that decide which epoch is kept.
        val_share: Share of the training data to set aside as validation data instead.
        image_mean: Per-channel mean of uint8 images after scaling to [0, 1]; one number serves all.
        image_std: Per-channel standard deviation, in the same units.
        image_size: Height and width that image files are brought to.
        skip_corrupt: Whether image files that cannot be read are left out instead of refused.
        epochs: Passes over the training data; None means `training_epochs`.
        batch_size: Samples per training step, over all processes.
        optimizer: "sgd" or "adamw".
        lr: Peak learning rate.
        momentum: Of sgd.
        weight_decay: Penalty on weights of two axes and more.
        schedule: The learning rate over a run (`onnxprune.train.schedules`).
        warmup: Share of steps during which it rises, for schedules that have none of their own.
        original_epochs: How long the original is assumed to have been trained, for schedules that ask.
        original_decay: The shape of its learning rate, likewise.
        final_lr_ratio: Its last learning rate over its largest, likewise.
        distill_weight: Share of distillation in the loss where there are labels.
        temperature: Of distillation.
        distill: How outputs that are no class scores are compared.
        features: Tensors whose values the slim model also learns from the original.
        feature_weight: Their weight in the loss.
        label_smoothing: Share of probability spread over all classes.
        grad_clip: Largest norm of the gradient; 0 for none.
        ema: Decay of the averaged weights that are evaluated and kept; 0 for none.
        amp: Mixed precision.
        early_stop: Epochs without a better validation score after which training ends; 0 for never.
        augment: Random changes of images (`onnxprune.train.augment`).
        loss: A user's loss, "package.module:name".
        metric: A user's metric, likewise.
        compile: Whether torch.compile translates the student.
        device: Where training runs: "auto", "cpu" or "cuda".
        batchnorm: Whether BatchNormalization is inserted behind pruned convolutions that have none.
        checkpoint_seconds: Time between checkpoints within an epoch.
        provider: Execution provider for certificate, parity and timing.
        threads: Threads per onnxruntime session; None lets onnxruntime choose.
        batches: Batch sizes at which both models are timed, too.
        profile: Whether the nodes of both models are timed, too.
        dense_forms: Where the original is timed in float16, too, and the slim model is held against the faster form:
            "auto" on devices that gain by it, "all" on the CPU as well, or "off".
        seed: Seed of everything random.
        run_dir: Folder for plan, checkpoints and records; None means `run_path`.
        resume: Whether to go on with a run that was stopped.
        report: Where report.json goes, with the same as HTML and Markdown beside it; None means `report_path`.
        out: Where the slim model goes; None means `out_path`.
        gates: Bounds on what is measured, such as "speedup>=1.2" (`onnxprune.core.gate`).
    """

    data: DataSource | None = None
    eval_data: DataSource | None = None
    val_data: DataSource | None = None
    val_share: float | None = Field(default=None, gt=0, lt=1)
    image_mean: Channels | None = None
    image_std: Channels | None = None
    image_size: ImageSize | None = None
    skip_corrupt: bool = False
    epochs: int | None = Field(default=None, ge=0)
    batch_size: int = Field(default=64, ge=1)
    optimizer: str | None = None
    lr: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    momentum: float | None = None
    weight_decay: float | None = None
    schedule: str | None = None
    warmup: float | None = None
    original_epochs: float | None = None
    original_decay: str | None = None
    final_lr_ratio: float | None = None
    distill_weight: float | None = None
    temperature: float | None = None
    distill: str | None = None
    features: Names | None = None
    feature_weight: float | None = None
    label_smoothing: float | None = None
    grad_clip: float | None = None
    ema: float | None = None
    amp: str | None = None
    early_stop: int | None = None
    augment: str | None = None
    loss: str | None = None
    metric: str | None = None
    compile: bool = False
    device: str | None = None
    batchnorm: bool = True
    checkpoint_seconds: float | None = None
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    batches: Counts = ()
    profile: bool = False
    dense_forms: Literal["auto", "all", "off"] = "auto"
    seed: int = Field(default=0, ge=0, lt=2**63)
    run_dir: Path | None = None
    resume: bool = False
    report: ReportPath | None = None
    out: Path | None = None
    gates: Gates = ()

    @property
    def training_epochs(self) -> int:
        """`epochs`, where unset `DEFAULT_EPOCHS` with training data and 0 without."""
        if self.epochs is not None:
            return self.epochs
        return DEFAULT_EPOCHS if self.data is not None else 0

    @property
    def label_kind(self) -> Literal["classes", "any", "either"]:
        """What labels may be (`onnxprune.train.label_checks`): a loss or a metric of the user's reads any numbers."""
        return "any" if self.loss else "either" if self.metric else "classes"

    @property
    def out_path(self) -> Path | None:
        """Where the slim model goes; None for nowhere."""
        return self.out

    @property
    def report_path(self) -> Path | None:
        """`report`, where unset `<stem>.report.json` beside the slim model; None without a slim file."""
        if self.report is not None:
            return self.report
        out = self.out_path
        return out.with_name(f"{out.stem}.report.json") if out is not None else None

    @property
    def run_path(self) -> Path | None:
        """`run_dir`, where unset `<stem>.run` beside the slim model if there is training; None for none."""
        if self.run_dir is not None:
            return self.run_dir
        out = self.out_path
        return out.with_name(f"{out.stem}.run") if out is not None and self.training_epochs else None

    def train_options(self, epochs: int | None = None) -> TrainOptions:
        """Returns the options of the training loop.

        Args:
            epochs: Instead of `training_epochs`.

        Raises:
            UsageError: when one lies outside its domain.
        """
        from onnxprune.train import TrainOptions  # loads onnx, which a mistyped command need not wait for

        names = TrainOptions.__dataclass_fields__.keys() & type(self).model_fields.keys() - {"epochs"}
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return TrainOptions(epochs=max(self.training_epochs if epochs is None else epochs, 1), **given)

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """
        if self.data is None and self.epochs:
            raise UsageError(f"--epochs {self.epochs} needs training data. Give --data, or leave --epochs out.")
        if self.data is None and (self.val_data is not None or self.val_share):
            raise UsageError("Validation data choose among epochs of training, and there is no --data to train on.")
        if self.val_data is not None and self.val_share:
            raise UsageError("--val-data and --val-share are two ways to the same: give one of them.")
        sources = (self.data, self.eval_data, self.val_data)
        check_images(self.image_mean, self.image_std, has_data=any(source is not None for source in sources))
        check_gates(self.gates, has_data=self.eval_data is not None, has_metric=bool(self.metric))
        if self.resume and self.run_path is None:
            raise UsageError("--resume goes on with a run that was kept in a folder: name it with --run-dir.")
        if self.early_stop and self.val_data is None and not self.val_share:
            raise UsageError("--early-stop needs validation data: give --val-data or --val-share.")
        options = self.train_options()
        idle = [name for name in type(options).__dataclass_fields__ if self._was_asked(name)]
        if self.data is None and idle:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
            raise UsageError(f"{flags}: without --data nothing is trained. Give --data, or leave it out.")

    def _was_asked(self, name: str) -> bool:
        """Whether an option of the training loop was given that says nothing without training."""
        field = type(self).model_fields.get(name)
        return field is not None and name not in ("epochs", "metric", "seed") and getattr(self, name) != field.default
