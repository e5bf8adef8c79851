"""Runs of the whole pipeline on a small net, without the seconds that a latency worth reporting takes."""

from __future__ import annotations

import onnx
import pytest
from bridging import convnet


@pytest.fixture(autouse=True)
def _quick(quick_latency):
    pass


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(convnet(), path)
    return path
