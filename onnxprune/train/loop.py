"""The training loop: epochs of steps, evaluation, what is kept, checkpoints."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import DataError, OnnxPruneError, UsageError
from onnxprune.core.events import TrainProgress
from onnxprune.ops.shared_statistics import share_statistics
from onnxprune.train.augment import parse_augment
from onnxprune.train.average import Average
from onnxprune.train.batching import global_batch_size, static_batch_size
from onnxprune.train.checkpoint import Checkpoint
from onnxprune.train.evaluation import evaluate
from onnxprune.train.features import FeatureKeep
from onnxprune.train.feeding import Fed, Feeder
from onnxprune.train.fingerprint import fingerprint
from onnxprune.train.forward import outputs_of
from onnxprune.train.held import Masks, clear, held
from onnxprune.train.losses import Objective
from onnxprune.train.meter import LossMeter
from onnxprune.train.optimizers import make_optimizer
from onnxprune.train.options import TrainOptions
from onnxprune.train.record import EpochRecord, TrainingInterrupted, TrainRecord
from onnxprune.train.samples import Batch, Samples
from onnxprune.train.saving import Parts, Saver
from onnxprune.train.schedules import make_schedule
from onnxprune.train.setup import arrange, make_net, make_precision, settings
from onnxprune.train.state import RunState
from onnxprune.train.step import Stepper
from onnxprune.train.teacher import TeacherOutputs, fits_in_memory
from onnxprune.train.workers import Workers, pick_device, workers

__all__ = ["train"]

_GPU_READS_EVERY = 16
"""Steps between looks at the loss on a GPU; each look waits for the device."""


def train(
    student: OnnxModule,
    teacher: OnnxModule,
    data: Samples,
    options: TrainOptions,
    *,
    validation: Samples | None = None,
    on_progress: Callable[[TrainProgress], None] | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
    feature_keep: FeatureKeep | None = None,
    masks: Masks | None = None,
) -> TrainRecord:
    """Trains `student` in place towards `teacher` and the labels; returns the record of the run.

    The student ends in evaluation mode on the CPU, with the weights of the best epoch on
    `validation`, or of the last one. The same seed, data and number of threads give the same
    bits on a CPU, however often the run was killed and resumed. Started by `torchrun`, all
    processes call this with the same arguments and end with the same student.

    Args:
        student: What is trained; float32.
        teacher: The original; evaluated only; float32.
        data: Training samples.
        options: How to train.
        validation: Samples that decide which epoch is kept.
        on_progress: Called after every step and every epoch, in the first process only.
        checkpoint: Folder for the state of the run; None saves none.
        resume: Go on from the state in `checkpoint`, where there is one. Otherwise what is
            there is removed.
        feature_keep: For features with pruned channels: tensor name → (axis, kept channels).
        masks: Parameters of which some entries stay at zero (`onnxprune.train.held`).

    Raises:
        TrainingInterrupted: on KeyboardInterrupt; the student then holds the best or last
            finished epoch, or what it started from.
        DataError: when labels are out of range, batches too small for BatchNormalization, or an
            epoch has fewer samples than the data says.
        InputError: when the checkpoint is damaged or of another run; names what differs.
        ModelError: when no output can be trained towards, or the model takes one sample only.
        OnnxPruneError: when the loss is not finite.
        OutputError: when a checkpoint cannot be written.
        UsageError: when options ask for what this machine or this data does not have.
    """
    if options.early_stop and validation is None:
        raise UsageError(f"early_stop = {options.early_stop} looks at validation data, and there are none. Give some.")
    if resume and checkpoint is None:
        raise UsageError("resume = True needs a checkpoint to resume from. Give its folder.")
    team, masks = workers(), masks or {}
    device = pick_device(options.device, team)
    clear(student, masks)
    run = _Run(student, teacher, data, options, validation, on_progress if team.first else None, team, device)
    with team.watched(), settings(device), share_statistics(team.size > 1), held(student, masks):
        try:
            run.prepare(feature_keep, None if checkpoint is None else Checkpoint(checkpoint), resume)
            run.go()
        except BaseException as error:
            team.abort()
            record = run.finish()
            if isinstance(error, KeyboardInterrupt):
                raise TrainingInterrupted(record) from None
            raise
    return run.finish()


class _Run:
    """The state of one call of `train`."""

    def __init__(
        self,
        student: OnnxModule,
        teacher: OnnxModule,
        data: Samples,
        options: TrainOptions,
        validation: Samples | None,
        on_progress: Callable[[TrainProgress], None] | None,
        team: Workers,
        device: torch.device,
    ) -> None:
        self.student, self.teacher, self.data, self.options = student, teacher, data, options
        self.validation, self.on_progress, self.team, self.device = validation, on_progress, team, device
        for module in (student, teacher):
            module.to(device)
            arrange(module, torch.channels_last)
            module.eval()
        self.feeder = Feeder(teacher, device)
        self.average = Average(student, options.ema) if options.ema else None
        self.state, self.kept = RunState(), self._snapshot()
        self.saver: Saver | None = None
        self.record = TrainRecord((), 0, "", processes=team.size, device=device.type)
        self.lr = 0.0

    def prepare(self, feature_keep: FeatureKeep | None, checkpoint: Checkpoint | None, resume: bool) -> None:
        """Works out all that stays the same, and takes up an earlier run."""
        self.batch_size = global_batch_size(self.teacher, self.data, self.options.batch_size, self.team)
        each, static = self.batch_size // self.team.size, static_batch_size(self.teacher)
        # a graph with a static batch size may not take the last, smaller batch of a set
        self.fixed = static if static == each else None
        self.drop_last = len(self.data) >= self.batch_size
        self.per_epoch = len(self.data) // self.batch_size if self.drop_last else 1
        self.steps = self.per_epoch * self.options.epochs
        each_step = checkpoint is not None and self.options.checkpoint_seconds == 0
        self.meter = LossMeter(self.team, 1 if each_step or self.device.type == "cpu" else _GPU_READS_EVERY)
        sample = self.data.first(self.batch_size // self.team.size)
        whole = (self.options.schedule_epochs or self.options.epochs) * self.per_epoch
        self.schedule = make_schedule(self.options.schedule_options, whole, self.per_epoch)
        self.stepper = self._stepper(self.feeder.place(self.feeder.prepare(sample)), feature_keep)
        if checkpoint is not None:
            self._take_up(checkpoint, resume, sample)
        if len(self.state.records) < self.options.epochs:
            self._ask_teacher()
        self.started, self.first_step = time.perf_counter(), self.state.step

    def go(self) -> None:
        """Trains from where the run stands to its end."""
        while len(self.state.records) < self.options.epochs and not self._stops_early():
            self._epoch(len(self.state.records) + 1)

    def finish(self) -> TrainRecord:
        """Puts the kept weights into the student; returns the record."""
        self.student.load_state_dict(self.kept)
        for module in (self.student, self.teacher):
            arrange(module, torch.contiguous_format)
            module.to("cpu")
        self.student.eval()
        early = self._stops_early() and len(self.state.records) < self.options.epochs
        return replace(self.record, epochs=tuple(self.state.records), kept_epoch=self.state.kept, stopped_early=early)

    def _stepper(self, sample: Fed, feature_keep: FeatureKeep | None) -> Stepper:
        options, student = self.options, self.student
        with torch.no_grad():
            values = outputs_of(self.teacher, sample.inputs).values
        labels = self._labels(sample)
        self.objective = Objective(
            self.teacher,
            values,
            options,
            labels_shape=None if labels is None else labels.shape,
            labels_integer=labels is None or not labels.is_floating_point(),
            feature_keep=feature_keep,
        )
        augment = parse_augment(options.augment)
        augment.check_labels(None if sample.labels is None else sample.labels.shape)
        self.precision, notes = make_precision(options, self.device, student, sample)
        labelled = (self.data if self.validation is None else self.validation).labelled
        self.record = replace(
            self.record,
            metric_name=self.objective.metric_name(labelled),
            batch_size=self.batch_size,
            precision=self.precision.name,
            notes=(*self.objective.notes, *notes),
        )
        self.targets = TeacherOutputs(self.teacher, self.objective.features, self.precision.autocast)
        return Stepper(
            student=student,
            net=make_net(student, self.objective, options, self.team, sample, self.targets(sample, sample.inputs)),
            objective=self.objective,
            targets=self.targets,
            optimizer=make_optimizer(student, options),
            rate=self._rate,
            precision=self.precision,
            augment=augment if augment else None,
            average=self.average,
            grad_clip=options.grad_clip,
            seed=options.seed,
            rank=self.team.rank,
        )

    def _labels(self, sample: Fed) -> torch.Tensor | None:
        """Returns some labels, also where only validation has them: they tell what outputs are."""
        if sample.labels is not None or self.validation is None or not self.validation.labelled:
            return sample.labels
        return self.feeder.prepare(self.validation.first(1)).labels

    def _rate(self, step: int) -> float:
        """The learning rate of a step of this run."""
        return self.schedule.lr(self.options.schedule_start * self.per_epoch + step)

    def _take_up(self, checkpoint: Checkpoint, resume: bool, sample: Batch) -> None:
        mark = fingerprint(
            self.student, self.teacher, self.data, sample, self.validation, self.options, self.batch_size
        )
        parts = Parts(self.student, self.stepper.optimizer, self.average, self.precision, self.meter)
        self.saver = Saver(checkpoint, parts, mark, self.options.checkpoint_seconds, self.team)
        if not resume:
            self.saver.clear()
        elif (found := self.saver.restore()) is not None:
            self.state, self.kept = found

    def _ask_teacher(self) -> None:
        """Has the teacher answer beforehand what it would be asked again and again."""
        self.check_targets = TeacherOutputs(self.teacher, self.objective.features)
        if self.options.epochs > 1 and not self.stepper.augment:
            self._answer(self.targets, self.data)
        if self.validation is not None:
            self._answer(self.check_targets, self.validation)

    def _answer(self, targets: TeacherOutputs, data: Samples) -> None:
        if not data.stable or len(data) < self.team.size:
            return
        sample = self.feeder.place(self.feeder.prepare(data.first(self.batch_size // self.team.size)))
        with torch.no_grad():
            outputs = outputs_of(self.teacher, sample.inputs, self.objective.features)
        if fits_in_memory(outputs, len(sample), len(data)):
            targets.prepare(data, self.feeder, self.batch_size, self.team, self.fixed)

    def _epoch(self, number: int) -> None:
        """Trains one epoch or the rest of it, evaluates, and keeps the weights where they are the best so far."""
        self.begun = time.perf_counter() - self.state.seconds
        self.student.train()
        self._steps(number)
        metric = self._score()
        seconds, state = time.perf_counter() - self.begun, self.state
        self.lr = self._rate(state.step - 1)
        state.records.append(EpochRecord(number, self.meter.mean(), metric, self.lr, seconds))
        # a score that is no number is worse than any
        if metric is None or state.best is None or metric > state.best or math.isnan(state.best):
            state.best, state.kept, self.kept = metric, number, self._snapshot()
        state.seconds = 0.0
        if self.saver is not None:
            self.saver.save(state, self.kept, 0.0)
        self._report(number)

    def _steps(self, number: int) -> None:
        done = self.state.step - (number - 1) * self.per_epoch
        batches = self.data.batches(
            self.batch_size,
            shuffle=np.random.default_rng([self.options.seed, number]),
            drop_last=self.drop_last,
            skip=done,
            shard=(self.team.rank, self.team.size),
        )
        with self.feeder.ahead(itertools.islice(batches, self.per_epoch - done)) as ahead:
            for host in ahead:
                self.lr = self._rate(self.state.step)
                # where the processes have parts of different sizes, each sample still weighs the same
                share = 1.0 if self.drop_last else len(host) * self.team.size / len(self.data)
                self.meter.add(self.stepper(self.feeder.place(host), self.state.step, share))
                self.state.step += 1
                if self.meter.full:
                    self._look()
                self._report(number)
        self._look()
        if self.state.step != number * self.per_epoch:
            raise DataError(
                f"Epoch {number} ended after {self.state.step - (number - 1) * self.per_epoch} of {self.per_epoch} "
                f"batches: the data has {len(self.data)} samples by its own account and gave fewer. Every epoch must "
                "give as many."
            )

    def _look(self) -> None:
        """Reads the losses, and saves the run where it is time."""
        if not self.meter.read():
            raise OnnxPruneError(
                f"Training diverged: the loss is not finite by step {self.state.step} of {self.steps} with learning "
                f"rate {self.lr:.3g}. Run again with a lower --lr, such as {self.options.peak_lr / 4:.2g}."
            )
        if self.saver is not None and self.saver.due():
            self.saver.save(self.state, self.kept, time.perf_counter() - self.begun)

    def _score(self) -> float | None:
        if self.validation is None:
            return None
        values = {} if self.average is None else self.average.values
        return evaluate(
            self.student,
            values,
            self.validation,
            self.check_targets,
            self.objective,
            self.feeder,
            self.batch_size,
            self.team,
            self.fixed,
        )

    def _stops_early(self) -> bool:
        return 0 < self.options.early_stop <= self.state.stale()

    def _report(self, epoch: int) -> None:
        if self.on_progress is None:
            return
        state, steps = self.state, self.steps
        if self._stops_early():
            steps = state.step
        done = state.step - self.first_step
        left = (time.perf_counter() - self.started) / done * (steps - state.step) if done else None
        metric = state.records[-1].metric if state.records else None
        self.on_progress(
            TrainProgress(
                epoch,
                self.options.epochs,
                state.step,
                steps,
                self.meter.recent,
                self.lr,
                metric,
                left,
                self.record.metric_name,
            )
        )

    def _snapshot(self) -> dict[str, torch.Tensor]:
        source = self.student.state_dict() if self.average is None else self.average.values
        return {name: tensor.detach().clone() for name, tensor in source.items()}
