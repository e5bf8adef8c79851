"""The options of `onnxprune validate`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from onnxprune.recipe.base import Options, check_gates, check_images
from onnxprune.recipe.fields import Channels, Counts, DataSource, Gates, ImageSize, ModelSource, PlanSource, ReportPath

__all__ = ["Comparison"]


class Comparison(Options):
    """The options of one comparison of two models.

    Attributes:
        original: A path, or an onnx.ModelProto.
        slim: Likewise.
        data: Evaluation data, as in `Recipe`.
        image_mean: As in `Recipe`.
        image_std: As in `Recipe`.
        image_size: As in `Recipe`.
        skip_corrupt: As in `Recipe`.
        metric: As in `Recipe`.
        provider: Execution provider that runs both.
        threads: Threads per onnxruntime session; None lets onnxruntime choose.
        batches: As in `Recipe`.
        profile: As in `Recipe`.
        dense_forms: As in `Recipe`.
        plan: What made the slim model of the original: a path, or an `onnxprune.core.plan.Plan`; it then has to compute
            what the plan leaves.
        report: Where report.json goes, with the same as HTML and Markdown beside it; None for nowhere.
        gates: As in `Recipe`.
    """

    original: ModelSource
    slim: ModelSource
    data: DataSource | None = None
    image_mean: Channels | None = None
    image_std: Channels | None = None
    image_size: ImageSize | None = None
    skip_corrupt: bool = False
    metric: str | None = None
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    batches: Counts = ()
    profile: bool = False
    dense_forms: Literal["auto", "all", "off"] = "auto"
    plan: PlanSource | None = None
    report: ReportPath | None = None
    gates: Gates = ()

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """
        check_images(self.image_mean, self.image_std, has_data=self.data is not None)
        check_gates(self.gates, has_data=self.data is not None, has_metric=bool(self.metric))
