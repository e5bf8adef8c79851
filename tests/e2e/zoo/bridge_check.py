"""Turns one file into a PyTorch module and measures how far it can be trusted with training.

    python tests/e2e/zoo/bridge_check.py FILE

Three things are measured, in evaluation mode and in the file's own element types:

parity: with a the outputs of onnxruntime's unoptimised graph and b the module's, the largest
    max|a − b| / max|a| over the outputs, for each of two sets of inputs that differ in every
    dynamic dimension (the batch among them);
gradients: L = Σ y² over every element y of every float output, and one backward. A parameter
    is *missing* where no gradient arrives, *broken* where one is not finite, and *still* where
    the gradient is zero throughout, which is right for some and a lost path for others. What the
    bridge does not train at all is *fixed*: floats in more than one entry that are neither
    parameters nor running statistics, such as scales of Resize and tables of sines;
compile: torch.compile with fullgraph and the plainest backend, and the largest deviation of
    what it makes from the module it was made of.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._dynamo.exc import TorchDynamoException

from onnxprune.bridge import OnnxModule, to_torch
from onnxprune.graph import load_model
from onnxprune.runtime import compare, find_feeds, make_session, run, worst_rel

__all__ = ["check_bridge", "fixed_floats"]

Feeds = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
SEED = 0


def check_bridge(path: Path) -> dict[str, Any]:
    """Returns what the zoo's table shows of the module that a file becomes, as JSON values.

    Args:
        path: The exported model.

    Raises:
        OnnxPruneError: when the file cannot be read or run, or an operator has no counterpart.
    """
    model = load_model(path)
    pair = find_feeds(path, model.inputs(), rng=np.random.default_rng(SEED))
    feeds = [pair.first] if pair.second is None else [pair.first, pair.second]
    session = make_session(path, optimize=False, threads=1)
    module = to_torch(model)
    with torch.no_grad():
        parity = [worst_rel(compare(run(session, each), _outputs(module, module, each))) for each in feeds]
    return {
        "parity": parity,
        "sizes": [{name: list(array.shape) for name, array in each.items()} for each in feeds],
        "parameters": len(list(module.parameters())),
        "fixed": fixed_floats(module),
        **_gradients(module, feeds[0]),
        **_compiled(module, feeds[0]),
    }


def _call(function: Any, module: OnnxModule, feeds: Feeds) -> tuple[torch.Tensor, ...]:
    """Returns the outputs of `function`, which is `module` or made of it."""
    found = function(*(torch.from_numpy(feeds[name]) for name in module.input_names))
    return (found,) if isinstance(found, torch.Tensor) else tuple(found)


def _outputs(function: Any, module: OnnxModule, feeds: Feeds) -> dict[str, Any]:
    found = _call(function, module, feeds)
    return {name: tensor.numpy() for name, tensor in zip(module.output_names, found, strict=True)}


def fixed_floats(module: OnnxModule) -> dict[str, int]:
    """Returns name → entries of the float tensors in more than one entry that a module keeps as they are."""
    kept = module.state_dict().keys()
    return {
        name: buffer.numel()
        for name, buffer in module.named_buffers()
        if name not in kept and buffer.is_floating_point() and buffer.numel() > 1
    }


def _gradients(module: OnnxModule, feeds: Feeds) -> dict[str, list[str]]:
    """Returns the names of the parameters that no usable gradient reaches, by what is wrong with it."""
    loss = sum(y.square().sum() for y in _call(module, module, feeds) if y.is_floating_point())
    loss.backward()
    found: dict[str, list[str]] = {"missing": [], "broken": [], "still": []}
    for name, parameter in module.named_parameters():
        gradient = parameter.grad
        if gradient is None:
            found["missing"].append(name)
        elif not bool(gradient.isfinite().all()):
            found["broken"].append(name)
        elif not bool(gradient.any()):
            found["still"].append(name)
    module.zero_grad()
    return found


def _compiled(module: OnnxModule, feeds: Feeds) -> dict[str, Any]:
    """Returns the deviation of the compiled module, or why it does not compile in one piece."""
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    try:
        with torch.no_grad():
            found = _outputs(compiled, module, feeds)
            deviation = worst_rel(compare(_outputs(module, module, feeds), found))
    except (TorchDynamoException, RuntimeError) as error:
        return {"compiles": False, "reason": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"}
    return {"compiles": True, "reason": "", "compiled_deviation": deviation}


def main(words: Sequence[str] | None = None) -> None:
    """Checks the file on the command line; prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    print(json.dumps(check_bridge(parser.parse_args(words).path)))


if __name__ == "__main__":
    main()
