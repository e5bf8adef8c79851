"""1×1 convolutions with a stride: PyTorch's weight gradient writes past its memory on few channels, ours does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from graphs import model_of

from onnxprune.bridge import to_torch

ROOT = Path(__file__).resolve().parents[3]
SHORTCUT = """g (float[N,5,H,W] x, float[7,5,1,1] w, float[7] b) => (float[N,7,H2,W2] y) {
  y = Conv<strides=[2,2]ATTRIBUTES>(x, w, b) }"""
PROGRAM = """
import sys
sys.path[:0] = [{tests!r}]
import torch
from unit.ops.test_conv_strides import shortcut
torch.set_num_threads(1)
net = shortcut("")
x = torch.randn(128, 5, 28, 28).contiguous(memory_format=torch.channels_last)
for _ in range(4):
    net(x).square().sum().backward()
print("alive")
"""


def shortcut(attributes: str):
    """A shortcut as pruning leaves it: five channels to seven, every second position."""
    return to_torch(model_of(SHORTCUT.replace("ATTRIBUTES", attributes)))


@pytest.mark.parametrize("attributes", ["", ", kernel_shape=[1,1]", ', auto_pad="SAME_UPPER"', ", pads=[0,0,0,0]"])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_outputs_and_gradients_are_those_of_the_convolution(attributes, order):
    net = shortcut(attributes)
    x = torch.randn(3, 5, 9, 8, generator=torch.Generator().manual_seed(0))
    values = dict(net.named_parameters())
    ours = net(x.contiguous(memory_format=order))
    theirs = torch.nn.functional.conv2d(x, values["w"], values["b"], stride=2)
    torch.testing.assert_close(ours, theirs)
    mine = torch.autograd.grad(ours.square().sum(), list(values.values()))
    other = torch.autograd.grad(theirs.square().sum(), list(values.values()))
    torch.testing.assert_close(mine, other)


@pytest.mark.slow
def test_channels_last_training_survives_on_few_channels():
    program = PROGRAM.format(tests=str(ROOT / "tests"))
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert found.stdout == "alive\n", found.stderr
