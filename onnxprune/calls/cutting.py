"""Calls that decide what goes from a model, and that cut it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from onnxprune.core.events import EventHandler, ignore_events

if TYPE_CHECKING:
    from onnxprune.calls.types import BudgetLike, DataLike, InputsLike, ModelLike, ModelOrModule, PlanLike
    from onnxprune.core.plan import Plan
    from onnxprune.core.result import Result
    from onnxprune.recipe import Recipe
    from onnxprune.recipe.compress import CarryingKeywords, CompressKeywords, DecidingKeywords

__all__ = ["apply", "compress", "plan"]


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


def _merge(recipe: str | os.PathLike[str] | Recipe | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a recipe with those given laid over them."""
    from onnxprune.recipe import Recipe, toml_options

    given = {key: value for key, value in options.items() if value is not None}
    if recipe is None:
        return given
    return dict(recipe) | given if isinstance(recipe, Recipe) else toml_options(recipe, given)
