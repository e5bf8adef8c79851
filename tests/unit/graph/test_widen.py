"""bfloat16 models are analysed and certified in float32, and written in bfloat16."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
from graphs import model_of
from onnx import TensorProto, helper, numpy_helper
from pruning import random_plan

from onnxprune.core.run import run_passes
from onnxprune.core.stage import Bench
from onnxprune.graph import Model, load_model, widened
from onnxprune.passes.certify import Certify
from onnxprune.passes.find_groups import FindGroups
from onnxprune.passes.find_shapes import FindShapes
from onnxprune.passes.fold_constants import FoldConstants
from onnxprune.passes.import_model import ImportModel
from onnxprune.passes.prune_channels import PruneChannels
from onnxprune.runtime import Runner, stand_in

NET = """g (float[N,8,5,5] x, float[16,8,3,3] w1, float[16] b, float[12,16,1,1] w2, float[4,12] w3) => (float[N,4] y) {
  a = Conv(x, w1, b)
  r = Relu(a)
  c = Conv(r, w2)
  p = GlobalAveragePool(c)
  f = Flatten(p)
  y = Gemm<transB=1>(f, w3)
}"""


def narrow(text: str = NET) -> onnx.ModelProto:
    """The model with all that is float32 made bfloat16."""
    proto = model_of(text)
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(ml_dtypes.bfloat16), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    return proto


def test_a_float32_model_needs_no_copy() -> None:
    assert widened(load_model(model_of(NET))) is None


def test_the_copy_holds_the_same_numbers_in_float32_and_the_model_keeps_its_own() -> None:
    model = load_model(narrow())
    wide = widened(model)
    assert wide is not None
    assert wide.inputs()[0].dtype == wide.outputs()[0].dtype == np.float32
    for name, constant in model.initializers().items():
        assert constant.dtype == ml_dtypes.bfloat16
        assert wide.read(name).dtype == np.float32
        np.testing.assert_array_equal(wide.read(name), model.read(name).astype(np.float32))
    onnx.checker.check_model(wide.to_proto(), full_check=True)


def test_casts_and_constants_inside_nodes_are_widened() -> None:
    text = """g (float[N,4] x, float[4,4] w) => (float[N,4] y) {
      a = MatMul(x, w)
      b = Cast<to=16>(a)
      c = Constant<value_float=1.0>()
      y = Add(b, c)
    }"""
    proto = narrow(text)
    one = numpy_helper.from_array(np.array(1.0, ml_dtypes.bfloat16))
    proto.graph.node[2].CopyFrom(helper.make_node("Constant", [], ["c"], value=one))
    model = load_model(proto)
    before = model.to_proto().SerializeToString()
    found = stand_in(model)
    assert found.is_widened
    assert found.notes == ()
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    (outputs,) = Runner(found.model).run({"x": x})
    np.testing.assert_allclose(outputs["y"], x @ model.read("w").astype(np.float32) + 1, rtol=1e-5, atol=1e-6)
    assert model.to_proto().SerializeToString() == before


def test_a_bfloat16_model_is_pruned_and_certified_in_float32_and_stays_bfloat16() -> None:
    bench = Bench()
    run_passes([ImportModel(narrow()), FoldConstants(), FindShapes(), FindGroups()], bench)
    assert sorted(group.size for group in bench.artifacts["analysis"].groups) == [12, 16]
    bench.artifacts["plan"] = random_plan(bench.artifacts["analysis"])
    run_passes([PruneChannels(), Certify()], bench)
    certificate, slim = bench.artifacts["certificate"], bench.take("slim", Model)
    assert certificate.tolerance == 1e-4
    assert certificate.worst <= 1e-4
    assert {constant.dtype.name for constant in slim.initializers().values()} == {"bfloat16"}
    assert any("bfloat16" in note for note in bench.notes)
