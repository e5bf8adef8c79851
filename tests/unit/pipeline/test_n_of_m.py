"""compress --pattern tiles --block 2:4: every output keeps 2 of each 4 inputs, in dense weights."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bridging import labelled
from graphs import model_of
from onnx import numpy_helper

import onnxprune
from onnxprune.core.errors import InputError, ModelError, UsageError
from onnxprune.core.n_of_m_layer import NOfMLayer
from onnxprune.core.plan import Plan

NET = """g (float[N, 3, 8, 8] x, float[16, 3, 3, 3] a, float[16] ab, float[24, 16, 3, 3] b, float[24] bb,
    float[30, 24, 1, 1] c, float[30] cb, float[30, 8] d, float[8] db) => (float[N, 8] y) {
    h = Conv<pads=[1, 1, 1, 1]>(x, a, ab)
    h1 = Relu(h)
    h2 = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(h1, b, bb)
    h3 = Relu(h2)
    h4 = Conv(h3, c, cb)
    h5 = Relu(h4)
    p = GlobalAveragePool(h5)
    f = Flatten(p)
    y = Gemm(f, d, db)
}"""
CUT = {"b": 1, "c": 1, "d": 0}
"""Weights with groups of inputs, and the axis of these."""


@pytest.fixture
def model(tmp_path, quick_latency):
    path = tmp_path / "net.onnx"
    onnx.save(model_of(NET), path)
    return path


def compress(model, **options):
    return onnxprune.compress(
        model, **({"pattern": "tiles", "block": "2:4", "out": model.with_name("slim.onnx")} | options)
    )


def weights(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def groups_of(weight, axis, m=4):
    """What is not zero, by group: bool [groups, m, rest]; entries beyond the last input are left out."""
    lead = np.moveaxis(weight, axis, 0) != 0
    lead = lead.reshape(len(lead), int(np.prod(lead.shape[1:])))
    whole = len(lead) // m * m
    return lead[:whole].reshape(-1, m, lead.shape[1]), lead[whole:]


def check_zeros(path, n=2, m=4):
    found = weights(path)
    assert found["a"].all()  # three inputs make no group
    for name, axis in CUT.items():
        whole, rest = groups_of(found[name], axis, m)
        assert (whole.sum(axis=1) == n).all()
        assert (rest.sum(axis=0) == min(n, len(rest))).all()


def test_every_output_keeps_two_of_four_inputs_in_dense_weights(model):
    result = compress(model)
    check_zeros(result.path)
    before, after = onnx.load(model), onnx.load(result.path)
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in before.graph.node]
    assert result.report["certificate"]["passed"]
    assert {tile["pattern"] for tile in result.report["tiles"]} == {"2:4"}
    assert {tile["form"] for tile in result.report["tiles"]} == {"dense"}
    assert [(tile["kept"], tile["blocks"]) for tile in result.report["tiles"]] == [(8, 16), (12, 24), (16, 30)]


def test_other_shares_are_kept_alike(model):
    check_zeros(compress(model, block="1:4").path, 1, 4)
    check_zeros(compress(model, block="4:8").path, 4, 8)


def test_the_report_counts_all_macs_and_says_what_sparse_hardware_leaves_out(model):
    report = compress(model).report
    assert report["after"]["macs"] == report["before"]["macs"]
    assert report["after"]["params"] == report["before"]["params"]
    macs = {"a": 64 * 16 * 27, "b": 16 * 24 * 144, "c": 16 * 30 * 24, "d": 240}
    share = sum(macs[name] for name in CUT) / 2 / sum(macs.values())
    note = next(note for note in report["notes"] if "sparse tensor cores" in note)
    assert f"leave out {share:.1%} of the model's MACs" in note
    assert any("1 of 4 layers stay whole: it has fewer inputs than 4 (1)" in note for note in report["notes"])


def test_an_order_of_channels_keeps_more_than_none(model):
    kept = {}
    for permute in (True, False):
        result = compress(model, permute=permute, saliency="magnitude")
        kept[permute] = sum(float(np.abs(weights(result.path)[name]).sum()) for name in CUT)
        moved = any(list(order) != sorted(order) for order in result.plan.tiling.orders.values())
        assert moved == permute
    assert kept[True] > 1.01 * kept[False]


def test_zeros_stay_through_recovery_and_training(model):
    result = compress(model, data=labelled(96), epochs=1, batch_size=32)
    check_zeros(result.path)
    masks = result.plan.tiling.masks()
    for name, weight in weights(result.path).items():
        if name in masks:
            assert not weight[~np.broadcast_to(masks[name], weight.shape)].any()
    assert result.report["training"] is not None
    assert result.report["recovery"] is not None


def test_the_same_run_gives_the_same_bytes_and_a_plan_is_read_as_written(model):
    first = compress(model)
    content = first.path.read_bytes()
    assert compress(model).path.read_bytes() == content
    assert Plan.from_json(first.plan.to_json()).tiling == first.plan.tiling


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flops": 0.5}, "leave --flops out.*only hardware with sparse tensor cores skips them"),
        ({"size": 0.5}, "leave --size out"),
        ({"pattern": "both"}, "Give --pattern tiles; to have fewer channels as well"),
        ({"pattern": "channels"}, "Give --pattern tiles"),
        ({"allocator": "greedy"}, "--allocator greedy does not go with --block 2:4"),
        ({"phases": 2, "data": labelled(32)}, "--phases 2 does not go with --block 2:4"),
        ({"block_sparse": "kernel"}, "--block-sparse kernel does not go with --block 2:4: there is no kernel"),
        ({"block": "4:4"}, "--block 4:4"),
        ({"block": "0:4"}, "--block 0:4"),
        ({"block": "auto"}, "There is no budget to meet"),
    ],
    ids=str,
)
def test_what_does_not_go_with_it_is_refused(model, options, message):
    with pytest.raises(UsageError, match=message):
        compress(model, **options)


def test_a_model_without_groups_of_inputs_says_why(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(
        model_of("g (float[N, 3, 8, 8] x, float[8, 3, 3, 3] w) => (float[N, 8, 6, 6] y) { y = Conv(x, w) }"), path
    )
    with pytest.raises(ModelError, match=r"2 of every 4 inputs: it has fewer inputs than 4 \(1\)"):
        compress(path)


def layer(**changes):
    mask = np.tile([True, False, False, True, True, True], 5).reshape(5, 6).T  # 6 inputs, 5 outputs
    record = {
        "node": "gemm_0", "weight": "w", "operator": "MatMul", "input_axis": 0, "inputs": 6, "outputs": 5, "n": 2,
        "m": 4, "bits": NOfMLayer.pack(mask),
    }  # fmt: skip
    return record | changes, mask


def test_a_layer_is_read_as_written():
    record, mask = layer()
    found = NOfMLayer.from_record(record)
    assert found.to_record() == {**record, "spatial": 2}
    np.testing.assert_array_equal(found.mask(), mask)
    assert found.kept_inputs == 4
    assert NOfMLayer.from_record(record | {"operator": "Conv", "input_axis": 1}).weight_mask().shape == (5, 6, 1, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n": 1}, "must keep 1 of each 4"),
        ({"n": 4}, "4:4"),
        ({"bits": "??"}, "Not a layer"),
        ({"outputs": 50}, "Not a layer"),
        ({"more": 1}, "Not a layer"),
    ],
)
def test_a_record_that_is_no_such_layer_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        NOfMLayer.from_record(layer(**changes)[0])
