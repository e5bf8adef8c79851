"""What the benchmark of block-sparse operators measured, and its tables."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Measured", "tables"]

_FAMILIES = ("matmul", "conv")


@dataclass(frozen=True)
class Measured:
    """One comparison.

    Attributes:
        family: matmul or conv, or the name of a net.
        shape: K×N, or C×H.
        block: b×T.
        sparsity: Share of the inputs that each tile gives up.
        rows: M, or the batch.
        variant: kernel, body or densify.
        ratio: Dense time over sparse time.
        spread: Interquartile range of the ratios of single rounds.
        dense_us: Median microseconds of a dense run.
        rounds: Rounds measured.
        threads: Threads within one operator.
        size: Bytes of the model over those of the dense one.
    """

    family: str
    shape: str
    block: str
    sparsity: float
    rows: int
    variant: str
    ratio: float
    spread: float
    dense_us: float
    rounds: int
    threads: int
    size: float


def tables(found: Sequence[Measured]) -> str:
    """Returns a table for each family, medians over shapes with the least and the most, and one of nets."""
    parts = [_layers(family, [m for m in found if m.family == family]) for family in _FAMILIES]
    parts.append(_nets([m for m in found if m.family not in _FAMILIES]))
    return "\n\n".join(part for part in parts if part)


def _layers(family: str, found: Sequence[Measured]) -> str:
    if not found:
        return ""
    sparsities = sorted({m.sparsity for m in found})
    lines = [
        f"| {family} | block | {'rows' if family == 'matmul' else 'batch'} | threads | "
        f"{' | '.join(f'{sparsity:.4g} %' for sparsity in (100 * s for s in sparsities))} |",
        "|" + "---|" * (4 + len(sparsities)),
    ]

    def key(m: Measured) -> tuple[Any, ...]:
        return (m.threads, m.variant, m.block, m.rows)

    for (threads, variant, block, rows), group in itertools.groupby(sorted(found, key=key), key):
        listed = list(group)
        cells = [_middle([m.ratio for m in listed if m.sparsity == sparsity]) for sparsity in sparsities]
        lines.append(f"| {variant} | {block.replace('x', ' × ')} | {rows} | {threads} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _middle(ratios: Sequence[float]) -> str:
    """Returns the median of several ratios with the least and the most."""
    if not ratios:
        return ""
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def _nets(found: Sequence[Measured]) -> str:
    if not found:
        return ""
    lines = [
        "| net | computed | block | sparse | threads | dense time / time | spread | dense ms | file size |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for m in sorted(found, key=lambda m: (m.family, m.threads, m.sparsity, m.block, m.variant)):
        cells = [m.family, m.variant, m.block.replace("x", " × "), f"{100 * m.sparsity:.4g} %", str(m.threads)]
        cells += [f"{m.ratio:.2f}", f"{m.spread:.2f}", f"{m.dense_us / 1e3:.1f}", f"{m.size:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
