"""After one backward pass every parameter that leads to an output has a finite gradient, whatever the graph.

Random graphs have dead branches; what only these read has no gradient, and is asked to have none.
"""

from __future__ import annotations

import onnx
import pytest
import torch
from bridging import convnet
from random_graphs import random_model

from onnxprune.bridge import OnnxModule, to_torch
from onnxprune.graph import load_model


def _inputs(module: OnnxModule, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for spec in module.model.inputs():
        shape = [size if isinstance(size, int) and size > 0 else 4 for size in spec.shape or ()]
        integers = spec.dtype.kind in "iu"
        found[spec.name] = (
            torch.randint(0, 2, shape, generator=generator) if integers else torch.randn(shape, generator=generator)
        )
    return found


def _alive(module: OnnxModule) -> set[str]:
    """Returns the tensors that some output is computed from."""
    alive = set(module.output_names)
    for node in reversed(module.model.nodes):
        if any(tensor.name in alive for tensor in node.outputs):
            alive.update(tensor.name for tensor in node.inputs if tensor.name)
    return alive


def _without_gradient(proto: onnx.ModelProto, seed: int) -> dict[str, str]:
    """Returns parameter → what is wrong with its gradient after a backward pass of the sum of squared outputs."""
    module = to_torch(load_model(proto))
    found = module.call_with({}, _inputs(module, seed))
    outputs = found if isinstance(found, tuple) else (found,)
    sum((y.square().sum() for y in outputs if y.is_floating_point()), torch.zeros(())).backward()
    wrong, alive = {}, _alive(module)
    for name, parameter in module.named_parameters():
        if (parameter.grad is None) is (name in alive):
            wrong[name] = "no gradient" if name in alive else "a gradient, but no way to an output"
        elif parameter.grad is None:
            continue
        elif not bool(parameter.grad.isfinite().all()):
            wrong[name] = "not finite"
    return wrong


def test_every_weight_of_a_convolutional_net_learns():
    assert _without_gradient(convnet(), 0) == {}


@pytest.mark.parametrize("seed", range(12))
def test_every_weight_of_a_random_graph_learns(seed):
    assert _without_gradient(random_model(seed), seed) == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 200))
def test_every_weight_of_many_random_graphs_learns(seed):
    assert _without_gradient(random_model(seed), seed) == {}
