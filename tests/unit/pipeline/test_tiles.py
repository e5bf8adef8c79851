"""Runs of `compress` that cut tiles: budgets, orders, training within tiles, and what a plan repeats."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from bridging import labelled
from graphs import model_of
from onnx import numpy_helper

import onnxprune
from onnxprune.allocate import counts_worth
from onnxprune.core.errors import ModelError, UsageError
from onnxprune.core.plan import Plan
from onnxprune.passes import plan_tiles, use_block_sparse
from onnxprune.runtime import make_session, run
from onnxprune.tiles import SearchOptions

NET = """g (float[N, 3, 8, 8] x, float[16, 3, 3, 3] a, float[16] ab, float[24, 16, 3, 3] b, float[24] bb,
    float[32, 24, 1, 1] c, float[32] cb, float[32, 8] d, float[8] db) => (float[N, 8] y) {
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
TILED = ("conv_0", "conv_2", "conv_4")


@pytest.fixture
def net(tmp_path, quick_latency):
    path = tmp_path / "net.onnx"
    onnx.save(model_of(NET), path)
    return path


@pytest.fixture
def model(net, monkeypatch):
    """The net, on which the search for orders ends early."""
    once = SearchOptions(starts=("sorted",), kicks=1, rounds=10)
    monkeypatch.setattr(plan_tiles, "_QUICK", once)
    monkeypatch.setattr(plan_tiles, "_effort", lambda layers: once)
    return net


@pytest.fixture
def untimed(monkeypatch):
    """Fails where layers are timed, which takes a run of the whole model to begin with."""

    def timing(*_, **__):
        raise AssertionError("layers were timed")

    monkeypatch.setattr(use_block_sparse, "FormTiming", timing)


def _compress(model, **options):
    given = {
        "flops": 0.5,
        "pattern": "tiles",
        "align": 1,
        "out": model.with_name("slim.onnx"),
        "block": "2x4",
        "block_sparse": "never",  # what is faster is measured, and no two runs measure the same
    }
    return onnxprune.compress(model, **(given | options))


def _weights(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def _kept_share(plan, weights):
    """MACs that the plan keeps over those of the whole, by hand."""
    places = {"a": 64, "b": 16, "c": 16, "d": 1}
    masks = plan.tiling.masks()
    shapes = {"a": (16, 3, 3, 3), "b": (24, 16, 3, 3), "c": (32, 24, 1, 1), "d": (32, 8)}
    dense = sum(places[name] * int(np.prod(shape)) for name, shape in shapes.items())
    kept = sum(places[name] * int(np.broadcast_to(masks.get(name, True), weights[name].shape).sum()) for name in places)
    return kept / dense


@pytest.mark.parametrize(("allocator", "share"), [("auto", 0.7), ("auto", 0.4), ("uniform", 0.4), ("knapsack", 0.4)])
def test_tiles_meet_the_budget(model, allocator, share):
    result = _compress(model, flops=share, allocator=allocator)
    kept = _kept_share(result.plan, _weights(result.path))
    assert 0.85 * share <= kept <= share  # blocks of so small a net are coarse
    assert all(
        len(kept) == size for kept, size in zip(result.plan.kept.values(), result.plan.sizes.values(), strict=True)
    )


def test_channels_and_tiles_meet_one_budget(net):
    result = _compress(net, flops=0.3, pattern="both")
    weights = _weights(result.path)
    assert 0.25 <= _kept_share(result.plan, weights) <= 0.3
    assert any(len(kept) < result.plan.sizes[name] for name, kept in result.plan.kept.items())
    assert result.plan.tiling.layers


@pytest.mark.parametrize(
    ("pattern", "allocator"),
    [("tiles", "dsa"), ("both", "dsa"), pytest.param("tiles", "netadapt", marks=pytest.mark.slow)],
)
def test_densities_are_learned(model, pattern, allocator):
    result = _compress(
        model, flops=0.4, pattern=pattern, allocator=allocator, data=labelled(96), epochs=0, search_epochs=2,
        batch_size=16,
    )  # fmt: skip
    assert 0.34 <= _kept_share(result.plan, _weights(result.path)) <= 0.4
    assert result.plan.tiling.layers
    if allocator == "dsa":
        found = result.report["search"]["points"][-1]
        channels = set() if pattern == "tiles" else set(result.plan.sizes)
        layers = {*TILED, "gemm_8"} if pattern == "tiles" else {f"tiles of {name}" for name in (*TILED, "gemm_8")}
        assert channels <= set(found["ratios"]) <= channels | layers
        assert len(found["ratios"]) > len(channels)
        assert found["used"]["flops"] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "global"),
        ({"data": labelled(64), "epochs": 0}, "knapsack"),
        ({"data": labelled(64), "epochs": 1, "batch_size": 32}, "dsa"),
        pytest.param({"data": labelled(64), "epochs": 1, "batch_size": 32, "pattern": "both"}, "dsa",
                     marks=pytest.mark.slow),
    ],
    ids=["no data", "no training", "training", "training both"],
)  # fmt: skip
def test_what_is_given_decides_how_tiles_are_shared_out(model, options, name):
    report = _compress(model, allocator="auto", **options).report
    assert any(f"shared out over tiles by {name}" in note for note in report["notes"])
    assert (report["search"] is not None) == (name == "dsa")


def test_what_a_search_found_for_channels_and_tiles_is_kept_to(model, monkeypatch):
    asked = []

    def listening(problem, counts):
        asked.append(dict(zip(problem.sizes, counts / np.array(list(problem.sizes.values())), strict=True)))
        return counts_worth(problem, counts)

    monkeypatch.setattr("onnxprune.passes.plan_tiles.counts_worth", listening)
    result = _compress(
        model, flops=0.4, pattern="both", allocator="dsa", data=labelled(96), epochs=0, search_epochs=2, batch_size=16
    )
    ratios = result.report["search"]["points"][-1]["ratios"]
    assert asked
    assert {f"tiles of {name}" for name in asked[0]} <= set(ratios)
    for name, share in asked[0].items():
        assert share == pytest.approx(ratios[f"tiles of {name}"], abs=0.25)  # a whole number of three blocks


def test_tiles_that_went_are_zero_also_after_training(model):
    result = _compress(model, data=labelled(96), epochs=1, batch_size=32)
    weights = _weights(result.path)
    for name, mask in result.plan.tiling.masks().items():
        whole = np.broadcast_to(mask, weights[name].shape)
        assert not weights[name][~whole].any()
        assert weights[name][whole].all()
    assert result.report["training"] is not None
    assert result.report["recovery"] is not None


@pytest.mark.parametrize(
    "options",
    [{"data": labelled(96), "epochs": 0}, pytest.param({"pattern": "both"}, marks=pytest.mark.slow)],
    ids=["tiles", "both"],
)
def test_packed_layers_compute_what_dense_ones_do_and_cost_what_was_planned(model, options):
    dense = _compress(model, **options)
    packed = _compress(model, **options, block_sparse="always", out=model.with_name("packed.onnx"))
    proto = onnx.load(packed.path)
    assert {node.op_type for node in proto.graph.node if node.domain == "onnxprune"} >= {"BlockSparseConvRelu"}
    assert {function.domain for function in proto.functions} == {"onnxprune"}
    share = packed.report["after"]["macs"] / packed.report["before"]["macs"]
    if "pattern" not in options:  # odd channel counts end in tiles that are cut short
        assert share == pytest.approx(_kept_share(dense.plan, _weights(dense.path)), rel=1e-6)
    assert 0.42 <= share <= 0.5
    values = [sum(w.size for name, w in _weights(each.path).items() if "index" not in name) for each in (packed, dense)]
    assert values[0] < values[1]
    feeds = {"x": np.random.default_rng(0).standard_normal((3, 3, 8, 8)).astype(np.float32)}
    expected = run(make_session(dense.path, threads=1), feeds)["y"]
    for kernels in (True, False):
        found = run(make_session(packed.path, threads=1, kernels=kernels), feeds)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("form", ["kernel", "body", "densify"])
def test_convolutions_over_one_axis_or_three_are_cut_alike(tmp_path, quick_latency, axes, form):
    image, kernel = ", ".join(["6"] * axes), ", ".join(["3"] * axes)
    pads = ", ".join(["1"] * (2 * axes))
    path = tmp_path / "net.onnx"
    text = f"""g (float[N, 4, {image}] x, float[16, 4, {kernel}] a, float[16] ab, float[8, 16, {kernel}] b)
        => (float[N, 8, {image}] y) {{
        h = Conv<pads=[{pads}]>(x, a, ab)
        h1 = Relu(h)
        y = Conv<pads=[{pads}]>(h1, b)
    }}"""
    onnx.save(model_of(text), path)
    dense, packed = (_compress(path, block_sparse=each, out=path.with_name(f"{each}.onnx")) for each in ("never", form))
    assert {tile["form"] for tile in packed.report["tiles"]} == {form}
    feeds = {"x": np.random.default_rng(0).standard_normal((2, 4, *[6] * axes)).astype(np.float32)}
    expected = run(make_session(dense.path, threads=1), feeds)["y"]
    for kernels in (True, False):
        found = run(make_session(packed.path, threads=1, kernels=kernels), feeds)["y"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert Plan.from_json(packed.plan.to_json()).tiling == packed.plan.tiling


@pytest.mark.usefixtures("untimed")
def test_a_last_tile_that_is_cut_short_is_paid_for(model):
    text = NET.replace(
        "float[32, 8] d, float[8] db) => (float[N, 8] y)", "float[32, 5] d, float[5] db) => (float[N, 5] y)"
    )
    onnx.save(model_of(text), model)
    packed = _compress(model, block_sparse="always", params=0.5, flops=None)
    assert any(layer.outputs == 5 and layer.tile == 4 for layer in packed.plan.tiling.layers)
    # two tiles of four hold five outputs
    stored = sum(w.size for name, w in _weights(packed.path).items() if "index" not in name)
    assert packed.report["after"]["params"] == stored
    assert stored <= 0.5 * packed.report["before"]["params"]


def test_a_packed_model_is_read_again_like_any_other(model):
    packed = _compress(model, block_sparse="always")
    seen = onnxprune.inspect(packed.path)
    assert seen.macs == pytest.approx(packed.report["after"]["macs"])
    again = onnxprune.validate(model, packed.path)
    assert again.after.macs == packed.report["after"]["macs"]


@pytest.mark.slow
def test_what_is_packed_is_what_is_faster(model):
    report = _compress(model, block_sparse="auto").report
    assert report["tiles"]
    for tile in report["tiles"]:
        ratios = {form["form"]: form["ratio"] for form in tile["forms"]}
        assert set(ratios) <= {"kernel", "body", "densify"}
        if tile["form"] in ("kernel", "body"):
            assert ratios[tile["form"]] <= 1 / 0.98
        else:
            assert tile["reason"]


def test_another_order_of_channels_is_part_of_the_certificate(model):
    result = _compress(model)
    assert result.plan.tiling.orders
    assert any(list(order) != sorted(order) for order in result.plan.tiling.orders.values())
    stays = _compress(model, permute=False)
    assert all(list(order) == sorted(order) for order in stays.plan.tiling.orders.values())


def test_an_order_keeps_more_than_none(model):
    saliency = {}
    for permute in (True, False):
        result = _compress(model, permute=permute, allocator="uniform", saliency="magnitude")
        saliency[permute] = sum(float(np.abs(w).sum() / np.abs(w).size) for w in _weights(result.path).values())
    assert saliency[True] > saliency[False]


@pytest.mark.slow
def test_later_phases_cut_within_the_tiles_of_earlier_ones(model):
    plans = []

    def keep(event):
        if getattr(event, "name", "") == "prune_tiles" and type(event).__name__ == "PassFinished":
            plans.append(Plan.from_json((model.parent / "run" / "plan.json").read_text()))

    result = _compress(
        model, flops=0.3, data=labelled(96), epochs=2, phases=2, batch_size=32, run_dir=model.parent / "run",
        on_event=keep,
    )  # fmt: skip
    weights = _weights(result.path)
    assert 0.25 <= _kept_share(result.plan, weights) <= 0.3
    for name, mask in result.plan.tiling.masks().items():
        assert not weights[name][~np.broadcast_to(mask, weights[name].shape)].any()


@pytest.mark.usefixtures("untimed")
def test_the_same_run_gives_the_same_bytes_and_a_plan_is_read_as_written(model):
    first = _compress(model)
    content = first.path.read_bytes()
    assert _compress(model).path.read_bytes() == content
    assert Plan.from_json(first.plan.to_json()).tiling == first.plan.tiling


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_same_tiles(model):
    options = {"data": labelled(96), "epochs": 2, "batch_size": 32, "checkpoint_seconds": 0.0}
    expected = _compress(model, **options).path.read_bytes()
    model.with_name("slim.onnx").unlink()

    def stop(event):
        if type(event).__name__ == "TrainProgress" and event.step == 4:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, onnxprune.OnnxPruneError)):
        _compress(model, **options, on_event=stop)
    seen = []
    result = _compress(model, **options, resume=True, on_event=seen.append)
    assert result.path.read_bytes() == expected
    assert not any(getattr(event, "name", "") == "plan_tiles" for event in seen)


def test_a_model_without_weights_to_cut_says_why(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(
        model_of("g (float[N, 4, 8, 8] x, float[4, 1, 3, 3] w) => (float[N, 4, 6, 6] y) { y = Conv<group=4>(x, w) }"),
        path,
    )
    with pytest.raises(ModelError, match=r"'conv_0': it is a convolution of 4 groups.*--pattern channels"):
        onnxprune.compress(path, flops=0.5, pattern="tiles", out=tmp_path / "slim.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latency": 0.5, "flops": None}, "--latency is met by channels"),
        ({"memory": 0.5}, "--memory is met by channels"),
        ({"allocator": "dsa", "data": None}, "learns on training data"),
        ({"search_carry": True, "data": labelled(32)}, "--search-carry go on from weights"),
        ({"block": "8 by 8"}, "--block 8 by 8: give inputs and outputs"),
        ({"block": "0x8"}, "--block 0x8"),
        ({"pattern": "stripes"}, "stripes"),
        ({"block_sparse": "often"}, "often"),
    ],
    ids=["latency", "memory", "allocator", "carry", "block of words", "empty block", "pattern", "block_sparse"],
)
def test_options_that_tiles_do_not_take_are_refused(model, options, message):
    with pytest.raises(UsageError, match=message):
        _compress(model, **options)
