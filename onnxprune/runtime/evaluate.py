"""Accuracy and agreement of models over batches of data.

For logits [N, classes] and labels [N], a row counts as top-k when fewer than k classes come
before its label; ties go to the smaller index, as argmax breaks them, and a row with NaN is
wrong. Agreement is the share of rows whose argmax is the one of the first model. With labels
for positions, [N, T] for [N, T, classes] or [N, H, W] for [N, classes, H, W], each position
counts as a row does. The label -100 leaves a row or a position out of top-k.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort

from onnxprune.core.class_axis import class_axis
from onnxprune.core.errors import DataError, ModelError
from onnxprune.runtime.ranks import check_labels, label_ranks, winners
from onnxprune.runtime.session import ModelSource, Session, make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["Batch", "EvalResult", "Metric", "evaluate"]

Batch = tuple[Mapping[str, AnyArray], AnyArray | None]
Metric = Callable[[Mapping[str, AnyArray], AnyArray | None, Mapping[str, AnyArray]], float]
"""From a model's outputs, the labels, and the first model's outputs to a number; higher is better."""


@dataclass(frozen=True)
class EvalResult:
    """How a model does on a data set.

    Attributes:
        n: Rows seen.
        labelled: Rows, or positions, that had a label.
        top1: Share of these whose first class is the label; None without labels.
        top5: The same for the first five classes; None without labels.
        agreement: Share of rows, or positions, on which the first class is that of the first
            model; None where no output holds classes.
        custom: Mean of the user's metric over rows; None without one.
    """

    n: int
    labelled: int
    top1: float | None
    top5: float | None
    agreement: float | None
    custom: float | None = None


@dataclass
class _Counts:
    rows: int = 0
    positions: int = 0
    labelled: int = 0
    top1: int = 0
    top5: int = 0
    agreed: int = 0
    custom: float = 0.0

    def result(self, metric: Metric | None) -> EvalResult:
        return EvalResult(
            self.rows,
            self.labelled,
            self.top1 / self.labelled if self.labelled else None,
            self.top5 / self.labelled if self.labelled else None,
            self.agreed / self.positions if self.positions else None,
            None if metric is None else self.custom / self.rows,
        )


def evaluate(
    models: Mapping[str, ModelSource | Session],
    batches: Iterable[Batch],
    *,
    output: str | None = None,
    metric: Metric | None = None,
    provider: str = "cpu",
    threads: int | None = None,
) -> dict[str, EvalResult]:
    """Returns one result per model, over the same batches.

    Args:
        models: Name → model or session; the first is the reference of the agreement.
        batches: (feeds, labels or None): arrays of N rows each, labels integer [N] or with one
            for each position. N may differ from batch to batch, also where a model has a static
            batch size.
        output: Name of the logits; None takes the only output that they can be.
        metric: Called for each model and batch with all its outputs, the labels as they are, and
            all outputs of the first model. With a metric, labels may be anything, and models
            need no output of classes: what cannot be counted is None then.
        provider: As `resolve_provider` takes it, for models that are no session yet.
        threads: Threads within one operator, for the same.

    Raises:
        DataError: when the batches hold nothing, or do not fit the models, or the metric fails.
        ModelError: when a model cannot run, or has no output of classes.
    """
    sessions = {
        name: m if isinstance(m, ort.InferenceSession) else make_session(m, provider=provider, threads=threads)
        for name, m in models.items()
    }
    counts = {name: _Counts() for name in sessions}
    for feeds, labels in batches:
        n = _rows(feeds)
        if n == 0:
            continue
        outputs = {name: _outputs(session, feeds, n) for name, session in sessions.items()}
        reference = next(iter(outputs.values()))
        for name, count in counts.items():
            count.rows += n
            if metric is not None:
                count.custom += n * metric(outputs[name], labels, reference)
        _count_classes(counts, outputs, labels, output, n, needed=metric is None)
    if not any(count.rows for count in counts.values()):
        raise DataError("The evaluation data holds no rows.")
    return {name: count.result(metric) for name, count in counts.items()}


def _count_classes(
    counts: Mapping[str, _Counts],
    outputs: Mapping[str, Mapping[str, AnyArray]],
    labels: AnyArray | None,
    output: str | None,
    n: int,
    *,
    needed: bool,
) -> None:
    """Adds a batch to the counts of those models that give classes."""
    first = None
    for name, count in counts.items():
        found = _find_classes(outputs[name], labels, output, n)
        if found is None:
            if needed:
                raise ModelError(_no_classes(outputs[name], n))
            continue
        logits, axis = found
        chosen = winners(logits, axis)
        first = chosen if first is None else first
        count.positions += chosen.size
        count.agreed += int((chosen == first).sum())
        if labels is None or (not needed and not _is_index(labels, chosen.shape)):
            continue
        check_labels(logits, labels, axis)
        rank = label_ranks(logits, labels, axis)
        count.labelled += len(rank)
        count.top1 += int((rank < 1).sum())
        count.top5 += int((rank < 5).sum())


def _is_index(labels: AnyArray, shape: tuple[int, ...]) -> bool:
    return labels.dtype.kind in "iu" and labels.shape == shape


def _find_classes(
    outputs: Mapping[str, AnyArray], labels: AnyArray | None, output: str | None, n: int
) -> tuple[AnyArray, int] | None:
    """Returns the logits and their axis of classes, or None where it is not clear which output holds them."""
    fitting: dict[str, int] = {}
    dense = labels is not None and labels.ndim > 1 and labels.dtype.kind in "iu"
    for name, array in outputs.items():
        if not array.ndim or len(array) != n or array.dtype.kind in "biuOUS":
            continue
        axis = class_axis(array.shape, labels.shape) if labels is not None and dense else None
        if axis is not None or (array.ndim == 2 and not dense):
            fitting[name] = axis if axis is not None else 1
    if output is None and len(fitting) == 1:
        output = next(iter(fitting))
    if output not in fitting:
        return None
    values = outputs[output]
    return (values if values.dtype.kind == "f" else values.astype(np.float32)), fitting[output]


def _no_classes(outputs: Mapping[str, AnyArray], n: int) -> str:
    shapes = ", ".join(f"{name} {a.dtype} {list(a.shape)}" for name, a in outputs.items())
    return (
        f"Accuracy needs one floating output [rows, classes] with {n} rows, or one that has the labels' shape and an "
        f"axis of classes; the model gives {shapes}. Give labels that fit an output, or a metric of your own."
    )


def _rows(feeds: Mapping[str, AnyArray]) -> int:
    rows = {len(a) if a.ndim else 0 for a in feeds.values()}
    if len(rows) != 1:
        raise DataError(f"The arrays of a batch have {sorted(rows)} rows; expected the same number in each.")
    return rows.pop()


def _outputs(session: Session, feeds: Mapping[str, AnyArray], n: int) -> Mapping[str, AnyArray]:
    """Returns the outputs for all rows, also of a model with a static batch size."""
    fixed = _static_batch(session)
    if fixed is None or fixed == n:
        return run(session, feeds)
    parts = []
    for start in range(0, n, fixed):
        take = np.minimum(np.arange(start, start + fixed), n - 1)
        parts.append(run(session, {k: a[take] for k, a in feeds.items()}))
    # an output without an axis of rows is that of the last part
    return {
        name: np.concatenate([part[name] for part in parts])[:n] if last.ndim and len(last) == fixed else last
        for name, last in parts[-1].items()
    }


def _static_batch(session: Session) -> int | None:
    """Returns the leading dimension of the inputs when it is a number."""
    sizes = {i.shape[0] for i in session.get_inputs() if i.shape and isinstance(i.shape[0], int)}
    return sizes.pop() if len(sizes) == 1 else None
