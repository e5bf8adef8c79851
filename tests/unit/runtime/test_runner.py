"""Models in one session and part after part give the same."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import model_of

from onnxprune.core.errors import DataError
from onnxprune.graph import Model, load_model
from onnxprune.runtime import Runner, find_feeds, measure_parts, observe
from onnxprune.runtime.parts import divide

CHAIN = """g (float[N,48] x, float[48,48] w1, float[48] b1, float[48,48] w2, float[48,32] w3)
=> (float[N,32] y, float[N,48] h) {
  a = MatMul(x, w1)
  b = Add(a, b1)
  c = Relu(b)
  d = MatMul(c, w2)
  h = Add(d, x)
  e = MatMul(h, w1)
  s = Add(e, h)
  y = MatMul(s, w3)
}"""
X = {"x": np.random.default_rng(0).standard_normal((3, 48)).astype(np.float32)}
PART = 10_000


def test_parts_hold_at_most_the_weights_allowed_and_every_node_once() -> None:
    skeleton = load_model(model_of(CHAIN)).skeleton()
    parts = divide(skeleton, PART)
    assert [node.output[0] for part in parts for node in part.nodes] == ["a", "b", "c", "d", "h", "e", "s", "y"]
    sizes = {t.name: skeleton.size(t) for t in skeleton.proto.graph.initializer}
    assert len(parts) == 4
    assert all(sum(sizes.get(name, 0) for name in part.reads) <= PART for part in parts)


def test_a_model_in_parts_gives_what_it_gives_in_one_session() -> None:
    model = load_model(model_of(CHAIN))
    other = {"x": X["x"][:1]}
    whole, parted = Runner(model).run(X, other), Runner(model, PART).run(X, other)
    for a, b in zip(whole, parted, strict=True):
        assert list(a) == list(b) == ["y", "h"]
        for name, value in a.items():
            np.testing.assert_allclose(b[name], value, rtol=1e-5, atol=1e-5)


def test_a_capture_in_parts_sees_every_tensor() -> None:
    model = load_model(model_of(CHAIN))
    (whole,), (parted,) = observe(model, X), observe(model, X, part_bytes=PART)
    assert dict(whole.shapes) == dict(parted.shapes)
    assert dict(whole.dtypes) == dict(parted.dtypes)
    assert set(whole.values) == set(parted.values)


@pytest.mark.parametrize("part_bytes", [None, PART], ids=["whole", "parts"])
def test_several_runs_are_seen_as_one_by_one(part_bytes: int | None) -> None:
    model = load_model(model_of(CHAIN))
    feeds = (X, {"x": X["x"][:1]})
    for seen, each in zip(observe(model, *feeds, part_bytes=part_bytes), feeds, strict=True):
        (alone,) = observe(model, each, part_bytes=part_bytes)
        assert dict(seen.shapes) == dict(alone.shapes)
        assert seen.shapes["y"][0] == len(each["x"])
        assert seen.values.keys() == alone.values.keys()
        assert all(np.array_equal(value, alone.values[name]) for name, value in seen.values.items())


def test_shapes_and_constants_cross_parts() -> None:
    text = """g (float[N,48] x, float[48,48] w1, float[48,48] w2) => (float[M,24] y) {
      s = Shape(x)
      k = Constant<value_ints=[0]>()
      n = Gather(s, k)
      m = Constant<value_ints=[24]>()
      f = Constant<value_ints=[-1]>()
      a = MatMul(x, w1)
      b = MatMul(a, w2)
      to = Concat<axis=0>(f, m)
      y = Reshape(b, to)
    }"""
    model = load_model(model_of(text))
    (whole,), (parted,) = Runner(model).run(X), Runner(model, 1000).run(X)
    np.testing.assert_allclose(parted["y"], whole["y"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(observe(model, X, part_bytes=1000)[0].values["n"], [3])


def test_bodies_read_weights_of_their_own_and_from_outside() -> None:
    body = "h () => (float[N,48] t) { t = MatMul(x, w2) }"
    other = "k () => (float[N,48] t2) { t2 = Neg(x) }"
    text = f"""g (float[N,48] x, float[48,48] w1, float[48,48] w2, float[48,48] w3) => (float[N,48] y) {{
      a = MatMul(x, w1)
      c = Constant<value = bool {{1}}>()
      b = If<then_branch = {body}, else_branch = {other}>(c)
      d = Add(a, b)
      y = MatMul(d, w3)
    }}"""
    model = load_model(model_of(text))
    assert len(divide(model.skeleton(), PART)) > 1
    (whole,), (parted,) = Runner(model).run(X), Runner(model, PART).run(X)
    np.testing.assert_allclose(parted["y"], whole["y"], rtol=1e-5, atol=1e-5)


def test_sequences_stay_inside_one_part() -> None:
    text = """g (float[N,48] x, float[48,48] w1, float[48,48] w2) => (float[N,48] y) {
      i = Constant<value_int=1>()
      q = SequenceConstruct(x, x)
      a = MatMul(x, w1)
      b = SequenceAt(q, i)
      c = Add(a, b)
      y = MatMul(c, w2)
    }"""
    model = load_model(model_of(text))
    parts = divide(model.skeleton(), 1000)
    (home,) = [part for part in parts if any(node.op_type == "SequenceConstruct" for node in part.nodes)]
    assert any(node.op_type == "SequenceAt" for node in home.nodes)
    (whole,), (parted,) = Runner(model).run(X), Runner(model, 1000).run(X)
    np.testing.assert_allclose(parted["y"], whole["y"], rtol=1e-5, atol=1e-5)


def test_a_missing_input_is_named() -> None:
    with pytest.raises(DataError, match="no input 'x'"):
        Runner(load_model(model_of(CHAIN)), PART).run({})


def test_feeds_are_found_for_a_model_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxprune.runtime.runner.PART_BYTES", PART)
    monkeypatch.setattr(Model, "to_proto", None)  # the whole model is not asked for
    model = load_model(model_of(CHAIN))
    pair = find_feeds(model, model.inputs(), rng=np.random.default_rng(0))
    assert pair.second is not None
    assert (pair.first["x"].shape, pair.second["x"].shape) == ((2, 48), (3, 48))


def test_latency_in_parts_is_the_sum_of_the_parts() -> None:
    model = load_model(model_of(CHAIN))
    found = measure_parts({"original": model, "slim": model}, X, part_bytes=PART)
    a, b = found.latencies["original"], found.latencies["slim"]
    assert found.ratios["slim"].value == pytest.approx(b.p50_us / a.p50_us)
    assert found.ratios["slim"].low < found.ratios["slim"].value < found.ratios["slim"].high
    assert "in 4" in found.notes[0]
