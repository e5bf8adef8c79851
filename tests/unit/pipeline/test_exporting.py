"""The public calls on a torch.nn.Module: exported, compared, compressed, and left as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from bridging import convnet, images, labelled
from torch import Tensor, nn

import onnxprune
from onnxprune.bridge import to_torch
from onnxprune.core.errors import UsageError
from onnxprune.runtime import make_session, run

pytestmark = pytest.mark.usefixtures("quick_latency")


@pytest.fixture
def net() -> nn.Module:
    """A module in training mode, so that it shows whether it is put back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = (nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3))
        return nn.Sequential(*body, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5)).train()


def test_a_module_is_compressed_and_comes_back_trainable(net: nn.Module, tmp_path: Path) -> None:
    names = {"input_names": ["x"], "output_names": ["y"]}
    result = onnxprune.compress(
        net, example_inputs=images(2), **names, flops=0.5, data=labelled(64), epochs=1, batch_size=32,
        allocator="global", out=tmp_path / "slim.onnx",
    )  # fmt: skip
    assert net.training
    assert result.path == tmp_path / "slim.onnx"
    assert isinstance(result.model, onnx.ModelProto)
    assert result.report["after"]["macs"] <= 0.5 * result.report["before"]["macs"]
    assert result.report["training"]["epochs"]
    slim = to_torch(result.model)
    x = images(7, seed=1)
    expected = run(make_session(tmp_path / "slim.onnx"), {"x": x})["y"]
    np.testing.assert_allclose(slim(torch.from_numpy(x)).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    assert any(parameter.requires_grad for parameter in slim.parameters())
    report = onnxprune.validate(net, result.model, example_inputs=images(2), **names)
    assert report.before.macs == result.report["before"]["macs"]


def test_a_module_is_inspected_as_its_file_is(net: nn.Module) -> None:
    found = onnxprune.inspect(net, example_inputs=torch.zeros(1, 3, 8, 8))
    assert found.inputs == {"input": ("float32", ("batch", 3, 8, 8))}
    assert [group.size for group in found.groups] == [16, 24]
    assert found.macs == 3 * 16 * 9 * 64 + 16 * 24 * 9 * 36 + 24 * 5


def test_a_module_without_example_inputs_says_what_is_missing(net: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"Sequential is a torch\.nn\.Module.*give example_inputs"):
        onnxprune.compress(net, flops=0.5)


def test_example_inputs_without_a_module_are_refused() -> None:
    with pytest.raises(UsageError, match=r"example_inputs belongs to a torch\.nn\.Module; the model is a ModelProto"):
        onnxprune.inspect(convnet(), example_inputs=images(1))


def test_a_module_where_only_models_go_names_the_exporter(net: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"onnxprune\.bridge\.from_torch"):
        onnxprune.validate(convnet(), net)  # type: ignore[arg-type]


def test_a_module_of_a_class_of_ones_own_takes_its_argument_names() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.gate, self.down = nn.Linear(8, 32), nn.Linear(8, 32), nn.Linear(32, 8)

        def forward(self, states: Tensor) -> Tensor:
            return self.down(torch.sigmoid(self.gate(states)) * self.up(states))

    found = onnxprune.inspect(Gate(), example_inputs={"states": torch.zeros(1, 8)})
    assert list(found.inputs) == ["states"]
    assert [group.size for group in found.groups] == [32]
