"""The names users may rely on, and that every module says which of its names are public."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from sources import ROOT, parsed, sources

import onnxprune
from onnxprune.recipe import Recipe, Retraining
from onnxprune.recipe.compress import CompressKeywords
from onnxprune.recipe.training import TrainingKeywords

DOCUMENTED = {
    "apply": ["flops", "data", "eval_data", "recipe", "out"],
    "compress": ["flops", "params", "size", "data", "eval_data", "epochs", "recipe", "out"],
    "inspect": ["graph"],
    "plan": ["flops", "data", "recipe", "out"],
    "validate": ["data"],
}

OF_MODULES = ("example_inputs", "input_names", "output_names")
"""Keywords that turn a torch.nn.Module into the model of a recipe."""


def _all_of(path: Path) -> list[str] | None:
    for node in parsed(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def _kind_then_name(name: str) -> tuple[int, str]:
    """Orders constants before classes before the rest, as isort does."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2, name)


def test_package_has_the_documented_names() -> None:
    calls = ["apply", "bench", "compress", "inspect", "plan", "retrain", "validate"]
    assert onnxprune.__all__ == ["OnnxPruneError", "__version__", *calls]
    assert all(hasattr(onnxprune, name) for name in onnxprune.__all__)


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_call_has_the_documented_keywords(name: str) -> None:
    parameters = inspect.signature(getattr(onnxprune, name)).parameters
    assert all(parameters[key].kind is inspect.Parameter.KEYWORD_ONLY for key in DOCUMENTED[name])
    assert all(parameters[key].default is None for key in DOCUMENTED[name])


@pytest.mark.parametrize("name", ["compress", "inspect", "validate"])
def test_call_takes_modules(name: str) -> None:
    parameters = inspect.signature(getattr(onnxprune, name)).parameters
    assert all(parameters[key].default is None for key in OF_MODULES)


def test_first_arguments_are_positional() -> None:
    assert next(iter(inspect.signature(onnxprune.compress).parameters)) == "model"
    assert next(iter(inspect.signature(onnxprune.inspect).parameters)) == "model"
    assert list(inspect.signature(onnxprune.validate).parameters)[:2] == ["original", "slim"]


def test_compress_takes_every_option_of_a_recipe() -> None:
    keywords = set(inspect.signature(onnxprune.compress).parameters) | CompressKeywords.__annotations__.keys()
    assert keywords - {"recipe", "on_event", "further", *OF_MODULES} == set(Recipe.model_fields)


def test_retrain_takes_every_option_of_its_recipe() -> None:
    keywords = set(inspect.signature(onnxprune.retrain).parameters) | TrainingKeywords.__annotations__.keys()
    assert keywords - {"on_event", "training"} == set(Retraining.model_fields)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = onnxprune.nothing


def test_all_is_sorted_in_every_module() -> None:
    lists = {path.relative_to(ROOT).as_posix(): _all_of(path) for path in sources()}
    assert [name for name, names in lists.items() if names and names != sorted(set(names), key=_kind_then_name)] == []


def test_public_definitions_are_in_all() -> None:
    forgotten = {}
    for path in sources():
        body = parsed(path).body
        defined = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")}
        forgotten[path.relative_to(ROOT).as_posix()] = defined - set(_all_of(path) or ())
    assert {name: names for name, names in forgotten.items() if names} == {}
