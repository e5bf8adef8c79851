"""Compresses a model whose weights do not fit comfortably into memory; prints seconds and peak memory.

    python tests/bench/large_model.py FOLDER [GIGABYTES] [-- OPTION...]

Writes a token model of the given size (2.7 by default) with external data into FOLDER: an
embedding and blocks x + W2 relu(W1 x + b1) on a residual stream. It then runs
`onnxprune compress` on it in a process of its own and prints what that took.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper
from table_cli import split_words

WIDTH = 2048
HIDDEN = 4 * WIDTH
VOCABULARY = 16_000
LAUNCHER = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
child.returncode = os.waitstatus_to_exitcode(status)
print(usage.ru_maxrss, child.returncode)
"""


class LargeFile:
    """Takes initializers one after the other, so that no two are in memory at once."""

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.path = path
        self.tensors: list[TensorProto] = []
        self._file = path.open("wb")
        self._rng = np.random.default_rng(seed)

    def add(self, name: str, *shape: int) -> str:
        """Writes a random initializer; returns its name."""
        values = self._rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32(1 / np.sqrt(shape[0]))
        self._file.write(b"\0" * (-self._file.tell() % 4096))
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        place = {"location": self.path.name, "offset": self._file.tell(), "length": values.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self._file.write(values.data)
        self.tensors.append(tensor)
        return name

    def close(self) -> None:
        """Completes the file."""
        self._file.close()


def build(path: Path, total_bytes: float) -> None:
    """Writes a model of about `total_bytes` of weights to `path` and `path`.data."""
    weights = LargeFile(path.with_name(path.name + ".data"))
    vocabulary = min(VOCABULARY, int(total_bytes / 8 / (4 * WIDTH)))
    nodes: list[NodeProto] = [
        helper.make_node("Gather", [weights.add("embedding", vocabulary, WIDTH), "tokens"], ["x"])
    ]
    blocks = max(1, round((total_bytes - 4 * vocabulary * WIDTH) / (8 * WIDTH * HIDDEN)))
    stream = "x"
    for i in range(blocks):
        up, bias = weights.add(f"up{i}", WIDTH, HIDDEN), weights.add(f"bias{i}", HIDDEN)
        down = weights.add(f"down{i}", HIDDEN, WIDTH)
        nodes += [
            helper.make_node("MatMul", [stream, up], [f"a{i}"], f"up_{i}"),
            helper.make_node("Add", [f"a{i}", bias], [f"b{i}"], f"bias_{i}"),
            helper.make_node("Relu", [f"b{i}"], [f"c{i}"], f"relu_{i}"),
            helper.make_node("MatMul", [f"c{i}", down], [f"d{i}"], f"down_{i}"),
            helper.make_node("Add", [stream, f"d{i}"], [f"x{i}"], f"residual_{i}"),
        ]
        stream = f"x{i}"
    nodes.append(helper.make_node("MatMul", [stream, weights.add("head", WIDTH, 64)], ["y"], "head_matmul"))
    weights.close()
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length", 64])
    graph = helper.make_graph(nodes, "large", [tokens], [result], weights.tensors)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    path.write_bytes(model.SerializeToString())


def measure(command: list[str]) -> tuple[float, float, int]:
    """Returns seconds, peak resident megabytes and the exit code of a command.

    A process starts with the peak of the one that forked it, so a small one stands in between.
    """
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], capture_output=True, text=True, check=True)
    peak_kb, code = (int(word) for word in done.stdout.split()[-2:])
    return time.monotonic() - start, peak_kb / 1e3, code


def compress(path: Path, out: Path, options: list[str]) -> list[str]:
    """Returns the command that compresses `path`."""
    return [sys.executable, "-m", "onnxprune", "compress", str(path), "-o", str(out), *options]


def main() -> int:
    """Builds, compresses, prints."""
    words, options = split_words(sys.argv[1:])
    folder, gigabytes = Path(words[0]), float(words[1]) if len(words) > 1 else 2.7
    folder.mkdir(parents=True, exist_ok=True)
    path, out = folder / "large.onnx", folder / "slim.onnx"
    if not path.exists():
        build(path, gigabytes * 1e9)
    seconds, peak, code = measure(compress(path, out, options or ["--flops", "0.5"]))
    if code == 0:
        report = json.loads(out.with_suffix(".report.json").read_text(encoding="utf-8"))
        for each in report["passes"]:
            print(f"{each['name']:18} {each['seconds']:8.1f} s")
    size = (path.stat().st_size + path.with_name(path.name + ".data").stat().st_size) / 1e9
    print(f"{size:.2f} GB, exit {code}, {seconds:.0f} s, peak {peak:.0f} MB, onnx {onnx.__version__}")
    return code


if __name__ == "__main__":
    sys.exit(main())
