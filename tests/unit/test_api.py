"""The public calls: how arguments and recipes merge before the pipeline sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import onnxprune
from onnxprune import pipeline
from onnxprune.core.budget import Budget
from onnxprune.core.errors import UsageError
from onnxprune.core.events import Event, Note, ignore_events
from onnxprune.recipe import Recipe


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """Replaces `pipeline.compress`; gives what it was called with: (recipe, on_event)."""
    seen: list[tuple[Any, Any]] = []
    monkeypatch.setattr(pipeline, "compress", lambda recipe, on_event: seen.append((recipe, on_event)))
    return seen


def test_arguments_become_a_recipe(calls: list[tuple[Any, Any]]) -> None:
    onnxprune.compress("net.onnx", flops=0.4, image_mean=0.5, data="d.npz", align=8)
    assert calls == [
        (Recipe(model=Path("net.onnx"), flops="0.4", image_mean=(0.5,), data="d.npz", align=8), ignore_events)
    ]


def test_arguments_override_a_recipe_file(calls: list[tuple[Any, Any]], tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text('model = "net.onnx"\nflops = 0.4\nseed = 5\n')
    onnxprune.compress(recipe=tmp_path / "r.toml", flops="60%")
    recipe = calls[0][0]
    assert (recipe.model, recipe.flops, recipe.seed) == (tmp_path / "net.onnx", Budget("flops", 0.6), 5)


def test_arguments_override_a_recipe(calls: list[tuple[Any, Any]]) -> None:
    base = Recipe(model="net.onnx", flops=0.4, seed=5)
    onnxprune.compress("other.onnx", recipe=base, out="o.onnx")
    recipe = calls[0][0]
    assert (recipe.model, recipe.out, recipe.flops, recipe.seed) == (Path("other.onnx"), Path("o.onnx"), base.flops, 5)


def test_missing_model_is_a_usage_error(calls: list[tuple[Any, Any]]) -> None:
    with pytest.raises(UsageError, match="MODEL is missing"):
        onnxprune.compress(flops=0.4)
    assert calls == []


def test_events_reach_the_callers_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    monkeypatch.setattr(pipeline, "inspect", lambda model, approximate, graph, on_event: on_event(Note(model)))
    onnxprune.inspect("net.onnx", on_event=events.append)
    assert events == [Note("net.onnx")]


def test_validate_checks_its_options_first() -> None:
    with pytest.raises(UsageError, match="--provider tpu"):
        onnxprune.validate("a.onnx", "b.onnx", provider="tpu")
