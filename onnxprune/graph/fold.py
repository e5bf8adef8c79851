"""Constants in every disguise become initializers, and what an exporter merged is told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxprune.core.errors import InternalError
from onnxprune.graph.edit import (
    all_names,
    become_constant,
    drop_dead,
    drop_nodes,
    fresh_name,
    set_input,
    subgraph_reads,
    subgraphs,
)
from onnxprune.graph.frontier import constant_frontier, constant_tensors
from onnxprune.graph.model import Model
from onnxprune.graph.values import Values, is_float

__all__ = ["constant_frontier", "constant_tensors", "constants_to_initializers", "fold_values", "unshare_vectors"]

_STANDARD = (None, "", "ai.onnx")
_ELEMENTWISE = ("Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub", "Where")


def constants_to_initializers(model: Model) -> int:
    """Turns Constant nodes of the main graph into initializers under the tensors' names.

    A Constant that is a graph output stays, and so does a sparse one.

    Returns:
        How many became initializers.
    """
    graph, taken = model.graph, all_names(model.graph)
    outputs = {t.name for t in graph.outputs}
    done = []
    for node in graph.nodes:
        if node.op == "Constant" and node.domain in _STANDARD and node.outputs[0].name not in outputs:
            values = _constant_values(node)
            if values is not None:
                done.append((node, node.outputs[0], values))
    drop_nodes(graph, [node for node, _, _ in done])
    for _, tensor, values in done:
        become_constant(tensor, values, taken)
    return len(done)


def _constant_values(node: gs.Node) -> Values | None:
    """Returns the values of a Constant node, unread where they are a tensor; None for a sparse one."""
    for name, value in node.attrs.items():
        if name == "value":
            return value._values if isinstance(value, gs.Constant) else np.array(value)
        if name in ("value_float", "value_floats"):
            return np.array(value, dtype=np.float32)
        if name in ("value_int", "value_ints"):
            return np.array(value, dtype=np.int64)
        if name in ("value_string", "value_strings"):
            return np.array(value, dtype=object)
    return None


def unshare_vectors(model: Model) -> int:
    """Gives every reader of a float vector or scalar an initializer of its own.

    A vector is also what has one axis longer than one, where it meets its reader element by element.

    Exporters merge initializers that are equal, often zero biases, through one name or through
    Identity; pruning one layer would then change the others. Identity nodes fed by an
    initializer are resolved first. Of several readers the first keeps the name, the others
    read `<name>__2`, `<name>__3`, …; where a subgraph or a graph output reads the initializer
    too, it keeps the name.

    Returns:
        How many copies were made.
    """
    _resolve_identities(model.graph)
    graph, taken = model.graph, all_names(model.graph)
    keepers = subgraph_reads(graph) | {t.name for t in graph.outputs}
    seen: set[str] = set()
    copies = 0
    for node in model.nodes:
        for slot, tensor in enumerate(list(node.inputs)):
            if not isinstance(tensor, gs.Constant) or not _is_vector(tensor, node) or not is_float(tensor.dtype):
                continue
            if tensor.name not in seen and tensor.name not in keepers:
                seen.add(tensor.name)
                continue
            name = fresh_name(tensor.name, taken)
            set_input(node, slot, gs.Constant(name, tensor._values))
            seen.add(name)
            copies += 1
    return copies


def _is_vector(tensor: gs.Constant, reader: gs.Node) -> bool:
    if len(tensor.shape) <= 1:
        return True
    return reader.op in _ELEMENTWISE and sum(size > 1 for size in tensor.shape) <= 1


def _resolve_identities(graph: gs.Graph) -> None:
    """Lets readers of an Identity read the initializer behind it."""
    named = {t.name for part in (graph, *subgraphs(graph)) for t in part.outputs}
    gone = []
    for node in graph.nodes:
        if node.op != "Identity" or node.domain not in _STANDARD or node.outputs[0].name in named:
            continue
        source, result = node.inputs[0], node.outputs[0]
        if isinstance(source, gs.Constant):
            for reader in list(result.outputs):
                for slot, tensor in enumerate(list(reader.inputs)):
                    if tensor is result:
                        set_input(reader, slot, source)
            gone.append(node)
    drop_nodes(graph, gone)


def fold_values(model: Model, values: Mapping[str, NDArray[Any]]) -> int:
    """Turns computed tensors with known values into initializers and drops what became dead.

    A graph output keeps its computation, constant or not; graph inputs and outputs stay.

    Args:
        model: The model.
        values: Name of a tensor that a node of the main graph computes → its values.

    Returns:
        How many tensors were folded.

    Raises:
        InternalError: when no node of the main graph computes a named tensor.
    """
    graph, taken = model.graph, all_names(model.graph)
    computed = {t.name: t for node in graph.nodes for t in node.outputs if t.name}
    outputs = {t.name for t in graph.outputs}
    folded = 0
    for name, value in values.items():
        if name not in computed:
            raise InternalError(f"no node computes {name!r}, so there is nothing to fold")
        if name not in outputs:
            become_constant(computed[name], np.array(value, order="C"), taken)
            folded += 1
    drop_dead(graph)
    return folded
