"""Sizes as Python integers: same results as onnxruntime at every size, no tensor where none is needed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bridging import answers, gap
from graphs import model_of
from lean_graphs import SIZES, TRANSFORMER

from onnxprune.bridge import to_torch
from onnxprune.bridge.program import compile_program
from onnxprune.graph import load_model


@pytest.mark.parametrize("shape", [(1, 4, 3, 3), (2, 4, 5, 2), (3, 4, 1, 1)])
def test_arithmetic_on_sizes_equals_onnxruntime(shape):
    proto = model_of(SIZES)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    module = to_torch(proto)
    for name, found in zip(module.output_names, module(torch.from_numpy(x)), strict=True):
        expected = answers(proto, {"x": x})[name]
        assert found.numpy().dtype == expected.dtype
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3), (4, 7)])
def test_a_transformer_runs_at_every_batch_and_length(shape):
    proto = model_of(TRANSFORMER, ("tokens",))
    tokens = np.random.default_rng(0).integers(0, 11, shape)
    found = to_torch(proto)(torch.from_numpy(tokens)).detach().numpy()
    assert gap(found, answers(proto, {"tokens": tokens})["y"]) < 1e-5


def test_sizes_are_python_integers_and_constants_are_worked_out_once():
    module = to_torch(model_of(TRANSFORMER, ("tokens",)))
    program = module._program
    hosted = {name for name, slot in program.slots.items() if slot in program.hosted}
    assert hosted == {"shape", "batch", "batch1", "length", "length1", "width", "split", "joined"}
    assert program.values[program.slots["width"]] == (4,)
    assert not any(program.slots["width"] in step.outputs for step in program.steps)


def test_sizes_are_watched_as_tensors():
    module = to_torch(model_of(TRANSFORMER, ("tokens",)))
    with module.record(["split", "width", "batch"]) as tape:
        module(torch.zeros(2, 3, dtype=torch.int64))
    assert {name: found.tolist() for name, found in tape.items()} == {"split": [2, 3, 2, 4], "width": [4], "batch": 2}
    assert all(found.dtype == torch.int64 for found in tape.values())


def test_a_slice_of_sizes_clamps_as_the_standard_says():
    text = """g (float[A,B,C,D] x) => (int64[R] y) {
      s = Shape(x)
      from = Constant<value = int64[1] {-1}>()
      to = Constant<value = int64[1] {-9223372036854775808}>()
      axis = Constant<value = int64[1] {0}>()
      step = Constant<value = int64[1] {-2}>()
      y = Slice(s, from, to, axis, step)
    }"""
    assert to_torch(model_of(text))(torch.zeros(2, 3, 4, 5)).tolist() == [5, 3]


def test_sizes_follow_the_inputs_to_their_device():
    module = to_torch(model_of(SIZES)).to("meta")
    y, sizes, _ = module(torch.zeros(2, 4, 5, 2, device="meta"))
    assert y.shape == (8, 10)
    assert y.device.type == sizes.device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_element_types_pass_through(dtype):
    module = to_torch(model_of(TRANSFORMER, ("tokens",))).to(dtype)
    y = module(torch.zeros(2, 3, dtype=torch.int64))
    assert y.dtype == dtype
    y.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_the_plain_program_keeps_every_node_and_every_size_a_tensor():
    model = load_model(model_of(TRANSFORMER, ("tokens",)))
    program = compile_program(model, lambda: False)
    assert len(program.steps) == len(list(model.nodes))
    assert not program.hosted
    assert not program.hidden


def test_the_size_of_one_axis_is_an_integer_when_squeeze_names_no_axes():
    text = """g (int64[N,L] tokens) => (int64[L2] y) {
      size = Shape<start=1, end=2>(tokens)
      length = Squeeze(size)
      one = Constant<value = int64 {1}>()
      zero = Constant<value = int64 {0}>()
      longer = Add(length, one)
      y = Range(zero, longer, one)
    }"""
    proto = model_of(text, ("tokens",))
    module = to_torch(proto)
    hosted = {name for name, slot in module._program.slots.items() if slot in module._program.hosted}
    assert {"size", "length", "longer"} <= hosted
    for shape in ((2, 5), (1, 3)):
        tokens = np.zeros(shape, np.int64)
        np.testing.assert_array_equal(module(torch.from_numpy(tokens)), answers(proto, {"tokens": tokens})["y"])


RANGES = """g (float[N,L] x) => (int64[A] hosted, int64[B] computed, int64[C] backwards) {
  shape = Shape(x)
  zero = Constant<value = int64 {0}>()
  one = Constant<value = int64 {1}>()
  minus = Constant<value = int64 {-1}>()
  five = Constant<value = int64 {5}>()
  length = Gather(shape, one)
  limit = Sub(length, five)
  hosted = Range(zero, limit, one)
  total = ReduceSum<keepdims=0>(x)
  whole = Cast<to=7>(total)
  negative = Neg(whole)
  computed = Range(zero, negative, one)
  backwards = Range(zero, length, minus)
}"""


@pytest.mark.parametrize("length", [3, 5, 7])
def test_a_range_whose_limit_lies_in_front_of_its_start_is_empty(length):
    proto, x = model_of(RANGES), np.ones((1, length), np.float32)
    module = to_torch(proto)
    for name, found in zip(module.output_names, module(torch.from_numpy(x)), strict=True):
        np.testing.assert_array_equal(found.numpy(), answers(proto, {"x": x})[name])


def test_a_cast_to_int32_wraps_around():
    text = """g (float[N,L] x) => (int32[R] y) {
      shape = Shape(x)
      end = Constant<value = int64[2] {9223372036854775807, 2147483648}>()
      all = Concat<axis=0>(shape, end)
      y = Cast<to=6>(all)
    }"""
    proto, x = model_of(text), np.zeros((2, 3), np.float32)
    np.testing.assert_array_equal(to_torch(proto)(torch.from_numpy(x)).numpy(), answers(proto, {"x": x})["y"])


def test_a_division_of_sizes_truncates_whatever_the_signs():
    text = """g (float[A,B] x) => (int64[4] y) {
      s = Shape<start=0, end=1>(x)
      minus = Neg(s)
      two = Constant<value = int64[1] {2}>()
      minus_two = Constant<value = int64[1] {-2}>()
      a = Div(s, two)
      b = Div(s, minus_two)
      c = Div(minus, two)
      d = Div(minus, minus_two)
      y = Concat<axis=0>(a, b, c, d)
    }"""
    module = to_torch(model_of(text))
    for rows in (5, 4, 0):
        assert module(torch.zeros(rows, 1)).tolist() == [rows // 2, -(rows // 2), -(rows // 2), rows // 2]
