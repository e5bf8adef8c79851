"""Accuracy and agreement of models over batches of data.

For logits [N, classes] and labels [N], a row counts as top-k when fewer than k classes come
before its label; ties go to the smaller index, as argmax breaks them, and a row with NaN is
wrong. Agreement is the share of rows whose argmax is the one of the first model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from onnxprune.core.errors import DataError, ModelError
from onnxprune.runtime.session import ModelSource, Session, make_session, run
from onnxprune.runtime.values import AnyArray

__all__ = ["Batch", "EvalResult", "evaluate"]

Batch = tuple[Mapping[str, AnyArray], AnyArray | None]


@dataclass(frozen=True)
class EvalResult:
    """How a model does on a data set.

    Attributes:
        n: Rows seen.
        labelled: Rows that had a label.
        top1: Share of labelled rows whose first class is the label; None without labels.
        top5: The same for the first five classes; None without labels.
        agreement: Share of rows on which the first class is that of the first model.
    """

    n: int
    labelled: int
    top1: float | None
    top5: float | None
    agreement: float


@dataclass
class _Counts:
    top1: int = 0
    top5: int = 0
    agreed: int = 0


def evaluate(
    models: Mapping[str, ModelSource | Session],
    batches: Iterable[Batch],
    *,
    output: str | None = None,
    provider: str = "cpu",
    threads: int | None = None,
) -> dict[str, EvalResult]:
    """Returns one result per model, over the same batches.

    Args:
        models: Name → model or session; the first is the reference of the agreement.
        batches: (feeds, labels or None): arrays of N rows each, labels integer [N]. N may
            differ from batch to batch, also where a model has a static batch size.
        output: Name of the logits; None takes the only output of rank 2.
        provider: As `resolve_provider` takes it, for models that are no session yet.
        threads: Threads within one operator, for the same.

    Raises:
        DataError: when the batches hold nothing, or do not fit the models.
        ModelError: when a model cannot run or has no output [N, classes].
    """
    sessions = {
        name: m if isinstance(m, ort.InferenceSession) else make_session(m, provider=provider, threads=threads)
        for name, m in models.items()
    }
    counts = {name: _Counts() for name in sessions}
    n = labelled = 0
    for feeds, labels in batches:
        logits = {name: _logits(session, feeds, output) for name, session in sessions.items()}
        _add(counts, logits, labels)
        rows = len(next(iter(logits.values())))
        n += rows
        labelled += rows if labels is not None else 0
    if n == 0:
        raise DataError("The evaluation data holds no rows.")
    return {
        name: EvalResult(
            n,
            labelled,
            c.top1 / labelled if labelled else None,
            c.top5 / labelled if labelled else None,
            c.agreed / n,
        )
        for name, c in counts.items()
    }


def _add(counts: Mapping[str, _Counts], logits: Mapping[str, AnyArray], labels: AnyArray | None) -> None:
    first = _winners(next(iter(logits.values())))
    for name, rows in logits.items():
        counts[name].agreed += int((_winners(rows) == first).sum())
        if labels is not None:
            rank = _ranks(rows, labels)
            counts[name].top1 += int((rank < 1).sum())
            counts[name].top5 += int((rank < 5).sum())


def _winners(logits: AnyArray) -> NDArray[np.intp]:
    """Returns the first class of each row, -1 for a row with NaN: intp [N]."""
    return np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))


def _ranks(logits: AnyArray, labels: AnyArray) -> NDArray[np.intp]:
    """Returns how many classes come before the label: intp [N]."""
    n, classes = logits.shape
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise DataError(f"Labels are {labels.dtype} {list(labels.shape)}; expected integers [{n}], one for each row.")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise DataError(
            f"Label {labels[wrong[0]]} is out of range; the model has {classes} classes (0..{classes - 1})."
        )
    own = logits[np.arange(n), labels][:, None]
    earlier = np.arange(classes)[None, :] < labels[:, None]
    rank: NDArray[np.intp] = ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
    return np.where(np.isnan(logits).any(axis=1), classes, rank)


def _logits(session: Session, feeds: Mapping[str, AnyArray], output: str | None) -> AnyArray:
    """Returns the logits of all rows as floating [N, classes]."""
    rows = {len(a) if a.ndim else 0 for a in feeds.values()}
    if len(rows) != 1:
        raise DataError(f"The arrays of a batch have {sorted(rows)} rows; expected the same number in each.")
    (n,) = rows
    fixed = _static_batch(session)
    if fixed is None or fixed == n:
        return _select(run(session, feeds), output, n)
    parts = []
    for start in range(0, n, fixed):
        take = np.minimum(np.arange(start, start + fixed), n - 1)
        parts.append(_select(run(session, {k: a[take] for k, a in feeds.items()}), output, fixed))
    return np.concatenate(parts)[:n]


def _static_batch(session: Session) -> int | None:
    """Returns the leading dimension of the inputs when it is a number."""
    sizes = {i.shape[0] for i in session.get_inputs() if i.shape and isinstance(i.shape[0], int)}
    return sizes.pop() if len(sizes) == 1 else None


def _select(outputs: Mapping[str, AnyArray], output: str | None, n: int) -> AnyArray:
    fitting = [name for name, a in outputs.items() if a.ndim == 2 and len(a) == n and a.dtype.kind not in "biuOUS"]
    chosen = output if output is not None else (fitting[0] if len(fitting) == 1 else None)
    if chosen not in fitting:
        shapes = ", ".join(f"{name} {a.dtype} {list(a.shape)}" for name, a in outputs.items())
        raise ModelError(
            f"Accuracy needs one floating output [rows, classes] with {n} rows; the model gives {shapes}. "
            "Name the output that holds the logits."
        )
    values = outputs[chosen]
    return values if values.dtype.kind == "f" else values.astype(np.float32)
