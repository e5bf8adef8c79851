"""use_block_sparse: gives tiled weights the form in which the model is fastest.

The forms are those of `onnxprune.kernels.rewrite`: kernel, body, densify, dense. Each layer, with the bias and
activation that only follow it, is timed alone, in a session like the one that the model will run in, in all forms turn
by turn; the fastest is kept, and of forms as fast the smallest (`onnxprune.runtime.fastest`). Layers that are alike are
timed once. Where the kernels do not run, their form is left out: it would be timed by its body.

Then the whole model is timed with the forms that layers got, with all packed weights expanded, and dense, since dense
neighbours fuse and keep a layout, which no layer alone can show; the model is the fastest of these. What was
chosen computes what the dense weights with their zeros compute; that is shown in onnxruntime, and becomes part of
the certificate. Of what is measured no two runs measure the same; a form that is asked for gives the same bytes always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import onnx
from numpy.typing import NDArray

from onnxprune.core.certificate import Certificate
from onnxprune.core.plan import Plan
from onnxprune.core.stage import Bench, Pass
from onnxprune.core.tile_options import When
from onnxprune.core.tiling import FORMS, CutLayer, Form, TiledLayer
from onnxprune.graph import Model, load_model
from onnxprune.graph.model import MAX_EMBEDDED_BYTES
from onnxprune.kernels import available_for
from onnxprune.kernels.rewrite import form_obstacle, write_forms
from onnxprune.passes.certify import check_rows, compared
from onnxprune.passes.validate_model import timing_feeds, timing_options
from onnxprune.runtime import LatencyOptions, ModelSource, Ratio, fastest, measure, resolve_provider, stand_in
from onnxprune.runtime.form_timing import PERCENTILE, FormTiming, Timer
from onnxprune.runtime.providers import CPU

__all__ = ["LayerForm", "Timed", "UseBlockSparse", "best_form", "open_timing", "untimed", "written"]

_FIXED: Mapping[When, Form] = {
    "always": "kernel",
    "kernel": "kernel",
    "body": "body",
    "densify": "densify",
    "never": "dense",
}
_UNTIMED = (
    "onnxruntime has no kernels for bfloat16 on the CPU, so that no form was timed; --block-sparse kernel, body or "
    "densify writes one"
)
_DENSE, _CHOSEN, _DENSIFY = "dense", "chosen", "densify"


@dataclass(frozen=True)
class LayerForm:
    """How a tiled layer is computed.

    Attributes:
        layer: The layer.
        form: In which form.
        ratios: Form → time of the layer alone over the dense one's; none where it was not timed.
        reason: Why no block-sparse operator computes it, or "".
    """

    layer: CutLayer
    form: Form
    ratios: Mapping[str, Ratio] = field(default_factory=dict)
    reason: str = ""


class Timed(Protocol):
    """Where a pass times models, and by what."""

    @property
    def provider(self) -> str: ...
    @property
    def threads(self) -> int | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def timer(self) -> Timer: ...


@dataclass(frozen=True)
class UseBlockSparse(Pass):
    """Gives "layer_forms"; edits "slim" and "certificate".

    Attributes:
        provider: Execution provider.
        threads: Threads within one operator, or None.
        seed: Draws inputs.
        when: "auto" takes the fastest form; "kernel" (or "always"), "body" and "densify" that form where a layer can
            have it, "never" leaves all dense.
        timer: Times models.
    """

    provider: str = "auto"
    threads: int | None = None
    seed: int = 0
    when: When = "auto"
    timer: Timer = measure

    name = "use_block_sparse"
    needs = ("original", "plan", "slim", "feeds", "certificate")
    gives = ("layer_forms",)
    edits = ("slim", "certificate")

    def run(self, bench: Bench) -> Mapping[str, Any]:
        """Chooses and rewrites.

        Raises:
            CertificateError: when the rewritten model computes something else.
        """
        slim, cut = bench.take("slim", Model), bench.take("plan", Plan).tiling.layers
        certificate = bench.take("certificate", Certificate)
        tiled = [layer for layer in cut if isinstance(layer, TiledLayer)]
        large = slim.weight_bytes() > MAX_EMBEDDED_BYTES
        if large or not tiled:
            reason = "the model is too large to be rewritten in memory" if large else "no operator skips single zeros"
            forms = [LayerForm(layer, "dense", reason=reason) for layer in cut]
            return {"slim": slim, "certificate": certificate, "layer_forms": tuple(forms)}
        proto = slim.to_proto()
        if self.when == "auto" and (reason := untimed(slim)):
            forms, found = [LayerForm(layer, "dense", reason=reason) for layer in tiled], slim
        elif self.when == "auto":
            forms, found = self._fastest(bench, slim, proto, tiled)
        else:
            forms = [_fixed(proto, layer, _FIXED[self.when]) for layer in tiled]
            found = written(slim, proto, forms)
        if found is not slim:
            rows = compared("slim model = the same with block-sparse operators", slim, found, bench, self.seed)
            check_rows(rows, certificate.tolerance)
            certificate = replace(certificate, rows=(*certificate.rows, *rows))
        _say(forms, found, resolve_provider(self.provider), bench)
        return {"slim": found, "certificate": certificate, "layer_forms": tuple(forms)}

    def _fastest(
        self, bench: Bench, slim: Model, proto: onnx.ModelProto, layers: Sequence[TiledLayer]
    ) -> tuple[list[LayerForm], Model]:
        """Returns the forms in which the whole model is fastest, and the model in them."""
        timing, feeds, options = open_timing(bench, slim, proto, self)
        alone = [best_form(proto, layer, timing, options.provider) for layer in layers]
        expanded = [_fixed(proto, layer, "densify") for layer in layers]
        plans = {_CHOSEN: alone, _DENSIFY: expanded}
        packed = {name: written(slim, proto, forms) for name, forms in plans.items()}
        models: dict[str, ModelSource] = {_DENSE: slim}
        models |= {name: model for name, model in packed.items() if model is not slim}
        if _CHOSEN in models and [form.form for form in alone] == [form.form for form in expanded]:
            del models[_DENSIFY]
        if len(models) == 1:
            return alone, slim
        ratios = self.timer(models, feeds, options).ratios
        sizes = {name: model.weight_bytes() for name, model in {_DENSE: slim, **packed}.items()}
        kept = fastest(ratios, sizes, _DENSE)
        if kept == _CHOSEN:
            return alone, packed[_CHOSEN]
        forms = expanded if kept == _DENSIFY else [_fixed(proto, layer, "dense") for layer in layers]
        instead = ratios.get(_CHOSEN, Ratio(1.0, 1.0, 1.0, 0.0)).value
        reason = f"the whole model takes {instead:.2f} times the dense one's time with what is fastest alone"
        return [
            replace(form, ratios=each.ratios, reason=each.reason or reason)
            for form, each in zip(forms, alone, strict=True)
        ], packed.get(kept, slim)


def untimed(model: Model) -> str:
    """Returns why the forms of a model's layers cannot be timed here, so that all stay dense, or ""."""
    return _UNTIMED if stand_in(model).is_widened else ""


def open_timing(
    bench: Bench, model: Model, proto: onnx.ModelProto, asked: Timed
) -> tuple[FormTiming, Mapping[str, NDArray[Any]], LatencyOptions]:
    """Returns what times the layers of a model, and the inputs and options with which the whole of it is timed.

    Args:
        bench: Holds "feeds", and data where there are any.
        model: The model.
        proto: The same, weights embedded.
        asked: Where it runs, and what times it.
    """
    feeds = timing_feeds(bench, model, asked.seed)
    options = replace(timing_options(feeds, asked.provider, asked.threads, asked.seed), percentile=PERCENTILE)
    return FormTiming(proto, feeds, options, timer=asked.timer, seed=asked.seed), feeds, options


def best_form(proto: onnx.ModelProto, layer: TiledLayer, timing: FormTiming, provider: str) -> LayerForm:
    """Returns a layer in the form that is fastest alone.

    Args:
        proto: The model.
        layer: The layer.
        timing: Times the layers of this model.
        provider: Of the session that it is timed in.
    """
    obstacles = {form: form_obstacle(proto, layer, form) for form in FORMS}
    # on a device the kernels do not cover every layer, so that they are asked about this one
    asked = write_forms(proto, [(layer, "kernel")]) if provider != CPU and not obstacles["kernel"] else None
    if not available_for([provider], asked):
        obstacles["kernel"] = obstacles["kernel"] or "the kernels do not run here"
    possible = [form for form in FORMS if not obstacles[form]]
    if possible == ["dense"]:
        return LayerForm(layer, "dense", reason=obstacles["densify"])
    best, ratios = timing.best(layer, possible)
    if best in ("kernel", "body"):
        return LayerForm(layer, best, ratios)
    return LayerForm(layer, best, ratios, obstacles["body"] or "no block-sparse operator is faster alone")


def _fixed(proto: onnx.ModelProto, layer: TiledLayer, form: Form) -> LayerForm:
    """Returns a layer in a form, or dense where it cannot have it."""
    obstacle = form_obstacle(proto, layer, form)
    asked = "that was asked for" if form in ("densify", "dense") else ""
    return LayerForm(layer, "dense", reason=obstacle) if obstacle else LayerForm(layer, form, reason=asked)


def written(slim: Model, proto: onnx.ModelProto, forms: Sequence[LayerForm]) -> Model:
    """Returns a model in the forms given: itself where all is dense.

    Args:
        slim: The model.
        proto: The same, weights embedded.
        forms: Of its layers.
    """
    if all(form.form == "dense" for form in forms):
        return slim
    tiled = [(form.layer, form.form) for form in forms if isinstance(form.layer, TiledLayer)]
    return load_model(write_forms(proto, tiled))


def _say(forms: Sequence[LayerForm], found: Model, provider: str, bench: Bench) -> None:
    counts = Counter(form.form for form in forms)
    packed = counts["kernel"] + counts["body"]
    if counts["kernel"]:
        how = available_for([provider], found.to_proto() if provider != CPU else None)
        by = f"by kernels ({how.isa})" if how else f"by their bodies in standard operators. {how.reason}"
        bench.note(
            f"{counts['kernel']} of {len(forms)} tiled layers are block-sparse operators, which onnxruntime computes "
            f"here {by}. Without the library, the same file runs by its bodies."
        )
    if counts["body"]:
        bench.note(f"{counts['body']} of {len(forms)} tiled layers are computed packed, in standard operators.")
    if packed == len(forms):
        return
    reasons = "; ".join(sorted({form.reason for form in forms if form.form in ("densify", "dense")}))
    if counts["densify"]:
        bench.note(
            f"{counts['densify']} of {len(forms)} tiled layers are computed dense; their weights are stored packed "
            f"and expanded when a session loads the model: {reasons}."
        )
    if counts["dense"]:
        bench.note(f"{counts['dense']} of {len(forms)} tiled layers stay dense, with zeros in them: {reasons}.")
