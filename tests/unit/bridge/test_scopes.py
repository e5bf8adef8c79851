"""Names with dots, and names that PyTorch would rather not have."""

from __future__ import annotations

import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from onnxprune.bridge import OnnxModule, to_torch
from onnxprune.core.errors import UsageError

PLAIN = ["weight", "body.0.c1.weight", "body.0.c1", "body", "a.b.c.d", "onnx::Conv_12", "x/y:0", "train"]
AWKWARD = ["forward.weight", ".hidden", "tail.", "two..dots", "training.x"]


def _module(names: list[str]) -> OnnxModule:
    """y = x + Σ initializers, each [2] and different."""
    tensors = [numpy_helper.from_array(torch.full((2,), float(i + 1)).numpy(), n) for i, n in enumerate(names)]
    node = helper.make_node("Sum", ["in.put", *names], ["y"])
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("in.put", "y"))
    graph = helper.make_graph([node], "g", [x], [y], tensors)
    return to_torch(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


def test_parameters_and_state_carry_the_exact_names():
    module = _module(PLAIN + AWKWARD)
    assert {n for n, _ in module.named_parameters()} == set(PLAIN + AWKWARD)
    assert set(module.state_dict()) == set(PLAIN + AWKWARD)
    total = sum(range(1, len(PLAIN + AWKWARD) + 1))
    assert module(**{"in.put": torch.zeros(2)}).tolist() == [total, total]


def test_state_loads_strictly():
    module, other = _module(PLAIN + AWKWARD), _module(PLAIN + AWKWARD)
    other.load_state_dict({name: torch.zeros(2) for name in module.state_dict()})
    assert other(torch.ones(2)).tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match=r"Unexpected key.*body\.1"):
        other.load_state_dict({**module.state_dict(), "body.1": torch.zeros(2)})


@pytest.mark.parametrize("name", PLAIN)
def test_functional_call_replaces_a_value_by_name(name):
    module = _module(PLAIN)
    x = torch.zeros(2)
    new = torch.full((2,), 100.0, requires_grad=True)
    found = torch.func.functional_call(module, {name: new}, (x,))
    old = dict(module.named_parameters())[name]
    assert torch.equal(found, module(x) - old + new)
    (grad,) = torch.autograd.grad(found.sum(), new)
    assert grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", PLAIN + AWKWARD)
def test_call_with_replaces_a_value_under_any_name(name):
    module = _module(PLAIN + AWKWARD)
    x = torch.zeros(2)
    new = torch.full((2,), 100.0)
    found = module.call_with({name: new}, {"in.put": x})
    assert torch.equal(found, module(x) - dict(module.named_parameters())[name] + new)


def test_call_with_refuses_a_name_that_the_model_does_not_hold():
    module = _module(PLAIN)
    with pytest.raises(UsageError, match=r"no parameter or buffer called 'in\.put'"):
        module.call_with({"in.put": torch.zeros(2)}, {"in.put": torch.zeros(2)})


def test_moving_to_another_type_reaches_every_scope():
    module = _module(PLAIN + AWKWARD).double()
    assert {p.dtype for p in module.parameters()} == {torch.float64}
    assert module(torch.zeros(2, dtype=torch.float64)).dtype == torch.float64
