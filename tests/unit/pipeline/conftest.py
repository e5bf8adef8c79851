"""Runs of the whole pipeline, without the seconds that a latency worth reporting takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxprune.passes import validate_model


@pytest.fixture(autouse=True)
def quick_latency(monkeypatch):
    measure = validate_model.measure

    def quick(sessions, feeds, options):
        return measure(sessions, feeds, replace(options, repeats=5, warmup_s=0.0, min_time_s=0.0, settle_time_s=0.0))

    monkeypatch.setattr(validate_model, "measure", quick)
