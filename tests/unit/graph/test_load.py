"""Loading: what comes in goes out again, and what is no model is refused in one paragraph."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxprune.core.errors import ModelError
from onnxprune.graph import load_model

CONV = """
<ir_version: {ir}, opset_import: ["" : {opset}], producer_name: "maker", producer_version: "1.2", domain: "a.b",
 model_version: 7, doc_string: "about", metadata_props: ["k" : "v", "k2" : "v2"]>
net (float[n,2,4,4] x) => (float[n,3,4,4] y)
<float[3,2,1,1] w = {{1,2,3,4,5,6}}, float[3] b = {{0.5,1,2}}, float[n,3,4,4] h>
{{
  [first] h = Conv<kernel_shape = [1,1]>(x, w, b)
  [second] y = Relu(h)
}}
"""
IF = """
<ir_version: 8, opset_import: ["" : 18]>
net (float[2] x, bool c) => (float[2] y)
<float[2] outer = {1,2}, float[2] both = {3,4}>
{
  z = Add(x, both)
  y = If (c) <
    then_branch = yes () => (float[2] t) <float[2] own = {10,20}> { s = Add(z, outer) t = Add(s, own) },
    else_branch = no () => (float[2] e) <float[2] own = {7,7}> { s = Mul(x, both) e = Sub(s, own) }
  >
}
"""
LOOP = """
<ir_version: 8, opset_import: ["" : 18]>
net (float[2] x, int64 n) => (float[2] y)
<float[2] step = {1,2}, bool go = {1}>
{
  y = Loop (n, go, x) <
    body = b (int64 i, bool c, float[2] v) => (bool c2, float[2] v2) { c2 = Identity(c) v2 = Add(v, step) }
  >
}
"""


def proto_of(text: str) -> onnx.ModelProto:
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model)
    return model


def normal(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without intermediate types, initializers and attributes sorted by name."""

    def normalise(graph: onnx.GraphProto) -> None:
        del graph.value_info[:]
        graph.initializer.sort(key=lambda t: t.name)
        for node in graph.node:
            node.attribute.sort(key=lambda a: a.name)
            for attribute in node.attribute:
                if attribute.type == AttributeProto.GRAPH:
                    normalise(attribute.g)

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    normalise(copy.graph)
    return copy


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "text",
    [
        *(CONV.format(ir=ir, opset=opset) for ir, opset in ((4, 9), (7, 13), (10, 20))),
        CONV.format(ir=onnx.IR_VERSION, opset=onnx.defs.onnx_opset_version()),
        IF,
        LOOP,
    ],
    ids=["opset9", "opset13", "opset20", "newest", "if", "loop"],
)
def test_round_trip_gives_the_same_model(text: str, tmp_path: Path) -> None:
    source = proto_of(text)
    loaded = load_model(write(tmp_path, source.SerializeToString()))
    assert normal(loaded.to_proto()) == normal(source)
    assert normal(loaded.copy().to_proto()) == normal(source)
    assert normal(load_model(source).to_proto()) == normal(source)


def test_round_trip_of_the_shared_models(shared: Path) -> None:
    paths = sorted((shared / "models").glob("*.onnx"))
    assert paths
    for path in paths:
        assert normal(load_model(path).to_proto()) == normal(onnx.load(path))


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    source = proto_of(IF)
    path = write(tmp_path, source.SerializeToString())
    assert load_model(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_model(source).sha256 == hashlib.sha256(source.SerializeToString(deterministic=True)).hexdigest()


def test_a_proto_is_left_as_it_is() -> None:
    source = proto_of(IF)
    before = source.SerializeToString()
    model = load_model(source)
    model.replace("both", np.zeros(2, np.float32))
    assert source.SerializeToString() == before


def test_subgraphs_compute_the_same_after_a_round_trip() -> None:
    source = proto_of(IF)
    model = load_model(source)
    assert list(model.initializers()) == ["both", "outer"]
    feeds = {"x": np.array([1, 2], np.float32)}
    for choice in (True, False):
        feeds["c"] = np.array(choice)
        want = ReferenceEvaluator(source).run(None, feeds)
        np.testing.assert_array_equal(ReferenceEvaluator(model.to_proto()).run(None, feeds), want)


def test_initializers_listed_as_inputs_stay_listed() -> None:
    source = proto_of(CONV.format(ir=8, opset=13))
    listed = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in source.graph.initializer]
    source.graph.input.insert(0, listed[0])
    source.graph.input.append(listed[1])
    model = load_model(source)
    assert [spec.name for spec in model.inputs()] == ["x"]
    model.replace("w", np.ones((2, 2, 1, 1), np.float32))
    proto = model.to_proto()
    assert [info.name for info in proto.graph.input] == ["w", "x", "b"]
    assert [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == [2, 2, 1, 1]


def test_old_files_list_every_initializer_as_input() -> None:
    source = proto_of(CONV.format(ir=8, opset=9))
    source.ir_version = 3
    source.graph.input.extend(
        helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in source.graph.initializer
    )
    model = load_model(source)
    proto = model.to_proto()
    assert proto.ir_version == 3
    assert [info.name for info in proto.graph.input] == ["x", "w", "b"]
    onnx.checker.check_model(proto)


def test_model_local_functions_are_kept() -> None:
    source = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 18, "mine" : 1]>
    net (float[2] x) => (float[2] y) { y = mine.twice(x) }
    <opset_import: ["" : 18], domain: "mine">
    twice (a) => (b) { b = Add(a, a) }
    """)
    model = load_model(source)
    proto = model.to_proto()
    assert proto == source
    assert [f.name for f in model.header.functions] == ["twice"]
    x = np.array([1, 2], np.float32)
    np.testing.assert_array_equal(ReferenceEvaluator(proto).run(None, {"x": x})[0], 2 * x)


def test_what_graphsurgeon_drops_is_kept() -> None:
    source = proto_of(CONV.format(ir=10, opset=20))
    node = source.graph.node[0]
    node.doc_string = "said of the node"
    node.metadata_props.add(key="a", value="b")
    node.domain = "custom"
    node.overload = "variant"
    node.attribute.append(helper.make_attribute("raw", b"\xff\xfe"))
    node.attribute.append(AttributeProto(name="nothing", type=AttributeProto.FLOATS))
    node.attribute.append(
        helper.make_attribute("kind", helper.make_tensor_type_proto(TensorProto.FLOAT, [1]), attr_type=None)
    )
    source.opset_import.add(domain="custom", version=3)
    source.graph.doc_string = "said of the graph"
    source.graph.metadata_props.add(key="g", value="h")
    source.graph.input[0].doc_string = "said of the input"
    source.graph.initializer[0].doc_string = "said of the weight"
    source.graph.input[0].type.denotation = "IMAGE"
    model = load_model(source)
    assert normal(model.copy().to_proto()) == normal(source)
    assert model.opset == 20
    assert model.opset_of("custom") == 3


def test_intermediate_types_are_known_after_loading_and_left_out_of_the_proto() -> None:
    model = load_model(proto_of(CONV.format(ir=10, opset=20)))
    assert model.nodes[0].outputs[0].shape == ["n", 3, 4, 4]
    assert not model.to_proto().graph.value_info


def test_empty_and_repeated_node_names_stay() -> None:
    source = proto_of(CONV.format(ir=8, opset=18))
    for name in ("", "same"):
        for node in source.graph.node:
            node.name = name
        assert [node.name for node in load_model(source).to_proto().graph.node] == [name, name]


def test_nodes_are_put_in_order_when_the_file_is_not() -> None:
    source = proto_of(CONV.format(ir=8, opset=18))
    nodes = list(source.graph.node)
    shuffled = onnx.ModelProto()
    shuffled.CopyFrom(source)
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(reversed(nodes))
    assert normal(load_model(shuffled).to_proto()) == normal(source)


def test_a_long_chain_loads_and_sorts() -> None:
    body = "\n".join(f"t{i + 1} = Relu(t{i})" for i in range(3000))
    source = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> net (float[1] t0) => (float[1] t3000) {{ {body} }}'
    )
    model = load_model(source)
    model.graph.nodes.reverse()
    assert [node.outputs[0].name for node in model.nodes] == [f"t{i + 1}" for i in range(3000)]


@pytest.mark.parametrize(
    "dtype",
    [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.int4, np.float16, np.float64],
)
def test_any_dtype_is_read_and_written(dtype: type) -> None:
    value = np.array([[1, -2, 3]]).astype(dtype)
    source = onnx.helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["w"], ["y"])],
            "g",
            [],
            [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [1, 3])],
            [numpy_helper.from_array(value, "w")],
        ),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 21)],
    )
    model = load_model(source)
    read = model.read("w")
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read.astype(np.float32), value.astype(np.float32))
    model.replace("w", read[:, 1:])
    tensor = model.to_proto().graph.initializer[0]
    assert tensor == numpy_helper.from_array(np.ascontiguousarray(value[:, 1:]), "w")
    assert model.outputs()[0].dtype == np.dtype(dtype)


def test_sparse_initializers_are_read_dense_and_written_sparse() -> None:
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [5.0, 7.0])
    sparse = helper.make_sparse_tensor(values, helper.make_tensor("i", TensorProto.INT64, [2], [1, 3]), [2, 2])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        sparse_initializer=[sparse],
    )
    source = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    model = load_model(source)
    np.testing.assert_array_equal(model.read("w"), np.array([[0, 5], [0, 7]], np.float32))
    assert model.to_proto() == source


def test_sequences_as_inputs_keep_their_type() -> None:
    source = proto_of("""
    <ir_version: 8, opset_import: ["" : 18]>
    net (seq(float[2]) s, int64 i) => (float[2] y) { y = SequenceAt(s, i) }
    """)
    model = load_model(source)
    assert model.inputs()[0].shape is None
    assert model.inputs()[0].dtype is None
    assert model.copy().to_proto() == source


@pytest.mark.parametrize("domain", ["", "com.maker"])
def test_unknown_operators_load(domain: str) -> None:
    source = proto_of(CONV.format(ir=8, opset=18))
    source.graph.node[1].op_type, source.graph.node[1].domain = "Mystery", domain
    source.opset_import.add(domain="com.maker", version=1)
    assert load_model(source).nodes[1].op == "Mystery"


def test_nothing_is_printed_for_odd_dtypes(capfd: pytest.CaptureFixture[str]) -> None:
    source = proto_of(CONV.format(ir=8, opset=18))
    info = helper.make_tensor_value_info("h", TensorProto.BFLOAT16, [1])
    source.graph.value_info.append(info)
    source.graph.initializer.append(helper.make_tensor("f8", TensorProto.FLOAT8E5M2, [1], [1.0]))
    load_model(source).copy().to_proto()
    assert capfd.readouterr() == ("", "")


def refused(source: Path | onnx.ModelProto, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(source)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    for word in words:
        assert word in message


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "missing.onnx", "There is no file", "missing.onnx")
    refused(tmp_path, "is a folder")
    refused(Path("/dev/null"), "not a regular file")
    refused(write(tmp_path, b""), "is empty")


@pytest.mark.parametrize(
    "content", [b"hello world, this is no model", bytes(range(256)) * 8, b"\x00" * 64, b"PK\x03\x04"]
)
def test_refuses_what_is_not_onnx(tmp_path: Path, content: bytes) -> None:
    refused(write(tmp_path, content), "is not an ONNX model")


def test_refuses_a_file_cut_anywhere(tmp_path: Path) -> None:
    whole = proto_of(CONV.format(ir=8, opset=13)).SerializeToString()
    metadata = len(b"r\x07\n\x01k\x12\x01v") + len(b"r\x09\n\x02k2\x12\x02v2")
    for size in range(1, len(whole) - metadata, 3):  # without its last metadata it is still a whole model
        with pytest.raises(ModelError):
            load_model(write(tmp_path, whole[:size]))


def test_refuses_other_versions() -> None:
    source = proto_of(CONV.format(ir=8, opset=13))
    source.opset_import[0].version = 8
    refused(source, "operator set 8", "9 to", "version_converter")
    source.opset_import[0].version = onnx.defs.onnx_opset_version() + 1
    refused(source, f"operator set {onnx.defs.onnx_opset_version() + 1}", "Upgrade the onnx package")
    source.opset_import[0].version = 13
    source.ir_version = onnx.IR_VERSION + 1
    refused(source, "(IR) version")


def test_refuses_empty_graphs() -> None:
    source = proto_of(CONV.format(ir=8, opset=13))
    del source.graph.output[:]
    refused(source, "without outputs")
    del source.graph.node[:]
    refused(source, "without nodes")
    refused(onnx.ModelProto(), "no ir_version", "no graph")


def test_refuses_broken_graphs() -> None:
    source = proto_of(CONV.format(ir=8, opset=13))
    source.graph.node[1].input[0] = "nowhere"
    refused(source, "nowhere")
    source.graph.node[0].input[0] = "y"
    source.graph.node[1].input[0] = "h"
    refused(source, "cycle")


def test_refuses_a_tensor_with_too_few_values() -> None:
    source = proto_of(CONV.format(ir=8, opset=13))
    source.graph.initializer[0].CopyFrom(
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2, 1, 1], raw_data=b"\0" * 20)
    )
    refused(source, "'w'", "24 bytes", "20")
    source.graph.initializer[0].CopyFrom(
        TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3, 2, 1, 1], float_data=[1.0])
    )
    refused(source, "6 values", "holds 1")


def test_refuses_names_that_are_no_text(tmp_path: Path) -> None:
    whole = proto_of(CONV.format(ir=8, opset=13)).SerializeToString()
    refused(write(tmp_path, whole.replace(b"second", b"sec\xffnd")), "name", "not UTF-8")
    refused(write(tmp_path, whole.replace(b"maker", b"mak\xffr")), "producer_name", "not UTF-8")


def test_refuses_an_element_type_that_does_not_exist() -> None:
    source = proto_of(CONV.format(ir=8, opset=13))
    source.graph.output[0].type.tensor_type.elem_type = 99
    refused(source, "99")


def test_a_damaged_file_is_refused_or_works(tmp_path: Path) -> None:
    sources = [proto_of(text).SerializeToString() for text in (CONV.format(ir=10, opset=20), IF, LOOP)]
    rng = np.random.default_rng(0)
    for _ in range(300):
        content = bytearray(sources[rng.integers(3)])
        for _ in range(rng.integers(1, 3)):
            content[rng.integers(len(content))] = rng.integers(256)
        with contextlib.suppress(ModelError):
            load_model(write(tmp_path, bytes(content))).copy().to_proto()
