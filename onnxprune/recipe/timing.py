"""The options of `onnxprune bench`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from onnxprune.core.errors import UsageError
from onnxprune.recipe.base import Options, check_images
from onnxprune.recipe.fields import Channels, Counts, DataSource, ImageSize, Names, read_counts

__all__ = ["Timing"]


def _paths(value: Any) -> Any:
    several = [value] if isinstance(value, str | os.PathLike) else value
    if not isinstance(several, list | tuple) or not all(isinstance(item, str | os.PathLike) for item in several):
        raise ValueError("expected paths of ONNX files")
    return tuple(Path(item) for item in several)


def _dims(value: Any) -> Any:
    """Returns "sequence=128,512", several of these, or a mapping as name → sizes."""
    if isinstance(value, Mapping):
        return {name: read_counts(sizes) for name, sizes in value.items()}
    found = {}
    for item in [value] if isinstance(value, str) else value:
        name, equals, sizes = str(item).partition("=")
        if not equals or not name.strip():
            raise ValueError("expected a dimension and its sizes, such as sequence=128,512")
        found[name.strip()] = read_counts(sizes)
    return found


class Timing(Options):
    """The options of one comparison of latencies.

    Attributes:
        models: Paths of the models; the first is the reference.
        providers: Execution providers, one after the other; "auto" is CUDA where it works, else the CPU.
        batch: Batch sizes.
        threads: Threads per onnxruntime session, one after the other; None takes the physical cores.
        dims: Dynamic dimension → its sizes, of which all combinations are measured.
        callers: Threads of a server that call at once, to measure throughput; none by default.
        starts: Fresh processes for each model, to measure how it starts; 0 for none.
        nodes: Nodes of each model to list by their time; 0 for none.
        energy: Whether joules of a run are measured, too, on CUDA by NVML.
        cuda_graph: Whether CUDA records a run and replays it, where the models allow that.
        dense_forms: Where the first model is timed in float16, too, and the others are held against the faster form:
            "auto" on devices that gain by it, "all" on the CPU as well, or "off".
        repeats: Samples per model and point, at least.
        seconds: Of measuring for each point, at most, warm-up aside.
        data: Data to draw inputs from, as in `Recipe`; random ones without.
        image_mean: As in `Recipe`.
        image_std: As in `Recipe`.
        image_size: As in `Recipe`.
        seed: Draws inputs, and the bootstrap's samples.
        out: Where the figures go as JSON.
    """

    models: Annotated[tuple[Path, ...], BeforeValidator(_paths), Field(min_length=1)]
    providers: Names = ("auto",)
    batch: Annotated[Counts, Field(min_length=1)] = (1,)
    threads: Counts | None = None
    dims: Annotated[Mapping[str, Counts], BeforeValidator(_dims)] = Field(default_factory=dict)
    callers: Counts | None = None
    starts: int = Field(default=3, ge=0)
    nodes: int = Field(default=0, ge=0)
    energy: bool = False
    cuda_graph: bool = False
    dense_forms: Literal["auto", "all", "off"] = "auto"
    repeats: int = Field(default=50, ge=5)
    seconds: float = Field(default=20.0, gt=0, allow_inf_nan=False)
    data: DataSource | None = None
    image_mean: Channels | None = None
    image_std: Channels | None = None
    image_size: ImageSize | None = None
    seed: int = 0
    out: Annotated[Path | None, BeforeValidator(lambda value: Path(value) if isinstance(value, str) else value)] = None

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """
        check_images(self.image_mean, self.image_std, has_data=self.data is not None)
        if not self.providers:
            raise UsageError("--providers names none. Give one or several, such as cpu,cuda.")
