"""use_block_sparse: tiled weights become block-sparse operators where that is faster.

Each layer, with the bias and activation that only follow it, is timed alone in the session that the model will run
in: dense, and packed. Then the whole model is timed with the layers that gained. Where it is not faster after all,
since dense neighbours fuse or keep a layout, every layer stays dense. What is packed computes what the dense
weights with their zeros compute; that is shown in onnxruntime, and becomes part of the certificate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from onnxprune.core.certificate import Certificate
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tiling import TiledLayer
from onnxprune.graph import Model, load_model
from onnxprune.graph.model import MAX_EMBEDDED_BYTES
from onnxprune.kernels import available_for
from onnxprune.kernels.rewrite import chain_of, pack_layers, packing_obstacle
from onnxprune.passes.certify import check_rows, compared
from onnxprune.passes.validate_model import timing_feeds, timing_options
from onnxprune.runtime import LatencyOptions, capture, measure, resolve_provider

__all__ = ["LayerForm", "UseBlockSparse", "When"]

Form = Literal["block-sparse", "dense"]
When = Literal["auto", "always", "never"]
_GAIN = 0.98
"""A packed layer takes at most this share of the dense one's time."""
_PACKED, _DENSE = "packed", "dense"


@dataclass(frozen=True)
class LayerForm:
    """How a tiled layer is computed.

    Attributes:
        layer: The layer.
        form: "block-sparse", or "dense" with its zeros.
        ratio: Time of the packed layer alone over the dense one's; NaN where it was not timed.
        reason: Why it is dense, or "".
    """

    layer: TiledLayer
    form: Form
    ratio: float
    reason: str = ""


@dataclass(frozen=True)
class UseBlockSparse(Pass):
    """Gives "layer_forms"; edits "slim" and "certificate".

    Attributes:
        provider: Execution provider.
        threads: Threads within one operator, or None.
        seed: Draws inputs.
        when: "auto" packs layers that are faster packed, "always" all that can be, "never" none.
    """

    provider: str = "auto"
    threads: int | None = None
    seed: int = 0
    when: When = "auto"

    name = "use_block_sparse"
    needs = ("original", "plan", "slim", "feeds", "certificate")
    gives = ("layer_forms",)
    edits = ("slim", "certificate")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Chooses and packs.

        Raises:
            CertificateError: when the packed model computes something else.
        """
        slim, layers = bench.take("slim", Model), bench.take("plan", Plan).tiling.layers
        certificate = bench.take("certificate", Certificate)
        if slim.weight_bytes() > MAX_EMBEDDED_BYTES:
            reason = "the model is too large to be rewritten in memory"
            return {
                "slim": slim,
                "certificate": certificate,
                "layer_forms": tuple(LayerForm(layer, "dense", float("nan"), reason) for layer in layers),
            }
        proto = slim.to_proto()
        feeds = timing_feeds(bench, slim, self.seed)
        options = timing_options(feeds, self.provider, self.threads, self.seed)
        forms = self._forms(proto, layers, feeds, options)
        packed = [form.layer for form in forms if form.form == "block-sparse"]
        found = load_model(pack_layers(proto, packed)) if packed else slim
        if packed and self.when == "auto":
            ratio = measure({_DENSE: slim, _PACKED: found}, feeds, options).ratios[_PACKED].median
            if ratio > 1.0:
                reason = f"the whole model takes {ratio:.2f} times as long with its layers packed"
                forms = [replace(form, form="dense", reason=form.reason or reason) for form in forms]
                packed, found = [], slim
        if packed:
            rows = compared("slim model = the same with block-sparse operators", slim, found, bench, self.seed)
            check_rows(rows, certificate.tolerance)
            certificate = replace(certificate, rows=(*certificate.rows, *rows))
        self._say(forms, found, bench)
        return {"slim": found, "certificate": certificate, "layer_forms": tuple(forms)}

    def _forms(
        self,
        proto: onnx.ModelProto,
        layers: Sequence[TiledLayer],
        feeds: Mapping[str, NDArray[Any]],
        options: LatencyOptions,
    ) -> list[LayerForm]:
        """Returns how each layer is best computed by itself."""
        seen = capture(proto, feeds)
        quick = replace(options, warmup_s=0.03, repeats=15, min_time_s=0.1, settle_time_s=0.3, max_time_s=4.0)
        rng, forms = np.random.default_rng(self.seed), []
        for layer in layers:
            obstacle = packing_obstacle(proto, layer)
            if obstacle:
                forms.append(LayerForm(layer, "dense", float("nan"), obstacle))
                continue
            if self.when == "never":
                forms.append(LayerForm(layer, "dense", float("nan"), "that was asked for"))
                continue
            if self.when == "always":
                forms.append(LayerForm(layer, "block-sparse", float("nan")))
                continue
            alone = _alone(proto, layer, seen.shapes)
            x = alone.graph.input[0]
            kind = np.dtype(helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type))
            values = rng.standard_normal([d.dim_value for d in x.type.tensor_type.shape.dim]).astype(kind)
            models = {_DENSE: load_model(alone), _PACKED: load_model(pack_layers(alone, [layer]))}
            ratio = measure(models, {x.name: values}, quick).ratios[_PACKED].median
            gains = ratio <= _GAIN
            slow = "" if gains else "it is not faster packed"
            forms.append(LayerForm(layer, "block-sparse" if gains else "dense", ratio, slow))
        return forms

    def _say(self, forms: Sequence[LayerForm], found: Model, bench: Bench) -> None:
        packed = [form for form in forms if form.form == "block-sparse"]
        if packed:
            how = available_for([resolve_provider(self.provider)], found.to_proto())
            by = f"by kernels ({how.isa})" if how else f"by their bodies in standard operators. {how.reason}"
            bench.note(
                f"{len(packed)} of {len(forms)} tiled layers are block-sparse operators, which onnxruntime computes "
                f"here {by}. Without the library, the same file runs by its bodies."
            )
        reasons = sorted({form.reason for form in forms if form.form == "dense"})
        if len(packed) < len(forms):
            bench.note(
                f"{len(forms) - len(packed)} of {len(forms)} tiled layers stay dense, with zeros in them: "
                f"{'; '.join(reasons)}."
            )


def _alone(model: onnx.ModelProto, layer: TiledLayer, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """Returns a model of what one operator would replace."""
    nodes = chain_of(model, layer)
    read = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in model.graph.initializer if tensor.name in read]
    kind = next(tensor.data_type for tensor in weights if tensor.name == layer.weight)
    x, y = nodes[0].input[0], nodes[-1].output[0]
    graph = helper.make_graph(
        list(nodes),
        "layer",
        [helper.make_tensor_value_info(x, kind, list(shapes[x]))],
        [helper.make_tensor_value_info(y, kind, list(shapes[y]))],
        weights,
    )
    standard = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    return helper.make_model(graph, opset_imports=standard, ir_version=model.ir_version)
