"""Calls of model-local functions and branches that are always taken become plain nodes.

What lies inside a function or a branch is out of reach of the axis algebra; laid open, it is
pruned like everything else.
"""

from __future__ import annotations

import onnx
import onnx.inliner
import onnx_graphsurgeon as gs
from onnx import TensorProto

from onnxprune.graph.edit import all_names, drop_dead, drop_nodes, fresh_name, set_input, subgraphs
from onnxprune.graph.model import Model
from onnxprune.graph.origin import local_initializers
from onnxprune.graph.values import read_values

__all__ = ["inline_branches", "inline_functions"]

_BRANCHES = ("else_branch", "then_branch")


def inline_functions(proto: onnx.ModelProto) -> None:
    """Replaces calls of local functions by their bodies, in place; weights are neither copied nor read.

    Functions that need another version of an operator set than the model stay.
    """
    light = onnx.ModelProto(ir_version=proto.ir_version, functions=proto.functions, opset_import=proto.opset_import)
    for field, value in proto.graph.ListFields():
        if field.name in ("name", "doc_string"):
            setattr(light.graph, field.name, value)
        elif field.name not in ("initializer", "sparse_initializer"):
            getattr(light.graph, field.name).extend(value)
    # names alone, so that none of them is given to what comes out of a function
    light.graph.initializer.extend(
        TensorProto(name=t.name, data_type=TensorProto.FLOAT) for t in proto.graph.initializer
    )
    inlined = onnx.inliner.inline_local_functions(light)
    del proto.graph.node[:], proto.functions[:], proto.opset_import[:]
    proto.graph.node.extend(inlined.graph.node)
    proto.functions.extend(inlined.functions)
    proto.opset_import.extend(inlined.opset_import)


def inline_branches(model: Model) -> list[str]:
    """Replaces each If of the main graph whose condition is an initializer by the branch it takes.

    Returns:
        Names of the If nodes, or of their first outputs where they have none.
    """
    graph, done = model.graph, []
    while found := next((node for node in graph.nodes if _decided(node)), None):
        done.append(str(found.name or found.outputs[0].name))
        _open(graph, found)
    if done:
        drop_dead(graph)
    return done


def _decided(node: gs.Node) -> bool:
    return node.op == "If" and node.domain in (None, "", "ai.onnx") and isinstance(node.inputs[0], gs.Constant)


def _open(graph: gs.Graph, node: gs.Node) -> None:
    taken = bool(read_values(node.inputs[0]._values).reshape(-1)[0])
    branch = node.attrs.pop(_BRANCHES[taken])
    place = next(i for i, other in enumerate(graph.nodes) if other is node)
    given = list(node.outputs)
    drop_nodes(graph, [node])  # with the branch that is not taken
    _rename(graph, branch)
    inner = {id(n) for n in branch.nodes}
    returned = {t.name for part in (graph, *subgraphs(branch)) for t in part.outputs}
    links: list[gs.Node] = []
    for source, target in zip(list(branch.outputs), given, strict=True):
        own = isinstance(source, gs.Variable) and len(source.inputs) == 1 and id(source.inputs[0]) in inner
        if own and source.name not in returned:
            _become(source, target)
        else:
            links.append(gs.Node("Identity", f"{target.name}__taken", {}, [source], [target]))
    graph.nodes[place:place] = [*branch.nodes, *links]


def _rename(graph: gs.Graph, branch: gs.Graph) -> None:
    """Gives what a branch computes or holds itself names that are free in the graph it moves to."""
    taken, own = all_names(graph), local_initializers(branch)
    constants = {id(t): t for n in branch.nodes for t in n.inputs if isinstance(t, gs.Constant) and t.name in own}
    constants |= {id(t): t for t in branch.outputs if isinstance(t, gs.Constant) and t.name in own}
    for tensor in (*(t for n in branch.nodes for t in n.outputs), *constants.values()):
        if tensor.name:
            tensor.name = fresh_name(tensor.name, taken)
    names = {n.name for n in graph.nodes}
    for node in branch.nodes:
        if node.name:
            node.name = fresh_name(node.name, names)


def _become(source: gs.Variable, target: gs.Tensor) -> None:
    """Makes the node that gives `source` give `target` instead, to all who read either."""
    producer = source.inputs[0]
    for reader in list(source.outputs):
        for slot, tensor in enumerate(list(reader.inputs)):
            if tensor is source:
                set_input(reader, slot, target)
    slot = next(i for i, tensor in enumerate(producer.outputs) if tensor is source)
    list.__setitem__(producer.outputs, slot, target)
    list.append(target.inputs, producer)
    list.clear(source.inputs)
