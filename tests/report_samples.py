"""Reports with everything in them, made up, for tests of what is shown."""

from __future__ import annotations

import math
from typing import Any

from onnxprune.report import schema
from onnxprune.report.schema import Report

NASTY = "</script><script>alert('&\"x')</script>/Conv<b>`|*"
"""A name that nothing may take for markup."""


def latency(ratio: float = 0.6, *, batch: int = 1, noisy: bool = False, **more: Any) -> schema.LatencyReport:
    """A latency of 1 ms before, with quantiles."""

    def record(middle: float) -> schema.LatencyRecord:
        at = [middle * (0.8 + 0.02 * i) for i in range(19)]
        return schema.LatencyRecord(p50_us=middle, p90_us=at[17], p95_us=at[18], iqr_us=9, n=50, quantiles_us=tuple(at))

    found = {"ratio_low": ratio * 0.98, "ratio_high": ratio * 1.02} | more
    return schema.LatencyReport(
        provider="CPUExecutionProvider",
        threads=2,
        batch=batch,
        before=record(1000.0 * batch),
        after=record(1000.0 * batch * ratio),
        ratio=ratio,
        noisy=noisy,
        **found,
    )


def rich_report(groups: int = 8, **parts: Any) -> Report:
    """A report in which every part is present.

    Args:
        groups: How many groups of channels, nodes and rows of the search there are.
        **parts: Parts to replace.
    """
    names = [f"/encoder/layers.{i // 10}/block.{i % 10}/dense/MatMul" for i in range(groups - 1)] + [NASTY]
    tensor = schema.TensorRecord(name="image", dtype="float32", shape=("batch", 3, None))
    points = tuple(
        schema.SearchPoint(
            step=20 * i,
            loss=2.0 - i / 40,
            used={"flops": 2.0 - i / 40},
            undecided=0.5 - i / 100,
            ratios={name: 1.0 - (k % 7) * i / 400 for k, name in enumerate(names)},
        )
        for i in range(40)
    )
    tile = {"inputs": 256, "outputs": 256, "block": 16, "tile": 16, "blocks": 16, "kept": 4}
    base: dict[str, Any] = {
        "command": "onnxprune compress net.onnx --flops 0.4 --data train.npz --gate 'speedup>=1.5'",
        "options": {"flops": "0.4", "eval_data": "test.npz", "gates": ["speedup>=1.5"], "amp": None},
        "seed": 3,
        "model": schema.ModelRecord(file="models/net.onnx", sha256="ab" * 32, opset=20, inputs=(tensor,)),
        "output": schema.ModelRecord(file="net.slim.onnx", sha256="cd" * 32, opset=20, outputs=(tensor,)),
        "budgets": (
            schema.BudgetRecord(
                resource="flops",
                asked="flops <= 0.4 of the original",
                unit="MACs",
                limit=16.3e6,
                original=40.8e6,
                reached=16.2e6,
                met=True,
            ),
        ),
        "before": schema.Cost(macs=40.8e6, params=274e3, file_bytes=1_180_000),
        "after": schema.Cost(macs=16.2e6, params=128e3, file_bytes=590_000),
        "latency": latency(),
        "latency_by_batch": tuple(latency(0.6, batch=n, noisy=n == 8) for n in (1, 8, 32)),
        "node_times": schema.NodeTimes(
            provider="CPUExecutionProvider",
            threads=2,
            batch=1,
            runs=30,
            nodes=tuple(
                schema.NodeTime(name=name, op="MatMul", before_us=10 + i % 9, after_us=None if i == 0 else 6)
                for i, name in enumerate(names)
            ),
        ),
        "evaluation": schema.Evaluation(
            n=500,
            labelled=500,
            before=schema.Accuracy(top1=0.866, top5=0.99),
            after=schema.Accuracy(top1=0.854, top5=0.98),
            agreement=0.95,
        ),
        "groups": tuple(
            schema.GroupRecord(
                name=name,
                size=64,
                kept=64 - 8 * (i % 8),
                alignment=8,
                macs_share=1 / groups,
                approximate="LayerNormalization takes statistics over it" if i == 1 else "",
            )
            for i, name in enumerate(names)
        ),
        "tiles": (
            schema.TileRecord(
                node=NASTY,
                weight="w",
                operator="MatMul",
                form="kernel",
                ratio=0.7,
                map=("####............",) * 16,
                **tile,
            ),
            schema.TileRecord(
                node="/fc",
                weight="v",
                operator="Conv",
                form="dense",
                reason="it is not faster packed",
                map=("#...",),
                **tile,
            ),
        ),
        "orders": (schema.OrderRecord(group="/fc", order=(2, 0, 1, 3)),),
        "frozen": (
            schema.FrozenRecord(name=NASTY, size=9, reasons=(f"Gather '{NASTY}' reads it",), chains=("a → b",)),
            *(schema.FrozenRecord(name=f"n{i}", size=2, reasons=("output 'y' of the model",)) for i in range(5)),
        ),
        "unknown_ops": {"custom::Mystery": 2},
        "certificate": schema.Certificate(batches=(1, 3), max_rel=1e-6, tolerance=1e-4, passed=True),
        "parity": schema.Parity(batches=(1,), outputs=(schema.OutputRecord(name="y", max_abs=1, max_rel=0.1),)),
        "gates": (schema.GateRecord(gate="speedup>=1.5", metric="speedup", bound=1.5, found=1.67, passed=True),),
        "recovery": schema.Recovery(
            samples=768,
            held_out=256,
            error_before=2.0,
            error_after=0.1,
            stages=(schema.RecoveryStage(method="least_squares", kept=True, error_before=2, error_after=0.1),),
            skipped={"/fc": "its bias is shared"},
        ),
        "search": schema.Search(steps=780, seconds=200.0, points=points),
        "training": schema.Training(
            epochs=tuple(
                schema.Epoch(epoch=e, phase=1 + e // 4, loss=2 / e, metric=1 - 0.2 / e, lr=0.1 / e, seconds=60.0)
                for e in range(1, 7)
            ),
            kept_epoch=6,
            metric_name="accuracy",
            batch_size=64,
            precision="float32",
            device="cpu",
            samples=32_020,
            seconds=360.0,
        ),
        "notes": ("The budget is shared out by dsa.", NASTY),
        "warnings": (f"{NASTY} is odd",),
        "passes": (schema.PassRecord(name="import_model", seconds=0.1, nodes_before=0, nodes_after=20),),
        "environment": {"versions": {"onnxruntime": "1.31.1", "torch": None}, "cpu": "AMD EPYC", "cores": 2},
    }
    return Report.model_validate(base | parts)


def failed_report() -> Report:
    """A run that could not meet its budget."""
    return Report(
        command="onnxprune compress net.onnx --flops 0.0001",
        status="failed",
        failure=schema.Failure(
            kind="BudgetError", message=f"out of reach <b> {NASTY}", exit_code=5, during="allocate_budget"
        ),
        model=schema.ModelRecord(file="net.onnx"),
        before=schema.Cost(macs=40.8e6, params=274e3, file_bytes=1_180_000),
        budgets=(
            schema.BudgetRecord(resource="flops", asked="flops <= 0.0001 of the original", unit="MACs", limit=4e3),
        ),
        passes=(schema.PassRecord(name="find_groups", seconds=math.pi),),
    )
