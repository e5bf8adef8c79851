"""Which form of a tiled layer is fastest in a session like the one that its model will run in.

The layer, with what its operator would replace, becomes a model by itself, in each form; these are timed turn by turn
on random inputs of the shape that it sees in the model. Layers that are alike are timed once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from onnxprune.core.tiling import FORMS, Form, TiledLayer
from onnxprune.kernels.rewrite import chain_of, stored_bytes, write_forms
from onnxprune.runtime.capture import capture
from onnxprune.runtime.fastest import fastest
from onnxprune.runtime.latency import LatencyComparison, LatencyOptions, measure
from onnxprune.runtime.ratios import Ratio
from onnxprune.runtime.session import ModelSource

__all__ = ["PERCENTILE", "FormTiming", "Timer"]

PERCENTILE = 20.0
"""Of the samples, which forms are compared by: what takes a millisecond is drawn out by other load in most of them."""

_DENSE: Form = "dense"


class Timer(Protocol):
    """What times models turn by turn, the first being the reference; see `onnxprune.runtime.measure`."""

    def __call__(
        self, models: Mapping[str, ModelSource], feeds: Mapping[str, NDArray[Any]], options: LatencyOptions, /
    ) -> LatencyComparison: ...


class FormTiming:
    """The layers of one model, timed alone.

    Args:
        model: Weights embedded, zero outside of the tiles that are kept.
        feeds: Inputs of the model, which say what shapes its layers see.
        options: How the whole model is timed; a layer is timed for a shorter while.
        timer: Times models.
        seed: Draws inputs.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        feeds: Mapping[str, NDArray[Any]],
        options: LatencyOptions,
        *,
        timer: Timer = measure,
        seed: int = 0,
    ) -> None:
        self._model, self._timer = model, timer
        self._shapes = capture(model, feeds).shapes
        self._rng = np.random.default_rng(seed)
        self._known: dict[tuple[Any, ...], tuple[Form, Mapping[str, Ratio]]] = {}
        self._options = replace(
            options,
            warmup_s=0.03,
            repeats=20,
            min_time_s=0.1,
            settle_time_s=0.5,
            max_time_s=4.0,
            stands=1,
            percentile=PERCENTILE,
        )

    def best(self, layer: TiledLayer, forms: Sequence[Form]) -> tuple[Form, Mapping[str, Ratio]]:
        """Returns the form to keep, and the time in each form but the dense one over the dense one's.

        Args:
            layer: The layer.
            forms: Forms that it can have.
        """
        alone = self._alone(layer)
        key = (_likeness(alone, layer), tuple(forms))
        if key not in self._known:
            self._known[key] = self._timed(alone, layer, forms)
        return self._known[key]

    def _timed(
        self, alone: onnx.ModelProto, layer: TiledLayer, forms: Sequence[Form]
    ) -> tuple[Form, Mapping[str, Ratio]]:
        feeds = {}
        for given in alone.graph.input:
            kind = np.dtype(helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type))
            feeds[given.name] = self._rng.standard_normal(_shape(given)).astype(kind)
        order = [_DENSE, *(form for form in forms if form != _DENSE)]
        models = {str(form): write_forms(alone, [(layer, form)]) for form in order}
        ratios = self._timer(models, feeds, self._options).ratios
        name = fastest(ratios, {form: stored_bytes(model) for form, model in models.items()}, _DENSE)
        return next(form for form in FORMS if form == name), ratios

    def _alone(self, layer: TiledLayer) -> onnx.ModelProto:
        """Returns a model of what one operator would replace."""
        nodes = chain_of(self._model, layer)
        read = list(dict.fromkeys(name for node in nodes for name in node.input if name))
        weights = [tensor for tensor in self._model.graph.initializer if tensor.name in read]
        inner = {tensor.name for tensor in weights} | {name for node in nodes for name in node.output}
        kind = next(tensor.data_type for tensor in weights if tensor.name == layer.weight)
        y = nodes[-1].output[0]
        graph = helper.make_graph(
            list(nodes),
            "layer",
            [helper.make_tensor_value_info(name, kind, list(self._shapes[name])) for name in read if name not in inner],
            [helper.make_tensor_value_info(y, kind, list(self._shapes[y]))],
            weights,
        )
        standard = [entry for entry in self._model.opset_import if entry.domain in ("", "ai.onnx")]
        return helper.make_model(graph, opset_imports=standard, ir_version=self._model.ir_version)


def _shape(given: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in given.type.tensor_type.shape.dim]


def _likeness(alone: onnx.ModelProto, layer: TiledLayer) -> tuple[Any, ...]:
    """Returns what two layers have in common that take the same time: all but names and values."""
    weights = {tensor.name: (tuple(tensor.dims), tensor.data_type) for tensor in alone.graph.initializer}
    nodes = tuple(
        (
            node.op_type,
            tuple(sorted(attribute.SerializeToString() for attribute in node.attribute)),
            tuple(weights.get(name) for name in node.input),
        )
        for node in alone.graph.node
    )
    shapes = tuple(tuple(_shape(given)) for given in alone.graph.input)
    return nodes, shapes, layer.block, layer.tile, layer.kept_blocks
