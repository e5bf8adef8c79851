"""What a model was held against: evaluation data, the masked original, the original, gates."""

from __future__ import annotations

from onnxprune.report.parts.base import Figure, Record

__all__ = ["Accuracy", "Certificate", "Evaluation", "GateRecord", "OutputRecord", "Parity"]


class Accuracy(Record):
    """Shares of the labelled samples whose label is the first class, or among the first five.

    `custom` is the mean of the user's own metric.
    """

    top1: Figure = None
    top5: Figure = None
    custom: Figure = None


class Evaluation(Record):
    """Both models on the evaluation data; `agreement` is the share of samples with one winner."""

    n: int
    labelled: int = 0
    before: Accuracy = Accuracy()
    after: Accuracy = Accuracy()
    agreement: Figure = None


class Certificate(Record):
    """Masked original against pruned model: the worst relative difference over the batches."""

    batches: tuple[int, ...]
    max_rel: Figure
    tolerance: float
    passed: bool
    note: str = ""


class OutputRecord(Record):
    """The difference of one output between two models."""

    name: str
    max_abs: Figure
    max_rel: Figure
    cosine: Figure = None
    identical: bool = False


class Parity(Record):
    """Two models on the same input, output by output."""

    batches: tuple[int, ...] = ()
    outputs: tuple[OutputRecord, ...] = ()


class GateRecord(Record):
    """A gate, what was found for its metric (null: not measured), and whether it passes.

    `where` names the output at which that was found. An output that is named, and nothing found, is infinitely far off.
    """

    gate: str
    metric: str
    bound: float
    found: Figure = None
    where: str = ""
    passed: bool
