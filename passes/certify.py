"""certify: the masked original equals the pruned model, on every run, before anything else.

Two facts are shown in onnxruntime, at several batch sizes:

1. the analysed graph gives what the source file gives (folding changed nothing);
2. the analysed graph with dropped channels masked gives what the pruned graph gives.

The largest deviation, relative to the largest magnitude of the output, must stay within the
tolerance of the model's lowest floating-point precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxprune.core.certificate import Certificate, CertificateRow
from onnxprune.core.errors import CertificateError
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.graph import Model
from onnxprune.groups import Analysis, masked_model
from onnxprune.runtime import FeedPair, Runner, choose_feeds, compare, stand_in

__all__ = ["Certify", "check_rows", "compared", "tolerance"]

BATCHES = (1, 3)
# Sums in another order and another fusion differ by a few units in the last place of the
# inputs' precision, amplified by depth.
TOLERANCES = {"float64": 1e-8, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Certify(Pass):
    """Gives "certificate".

    Attributes:
        seed: Draws the inputs.
    """

    seed: int = 0

    name = "certify"
    needs = ("original", "model", "working", "analysis", "plan", "slim", "feeds")
    gives = ("certificate",)

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Compares.

        Raises:
            CertificateError: when they differ; the output, the batch size and the deviation are named.
        """
        model = bench.take("model", Model)
        masked = masked_model(bench.take("working", Model), bench.take("analysis", Analysis), bench.take("plan", Plan))
        rows = [
            *compared("source = analysed graph", bench.take("original", Model), model, bench, self.seed),
            *compared("masked original = pruned model", masked, bench.take("slim", Model), bench, self.seed),
        ]
        certificate = Certificate(tuple(rows), tolerance(stand_in(model).model))
        check_rows(rows, certificate.tolerance)
        return {"certificate": certificate}


def compared(claim: str, left: Model, right: Model, bench: Bench, seed: int) -> list[CertificateRow]:
    """Returns by how much two models differ, at several batch sizes.

    Args:
        claim: What is shown if they do not.
        left: One model.
        right: The other.
        bench: Holds "feeds".
        seed: Draws the inputs.
    """
    a, b = stand_in(left).model, stand_in(right).model
    feeds = _feeds(a, bench.take("feeds", FeedPair), seed)
    # one after the other: two large models at once would take twice the memory
    expected, found = Runner(a).run(*feeds), Runner(b).run(*feeds)
    rows: list[CertificateRow] = []
    for each, left_outputs, right_outputs in zip(feeds, expected, found, strict=True):
        batch = next((int(v.shape[0]) for v in each.values() if v.ndim), 1)
        differences = compare(left_outputs, right_outputs)
        rows.extend(CertificateRow(claim, batch, d.name, d.max_abs, d.max_rel) for d in differences)
    return rows


def check_rows(rows: Sequence[CertificateRow], limit: float) -> None:
    """Checks that no difference is larger than `limit`, relative to the output's largest magnitude.

    Raises:
        CertificateError: when one is; the output, the batch size and the deviation are named.
    """
    bad = [row for row in rows if not row.max_rel <= limit]
    if bad:
        raise CertificateError(_explain(bad[0], limit))


def _feeds(model: Model, pair: FeedPair, seed: int) -> list[Mapping[str, np.ndarray[Any, Any]]]:
    """Inputs at batch sizes 1 and 3 where the batch is dynamic, and those of the second concrete run."""
    rng = np.random.default_rng(seed)
    feeds = [
        choose_feeds(model.inputs(), batch=batch, other=None, rng=rng, sample=dict(pair.first)) for batch in BATCHES
    ]
    if pair.second is not None:
        feeds.append(dict(pair.second))
    unique = {tuple(sorted((k, v.shape) for k, v in f.items())): f for f in feeds}
    return list(unique.values())


def tolerance(model: Model) -> float:
    """Returns the allowed relative deviation for the lowest precision among the weights."""
    names = {np.dtype(constant.dtype).name for constant in model.initializers().values()}
    return max((TOLERANCES[name] for name in names if name in TOLERANCES), default=TOLERANCES["float32"])


def _explain(row: CertificateRow, limit: float) -> str:
    return (
        f"The certificate failed, and nothing was written: '{row.claim}' does not hold for output '{row.output}' at "
        f"batch size {row.batch}. It deviates by {row.max_rel:.3g} of its largest magnitude; {limit:g} is allowed. "
        "This is a defect of onnxprune or of a rule it was given; please report it with the model or the output of "
        "`onnxprune inspect --json`."
    )
