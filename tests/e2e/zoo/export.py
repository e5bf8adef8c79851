"""Exports one architecture to ONNX and checks that onnxruntime computes what PyTorch does.

python tests/e2e/zoo/export.py NAME dynamo|torchscript FILE
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from architectures import ARCHITECTURES
from case import Case

__all__ = ["EXPORTERS", "export"]

EXPORTERS = ("dynamo", "torchscript")
OLD_OPSET = 17
TOLERANCE = 1e-4


def export(name: str, exporter: str, path: Path) -> float:
    """Returns the largest deviation of the exported file from the module, relative to the largest magnitude.

    Args:
        name: An architecture.
        exporter: "dynamo" (the current one) or "torchscript" (the old one, opset 17).
        path: Where the file goes.

    Raises:
        ValueError: when the file does not compute what the module does.
    """
    torch.manual_seed(0)
    torch.backends.mha.set_fastpath_enabled(False)  # the fused encoder layer has no ONNX counterpart
    case = ARCHITECTURES[name]()
    names = [f"input{i}" for i in range(len(case.inputs))]
    whole = path.with_suffix(".tmp")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if exporter == "dynamo":
            torch.onnx.export(
                case.module,
                case.inputs,
                whole,
                dynamo=True,
                input_names=names,
                dynamic_shapes=[dict(dims) for dims in case.dynamic],
                external_data=False,
                verbose=False,
            )
        else:
            torch.onnx.export(
                case.module,
                case.inputs,
                str(whole),
                dynamo=False,
                opset_version=OLD_OPSET,
                input_names=names,
                dynamic_axes={key: dict(dims) for key, dims in zip(names, case.dynamic, strict=True)},
            )
        worst = _deviation(case, whole)
    if not worst <= TOLERANCE:
        raise ValueError(f"the exported file deviates from the module by {worst:.2g}")
    whole.rename(path)
    return worst


def _deviation(case: Case, path: Path) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {spec.name: value.numpy() for spec, value in zip(session.get_inputs(), case.inputs, strict=True)}
    expected = _flat(case.module(*case.inputs))
    found = session.run(None, feeds)
    return max(
        float(np.abs(a.numpy() - b).max() / (np.abs(a.numpy()).max() + 1e-9))
        for a, b in zip(expected, found, strict=True)
    )


def _flat(found: Any) -> list[torch.Tensor]:
    return [found] if isinstance(found, torch.Tensor) else [tensor for tensor in found if tensor is not None]


def main(words: Sequence[str] | None = None) -> None:
    """Exports what the command line names; prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=ARCHITECTURES)
    parser.add_argument("exporter", choices=EXPORTERS)
    parser.add_argument("path", type=Path)
    options = parser.parse_args(words)
    deviation = export(options.name, options.exporter, options.path)
    model = onnx.load(options.path)
    print(json.dumps({"deviation": deviation, "nodes": len(model.graph.node), "opset": model.opset_import[0].version}))


if __name__ == "__main__":
    main()
