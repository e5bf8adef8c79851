"""Modules of the user's as ONNX models: same outputs, the module as it was, and refusals with reasons."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from onnxprune.bridge import from_torch, to_torch
from onnxprune.core.errors import CertificateError, DataError, ModelError, UsageError
from onnxprune.core.events import Event
from onnxprune.runtime import make_session, run

PARITY = 1e-5


class Net(nn.Module):
    """A convolution whose normalisation the exporter folds, dropout, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(8, 5)

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(self.drop(torch.relu(self.bn(self.conv(image)))).mean((2, 3)))


class Two(nn.Module):
    """Arguments by position and by name, one of them with a default; a mapping with a tuple in it comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)

    def forward(self, tokens: Tensor, scale: float = 2.0, *, mask: Tensor | None = None) -> dict[str, Any]:
        states = self.embed(tokens) * scale
        masked = states if mask is None else states * mask[..., None]
        return {"states": masked, "sums": (masked.sum(-1), None)}


class FixedBatch(nn.Module):
    """Gives one row for each sample that it was traced with."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(int(x.shape[0]), -1).cumsum(1) * int(x.shape[0])


class OnlyTwo(nn.Module):
    """Takes two samples, no more and no fewer."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] != 2:
            raise ValueError("two samples, please")
        return x * 2


def _names(values: Any) -> list[str]:
    return [value.name for value in values]


def _image(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_outputs_equal_the_module_at_other_batches() -> None:
    net = Net().eval()
    model = from_torch(net, _image(), output_names=["logits"])
    assert (_names(model.graph.input), _names(model.graph.output)) == (["image"], ["logits"])
    session = make_session(model)
    for count in (1, 5):
        found = run(session, {"image": _image(count).numpy()})["logits"]
        np.testing.assert_allclose(found, net(_image(count)).detach().numpy(), rtol=PARITY, atol=PARITY)


def test_a_module_that_writes_into_its_input_and_counts_is_left_as_it_was() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x.add_(1).relu_() * 2

    net, given = Counts(), torch.zeros(2, 3)
    model = from_torch(net, given)
    assert torch.equal(given, torch.zeros(2, 3))
    assert net.calls.item() == 0
    found = run(make_session(model), {"x": np.full((1, 3), 2.0, np.float32)})["output"]
    assert found.tolist() == [[6.0] * 3]


def test_the_way_back_computes_the_same() -> None:
    net = Net().eval()
    back = to_torch(from_torch(net, _image()))
    torch.testing.assert_close(back(_image()), net(_image()), rtol=PARITY, atol=PARITY)
    assert dict(back.named_parameters())["fc.weight"].shape == (5, 8)


def test_the_module_and_random_generators_stay_as_they_were() -> None:
    net = Net().train()
    net.bn.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.random.get_rng_state()
    from_torch(net, _image())
    assert (net.training, net.bn.training, net.drop.training) == (True, False, True)
    assert "forward" not in vars(net)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.backends.mha.get_fastpath_enabled()
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_failed_export_leaves_the_module_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    class Eigen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.eig(x)[0].abs()

    net = Eigen().train()
    with pytest.raises(ModelError, match=r"torchscript.*linalg_eig.*--exporter dynamo"):
        from_torch(net, torch.eye(3)[None])
    assert net.training
    assert "forward" not in vars(net)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("exporter", ["torchscript", pytest.param("dynamo", marks=pytest.mark.slow)])
def test_arguments_by_name_and_nested_outputs_keep_their_names(exporter: str) -> None:
    if exporter == "dynamo":
        pytest.importorskip("onnxscript", reason="the dynamo exporter needs it")
    dims = {0: "batch", 1: "sequence"}
    given = {"mask": np.ones((2, 4), np.float32), "tokens": np.arange(8).reshape(2, 4)}
    model = from_torch(Two(), given, dynamic={"tokens": dims, "mask": dims}, exporter=exporter)
    assert _names(model.graph.input) == ["tokens", "mask"]
    assert _names(model.graph.output) == ["states", "output1"]
    assert "embed.weight" in _names(model.graph.initializer)
    assert run(make_session(model), {"tokens": np.ones((3, 7), np.int64), "mask": np.ones((3, 7), np.float32)})[
        "states"
    ].shape == (3, 7, 6)


def test_inputs_of_another_length_stay_fixed() -> None:
    class Table(nn.Module):
        def forward(self, x: Tensor, table: Tensor) -> Tensor:
            return x @ table

    model = from_torch(Table(), (torch.ones(2, 4), torch.ones(4, 3)))
    dims = [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.input]
    assert dims == [["batch", 4], [4, 3]]


def test_sizes_are_fixed_where_asked() -> None:
    model = from_torch(OnlyTwo(), torch.ones(2, 3), dynamic={})
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [2, 3]


def test_half_precision_is_held_to_its_own_accuracy() -> None:
    model = from_torch(nn.Linear(64, 8).half(), torch.randn(2, 64, generator=torch.Generator().manual_seed(0)).half())
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16


def test_an_input_that_is_not_used_is_told() -> None:
    class One(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + 1

    events: list[Event] = []
    model = from_torch(One(), (torch.ones(2, 3), torch.ones(2, 3)), on_event=events.append)
    assert _names(model.graph.input) == ["x"]
    assert "does not use y" in events[0].text  # type: ignore[union-attr]


def test_what_tracing_fixed_is_told_with_its_line() -> None:
    class Branch(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if bool(x.sum() > 0) else x * 3

    events: list[Event] = []
    from_torch(Branch(), torch.ones(2, 3), on_event=events.append)
    (event,) = events
    assert "test_from_torch.py, line" in event.text  # type: ignore[union-attr]


def test_a_file_that_fixes_the_batch_is_refused() -> None:
    with pytest.raises(CertificateError, match=r"FixedBatch.*4 samples.*--exporter dynamo"):
        from_torch(FixedBatch(), torch.ones(2, 3))


def test_a_file_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    exporting = sys.modules["onnxprune.bridge.from_torch"]
    export = exporting.export

    def spoilt(*arguments: Any) -> onnx.ModelProto:
        model = export(*arguments)
        bias = next(tensor for tensor in model.graph.initializer if tensor.name == "fc.bias")
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.5, bias.name))
        return model

    monkeypatch.setattr(exporting, "export", spoilt)
    with pytest.raises(CertificateError, match=r"'output' differs by [\d.]+ of the largest value"):
        from_torch(Net(), _image())


def test_a_module_for_one_batch_alone_says_how_to_fix_it() -> None:
    with pytest.raises(DataError, match=r"two samples, please.*--fixed-batch"):
        from_torch(OnlyTwo(), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("given", "names", "error", "said"),
    [
        ((), None, UsageError, "is empty"),
        ((_image(), _image()), None, UsageError, "takes 1 by position"),
        ({"picture": _image()}, None, UsageError, "'picture'; Net.forward takes image"),
        ([[1.0]], None, UsageError, "of type list; expected a tensor or an array"),
        (_image(), ["a", "b"], UsageError, "there are 1 example inputs"),
        (_image(), ["output"], UsageError, "'output' would name two"),
        (torch.ones(2, 4, 6, 6), None, DataError, "Net fails on image"),
        (np.ones((2, 3, 6, 6)), None, DataError, "torch.float64"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    given: Any, names: list[str] | None, error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as caught:
        from_torch(Net(), given, input_names=names)
    assert said in str(caught.value)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Expected a torch\.nn\.Module, found builtin"):
        from_torch(torch.relu, torch.ones(1))  # type: ignore[arg-type]


def test_a_missing_onnxscript_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UsageError, match=r"onnxprune\[torch-export\]"):
        from_torch(Net(), _image(), exporter="dynamo")


@pytest.mark.parametrize(
    ("dynamic", "said"),
    [
        ({"picture": {0: "batch"}}, "an input 'picture'; there are image"),
        ({"image": {7: "far"}}, "axis 7"),
        ({"image": {0: "side", 2: "side"}}, "sizes 2, 6"),
    ],
)
def test_dynamic_dimensions_that_do_not_fit_are_refused(dynamic: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        from_torch(Net(), _image(), dynamic=dynamic)
