"""Writes docs/operators.md: what onnxprune knows of each operator, and how the ONNX standard's node tests fare.

    python tests/bench/operator_table.py            # writes the file
    python tests/bench/operator_table.py --check    # fails where the file is stale

Same installation, same bytes. It fails when a supported case with ordinary element types neither passes
nor stands in the table of exceptions, and when an exception is no longer needed.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from standard_suite import EXCEPTIONS, OLDEST, SuiteCase, failure, suite

from onnxprune.ops import OPS, OpRule
from onnxprune.ops.registry import TWINS
from onnxprune.ops.twin import Twin

TARGET = Path(__file__).resolve().parents[2] / "docs" / "operators.md"

HEAD = "| operator | versions | axis rule | masking | MACs | twin | node tests |"
INTRODUCTION = """# Operators

Written by `python tests/bench/operator_table.py`; do not edit. A test holds it to the code.

What onnxprune knows of an operator has four parts. The **axis rule** says how its channels hang together, and
so what can be removed; an operator without one freezes what it touches. **Masking** says what it makes of
channels that are zero: `own` is a rule of its own, `zero` the general one (zero where all inputs are zero).
**MACs** are counted where the operator multiplies. The **twin** is the PyTorch counterpart that retraining
needs; each operator below has one, for float16, bfloat16, float32 and float64 (training in a 16-bit type is
done in float32, see `bridge.md`). An operator in none of these tables is copied unchanged, freezes what it
touches, and stops retraining with a message that names it.

`versions` are operator-set versions of the operator's domain; models from operator set {oldest} on are read.
"""

OUTCOMES = """## The standard's node tests

onnx {version} generates {total:,} node tests. An *ordinary* test has dense tensors of float16, bfloat16, float32,
float64, bool or 8- to 64-bit integers; a *supported* one has operators of these tables only. Both together
are judged: same element type, same shape, and values within the test's own tolerance, no tighter than an
absolute 1e-6 and two units in the last place of a 16-bit type.

| | tests |
|---|---:|
| judged | {judged:,} |
| passed | {passed:,} ({share:.1%} of those judged) |
| excepted, for the reasons below | {excepted} |
| failed | {failed} |
| other element types or kinds ({kinds}) | {unusual} |
| ordinary, but with an operator that is not supported | {unsupported} |

Tests of And, Or, Xor (operator set 7) and Not (1) are run in operator set {oldest}, where these operators are the same.
"""


@dataclass(frozen=True)
class Judgement:
    """How the cases fared.

    Attributes:
        passed: Operator → cases passed.
        judged: Operator → cases that are ordinary and supported.
        failures: Case → message, exceptions included.
    """

    passed: Counter[str]
    judged: Counter[str]
    failures: dict[str, str]

    @property
    def unexplained(self) -> dict[str, str]:
        """Failures that are no exceptions."""
        return {name: message for name, message in self.failures.items() if name not in EXCEPTIONS}

    @property
    def stale(self) -> list[str]:
        """Exceptions that pass."""
        return sorted(EXCEPTIONS.keys() - self.failures.keys())


def is_judged(entry: SuiteCase) -> bool:
    """Returns whether a case has ordinary element types and operators with counterparts."""
    return not entry.unusual and not entry.missing


def judge(entries: Iterable[SuiteCase]) -> Judgement:
    """Runs the cases that are ordinary and supported."""
    result = Judgement(Counter(), Counter(), {})
    for entry in filter(is_judged, entries):
        result.judged[entry.operator] += 1
        try:
            message = failure(entry)
        except Exception as error:  # noqa: BLE001  # whatever a counterpart raises is the case's outcome
            message = f"{type(error).__name__}: {error}"
        if message:
            result.failures[entry.name] = message
        else:
            result.passed[entry.operator] += 1
    return result


def versions(members: Sequence[OpRule | Twin]) -> str:
    """Returns the operator-set versions that the members speak for."""
    ordered = sorted(members, key=lambda member: member.since)
    return ", ".join(f"{m.since}–{m.until}" if m.until else f"{m.since}+" for m in ordered)


def row(key: str, judgement: Judgement) -> str:
    """Returns the line of one operator."""
    rules, twins = OPS.find(key) or [], TWINS.find(key) or []
    tests = f"{judgement.passed[key]}/{judgement.judged[key]}" if judgement.judged[key] else "–"
    masking = "own" if any(type(rule).masked is not OpRule.masked for rule in rules) else "zero" if rules else "–"
    counts = "yes" if any(type(rule).macs is not OpRule.macs for rule in rules) else "–"
    cells = [
        f"`{key.split('::')[1]}`",
        versions([*rules, *twins]),
        "yes" if rules else "frozen",
        masking,
        counts,
        "yes",
    ]
    return "| " + " | ".join([*cells, tests]) + " |"


def tables(judgement: Judgement) -> list[str]:
    """Returns the tables of operators, one per domain."""
    keys = sorted({*OPS.names(), *TWINS.names()})
    lines: list[str] = []
    for domain in sorted({key.split("::")[0] for key in keys}):
        mine = [key for key in keys if key.split("::")[0] == domain]
        lines += [f"## Domain `{domain or 'ai.onnx'}`: {len(mine)} operators", ""]
        lines += [
            "| operator | versions | axis rule | masking | MACs | twin | node tests |",
            "|---|---|---|---|---|---|---:|",
        ]
        lines += [row(key, judgement) for key in mine]
        lines.append("")
    return lines


def unsupported(entries: Iterable[SuiteCase]) -> list[str]:
    """Returns the table of operators that ordinary cases need and that have no counterpart."""
    counts = Counter(name for entry in entries if not entry.unusual for name in entry.missing)
    lines = ["## Not supported", "", "Operators in ordinary node tests without a PyTorch counterpart.", ""]
    lines += ["| operator | tests that hold it |", "|---|---:|"]
    return [*lines, *(f"| `{name.removeprefix('::')}` | {counts[name]} |" for name in sorted(counts)), ""]


def document(entries: Sequence[SuiteCase], judgement: Judgement) -> str:
    """Returns the whole file."""
    judged, passed = judgement.judged.total(), judgement.passed.total()
    head = OUTCOMES.format(
        version=onnx.__version__,
        total=len(entries),
        judged=judged,
        passed=passed,
        share=passed / judged,
        excepted=len(judgement.failures) - len(judgement.unexplained),
        failed=len(judgement.unexplained),
        kinds=", ".join(sorted({entry.unusual for entry in entries if entry.unusual})),
        unusual=sum(bool(entry.unusual) for entry in entries),
        unsupported=sum(not entry.unusual and bool(entry.missing) for entry in entries),
        oldest=OLDEST,
    )
    excepted = ["| test | reason |", "|---|---|"]
    excepted += [f"| `{name}` | {EXCEPTIONS[name]} |" for name in sorted(EXCEPTIONS)]
    lines = [INTRODUCTION.format(oldest=OLDEST), head, *excepted, "", *unsupported(entries), *tables(judgement)]
    return "\n".join(lines).rstrip() + "\n"


def main(words: Sequence[str] | None = None) -> int:
    """Writes or checks the file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the file is stale")
    parser.add_argument("--out", type=Path, default=TARGET, help="the file (default: docs/operators.md)")
    options = parser.parse_args(words)
    entries = suite()
    judgement = judge(entries)
    text = document(entries, judgement)
    for name, message in judgement.unexplained.items():
        print(f"{name} fails: {message}", file=sys.stderr)
    for name in judgement.stale:
        print(f"{name} passes and is still listed as an exception", file=sys.stderr)
    current = options.out.read_text(encoding="utf-8") if options.out.exists() else ""
    if options.check and current != text:
        print(f"{options.out} is stale: run `python tests/bench/operator_table.py`", file=sys.stderr)
        return 1
    if not options.check:
        options.out.write_text(text, encoding="utf-8")
    return 1 if judgement.unexplained or judgement.stale else 0


if __name__ == "__main__":
    sys.exit(main())
