"""What all tests share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from onnxprune.passes import learn_latency, validate_model
from onnxprune.runtime import LatencyComparison, LatencyOptions, Session

ROOT = Path(__file__).resolve().parent.parent
_MARKED_FOLDERS = ("bench", "gpu")

# a failing example prints how to replay it, and a slow machine is not a failure
hypothesis.settings.register_profile("onnxprune", deadline=None, print_blob=True)
hypothesis.settings.load_profile("onnxprune")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of tests/bench and tests/gpu after their folder."""
    for item in items:
        for folder in _MARKED_FOLDERS:
            if (ROOT / "tests" / folder) in item.path.parents:
                item.add_marker(folder)


@pytest.fixture
def quick_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away the seconds that a latency worth reporting takes."""
    measure = validate_model.measure

    def quick(sessions: Mapping[str, Session], feeds: Mapping[str, Any], options: LatencyOptions) -> LatencyComparison:
        few = replace(options, repeats=5, warmup_s=0.0, min_time_s=0.0, settle_time_s=0.0, stands=1)
        return measure(sessions, feeds, few)

    for module in (learn_latency, validate_model):
        monkeypatch.setattr(module, "measure", quick)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of models and data beside the checkout; skips where there is none."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no models and data at {folder}")
    return folder
