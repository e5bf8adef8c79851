"""The drawing of coupled groups: what it shows, and that browsers can read it."""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from functools import cache
from itertools import pairwise

import onnx
import pytest
from graphs import model_of
from pruning import Analysed, analysed

from onnxprune.report.graph_boxes import Box, draw_boxes
from onnxprune.report.graph_svg import graph_svg

SVG = "{http://www.w3.org/2000/svg}"
RESIDUAL = """g (float[N,3,8,8] x, float[16,3,3,3] w1, float[16] b1, float[16,16,3,3] w2, float[16] b2,
   float[4,16,1,1] w3) => (float[N,4,8,8] y) {
  a = Conv<pads=[1,1,1,1]>(x, w1, b1)
  r = Relu(a)
  c = Conv<pads=[1,1,1,1]>(r, w2, b2)
  s = Add(c, r)
  t = Relu(s)
  y = Conv(t, w3)
}"""


def draw(model: onnx.ModelProto | Analysed) -> ET.Element:
    """Returns the root of a model's drawing."""
    item = analysed(model) if isinstance(model, onnx.ModelProto) else model
    shares = dict.fromkeys(item.analysis.sizes, 0.5)
    return ET.fromstring(graph_svg(item.model, item.analysis, title="net.onnx", macs_share=shares))


def boxes(text: str) -> dict[str, Box]:
    """Returns the boxes of a model's drawing by name."""
    item = analysed(model_of(text))
    return {box.name: box for box in draw_boxes(item.model, item.analysis).boxes}


def chain_of(count: int) -> onnx.ModelProto:
    """Returns a model with `count` convolutions in a row, each followed by an activation."""
    steps = "\n".join(f"c{i} = Conv(r{i}, w{i})\nr{i + 1} = Relu(c{i})" for i in range(count))
    weights = ", ".join(f"float[4,{4 if i else 3},1,1] w{i}" for i in range(count))
    return model_of(f"g (float[N,3,2,2] r0, {weights}) => (float[N,4,2,2] r{count}) {{ {steps} }}", ["r0"])


@cache
def chain(count: int) -> Analysed:
    """Returns the analysis of `chain_of`, which takes longer than the drawing."""
    return analysed(chain_of(count))


def words(root: ET.Element) -> list[str]:
    """Returns every text that the drawing shows."""
    return ["".join(found.itertext()) for found in root.iter(f"{SVG}text")]


def test_drawing_shows_boxes_badges_and_a_legend():
    shown = words(draw(model_of(RESIDUAL)))
    for part in ("net.onnx", "conv_0", "Conv · Relu", "Add · Relu", "input", "x", "output", "y", "16", "50.0 %"):
        assert part in shown
    assert shown.count("1") == 5  # two boxes write the group, two read it, and the legend has it


def test_boxes_know_which_groups_they_write_and_read():
    found = boxes(RESIDUAL)
    assert {name: (box.writes, box.reads) for name, box in found.items()} == {
        "x": ((), ()),
        "conv_0": ((1,), ()),
        "conv_2": ((1,), (1,)),
        "add_3": ((), ()),
        "conv_5": ((), (1,)),
        "y": ((), ()),
    }


def test_tooltips_give_shapes_groups_and_reasons():
    found = boxes(RESIDUAL)
    said = "\n".join(found["conv_0"].said)
    for part in (
        "Conv 'conv_0'",
        "writes group 1 (conv_0, 16 channels)",
        "3 channels stay: conv_0 ← input 'x' of the model",
        "Relu 'relu_1'",
        "gives r [?, 16, 8, 8]",
    ):
        assert part in said
    assert "keeps 3 channels of conv_0: input 'x' of the model" in found["x"].said
    assert "keeps 4 channels of conv_5: output 'y' of the model" in found["y"].said


def test_wires_carry_the_groups_of_their_tensors():
    item = analysed(model_of(RESIDUAL))
    drawing = draw_boxes(item.model, item.analysis)
    carried = {
        (drawing.boxes[w.source].name, drawing.boxes[t].name): w.groups for w in drawing.wires for t in w.targets
    }
    assert carried == {
        ("x", "conv_0"): (),
        ("conv_0", "conv_2"): (1,),
        ("conv_0", "add_3"): (1,),
        ("conv_2", "add_3"): (1,),
        ("add_3", "conv_5"): (1,),
        ("conv_5", "y"): (),
    }


def test_box_whose_parameters_all_stay_is_grey_and_says_why():
    text = """g (float[N,5,12] x, float[12,16] w1, float[16] s, float[16] b, float[16,24] w2, float[24,4] w3)
       => (float[N,5,4] y) {
      a = MatMul(x, w1)
      n = LayerNormalization<axis=-1>(a, s, b)
      h = MatMul(n, w2)
      y = MatMul(h, w3)
    }"""
    found = boxes(text)
    assert {name for name, box in found.items() if box.stays} == {"matmul_0", "layernormalization_1"}
    reason = "LayerNormalization 'layernormalization_1' takes statistics over this axis"
    assert f"  16 channels stay: matmul_0 → {reason}" in found["matmul_0"].said
    assert f"  keeps 16 channels of matmul_0: {reason}" in found["layernormalization_1"].said
    assert sum("stays" in group.get("class", "") for group in draw(model_of(text)).iter(f"{SVG}g")) == 2


def test_activation_made_of_several_operators_shares_the_box_before_it():
    text = """g (float[N,3,6,6] x, float[8,3,1,1] w, float[8,8,1,1] v, float[2,8,1,1] u) => (float[N,2,6,6] y) {
      a = Conv(x, w)
      sa = Sigmoid(a)
      b = Mul(a, sa)
      c = Conv(b, v)
      d = Tanh(b)
      e = Mul(c, d)
      y = Conv(e, u)
    }"""
    found = boxes(text)
    assert found["conv_0"].titles == ("Conv", "Sigmoid", "Mul")
    # what two boxes read stays apart
    assert [found[name].titles for name in ("conv_3", "tanh_4", "mul_5")] == [("Conv",), ("Tanh",), ("Mul",)]


def test_computations_of_shapes_are_hidden():
    text = """g (float[N,6,4] x, float[4,8] w, float[48,3] v) => (float[N,3] y) {
      a = MatMul(x, w)
      shape = Shape(x)
      first = Constant<value_ints=[0]>()
      n = Gather(shape, first)
      rest = Constant<value_ints=[48]>()
      target = Concat<axis=0>(n, rest)
      r = Reshape(a, target)
      y = MatMul(r, v)
    }"""
    titles = [title for box in boxes(text).values() for title in box.titles]
    assert titles == ["input", "MatMul", "Reshape", "MatMul", "output"]


def test_operator_without_a_rule_has_a_box_that_keeps_channels():
    text = """g (float[2,3,6,6] x, float[8,3,1,1] w, float[4,8,1,1] v) => (float[2,4,6,6] y) {
      a = Conv(x, w)
      b = my.Thing(a)
      y = Conv(b, v)
    }"""
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18, "my": 1]>\n' + text)
    plain = model_of(text.replace("my.Thing", "Relu"))
    model.graph.initializer.extend(plain.graph.initializer)
    del model.graph.input[1:]
    model.graph.node[1].name = "odd"
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, [2, 8, 6, 6]))
    item = analysed(model)
    (box,) = [box for box in draw_boxes(item.model, item.analysis).boxes if box.name == "odd"]
    assert "Thing 'odd' has no axis rule" in " ".join(box.said)


def test_names_with_markup_and_control_signs_are_shown_as_they_are():
    model = model_of(RESIDUAL)
    model.graph.node[0].name = "<b>&\"'\x01"
    assert "<b>&\"'\N{REPLACEMENT CHARACTER}" in words(draw(model))


def test_file_needs_nothing_from_outside():
    item = analysed(model_of(RESIDUAL))
    text = graph_svg(item.model, item.analysis, title="net.onnx", macs_share={})
    assert re.findall(r"(?:href|src|url|@import|<script)", text) == []
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme: dark" in text


def test_same_model_gives_the_same_file():
    first, second = (analysed(model_of(RESIDUAL)) for _ in range(2))
    texts = [graph_svg(i.model, i.analysis, title="net.onnx", macs_share={}) for i in (first, second)]
    assert texts[0] == texts[1]


def test_groups_of_the_same_colour_differ_in_shape_and_number():
    root = draw(chain_of(20))
    marks = [mark for mark in root.iter(f"{SVG}rect") if mark.get("class", "").startswith("mark")]
    looks = {(mark.get("class"), mark.get("rx")) for mark in marks}
    assert len(looks) == 18  # six colours in three shapes
    assert {str(number) for number in range(1, 20)} <= set(words(root))


def test_model_without_groups_says_so():
    assert "No channel can be pruned." in words(draw(chain_of(1)))


@pytest.mark.parametrize("count", [1, 500])
def test_boxes_lie_inside_the_page_and_apart(count):
    root = draw(chain(count))
    graph = root.findall(f"{SVG}g")[-1]
    left, top = map(float, re.findall(r"[0-9.]+", graph.get("transform", "")))
    places = [
        tuple(float(rect.get(key, "nan")) for key in ("x", "y", "width", "height"))
        for rect in graph.iter(f"{SVG}rect")
        if rect.get("class") == "box"
    ]
    assert len(places) == count + 2
    width, height = float(root.get("width", "nan")), float(root.get("height", "nan"))
    assert all(x >= 0 and left + x + w <= width and y >= 0 and top + y + h <= height for x, y, w, h in places)
    rows = sorted(places, key=lambda place: place[1])
    assert all(below[1] >= above[1] + above[3] for above, below in pairwise(rows))


def test_thousand_operators_are_drawn_within_seconds():
    item = chain(500)
    started = time.perf_counter()
    text = graph_svg(item.model, item.analysis, title="net.onnx", macs_share={})
    assert time.perf_counter() - started < 3
    assert len(text) < 2_000_000
