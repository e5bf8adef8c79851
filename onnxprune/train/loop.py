"""The training loop: SGD with Nesterov momentum on distillation and labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import DataError, OnnxPruneError, UsageError
from onnxprune.core.events import TrainProgress
from onnxprune.train.batching import usable_batch_size
from onnxprune.train.data import Batch, Dataset
from onnxprune.train.losses import Objective, as_tuple
from onnxprune.train.options import TrainOptions
from onnxprune.train.record import EpochRecord, TrainingInterrupted, TrainRecord
from onnxprune.train.schedule import learning_rate
from onnxprune.train.teacher import TeacherOutputs, batch_inputs

__all__ = ["train"]

_SMOOTHING = 0.95


def train(
    student: OnnxModule,
    teacher: OnnxModule,
    data: Dataset,
    options: TrainOptions,
    *,
    validation: Dataset | None = None,
    on_progress: Callable[[TrainProgress], None] | None = None,
) -> TrainRecord:
    """Trains `student` in place towards `teacher` and the labels; returns the record of the run.

    The student ends in evaluation mode on the CPU, with the weights of the best epoch on
    `validation`, or of the last one. The same seed, data and number of threads give the same
    bits on a CPU.

    Args:
        student: What is trained.
        teacher: The original; evaluated only.
        data: Training samples.
        options: How to train.
        validation: Samples that decide which epoch is kept.
        on_progress: Called after every step and every epoch.

    Raises:
        TrainingInterrupted: on KeyboardInterrupt; the student then holds the best or last
            finished epoch, or what it started from.
        DataError: when labels are out of range, or batches too small for BatchNormalization.
        ModelError: when no output can be trained towards, or the model takes one sample only.
        OnnxPruneError: when the loss is not finite.
        UsageError: when options.device is "cuda" and PyTorch has none.
    """
    run = _Run(student, teacher, data, options, validation, on_progress)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        try:
            for epoch in range(1, options.epochs + 1):
                run.epoch(epoch)
        except KeyboardInterrupt:
            raise TrainingInterrupted(run.finish()) from None
        except BaseException:
            run.finish()
            raise
    return run.finish()


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device = 'cuda': PyTorch finds no CUDA device. Use --device cpu, or install a CUDA build.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _arrange(module: OnnxModule, order: torch.memory_format) -> None:
    """Lays convolution weights out in memory; channels last trains 10 to 35 % faster on a CPU."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=order)


def _optimizer(module: OnnxModule, options: TrainOptions) -> torch.optim.Optimizer:
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trained if p.dim() <= 1], "weight_decay": 0.0},
    ]
    nesterov = options.momentum > 0
    return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, nesterov=nesterov)


class _Run:
    """The state of one call of `train`."""

    def __init__(
        self,
        student: OnnxModule,
        teacher: OnnxModule,
        data: Dataset,
        options: TrainOptions,
        validation: Dataset | None,
        on_progress: Callable[[TrainProgress], None] | None,
    ) -> None:
        self.device = _device(options.device)
        self.student, self.data, self.options = student, data, options
        self.validation, self.on_progress = validation, on_progress
        for module in (student, teacher):
            module.to(self.device)
            _arrange(module, torch.channels_last)
        teacher.eval()
        self.teacher = teacher
        self.targets = TeacherOutputs(teacher, len(data))
        self.check_targets = TeacherOutputs(teacher, len(validation)) if validation is not None else None
        self.objective = self._objective()
        self.optimizer = _optimizer(student, options)
        self.order = np.random.default_rng(options.seed)
        self.batch_size = usable_batch_size(teacher, data, options.batch_size)
        self.drop_last = len(data) >= self.batch_size
        per_epoch = len(data) // self.batch_size if self.drop_last else 1
        self.steps, self.step = per_epoch * options.epochs, 0
        self.loss = math.nan
        self.lr = 0.0
        self.records: list[EpochRecord] = []
        self.kept = 0
        self.best = -math.inf
        self.state = self._snapshot()
        self.started = time.perf_counter()

    def epoch(self, number: int) -> None:
        """Trains one epoch, evaluates, and keeps the weights where they are the best so far."""
        begun = time.perf_counter()
        self.student.train()
        losses: list[float] = []
        for batch in self.data.batches(self.batch_size, shuffle=self.order, drop_last=self.drop_last):
            losses.append(self._train_step(batch))
            self._report(number)
        metric = self._evaluate()
        seconds = time.perf_counter() - begun
        self.records.append(EpochRecord(number, float(np.mean(losses)), metric, self.lr, seconds))
        if metric is None or metric > self.best:
            self.best = metric if metric is not None else self.best
            self.kept, self.state = number, self._snapshot()
        self._report(number)

    def finish(self) -> TrainRecord:
        """Puts the kept weights into the student; returns the record."""
        self.student.load_state_dict(self.state)
        for module in (self.student, self.teacher):
            _arrange(module, torch.contiguous_format)
            module.to("cpu")
        self.student.eval()
        labelled = (self.validation if self.validation is not None else self.data).labels is not None
        return TrainRecord(tuple(self.records), self.kept, self.objective.metric_name(labelled))

    def _objective(self) -> Objective:
        sample = self.data.batch(np.arange(min(2, len(self.data)), dtype=np.intp))
        with torch.no_grad():
            outputs = as_tuple(self.teacher.call_with({}, batch_inputs(sample, self.device)))
        return Objective(self.teacher, outputs, self.options)

    def _train_step(self, batch: Batch) -> float:
        self.lr = learning_rate(self.step, self.steps, self.options.lr, self.options.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        inputs = batch_inputs(batch, self.device)
        targets = self.targets(batch, inputs)
        labels = None if batch.labels is None else torch.from_numpy(batch.labels).to(self.device)
        loss = self.objective.loss(self._forward(inputs, len(batch.rows)), targets, labels)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise OnnxPruneError(
                f"Training diverged: the loss is {value} at step {self.step + 1} of {self.steps} with learning rate "
                f"{self.lr:.3g}. Run again with a lower --lr, such as {self.options.lr / 4:.2g}."
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.options.grad_clip > 0:
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.options.grad_clip)
        self.optimizer.step()
        self.step += 1
        self.loss = value if math.isnan(self.loss) else _SMOOTHING * self.loss + (1 - _SMOOTHING) * value
        return value

    def _forward(self, inputs: dict[str, torch.Tensor], samples: int) -> tuple[torch.Tensor, ...]:
        try:
            return as_tuple(self.student.call_with({}, inputs))
        except ValueError as error:
            raise DataError(
                f"A batch of {samples} is too small for BatchNormalization ({error}). Use a larger --batch-size, or "
                "more data."
            ) from error

    def _evaluate(self) -> float | None:
        if self.validation is None or self.check_targets is None:
            return None
        self.student.eval()
        total = 0.0
        with torch.no_grad():
            for batch in self.validation.batches(self.batch_size):
                inputs = batch_inputs(batch, self.device)
                labels = None if batch.labels is None else torch.from_numpy(batch.labels).to(self.device)
                outputs = as_tuple(self.student.call_with({}, inputs))
                total += float(self.objective.score(outputs, self.check_targets(batch, inputs), labels))
        return total / len(self.validation)

    def _report(self, epoch: int) -> None:
        if self.on_progress is None:
            return
        spent = time.perf_counter() - self.started
        metric = self.records[-1].metric if self.records else None
        left = spent / self.step * (self.steps - self.step) if self.step else None
        self.on_progress(
            TrainProgress(epoch, self.options.epochs, self.step, self.steps, self.loss, self.lr, metric, left)
        )

    def _snapshot(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.student.state_dict().items()}
