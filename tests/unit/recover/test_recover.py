"""A pruned net recovered from samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import pytest
from bridging import answers, convnet, gap, images
from graphs import model_of
from pruning import Analysed, analysed, plan_of, random_plan

from onnxprune.core.errors import DataError, UsageError
from onnxprune.core.plan import Plan
from onnxprune.graph import Model, load_model
from onnxprune.groups import prune
from onnxprune.groups.masking import plan_masks, touched
from onnxprune.recover import METHODS, Method, RecoverOptions, RecoveryRecord
from onnxprune.recover.run import recover
from onnxprune.recover.sweep import Calibration

RNG = np.random.default_rng


def _recover(
    item: Analysed, plan: Plan, batches: Sequence[Mapping[str, np.ndarray]], *methods: Method, **limits: int
) -> tuple[Model, Model, RecoveryRecord]:
    """The pruned model before and after, and the record; the last quarter of the batches is held out."""
    masks = plan_masks(item.analysis, plan)
    slim = prune(item.model, item.analysis, plan)
    options = RecoverOptions(methods=methods or METHODS, **limits)
    calibration = Calibration(tuple(batches), max(1, len(batches) * 3 // 4))
    found, record = recover(item.model, slim, calibration, lambda name: touched(item.analysis, masks, name), options)
    onnx.checker.check_model(found.to_proto())
    return slim, found, record


def _image_batches(count: int = 4) -> list[dict[str, np.ndarray]]:
    return [{"x": images(48, seed=i)} for i in range(count)]


def _twin_channels(proto: onnx.ModelProto, weights: Sequence[str], first: int, second: int) -> onnx.ModelProto:
    """Makes output channel `second` of the named initializers a copy of `first`: one of them can go without loss."""
    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            value = np.array(onnx.numpy_helper.to_array(tensor))
            value[second] = value[first]
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    return proto


CHAINS = {
    "conv": """g (float[N,3,8,8] x, float[6,3,3,3] w1, float[6] b1, float[5,6,3,3] w2, float[5] b2)
      => (float[N,5,2,2] y) {
        a = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w1, b1) r = Relu(a) y = Conv(r, w2, b2) }""",
    "gemm": """g (float[N,3] x, float[6,3] w1, float[6] b1, float[6,5] w2) => (float[N,5] y) {
        a = Gemm<transB=1>(x, w1, b1) r = Relu(a) y = Gemm<alpha=0.5>(r, w2) }""",
    "transposed": """g (float[N,3,8,8] x, float[6,3,3,3] w1, float[6] b1, float[6,5,2,2] w2)
      => (float[N,5,12,12] y) { a = Conv(x, w1, b1) r = Relu(a) y = ConvTranspose<strides=[2,2]>(r, w2) }""",
}


@pytest.mark.parametrize("name", CHAINS)
def test_channel_that_another_one_repeats_goes_without_loss(name):
    item = analysed(_twin_channels(model_of(CHAINS[name]), ("w1", "b1"), 1, 4))
    plan = plan_of(item.analysis, {item.group(item.model.nodes[0].name): (0, 1, 2, 3, 5)})
    shape = (64, *[int(n) for n in (item.model.inputs()[0].shape or ())[1:]])
    batches = [{"x": RNG(i).standard_normal(shape).astype(np.float32)} for i in range(4)]
    slim, found, record = _recover(item, plan, batches, "least_squares")
    expected = answers(item.model, batches[0])["y"]
    assert gap(answers(slim, batches[0])["y"], expected) > 0.05
    assert gap(answers(found, batches[0])["y"], expected) < 1e-2  # the ridge of 1e-4 leaves a trace
    assert record.stages[0].kept


def test_projections_of_tokens_are_refitted_with_the_bias_behind_them():
    item = analysed(
        model_of(
            """g (float[N,3,4] x, float[4,8] w1, float[8] b1, float[8,5] w2, float[5] b2) => (float[N,3,5] y) {
              a = MatMul(x, w1)
              b = Add(a, b1)
              r = Relu(b)
              c = MatMul(r, w2)
              y = Add(b2, c)
            }"""
        )
    )
    batches = [{"x": RNG(i).standard_normal((64, 3, 4)).astype(np.float32)} for i in range(4)]
    _, found, record = _recover(item, random_plan(item.analysis), batches, "least_squares")
    assert record.error_after < 0.5 * record.error_before
    assert not np.array_equal(found.read("b2"), item.model.read("b2"))


def test_every_method_helps_a_folded_net():
    item = analysed(convnet())
    plan = random_plan(item.analysis, share=0.75)
    for method in METHODS:
        _, _, record = _recover(item, plan, _image_batches(), method)
        assert record.stages[0].kept, method
        assert record.error_after < record.error_before


def test_all_methods_are_at_least_as_good_as_the_first():
    item = analysed(convnet())
    plan = random_plan(item.analysis, share=0.75)
    _, _, first = _recover(item, plan, _image_batches(), "least_squares")
    slim, found, every = _recover(item, plan, _image_batches())
    assert every.error_after <= first.error_after < 0.5 * every.error_before
    assert [n.name for n in found.nodes] == [n.name for n in slim.nodes]
    assert {k: v.shape for k, v in found.initializers().items()} == {k: v.shape for k, v in slim.initializers().items()}


def test_layer_in_front_of_the_first_cut_is_left_alone():
    item = analysed(convnet())
    plan = random_plan(item.analysis)
    slim, found, record = _recover(item, plan, _image_batches(), "least_squares")
    first = record.stages[0].layers[0]
    assert (first.kept, first.reason) == (False, "sees what the original sees")
    assert np.array_equal(found.read("w1"), slim.read("w1"))


def test_nothing_changes_where_nothing_was_cut():
    item = analysed(convnet())
    slim, found, record = _recover(item, plan_of(item.analysis, {}), _image_batches())
    assert found is slim
    assert all(stage.reason == "no layer gained" for stage in record.stages)


def test_same_samples_give_the_same_weights():
    item = analysed(convnet())
    plan = random_plan(item.analysis)
    (_, a, _), (_, b, _) = (_recover(item, plan, _image_batches(), min_rows=100, rows_per_column=2) for _ in range(2))
    assert all(np.array_equal(a.read(name), b.read(name)) for name in a.initializers())


def test_stage_that_makes_the_outputs_worse_is_taken_back():
    # what goes hardly matters, and the two samples to fit on are unlike those held out
    proto = convnet()
    for tensor in proto.graph.initializer:
        if tensor.name in ("w1", "b1"):
            value = np.array(onnx.numpy_helper.to_array(tensor))
            value[0] *= 1e-3
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    item = analysed(proto)
    plan = plan_of(item.analysis, {item.group("conv_0"): tuple(range(1, 8))})
    batches = [{"x": 30 * images(2)}, {"x": images(48, seed=1)}]
    slim, found, record = _recover(item, plan, batches, "moments")
    (stage,) = record.stages
    assert not stage.kept
    assert stage.reason == "the outputs on held-out samples did not gain"
    assert stage.error_after > stage.error_before == record.error_after
    assert found is slim


def test_layer_above_the_limit_keeps_its_weight_and_says_so():
    item = analysed(convnet())
    plan = random_plan(item.analysis)
    _, _, record = _recover(item, plan, _image_batches(), "least_squares", max_columns=1)
    assert all("more than 1" in layer.reason or layer.kept for layer in record.stages[0].layers)
    assert any("more than 1" in layer.reason for layer in record.stages[0].layers)


def test_shared_weight_is_skipped_with_the_reason():
    item = analysed(
        model_of(
            """g (float[N,4] x, float[6,4] v, float[6] a, float[6,6] w, float[3,6] u, float[3] c) => (float[N,3] y) {
              h = Gemm<transB=1>(x, v, a)
              r = Relu(h)
              s = Gemm<transB=1>(r, w)
              t = Gemm<transB=1>(s, w)
              y = Gemm<transB=1>(t, u, c)
            }"""
        )
    )
    batches = [{"x": RNG(i).standard_normal((64, 4)).astype(np.float32)} for i in range(4)]
    _, _, record = _recover(item, random_plan(item.analysis), batches)
    assert {name: "shares its weight 'w'" in reason for name, reason in record.skipped} == {
        "gemm_2": True,
        "gemm_3": True,
    }


NORMED = """g (float[N,3,8,8] x, float[8,3,3,3] w1, float[8] g1, float[8] s1, float[8] m1, float[8] v1,
   float[6,8,1,1] w2, float[6] g2, float[6] s2, float[6] m2, float[6] v2, float[5,6] wf, float[5] bf)
   => (float[N,5] y) {
  a = Conv<pads=[1,1,1,1]>(x, w1)
  n = BatchNormalization(a, g1, s1, m1, v1)
  r = Relu(n)
  c = Conv(r, w2)
  k = BatchNormalization(c, g2, s2, m2, v2)
  t = Relu(k)
  p = GlobalAveragePool(t)
  f = Flatten(p)
  y = Gemm<transB=1>(f, wf, bf)
}"""


def test_running_statistics_become_those_of_the_pruned_net():
    item = analysed(model_of(NORMED))
    plan = plan_of(item.analysis, {item.group("conv_0"): (0, 2, 3, 6)})
    batches = _image_batches()
    _, found, record = _recover(item, plan, batches, "moments")
    assert record.stages[0].kept
    inputs = np.concatenate([batch["x"] for batch in batches[:3]])
    probe = found.to_proto()
    probe.graph.output.append(onnx.helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, None))
    seen = answers(probe, {"x": inputs})["c"]
    np.testing.assert_allclose(found.read("m2"), seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.read("v2"), seen.var((0, 2, 3)), rtol=1e-4)


def test_every_method_works_with_normalisation_in_the_file():
    item = analysed(model_of(NORMED))
    plan = plan_of(item.analysis, {item.group("conv_0"): (0, 2, 3, 6)})
    _, _, record = _recover(item, plan, _image_batches())
    assert record.error_after < 0.5 * record.error_before
    assert [layer.node for layer in record.stages[2].layers] == [
        "batchnormalization_1",
        "batchnormalization_4",
        "gemm_8",
    ]


def test_half_precision_weights_stay_half_precision():
    proto = model_of(
        """g (float[N,4] x, float[6,4] v, float[6] a, float[3,6] u, float[3] c) => (float[N,3] y) {
          h = Gemm<transB=1>(x, v, a)
          r = Relu(h)
          y = Gemm<transB=1>(r, u, c)
        }"""
    )
    for tensor in proto.graph.initializer:
        half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    item = analysed(proto)
    batches = [{"x": RNG(i).standard_normal((64, 4)).astype(np.float16)} for i in range(4)]
    _, found, record = _recover(item, random_plan(item.analysis), batches)
    assert record.error_after < record.error_before
    assert all(found.read(name).dtype == np.float16 for name in ("v", "u"))


def _damaged(text: str, shape: tuple[int, ...]) -> list[RecoveryRecord]:
    """What recovers a net whose weight `w` was changed: least squares alone, and all methods."""
    model = load_model(model_of(text))
    slim = model.copy()
    slim.replace("w", model.read("w") * RNG(0).uniform(0.5, 1.5, model.read("w").shape).astype(np.float32))
    batches = tuple({"x": RNG(i).standard_normal(shape).astype(np.float32)} for i in range(4))
    return [
        recover(model, slim, Calibration(batches, 3), lambda _: (), RecoverOptions(methods=methods))[1]
        for methods in (METHODS[:1], METHODS)
    ]


@pytest.mark.parametrize("bias", ["8,4", "8,1"])
def test_gemm_whose_bias_differs_from_row_to_row_is_left_alone(bias):
    text = f"g (float[8,6] x, float[6,4] w, float[{bias}] b) => (float[8,4] y) {{ y = Gemm(x, w, b) }}"
    record, _ = _damaged(text, (8, 6))
    assert record.skipped == (("gemm_0", "Gemm 'gemm_0' adds a bias that differs from row to row"),)


def test_layer_that_an_addition_stretches_is_fitted_to_its_own_output():
    text = """g (float[N,2,6] x, float[6,1] w, float[6,8] v) => (float[N,2,8] y) {
      r = MatMul(x, v)
      t = MatMul(x, w)
      y = Add(t, r)
    }"""
    record, _ = _damaged(text, (32, 2, 6))
    assert record.error_after < 1e-4 * record.error_before


def test_normalisation_with_a_computed_scale_is_left_alone():
    text = """g (float[N,6,2,2] x, float[4,6,1,1] w, float[4] s, float[4] b, float[4] m, float[4] v)
      => (float[N,4,2,2] y) {
      e = Exp(s)
      c = Conv(x, w)
      y = BatchNormalization(c, e, b, m, v)
    }"""
    _, record = _damaged(text, (32, 6, 2, 2))
    assert record.error_after < 1e-4 * record.error_before
    assert all("batchnormalization" not in layer.node for stage in record.stages for layer in stage.layers)


def test_one_batch_is_not_enough():
    item = analysed(convnet())
    with pytest.raises(DataError, match="at least two batches"):
        _recover(item, random_plan(item.analysis), _image_batches(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("magic",)}, "no method of recovery called 'magic'"),
        ({"held_out": 1.0}, "held_out"),
        ({"ridges": (0.0,)}, "ridges must be positive"),
        ({"samples": 0}, "samples must be at least 1"),
    ],
)
def test_option_out_of_range_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        RecoverOptions(**options)
