"""Prunes trained ONNX models to a budget, retrains them from the original, and proves the result.

    import onnxprune

    onnxprune.inspect("resnet.onnx")                                   # what can go, what cannot, and why
    onnxprune.compress("resnet.onnx", flops=0.4, data="train.npz")     # writes resnet.slim.onnx
    onnxprune.plan("resnet.onnx", flops=0.4, out="plan.json")          # decides what would go, and stops there
    onnxprune.apply("resnet.onnx", "plan.json", data="train.npz")      # carries a plan out, then as compress
    onnxprune.retrain("slim.onnx", "resnet.onnx", data="train.npz")    # trains a model as it is
    onnxprune.validate("resnet.onnx", "resnet.slim.onnx")              # parity and latency
    onnxprune.bench(("resnet.onnx", "resnet.slim.onnx"), batch=(1, 8)) # latency alone, in depth

Importing this package is cheap: torch, onnx and onnxruntime are loaded by the first call that
needs them. `onnxprune.bridge` and `onnxprune.kernels` are loaded when they are first asked for.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, Unpack

from onnxprune.core.errors import OnnxPruneError
from onnxprune.core.events import EventHandler, ignore_events

if TYPE_CHECKING:
    import onnx
    import torch
    from numpy.typing import NDArray

    from onnxprune.core.plan import Plan
    from onnxprune.core.result import Inspection, Result
    from onnxprune.recipe import Recipe
    from onnxprune.recipe.compress import CarryingKeywords, CompressKeywords, DecidingKeywords
    from onnxprune.recipe.training import TrainingKeywords
    from onnxprune.report.schema import Report
    from onnxprune.report.timing_schema import TimingReport

    ModelLike = str | os.PathLike[str] | onnx.ModelProto
    ModelOrModule = ModelLike | torch.nn.Module
    InputsLike = torch.Tensor | NDArray[Any] | Sequence[torch.Tensor | NDArray[Any]] | Mapping[str, Any]
    BudgetLike = str | float | Sequence[str | float]
    PlanLike = str | os.PathLike[str] | Plan
    DataLike = str | os.PathLike[str] | Mapping[str, NDArray[Any]]

__all__ = ["OnnxPruneError", "__version__", "apply", "bench", "compress", "inspect", "plan", "retrain", "validate"]

__version__ = "0.1.0"
_LAZY = ("bridge", "kernels")


def compress(
    model: ModelOrModule | None = None,
    *,
    example_inputs: InputsLike | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    flops: BudgetLike | None = None,
    params: BudgetLike | None = None,
    size: BudgetLike | None = None,
    memory: BudgetLike | None = None,
    latency: BudgetLike | None = None,
    data: DataLike | None = None,
    eval_data: DataLike | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    allocator: str | None = None,
    criterion: str | None = None,
    approximate: bool | None = None,
    align: int | str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    gates: str | Sequence[str] | None = None,
    seed: int | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool | None = None,
    report: str | os.PathLike[str] | None = None,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: EventHandler | None = None,
    **further: Unpack[CompressKeywords],
) -> Result:
    """Returns the slim model that meets every budget, its plan and its report.

    A model given by path is written to `out`, or to `<stem>.slim.onnx` in the current folder,
    with `<stem>.report.json`, `.html` and `.md` beside it; a ModelProto or a module comes back as a ModelProto in
    `Result.model`, and is also written where `out` says. `onnxprune.bridge.to_torch(result.model)` makes a trainable
    module of it. None means "not given": the recipe decides, then the default
    (`onnxprune.recipe.Recipe` lists them).

    Args:
        model: A path, a ModelProto or a torch.nn.Module; None where the recipe names the model.
        example_inputs: What a module is called with: a tensor or an array, several in the order of `forward`'s
            arguments, or a mapping from its arguments. The module is exported in evaluation mode with a dynamic
            batch, and left as it was; the export is compared with it (`onnxprune.bridge.from_torch`, which also
            has other dynamic dimensions).
        input_names: What a module's inputs are called; by default as the arguments of `forward`.
        output_names: What a module's outputs are called.
        flops: Bound on multiply-accumulates: a share (0.4, "40%") or a figure ("20M").
        params: Bound on the number of parameters, likewise.
        size: Bound on bytes of weights: a share or a figure ("800kB").
        memory: Bound on bytes of activations alive at once, one sample: a share or a figure ("2MB").
        latency: Bound on the time of a run in onnxruntime, one sample: a share or a figure ("4ms").
            A budget that lists values, such as (0.7, 0.5, 0.3), gives a model for each: `Result.points`.
        data: Training data: an .npz or .npy file, a folder of images, a Hugging Face dataset saved
            to disk, "package.module:callable", or a mapping from names to arrays, with `labels`
            where there are any. Without data nothing is retrained.
        eval_data: Evaluation data, in the same forms.
        image_mean: Mean of uint8 images in [0, 1] units, per channel or one for all.
        image_std: Standard deviation of uint8 images, likewise.
        epochs: Passes over the training data.
        batch_size: Samples per training step.
        lr: Peak learning rate.
        allocator: Name of the allocator, such as "dsa" or "uniform"; by default it follows from what is given.
        criterion: Name of the criterion, such as "fisher" (the default with data) or "magnitude".
        approximate: Whether channels may go over which an operator takes statistics, such as the
            width that LayerNormalization normalises; retraining has to make up for it.
        align: Multiple that kept counts prefer, or "auto".
        provider: "auto", "cpu" or "cuda": where the models are checked and timed.
        threads: Threads per onnxruntime session.
        gates: Bounds on what is measured, such as "speedup>=1.2" (`onnxprune.core.gate`).
        seed: Seed of everything random; the same seed gives the same bytes.
        run_dir: Folder for plan, checkpoints and records; by default `<stem>.run` beside `out`,
            removed when the run is done.
        resume: Whether to go on with the run that was stopped.
        report: Where report.json goes, with the same as HTML and Markdown beside it.
        recipe: A TOML file or a Recipe; arguments given here override it.
        out: Where the slim model goes.
        on_event: Called with progress (`onnxprune.core.events`).
        **further: Further options of pruning (`onnxprune.recipe.Recipe`), such as `phases`, `recover` or
            `search_epochs`, and of data and retraining (`onnxprune.recipe.TrainingFields`), such as
            `val_data`, `optimizer`, `schedule`, `augment` or `loss`.

    Raises:
        GateError: when a gate is not met; everything is written, and the Result is its `outcome`.
        OnnxPruneError: when the user can act on it; `exit_code` tells the kinds apart
            (`onnxprune.core.errors`).
    """
    options = {
        "model": model,
        "flops": flops,
        "params": params,
        "size": size,
        "memory": memory,
        "latency": latency,
        "data": data,
        "eval_data": eval_data,
        "image_mean": image_mean,
        "image_std": image_std,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "allocator": allocator,
        "criterion": criterion,
        "approximate": approximate,
        "align": align,
        "provider": provider,
        "threads": threads,
        "gates": gates,
        "seed": seed,
        "run_dir": run_dir,
        "resume": resume,
        "report": report,
        "out": out,
        **further,
    }
    from onnxprune import pipeline
    from onnxprune.recipe import Recipe, curve_of

    options["model"] = pipeline.exported(model, example_inputs, input_names, output_names, on_event or ignore_events)
    merged = _merge(recipe, options)
    curve = curve_of(merged)
    if curve is not None:
        return pipeline.trace(curve, on_event=on_event or ignore_events)
    return pipeline.compress(Recipe.from_mapping(merged), on_event=on_event or ignore_events)


def plan(
    model: ModelLike | None = None,
    *,
    flops: str | float | None = None,
    params: str | float | None = None,
    size: str | float | None = None,
    memory: str | float | None = None,
    latency: str | float | None = None,
    data: DataLike | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    allocator: str | None = None,
    criterion: str | None = None,
    approximate: bool | None = None,
    align: int | str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    seed: int | None = None,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: EventHandler | None = None,
    **further: Unpack[DecidingKeywords],
) -> Plan:
    """Returns what `compress` with these options would cut: channels and tiles that stay, and what they cost.

    For a model given by path the plan is written as JSON to `out`, or to `<stem>.plan.json` in the current folder;
    for a ModelProto it is written where `out` says. The model stays as it is.

    Args:
        model: As in `compress`.
        flops: As in `compress`, one value; so are the other budgets.
        params: Likewise.
        size: Likewise.
        memory: Likewise.
        latency: Likewise.
        data: Training data, to score channels and to learn keep ratios on.
        image_mean: As in `compress`.
        image_std: As in `compress`.
        epochs: As in `compress`; what is trained later decides how long keep ratios learn.
        batch_size: As in `compress`.
        lr: As in `compress`.
        allocator: As in `compress`.
        criterion: As in `compress`.
        approximate: As in `compress`.
        align: As in `compress`.
        provider: Where models are timed, for `latency`.
        threads: Threads per onnxruntime session.
        seed: Seed of everything random; the same seed gives the same plan.
        recipe: A TOML file or a Recipe; arguments given here override it. Its `out`, `report` and `run_dir` are
            those of another run, and are left aside.
        out: Where the plan goes.
        on_event: Called with progress (`onnxprune.core.events`).
        **further: Further options (`onnxprune.recipe.Recipe`), such as `pattern` or `search_epochs`.

    Raises:
        BudgetError: when the budgets cannot be met.
        OnnxPruneError: when the user can act on it.
    """
    options = {
        "model": model,
        "flops": flops,
        "params": params,
        "size": size,
        "memory": memory,
        "latency": latency,
        "data": data,
        "image_mean": image_mean,
        "image_std": image_std,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "allocator": allocator,
        "criterion": criterion,
        "approximate": approximate,
        "align": align,
        "provider": provider,
        "threads": threads,
        "seed": seed,
        "out": out,
        **further,
    }
    from onnxprune import pipeline
    from onnxprune.recipe import Planning, planning_options

    run = Planning.from_mapping(planning_options(_merge(recipe, {}), options))
    return pipeline.plan(run, on_event or ignore_events)


def apply(
    model: ModelLike,
    plan: PlanLike,
    *,
    flops: str | float | None = None,
    params: str | float | None = None,
    size: str | float | None = None,
    memory: str | float | None = None,
    data: DataLike | None = None,
    eval_data: DataLike | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    provider: str | None = None,
    threads: int | None = None,
    gates: str | Sequence[str] | None = None,
    seed: int | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool | None = None,
    report: str | os.PathLike[str] | None = None,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: EventHandler | None = None,
    **further: Unpack[CarryingKeywords],
) -> Result:
    """Returns the slim model that a plan describes, and its report; writes them as `compress` does.

    With the options that the plan was made with, these are the bytes that `compress` gives with them.

    Args:
        model: The model that the plan was made for: a path or a ModelProto.
        plan: A path, or what `plan` returned or `Result.plan` holds; it may have been changed.
        flops: Bound that the plan has to keep to, as in `compress`; so are the other budgets.
        params: Likewise.
        size: Likewise.
        memory: Likewise.
        data: Training data, as in `compress`; without data nothing is retrained.
        eval_data: As in `compress`.
        image_mean: As in `compress`.
        image_std: As in `compress`.
        epochs: As in `compress`.
        batch_size: As in `compress`.
        lr: As in `compress`.
        provider: As in `compress`.
        threads: As in `compress`.
        gates: As in `compress`.
        seed: As in `compress`.
        run_dir: As in `compress`.
        resume: As in `compress`.
        report: As in `compress`.
        recipe: A TOML file or a Recipe; arguments given here override it. Options that contradict the plan are
            refused.
        out: Where the slim model goes.
        on_event: Called with progress (`onnxprune.core.events`).
        **further: Further options of what comes after the decision, such as `recover`, `block_sparse` or
            `other_weights`, and of data and retraining.

    Raises:
        InputError: when the plan cannot be read, was made for another file, or does not fit.
        BudgetError: when it keeps more than a budget allows.
        GateError: when a gate is not met; everything is written, and the Result is its `outcome`.
        OnnxPruneError: when the user can act on it.
    """
    options = {
        "model": model,
        "plan": plan,
        "flops": flops,
        "params": params,
        "size": size,
        "memory": memory,
        "data": data,
        "eval_data": eval_data,
        "image_mean": image_mean,
        "image_std": image_std,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "provider": provider,
        "threads": threads,
        "gates": gates,
        "seed": seed,
        "run_dir": run_dir,
        "resume": resume,
        "report": report,
        "out": out,
        **further,
    }
    from onnxprune import pipeline
    from onnxprune.recipe import Recipe, curve_of

    merged = _merge(recipe, options)
    curve_of(merged)  # a plan is one point, which this says
    return pipeline.compress(Recipe.from_mapping(merged), on_event=on_event or ignore_events)


def inspect(
    model: ModelOrModule,
    *,
    example_inputs: InputsLike | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    approximate: bool = False,
    graph: str | os.PathLike[str] | None = None,
    on_event: EventHandler | None = None,
) -> Inspection:
    """Returns groups, costs, frozen channels with their reasons, and the reachable range of a model.

    Args:
        model: A path, a ModelProto or a torch.nn.Module.
        example_inputs: What a module is called with, as in `compress`.
        input_names: What a module's inputs are called.
        output_names: What a module's outputs are called.
        approximate: Whether channels may go over which an operator takes statistics.
        graph: Where an SVG goes that draws the groups on the model's graph.
        on_event: Called with progress (`onnxprune.core.events`).

    Raises:
        OnnxPruneError: when the model cannot be read, or the drawing cannot be written.
    """
    from onnxprune import pipeline

    handler = on_event or ignore_events
    found = pipeline.exported(model, example_inputs, input_names, output_names, handler)
    return pipeline.inspect(found, approximate=approximate, graph=graph, on_event=handler)


def retrain(
    slim: ModelLike,
    teacher: ModelLike | None = None,
    *,
    data: DataLike,
    eval_data: DataLike | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    provider: str | None = None,
    threads: int | None = None,
    gates: str | Sequence[str] | None = None,
    seed: int | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool | None = None,
    report: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: EventHandler | None = None,
    **training: Unpack[TrainingKeywords],
) -> Result:
    """Returns a model trained from another, or from labels alone; nothing is pruned.

    Args:
        slim: The model to train: a path or a ModelProto.
        teacher: The model to learn from, with the same inputs and outputs; None where `data` has
            labels to learn from.
        data: Training data, as in `compress`.
        eval_data: Evaluation data, likewise.
        image_mean: As in `compress`.
        image_std: As in `compress`.
        epochs: Passes over the training data.
        batch_size: Samples per training step.
        lr: Peak learning rate.
        provider: "auto", "cpu" or "cuda": where the models are checked and timed.
        threads: Threads per onnxruntime session.
        gates: Bounds on what is measured.
        seed: Seed of everything random; the same seed gives the same bytes.
        run_dir: As in `compress`.
        resume: As in `compress`.
        report: Where report.json goes, with the same as HTML and Markdown beside it.
        out: Where the trained model goes; by default `<stem>.retrained.onnx` in the current folder.
        on_event: Called with progress (`onnxprune.core.events`).
        **training: Further options, as in `compress`.

    Raises:
        GateError: when a gate is not met; everything is written, and the Result is its `outcome`.
        OnnxPruneError: when the user can act on it.
    """
    from onnxprune import pipeline
    from onnxprune.recipe import Retraining

    options = {
        "slim": slim,
        "teacher": teacher,
        "data": data,
        "eval_data": eval_data,
        "image_mean": image_mean,
        "image_std": image_std,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "provider": provider,
        "threads": threads,
        "gates": gates,
        "seed": seed,
        "run_dir": run_dir,
        "resume": resume,
        "report": report,
        "out": out,
        **training,
    }
    return pipeline.retrain(Retraining.from_mapping(options), on_event or ignore_events)


def validate(
    original: ModelOrModule,
    slim: ModelLike,
    *,
    example_inputs: InputsLike | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    data: DataLike | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    image_size: int | tuple[int, int] | str | None = None,
    skip_corrupt: bool | None = None,
    metric: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    batches: int | str | Sequence[int] | None = None,
    profile: bool | None = None,
    plan: str | os.PathLike[str] | Plan | None = None,
    dense_forms: str | None = None,
    report: str | os.PathLike[str] | None = None,
    gates: str | Sequence[str] | None = None,
    on_event: EventHandler | None = None,
) -> Report:
    """Returns how a slim model compares with its original: outputs, accuracy on `data`, size, latency.

    Args:
        original: A path, a ModelProto or a torch.nn.Module.
        slim: A path or a ModelProto, with the same inputs and outputs.
        example_inputs: What a module is called with, as in `compress`.
        input_names: What a module's inputs are called.
        output_names: What a module's outputs are called.
        data: Evaluation data, as in `compress`.
        image_mean: Mean of uint8 images in [0, 1] units, per channel or one for all.
        image_std: Standard deviation of uint8 images, likewise.
        image_size: Pixels that image files are brought to.
        skip_corrupt: Whether image files that cannot be read are left out.
        metric: A metric of your own, "package.module:name".
        provider: "auto" (the default), "cpu" or "cuda".
        threads: Threads per onnxruntime session.
        batches: Batch sizes at which both models are timed, too.
        profile: Whether the nodes of both models are timed, too.
        dense_forms: Where the original is timed in float16, too: "auto" on devices that gain by it, "all" or "off".
        plan: By which `slim` was cut and not trained; it then has to compute what that leaves of `original`.
        report: Where report.json goes, with the same as HTML and Markdown beside it.
        gates: Bounds on what is measured, as in `compress`.
        on_event: Called with progress (`onnxprune.core.events`).

    Raises:
        GateError: when a gate is not met; the Report is its `outcome`.
        CertificateError: when `slim` does not compute what the plan leaves.
        OnnxPruneError: when a model or the data cannot be used, or the two models differ in
            inputs or outputs.
    """
    from onnxprune import pipeline
    from onnxprune.recipe import Comparison

    options = {
        "original": pipeline.exported(original, example_inputs, input_names, output_names, on_event or ignore_events),
        "slim": slim,
        "data": data,
        "image_mean": image_mean,
        "image_std": image_std,
        "image_size": image_size,
        "skip_corrupt": skip_corrupt,
        "metric": metric,
        "provider": provider,
        "threads": threads,
        "batches": batches,
        "profile": profile,
        "plan": plan,
        "dense_forms": dense_forms,
        "report": report,
        "gates": gates,
    }
    return pipeline.validate(Comparison.from_mapping(options), on_event or ignore_events)


def bench(
    models: Sequence[str | os.PathLike[str]],
    *,
    providers: str | Sequence[str] | None = None,
    batch: int | Sequence[int] | None = None,
    threads: int | Sequence[int] | None = None,
    dims: Mapping[str, int | Sequence[int]] | None = None,
    callers: int | Sequence[int] | None = None,
    starts: int | None = None,
    nodes: int | None = None,
    energy: bool | None = None,
    cuda_graph: bool | None = None,
    dense_forms: str | None = None,
    repeats: int | None = None,
    seconds: float | None = None,
    data: DataLike | None = None,
    image_mean: float | Sequence[float] | None = None,
    image_std: float | Sequence[float] | None = None,
    image_size: int | tuple[int, int] | str | None = None,
    seed: int | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: EventHandler | None = None,
) -> TimingReport:
    """Returns how long models take in onnxruntime, timed turn by turn, each against the first.

    Args:
        models: Paths of models with the same inputs and outputs.
        providers: Execution providers, such as "cpu" or ("cpu", "cuda"); one that does not work here is left out.
        batch: Batch sizes.
        threads: Threads per onnxruntime session.
        dims: Other dynamic dimension → its sizes, such as {"sequence": (128, 512)}.
        callers: Numbers of threads that call at once, to measure throughput.
        starts: Fresh processes for each model, to time how it starts.
        nodes: How many of the slowest nodes of each model to list.
        energy: Whether joules of a run are measured, too, on CUDA by NVML (the extra `onnxprune[energy]`).
        cuda_graph: Whether CUDA records a run and replays it, where the models allow that.
        dense_forms: Where the first model is timed in float16, too: "auto" on devices that gain by it, "all" or "off".
        repeats: Samples of each model under each combination, at least.
        seconds: Of measuring for each combination, at most.
        data: Data to draw inputs from, as in `compress`.
        image_mean: As in `compress`.
        image_std: As in `compress`.
        image_size: Pixels that image files are brought to.
        seed: Seed of everything random.
        out: Where the figures go as JSON.
        on_event: Called with progress (`onnxprune.core.events`).

    Raises:
        UsageError: when no provider works here.
        OnnxPruneError: when a model or the data cannot be used, or inputs and outputs differ.
    """
    from onnxprune import pipeline
    from onnxprune.recipe.timing import Timing

    options = {
        "models": models,
        "providers": providers,
        "batch": batch,
        "threads": threads,
        "dims": dims,
        "callers": callers,
        "starts": starts,
        "nodes": nodes,
        "energy": energy,
        "cuda_graph": cuda_graph,
        "dense_forms": dense_forms,
        "repeats": repeats,
        "seconds": seconds,
        "data": data,
        "image_mean": image_mean,
        "image_std": image_std,
        "image_size": image_size,
        "seed": seed,
        "out": out,
    }
    return pipeline.bench(Timing.from_mapping(options), on_event or ignore_events)


def _merge(recipe: str | os.PathLike[str] | Recipe | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a recipe with those given laid over them."""
    from onnxprune.recipe import Recipe, toml_options

    given = {key: value for key, value in options.items() if value is not None}
    if recipe is None:
        return given
    return dict(recipe) | given if isinstance(recipe, Recipe) else toml_options(recipe, given)


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"onnxprune.{name}")
    raise AttributeError(f"module 'onnxprune' has no attribute {name!r}")
