"""What the zoo proves about the bridge, as a markdown page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from table import cell, lines

__all__ = ["PARITY", "bridge_page", "is_sound"]

PARITY = 1e-5
HEAD = ("architecture", "exporter", "parameters", "parity", "gradients", "held fixed", "one graph", "notes")
TITLES = {"missing": "no gradient", "broken": "gradient not finite", "still": "gradient zero", "fixed": "held fixed"}
SHOWN = 3
Record = Mapping[str, Any]


def is_sound(found: Record) -> bool:
    """Returns whether a module computes what onnxruntime does and every parameter gets a finite gradient.

    Args:
        found: What `check_bridge` gave, or {"failure": …}.
    """
    if "failure" in found or found["missing"] or found["broken"]:
        return False
    return all(deviation <= PARITY for deviation in found["parity"])


def bridge_page(records: Sequence[Record]) -> str:
    """Returns the page: a summary, then a row for each record that was checked or could not be exported."""
    found = [record for record in records if "bridge" in record or record.get("step") == "export"]
    left = [f"{record['name']} ({record['exporter']})" for record in records if record not in found]
    missing = f"Not measured: {', '.join(left)}.\n\n" if left else ""
    introduction = _introduction([record["bridge"] for record in found if "bridge" in record])
    return f"{introduction}\n{missing}{lines(HEAD, map(_row, found))}"


def _introduction(found: Sequence[Record]) -> str:
    run = [each for each in found if "failure" not in each]
    worst = max((max(each["parity"]) for each in run), default=0.0)
    parameters = sum(each["parameters"] for each in run)
    reached = sum(each["parameters"] - len(each["missing"]) - len(each["broken"]) for each in run)
    still = sum(len(each["still"]) for each in run)
    whole = sum(each["compiles"] for each in run)
    return f"""# Architectures as PyTorch modules

Written by `python tests/e2e/zoo/run_zoo.py FOLDER --steps bridge --bridge-markdown docs/bridge_zoo.md`; do not edit.

Each exported file goes through `onnxprune.bridge.to_torch`. Biases, scales and statistics are drawn at random
before the export, so that none of them can be forgotten unseen. All is measured in evaluation mode, in float32.

- **parity**: largest difference between the module and onnxruntime's unoptimised graph over the largest magnitude
  of that output, at two sizes of every dynamic dimension, the batch among them (2 and 3); {PARITY:.0e} is allowed.
- **gradients**: parameters that one backward of the sum of squares of all outputs gives a finite gradient.
- **held fixed**: floats that the bridge does not train: entries of tensors of more than one entry that are neither
  parameters nor running statistics. Scales of Resize, tables of sines and grids belong here, weights do not.
- **one graph**: whether `torch.compile(fullgraph=True, backend="eager")` takes the module in one piece.

| | |
|---|---:|
| files checked | {len(found)} |
| sound: parity within {PARITY:.0e}, a finite gradient for every parameter | {sum(map(is_sound, found))} |
| worst parity | {worst:.1e} |
| parameters with a finite gradient | {reached:,} of {parameters:,} |
| of these, gradient zero throughout (see the notes) | {still:,} |
| compiled in one graph | {whole} of {len(run)} |
"""


def _row(record: Record) -> tuple[str, ...]:
    names = str(record["name"]), str(record["exporter"])
    found = record.get("bridge", {"failure": record.get("failure", "")})
    if "failure" in found:
        return (*names, *[""] * (len(HEAD) - 3), cell(found["failure"]))
    lost = len(found["missing"]) + len(found["broken"])
    return (
        *names,
        str(found["parameters"]),
        f"{max(found['parity']):.0e}",
        "all" if not lost else f"{found['parameters'] - lost} of {found['parameters']}",
        f"{sum(found['fixed'].values()):,}",
        "yes" if found["compiles"] else "no",
        cell("; ".join(_remarks(found))),
    )


def _remarks(found: Record) -> Iterable[str]:
    for kind, title in TITLES.items():
        names = list(found[kind])
        if names:
            shown = ", ".join(f"`{name}`" for name in names[:SHOWN])
            yield f"{title}: {shown}{f' and {len(names) - SHOWN} more' if len(names) > SHOWN else ''}"
    if not found["compiles"]:
        yield found["reason"]
    if len(found["parity"]) == 1:
        yield "static sizes only"
