"""Whether torch and onnxruntime work here: `python -m onnxprune.cli.probe torch|onnxruntime`.

`onnxprune doctor` runs this in a process of its own, because a library that does not fit the
machine may end the process instead of raising. The answer is one JSON line on stdout.
"""

from __future__ import annotations

import json
import sys

import click

__all__ = ["probe_onnxruntime", "probe_torch"]


def probe_torch() -> dict[str, object]:
    """Returns torch's version, threads and CUDA devices, after one matrix product."""
    import torch

    product = torch.ones(2, 3) @ torch.ones(3, 2)
    if product.tolist() != [[3.0, 3.0], [3.0, 3.0]]:
        raise RuntimeError(f"a matrix product of ones gave {product.tolist()}")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"version": torch.__version__, "threads": torch.get_num_threads(), "cuda_devices": devices}


def probe_onnxruntime() -> dict[str, object]:
    """Returns onnxruntime's providers by short name, and whether a session starts on each."""
    from onnxprune.runtime.providers import available_providers, is_usable, short_name

    return {"providers": {short_name(name): is_usable(name) for name in available_providers()}}


if __name__ == "__main__":
    click.echo(json.dumps({"torch": probe_torch, "onnxruntime": probe_onnxruntime}[sys.argv[1]]()))
