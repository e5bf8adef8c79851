"""Runs whose tiles go from layers that they make faster, as far as that can carry the budget."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import ml_dtypes
import onnx
import pytest
from graphs import model_of
from onnx import numpy_helper

import onnxprune
from onnxprune.core.budget import Budget
from onnxprune.core.errors import InternalError
from onnxprune.core.stage import Bench
from onnxprune.graph import Model
from onnxprune.passes import plan_tiles
from onnxprune.passes.time_tiles import TimeTiles
from onnxprune.pipeline import compressing, deciding
from onnxprune.runtime import LatencyComparison, Ratio, make_session
from onnxprune.tiles import SearchOptions

NET = """g (float[N, 8, 12] x, float[12, 64] a, float[64, 64] b, float[64, 48] c, float[48, 5] d)
    => (float[N, 8, 5] y) {
    h = MatMul(x, a)
    h1 = Relu(h)
    h2 = MatMul(h1, b)
    h3 = Relu(h2)
    h4 = MatMul(h3, c)
    h5 = Relu(h4)
    y = MatMul(h5, d)
}"""
LARGE = {"matmul_2", "matmul_4"}
ALL = LARGE | {"matmul_0", "matmul_6"}


class ByShape:
    """Tells of layers whose weight has a shape that tiles make them faster.

    Args:
        faster: These shapes.
        whole: Time of the whole model in tiles over the dense one's.
    """

    def __init__(self, faster: set[tuple[int, ...]], whole: float = 0.5) -> None:
        self.faster, self.whole, self.asked = faster, whole, 0

    def __call__(self, models: Mapping[str, Any], feeds: Any, options: Any, /) -> LatencyComparison:
        self.asked += 1
        for model in models.values():
            make_session(model, threads=1)
        dense = models["dense"]
        if isinstance(dense, Model):
            told = {"tiled": self.whole}
        else:
            weight = next(w for w in dense.graph.initializer if len(w.dims) > 1)
            gain = 0.5 if tuple(weight.dims) in self.faster else 1.5
            told = {"kernel": gain, "body": gain, "densify": 1.1}
        ratios = {name: Ratio(told[name], told[name], told[name], 0.0) for name in models if name != "dense"}
        return LatencyComparison({}, ratios, "CPUExecutionProvider", 1, 1)


def compress(tmp_path, monkeypatch, timer, **options):
    """Returns the result of a run that times layers by `timer`, and stays dense in the end."""
    once = SearchOptions(starts=("sorted",), kicks=1, rounds=5)
    monkeypatch.setattr(plan_tiles, "_QUICK", once)
    monkeypatch.setattr(plan_tiles, "_effort", lambda layers: once)
    monkeypatch.setattr(deciding, "TimeTiles", partial(TimeTiles, timer=timer))
    monkeypatch.setattr(compressing, "UseBlockSparse", Kept)
    onnx.save(model_of(NET), tmp_path / "net.onnx")
    given = {"flops": 0.5, "pattern": "tiles", "align": 1, "block": "1x8", "out": tmp_path / "slim.onnx"}
    return onnxprune.compress(tmp_path / "net.onnx", **(given | options))


class Kept(compressing.UseBlockSparse):
    """Computes every tiled layer by its operator, whatever would be faster."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options[:3], when="kernel")


def tiled(result) -> set[str]:
    return {layer.node for layer in result.plan.tiling.layers}


def notes(result) -> str:
    return " ".join(result.report["notes"])


@pytest.mark.usefixtures("quick_latency")
def test_layers_that_tiles_do_not_make_faster_stay_whole(tmp_path, monkeypatch):
    result = compress(tmp_path, monkeypatch, ByShape({(64, 64), (64, 48)}))
    assert tiled(result) == LARGE
    assert "no block-sparse operator is faster alone (2)" in notes(result)
    assert all(budget["met"] for budget in result.report["budgets"])


@pytest.mark.usefixtures("quick_latency")
def test_channels_meet_the_budget_alone_where_tiles_bring_nothing(tmp_path, monkeypatch):
    result = compress(tmp_path, monkeypatch, ByShape(set()), pattern="both")
    assert not tiled(result)
    assert "No layer is computed faster in tiles here" in notes(result)
    assert all(budget["met"] for budget in result.report["budgets"])


@pytest.mark.usefixtures("quick_latency")
def test_channels_pay_for_what_few_layers_cannot(tmp_path, monkeypatch):
    result = compress(tmp_path, monkeypatch, ByShape({(64, 48)}), pattern="both", flops=0.3)
    assert tiled(result) <= {"matmul_4"}
    assert all(budget["met"] for budget in result.report["budgets"])


@pytest.mark.usefixtures("quick_latency")
def test_tiles_go_from_all_layers_where_the_faster_ones_are_too_few(tmp_path, monkeypatch):
    result = compress(tmp_path, monkeypatch, ByShape({(12, 64)}), allocator="uniform")
    assert tiled(result) == ALL
    assert "Tiles make 1 of 4 layers faster here, too few to carry the budget" in notes(result)


@pytest.mark.usefixtures("quick_latency")
def test_the_whole_model_has_the_last_word(tmp_path, monkeypatch):
    result = compress(tmp_path, monkeypatch, ByShape({(64, 64), (64, 48)}, whole=1.2), pattern="both")
    assert not tiled(result)
    assert "the whole model takes 1.20 times the dense one's time in tiles (2)" in notes(result)


@pytest.mark.usefixtures("quick_latency")
@pytest.mark.parametrize("form", ["kernel", "densify", "never"])
def test_a_form_that_is_asked_for_is_not_timed(tmp_path, monkeypatch, form):
    def refuse(*_: Any) -> LatencyComparison:
        raise InternalError("layers were timed")

    assert tiled(compress(tmp_path, monkeypatch, refuse, block_sparse=form, allocator="uniform")) == ALL


@pytest.mark.usefixtures("quick_latency")
def test_channels_meet_the_budget_where_nothing_can_be_timed(tmp_path, monkeypatch):
    model = model_of(NET)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    timer = ByShape({(64, 64)})
    monkeypatch.setattr(deciding, "TimeTiles", partial(TimeTiles, timer=timer))
    result = onnxprune.compress(model, flops=0.5, pattern="both", align=1, block="1x8")
    assert timer.asked == 0
    assert not tiled(result)
    assert "no kernels for bfloat16 on the CPU" in notes(result)
    assert all(budget["met"] for budget in result.report["budgets"])


def test_blocks_are_kept_as_the_budget_makes_likely():
    costs = {"flops": 1000.0, "params": 10.0}
    bench = Bench({"original_costs": costs})
    budgets = (Budget("flops", 0.25), Budget("params", 8.0, relative=False))
    assert TimeTiles(budgets)._density(bench) == 0.25
    assert TimeTiles(budgets, shared=True)._density(bench) == 0.5
    assert TimeTiles((Budget("flops", 0.001),))._density(bench) == 0.1
