"""Recipes: what they accept, how they merge, and what they say when an option is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxprune.core.budget import Budget
from onnxprune.core.errors import InputError, UsageError
from onnxprune.recipe import Recipe


def _recipe(**options: Any) -> Recipe:
    return Recipe.from_mapping({"model": "nets/net.onnx", "flops": 0.4} | options)


def test_defaults_are_those_documented() -> None:
    recipe = _recipe()
    assert recipe.model == Path("nets/net.onnx")
    assert (recipe.allocator, recipe.criterion, recipe.align) == ("auto", "auto", "auto")
    assert (recipe.batch_size, recipe.provider, recipe.seed) == (64, "auto", 0)
    assert (recipe.lr, recipe.threads, recipe.run_dir) == (None, None, None)


@pytest.mark.parametrize(
    ("resource", "text", "value", "relative"),
    [
        ("flops", 0.4, 0.4, True),
        ("flops", "0.4", 0.4, True),
        ("params", "40%", 0.4, True),
        ("flops", "20M", 20e6, False),
        ("size", "800kB", 800e3, False),
        ("size", 1, 1.0, True),
    ],
)
def test_budget_is_parsed_for_its_resource(resource: str, text: object, value: float, relative: bool) -> None:
    recipe = Recipe.from_mapping({"model": "net.onnx", resource: text})
    assert recipe.budgets == (Budget(resource, value, relative),)


def test_budgets_are_listed_in_a_fixed_order() -> None:
    recipe = Recipe.from_mapping({"size": "0.5", "params": 0.6, "flops": 0.7, "model": "net.onnx"})
    assert [b.resource for b in recipe.budgets] == ["flops", "params", "size"]


def test_options_that_are_none_count_as_not_given() -> None:
    assert _recipe(allocator=None, seed=None, align=None) == _recipe()


def test_paths_follow_from_the_model_when_unset() -> None:
    recipe = _recipe()
    assert recipe.out_path == Path("net.slim.onnx")
    assert recipe.report_path == Path("net.slim.report.json")


def test_report_stands_beside_out() -> None:
    recipe = _recipe(out="results/small.onnx")
    assert recipe.out_path == Path("results/small.onnx")
    assert recipe.report_path == Path("results/small.report.json")
    assert _recipe(out="small.onnx", report="r.json").report_path == Path("r.json")


def test_model_in_memory_has_no_default_paths() -> None:
    model = onnx.ModelProto()
    recipe = _recipe(model=model)
    assert recipe.model is model
    assert (recipe.out_path, recipe.report_path) == (None, None)


@pytest.mark.parametrize(
    ("options", "epochs"),
    [({}, 0), ({"data": "d.npz"}, 3), ({"data": "d.npz", "epochs": 7}, 7), ({"data": "d.npz", "epochs": 0}, 0)],
)
def test_epochs_default_to_three_with_data_only(options: dict[str, Any], epochs: int) -> None:
    assert _recipe(**options).training_epochs == epochs


@pytest.mark.parametrize(
    ("given", "read"),
    [("0.5", (0.5,)), ("0.1,0.2, 0.3", (0.1, 0.2, 0.3)), (0.5, (0.5,)), ([0.1, 0.2], (0.1, 0.2)), (0, (0.0,))],
)
def test_image_mean_is_read_as_numbers(given: object, read: tuple[float, ...]) -> None:
    assert _recipe(data="d.npz", image_mean=given).image_mean == read


def test_data_may_be_a_path_or_arrays() -> None:
    arrays = {"x": np.zeros((2, 3), np.float32)}
    recipe = _recipe(data=arrays, eval_data=Path("e.npz"))
    assert recipe.data is arrays
    assert recipe.eval_data == "e.npz"


@pytest.mark.parametrize(("given", "read"), [("auto", "auto"), ("8", 8), (1, 1)])
def test_align_is_auto_or_a_number(given: object, read: object) -> None:
    assert _recipe(align=given).align == read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flops": "0"}, "--flops 0: a budget is greater than zero"),
        ({"flops": "1.7"}, "--flops 1.7: more than the original"),
        ({"flops": True}, "--flops True: expected a fraction"),
        ({"flops": None}, "There is no budget to meet. Give --flops, --params, --size, --memory or --latency"),
        ({"model": None}, "MODEL is missing"),
        ({"model": 3}, "MODEL 3: expected a path or an onnx.ModelProto, found int"),
        ({"data": 3}, "--data 3: expected a path, a mapping from names to arrays, or a function"),
        ({"floops": 0.3}, "There is no option 'floops'. Did you mean flops?"),
        ({"epochs": -1, "data": "d.npz"}, "--epochs -1: should be greater than or equal to 0"),
        ({"epochs": 2}, "--epochs 2 needs training data. Give --data"),
        ({"batch_size": 0}, "--batch-size 0: should be greater than or equal to 1"),
        ({"lr": "nan"}, "--lr nan: should be a finite number"),
        ({"lr": 0}, "--lr 0: should be greater than 0"),
        ({"align": "x"}, '--align x: expected "auto" or a whole number of at least 1'),
        ({"align": 0}, "--align 0: expected"),
        ({"provider": "tpu"}, "--provider tpu: should be 'auto', 'cpu' or 'cuda'"),
        ({"threads": 0}, "--threads 0: should be greater than or equal to 1"),
        ({"seed": -1}, "--seed -1: should be greater than or equal to 0"),
        ({"image_mean": "0.5"}, "--image-mean speaks of images, and there is no data"),
        ({"image_mean": "a,b", "data": "d.npz"}, "--image-mean a,b: expected a number, or numbers separated by commas"),
        ({"image_std": "0.2,0", "data": "d.npz"}, "--image-std 0: a standard deviation is greater than zero"),
        ({"out": "nets/../nets/net.onnx"}, "MODEL and --out are the same file"),
        ({"out": "a.onnx", "report": "a.onnx"}, "--out and --report are the same file"),
        ({"out": "a.run", "data": "d.npz"}, "--out and --run-dir are the same file"),
    ],
)
def test_wrong_option_is_a_usage_error_that_says_what_to_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        _recipe(**options)
    assert message in str(error.value)
    assert error.value.exit_code == 2


def test_several_wrong_options_are_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"--batch-size 0: .* --seed -1: "):
        _recipe(batch_size=0, seed=-1)


def test_constructor_gives_the_same_error() -> None:
    with pytest.raises(UsageError, match="--batch-size"):
        Recipe(model="net.onnx", flops=0.5, batch_size=0)


def test_recipe_is_frozen() -> None:
    recipe = _recipe()
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 1  # type: ignore[misc]  # the point of the test


def test_toml_paths_start_from_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('model = "net.onnx"\nflops = "40%"\ndata = "d.npz"\neval-data = "/else/e.npz"\nbatch-size = 16\n')
    recipe = Recipe.from_toml(file)
    assert recipe.model == tmp_path / "net.onnx"
    assert recipe.data == str(tmp_path / "d.npz")
    assert recipe.eval_data == "/else/e.npz"
    assert (recipe.batch_size, recipe.flops) == (16, Budget("flops", 0.4))


def test_overrides_win_over_toml_and_keep_their_paths(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('model = "net.onnx"\nflops = 0.4\nseed = 3\nlr = 0.1\ndata = "train.npz"\n')
    recipe = Recipe.from_toml(file, {"flops": "0.5", "out": "here.onnx", "seed": 0, "lr": None})
    assert recipe.flops == Budget("flops", 0.5)
    assert (recipe.out, recipe.seed, recipe.lr) == (Path("here.onnx"), 0, 0.1)


def test_toml_with_unknown_key_lists_near_names(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('model = "net.onnx"\nflops = 0.4\nbatchsize = 3\n')
    with pytest.raises(UsageError, match=r"no option 'batchsize'\. Did you mean batch_size"):
        Recipe.from_toml(file)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"flops = ", "not TOML"), (b"\xff", "not TOML")]
)
def test_unreadable_toml_is_an_input_error(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "recipe.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        Recipe.from_toml(file)
    assert error.value.exit_code == 1
    assert str(file) in str(error.value)


def test_options_of_training_are_refused_when_nothing_is_trained() -> None:
    with pytest.raises(UsageError, match="--lr, --ema: without --data nothing is trained"):
        _recipe(lr=0.1, ema=0.9)
