"""Concrete inputs for models with dynamic dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxprune.core.errors import DataError, ModelError
from onnxprune.graph import TensorSpec
from onnxprune.runtime.feeds import choose_feeds, dynamic_dims
from onnxprune.runtime.find_feeds import FeedPair, find_feeds


def spec(name: str, shape: Sequence[int | str | None] | None, dtype: object = np.float32) -> TensorSpec:
    return TensorSpec(name, np.dtype(dtype), None if shape is None else tuple(shape))


def parse(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> g {body}')


def find(model: onnx.ModelProto, *specs: TensorSpec, **kwargs: object) -> FeedPair:
    return find_feeds(model, specs, rng=np.random.default_rng(0), **kwargs)


def shapes(feeds: object) -> dict[str, tuple[int, ...]]:
    assert isinstance(feeds, dict)
    return {name: array.shape for name, array in feeds.items()}


IMAGE = parse(
    "(float[b, 3, h, w] x, float[4, 3, 3, 3] k) => (float[b, 4] y)"
    "{ a = Conv<pads = [1, 1, 1, 1]>(x, k) p = GlobalAveragePool(a) y = Flatten(p) }"
)
KERNEL = spec("k", (4, 3, 3, 3))


def test_dynamic_dims_tells_batch_from_the_rest() -> None:
    dims = dynamic_dims([spec("x", ("b", 3, "h", None)), spec("mask", ("b", "h")), spec("s", (None,))])
    assert dims.batch == ("b", "s[0]")
    assert dims.other == ("h", "x[3]")


def test_dynamic_dims_of_a_static_model_is_empty() -> None:
    assert not dynamic_dims([spec("x", (1, 3)), spec("scalar", ())])


def test_choose_feeds_gives_one_name_one_size() -> None:
    specs = [spec("a", ("b", "t")), spec("m", ("b", 1, "t", "t"), np.bool_), spec("i", ("b", "t"), np.int64)]
    feeds = choose_feeds(specs, batch=2, other=5, rng=np.random.default_rng(0))
    assert shapes(feeds) == {"a": (2, 5), "m": (2, 1, 5, 5), "i": (2, 5)}
    assert feeds["m"].all()
    assert set(np.unique(feeds["i"])) <= {0, 1}
    assert [feeds[n].dtype for n in "ami"] == [np.float32, np.bool_, np.int64]


def test_choose_feeds_draws_a_standard_normal() -> None:
    x = choose_feeds([spec("x", ("b", 10))], batch=10_000, other=None, rng=np.random.default_rng(0))["x"]
    assert abs(float(x.mean())) < 0.02
    assert abs(float(x.std()) - 1) < 0.02


def test_choose_feeds_is_the_same_for_the_same_seed() -> None:
    first, again = (
        choose_feeds([spec("x", ("b", 3))], batch=4, other=None, rng=np.random.default_rng(7)) for _ in range(2)
    )
    np.testing.assert_array_equal(first["x"], again["x"])


def test_sample_rows_are_repeated_to_the_batch() -> None:
    sample = {"x": np.arange(6, dtype=np.float64).reshape(2, 3)}
    feeds = choose_feeds([spec("x", ("b", "t"))], batch=5, other=None, rng=np.random.default_rng(0), sample=sample)
    assert feeds["x"].dtype == np.float32
    np.testing.assert_array_equal(feeds["x"], sample["x"][[0, 1, 0, 1, 0]])


def test_sample_sizes_serve_inputs_without_data() -> None:
    sample = {"x": np.zeros((2, 7), np.float32)}
    specs = [spec("x", ("b", "t")), spec("mask", ("b", "t"), np.int64)]
    feeds = choose_feeds(specs, batch=3, other=None, rng=np.random.default_rng(0), sample=sample)
    assert shapes(feeds) == {"x": (3, 7), "mask": (3, 7)}


def test_sample_of_another_size_gives_way_to_the_size_asked_for() -> None:
    sample = {"x": np.full((2, 7), 9, np.float32)}
    feeds = choose_feeds([spec("x", ("b", "t"))], batch=3, other=4, rng=np.random.default_rng(0), sample=sample)
    assert shapes(feeds) == {"x": (3, 4)}
    assert (feeds["x"] != 9).all()


def test_sample_serves_a_static_batch() -> None:
    sample = {"x": np.arange(3, dtype=np.float32)[:, None]}
    feeds = choose_feeds([spec("x", (2, 1))], batch=7, other=None, rng=np.random.default_rng(0), sample=sample)
    np.testing.assert_array_equal(feeds["x"], [[0], [1]])


@pytest.mark.parametrize(
    ("given", "sample", "said"),
    [
        (spec("x", None), {}, "'x' declares no shape"),
        (TensorSpec("x", None, (1,)), {}, "'x' holds text or is no tensor"),
        (spec("x", ("b", "t")), {}, "'t' is dynamic"),
        (spec("x", ("b", 3)), {"x": np.zeros((2, 4), np.float32)}, r"shape \(2, 4\); the model expects \('b', 3\)"),
        (spec("x", ("b", 3)), {"x": np.zeros(3, np.float32)}, r"shape \(3,\)"),
        (spec("x", ("b", 3), np.int64), {"x": np.zeros((2, 3))}, "is float64; the model expects int64"),
    ],
)
def test_inputs_that_cannot_be_chosen_say_why(given: TensorSpec, sample: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(DataError, match=said):
        choose_feeds([given], batch=2, other=None, rng=np.random.default_rng(0), sample=sample)


def test_find_feeds_changes_batch_and_space_at_once() -> None:
    pair = find(IMAGE, spec("x", ("b", 3, "h", "w")), KERNEL)
    assert shapes(pair.first)["x"] == (2, 3, 32, 32)
    assert shapes(pair.second)["x"] == (3, 3, 64, 64)
    assert (pair.unchanged, pair.note) == ((), "")


def test_find_feeds_searches_the_size_a_model_needs() -> None:
    # Flatten and MatMul fix the area to 8 x 8 after one stride of 2.
    model = parse(
        "(float[b, 3, h, w] x, float[4, 3, 1, 1] k, float[256, 5] d) => (float[b, 5] y)"
        "{ a = Conv<strides = [2, 2]>(x, k) f = Flatten(a) y = MatMul(f, d) }"
    )
    pair = find(model, spec("x", ("b", 3, "h", "w")), spec("k", (4, 3, 1, 1)), spec("d", (256, 5)))
    assert shapes(pair.first)["x"] == (2, 3, 16, 16)
    assert shapes(pair.second)["x"] == (3, 3, 16, 16)
    assert pair.unchanged == ("h", "w")
    assert "h, w is treated as static" in pair.note


def test_find_feeds_of_a_token_model_draws_valid_indices() -> None:
    model = parse("(int64[b, t] tokens, float[2, 4] table) => (float[b, t, 4] y) { y = Gather(table, tokens) }")
    pair = find(model, spec("tokens", ("b", "t"), np.int64), spec("table", (2, 4)))
    assert shapes(pair.first)["tokens"] == (2, 32)
    assert shapes(pair.second)["tokens"] == (3, 64)


def test_find_feeds_of_a_static_model_has_no_second() -> None:
    model = parse("(float[1, 3] x) => (float[1, 3] y) { y = Relu(x) }")
    pair = find(model, spec("x", (1, 3)))
    assert shapes(pair.first) == {"x": (1, 3)}
    assert (pair.second, pair.unchanged, pair.note) == (None, (), "")


def test_find_feeds_of_a_model_that_only_runs_at_batch_one() -> None:
    model = parse("(float[b, 4] x) => (float[2, 2] y) { s = Constant<value_ints = [2, 2]>() y = Reshape(x, s) }")
    pair = find(model, spec("x", ("b", 4)))
    assert shapes(pair.first) == {"x": (1, 4)}
    assert pair.second is None
    assert pair.unchanged == ("b",)
    assert "b is treated as static" in pair.note


def test_find_feeds_tries_real_data_first() -> None:
    sample = {"x": np.random.default_rng(1).standard_normal((1, 3, 20, 24)).astype(np.float32)}
    pair = find(IMAGE, spec("x", ("b", 3, "h", "w")), KERNEL, sample=sample | {"k": np.ones((4, 3, 3, 3), np.float32)})
    assert shapes(pair.first)["x"] == (2, 3, 20, 24)
    np.testing.assert_array_equal(pair.first["x"][1], sample["x"][0])
    assert shapes(pair.second)["x"] == (3, 3, 32, 32)


def test_find_feeds_says_what_was_tried_when_nothing_runs() -> None:
    model = parse("(float[b, t] x) => (float[2, m] y) { s = Constant<value_ints = [2, 1237]>() y = Reshape(x, s) }")
    with pytest.raises(ModelError, match=r"Tried sizes 32, .* for t\. The last failure: onnxruntime cannot run"):
        find(model, spec("x", ("b", "t")))


def test_symbols_written_as_sums_have_the_size_of_the_sum() -> None:
    specs = [spec("ids", ("b", "new"), np.int64), spec("mask", ("b", "past + new")), spec("k", ("b", "past", 4))]
    feeds = choose_feeds(specs, batch=2, other=5, rng=np.random.default_rng(0))
    assert shapes(feeds) == {"ids": (2, 5), "mask": (2, 10), "k": (2, 5, 4)}
    feeds = choose_feeds(specs, batch=2, other=5, rng=np.random.default_rng(0), sizes={"past": 9})
    assert shapes(feeds)["mask"] == (2, 14)


def test_integers_come_from_the_range_asked_for() -> None:
    drawn = choose_feeds(
        [spec("i", (50,), np.int64)], batch=1, other=None, rng=np.random.default_rng(0), integers=(3, 5)
    )
    assert set(np.unique(drawn["i"])) == {3, 4}


CACHE = parse(
    "(float[b, new, 4] x, float[b, past, 4] cache, float[b, all, 1] mask) => (float[b, all, 4] y)"
    "{ k = Concat<axis = 1>(cache, x) y = Mul(k, mask) }"
)


def test_a_size_that_is_the_sum_of_two_others_is_found() -> None:
    specs = [spec("x", ("b", "new", 4)), spec("cache", ("b", "past", 4)), spec("mask", ("b", "all", 1))]
    pair = find(CACHE, *specs)
    for feeds in (pair.first, pair.second):
        found = shapes(feeds)
        assert found["mask"][1] == found["x"][1] + found["cache"][1]
    assert pair.unchanged == ()
    assert all(pair.first[name].shape[1] != pair.second[name].shape[1] for name in ("x", "cache", "mask"))


def test_one_size_that_must_stay_leaves_the_others_dynamic() -> None:
    model = parse(
        "(float[b, t, w] x, float[32, 5] k, float[b, s] z) => (float[b, t, 5] y, float[b, s] n)"
        "{ y = MatMul(x, k) n = Neg(z) }"
    )
    pair = find(model, spec("x", ("b", "t", "w")), spec("k", (32, 5)), spec("z", ("b", "s")))
    assert pair.unchanged == ("w",)
    assert shapes(pair.first)["x"] == (2, 32, 32)
    assert shapes(pair.second)["x"] == (3, 64, 32)
    assert shapes(pair.second)["z"] == (3, 64)


def test_sizes_that_differ_from_one_another_are_found() -> None:
    model = parse(
        "(float[b, t, 16] x, float[b, u, v] z, float[8, 5] k) => (float[b, t, 16] n, float[b, u, 5] y)"
        "{ n = Neg(x) y = MatMul(z, k) }"
    )
    pair = find(model, spec("x", ("b", "t", 16)), spec("z", ("b", "u", "v")), spec("k", (8, 5)))
    assert shapes(pair.first)["z"][2] == 8
    assert pair.unchanged == ("v",)


def test_integers_that_must_not_be_zero_are_found() -> None:
    model = parse(
        "(float[b, 4] x, int64[1] step) => (float[b, k] y)"
        "{ f = Constant<value_ints = [0]>() e = Constant<value_ints = [4]>() a = Constant<value_ints = [1]>()"
        "y = Slice(x, f, e, a, step) }"
    )
    pair = find(model, spec("x", ("b", 4)), spec("step", (1,), np.int64))
    assert pair.first["step"].tolist() == [1]


def test_integers_that_must_be_zero_are_found() -> None:
    model = parse("(int64[b, t] tokens, float[1, 4] table) => (float[b, t, 4] y) { y = Gather(table, tokens) }")
    pair = find(model, spec("tokens", ("b", "t"), np.int64), spec("table", (1, 4)))
    assert not pair.first["tokens"].any()
    assert pair.second is not None
    assert not pair.second["tokens"].any()
