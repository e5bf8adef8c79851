"""What a checkpoint belongs to: options, models, data. A run goes on only with the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from onnxprune.bridge import OnnxModule
from onnxprune.core.errors import InputError
from onnxprune.train.options import TrainOptions
from onnxprune.train.samples import Batch, Samples

__all__ = ["check_fingerprint", "fingerprint"]

_FREE = ("checkpoint_seconds", "compile", "device")
"""Options that may change on the way: they say where and how often, not what."""


def fingerprint(
    student: OnnxModule,
    teacher: OnnxModule,
    data: Samples,
    sample: Batch,
    validation: Samples | None,
    options: TrainOptions,
    batch_size: int,
) -> dict[str, Any]:
    """Returns JSON values that tell one run from another.

    Args:
        student: Counts with its operators, and its weights' names and shapes; they change.
        teacher: Counts with all its values.
        data: Counts with its size, and with `sample` where it is stable.
        sample: Some batch of it.
        validation: Counts with its size.
        options: How to train.
        batch_size: Samples per step, over all processes.
    """
    settings = {name: value for name, value in asdict(options).items() if name not in _FREE}
    return {
        "options": {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()},
        "batch size": batch_size,
        "pruned model": _structure(student),
        "original model": _structure(teacher) + _values(teacher),
        "training data": {"samples": len(data), "labels": data.labelled, "first samples": _batch(data, sample)},
        "validation data": None if validation is None else {"samples": len(validation), "labels": validation.labelled},
    }


def check_fingerprint(found: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    """Checks that a checkpoint belongs to this run.

    Args:
        found: That of the checkpoint.
        expected: That of this run.
        where: Names the checkpoint in messages.

    Raises:
        InputError: when it does not; names what differs.
    """
    differing = _differences(found, expected, "")
    if differing:
        raise InputError(
            f"The checkpoint in {where} belongs to another run: {'; '.join(differing)}. Resume with what it was made "
            "with, or remove the folder and start anew."
        )


def _differences(found: Any, expected: Any, name: str) -> list[str]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        names = list(dict.fromkeys((*found, *expected)))
        prefix = "" if name in ("", "options") else f"{name}: "
        return [line for n in names for line in _differences(found.get(n), expected.get(n), f"{prefix}{n}")]
    if found == expected:
        return []
    digest = isinstance(found, str) and isinstance(expected, str) and min(len(found), len(expected)) >= 64
    return [f"another {name}" if digest else f"{name} was {found!r} and is {expected!r}"]


def _structure(module: OnnxModule) -> str:
    state = [(name, tuple(tensor.shape)) for name, tensor in module.state_dict().items()]
    nodes = [(node.op, [t.name for t in node.inputs], [t.name for t in node.outputs]) for node in module.model.nodes]
    return hashlib.sha256(repr((state, nodes)).encode()).hexdigest()


def _values(module: OnnxModule) -> str:
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _batch(data: Samples, sample: Batch) -> str:
    digest = hashlib.sha256()
    for name, array in sample.inputs.items() if data.stable else ():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
