"""Training throughput of `to_torch(exported file)` against the PyTorch module it was exported from.

    python tests/bench/throughput.py [NAME...] [--threads N] [--repeats N] [--files FOLDER] [--markdown FILE]

One step is forward, backward and SGD in float32, both modules in training mode on the same batch.
The file is written by the current exporter (opset 20, dynamic batch) without those of its rules
that fold BatchNormalization into convolutions: both sides normalise by the batch. Where `--folded`
is given the file is what the exporter writes by default, and the original still has its
BatchNormalization: the comparison is then of different nets, and only says what a user sees.

With one thread it is the process' CPU time that is taken, which other work on the machine
disturbs less; with more it is wall time. Repeats are interleaved, A B B A; the ratio is taken
pair by pair, and its median and quartiles are printed. A ratio of 1 means that nothing is lost,
above 1 that the bridge is faster. Files that FOLDER holds already are not exported anew.

Needs torchvision, timm and transformers, which the project itself does not; see
`tests/e2e/zoo/torchvision_operators.py` for torchvision with a CPU build of PyTorch. Uses a GPU
where there is one.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn

from onnxprune.bridge import OnnxModule, to_torch

__all__ = ["CASES", "Measured", "Workload", "export", "measure"]

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e" / "zoo"))

OPSET = 20
SAMPLE_SECONDS = 0.4
PARITY = 1e-3
VOCABULARY = 1000


@dataclass(frozen=True)
class Workload:
    """A module and a batch to train it on."""

    module: nn.Module
    inputs: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Measured:
    """What one comparison gave.

    Attributes:
        name: The workload.
        original_ms: Median milliseconds of a step of the original module.
        bridge_ms: The same of the module made from the file.
        ratios: Original over bridge time, one per interleaved pair.
        nodes: Nodes of the file.
    """

    name: str
    original_ms: float
    bridge_ms: float
    ratios: tuple[float, ...]
    nodes: int

    def row(self) -> str:
        """Returns a row of the table."""
        low, middle, high = statistics.quantiles(self.ratios, n=4)
        return (
            f"| {self.name} | {self.nodes} | {self.original_ms:.1f} | {self.bridge_ms:.1f} | {middle:.3f} "
            f"| {low:.3f}–{high:.3f} | {len(self.ratios)} |"
        )


class Logits(nn.Module):
    """A language model reduced to its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits


def _images(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, 3, size, size)


def _torchvision(name: str, batch: int, size: int) -> Callable[[], Workload]:
    def make() -> Workload:
        import torchvision

        options = {"dropout": 0.0} if name == "mobilenet_v2" else {}
        return Workload(torchvision.models.get_model(name, weights=None, **options), (_images(batch, size),))

    return make


def _timm(name: str, batch: int) -> Callable[[], Workload]:
    def make() -> Workload:
        import timm

        return Workload(timm.create_model(name, pretrained=False), (_images(batch, 224),))

    return make


def _language(config: str, model: str, batch: int, length: int, **options: Any) -> Callable[[], Workload]:
    def make() -> Workload:
        import transformers

        made = getattr(transformers, config)(vocab_size=VOCABULARY, **options)
        tokens = torch.randint(0, VOCABULARY, (batch, length))
        return Workload(Logits(getattr(transformers, model)(made)), (tokens, torch.ones_like(tokens)))

    return make


CASES: dict[str, Callable[[], Workload]] = {
    "resnet18": _torchvision("resnet18", 8, 128),
    "mobilenet_v2": _torchvision("mobilenet_v2", 8, 128),
    "shufflenet_v2_x1_0": _torchvision("shufflenet_v2_x1_0", 8, 128),
    "deit_tiny": _timm("deit_tiny_patch16_224", 4),
    "deit_small": _timm("deit_small_patch16_224", 2),
    "bert": _language(
        "BertConfig",
        "BertForSequenceClassification",
        8,
        128,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    ),
    "llama": _language(
        "LlamaConfig",
        "LlamaForCausalLM",
        4,
        128,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        intermediate_size=688,
        max_position_embeddings=512,
        use_cache=False,
    ),
}


def export(work: Workload, path: Path, *, folded: bool) -> onnx.ModelProto:
    """Returns the module as a file of opset 20 with a dynamic batch.

    Args:
        work: The module (put in evaluation mode) and its batch.
        path: Where the file goes, or lies already.
        folded: Whether BatchNormalization is folded into convolutions, the exporter's default.
    """
    if path.exists():
        return onnx.load(path)
    work.module.eval()
    names = [f"input{i}" for i in range(len(work.inputs))]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            work.module,
            work.inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=names,
            dynamic_shapes=[{0: "batch"} for _ in names],
            optimize=folded,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("the exporter gave no program")
        if not folded:
            _tidy(program)
        program.save(path)
    return onnx.load(path)


def _tidy(program: Any) -> None:
    """Optimises as the exporter does, but for the rules that fold BatchNormalization."""
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules.common import _fuse_batchnorm

    every = rewriter._DEFAULT_REWRITE_RULES  # onnxscript offers no other way to leave a rule out
    folding = {id(rule) for rule in _fuse_batchnorm.rules}
    rewriter._DEFAULT_REWRITE_RULES = tuple(rule for rule in every if id(rule) not in folding)
    try:
        optimizer.optimize_ir(program.model)
    finally:
        rewriter._DEFAULT_REWRITE_RULES = every


def _step(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-5)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        module(*inputs).square().mean().backward()
        optimizer.step()

    return step


def _seconds(step: Callable[[], None], count: int) -> float:
    """Returns the mean seconds of `count` steps."""
    if not torch.cuda.is_available():
        # on one thread this is the time a step takes, less what other processes steal
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        for _ in range(count):
            step()
        return (clock() - start) / count
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(count):
        step()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3 / count


def _check(original: nn.Module, bridge: OnnxModule, inputs: Sequence[torch.Tensor]) -> None:
    original.eval()
    bridge.eval()
    with torch.no_grad():
        a, b = original(*inputs), bridge(*inputs)
    worst = float((a - b).abs().max() / a.abs().max())
    if not worst < PARITY:
        raise RuntimeError(f"the file computes something else: relative deviation {worst:.2g}")
    trained, whole = (sum(p.numel() for p in module.parameters()) for module in (bridge, original))
    if trained < 0.98 * whole:
        raise RuntimeError(f"the bridge trains {trained} of {whole} parameters")


def measure(name: str, files: Path, repeats: int, *, folded: bool) -> Measured:
    """Returns the comparison of one workload.

    Args:
        name: A key of `CASES`.
        files: Folder of the exported files.
        repeats: Interleaved pairs.
        folded: See `export`.
    """
    from randomise import randomise
    from torchvision_operators import LIBRARIES

    assert LIBRARIES is not None  # declared before anything imports torchvision
    torch.manual_seed(0)
    work = CASES[name]()
    randomise(work.module)  # an exporter merges equal vectors, and merged statistics are not updated
    proto = export(work, files / f"{name}{'.folded' if folded else ''}.onnx", folded=folded)
    bridge = to_torch(proto)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs = tuple(tensor.to(device) for tensor in work.inputs)
    original = work.module.to(device)
    bridge.to(device)
    _check(original, bridge, inputs)
    steps = _step(original.train(), inputs), _step(bridge.train(), inputs)
    for step in steps:
        _seconds(step, 2)
    count = max(1, round(SAMPLE_SECONDS / _seconds(steps[0], 2)))
    times: tuple[list[float], list[float]] = ([], [])
    gc.disable()
    for repeat in range(repeats):
        for which in (0, 1) if repeat % 2 == 0 else (1, 0):
            times[which].append(_seconds(steps[which], count))
    gc.enable()
    ratios = tuple(a / b for a, b in zip(*times, strict=True))
    middle = [statistics.median(found) * 1e3 for found in times]
    return Measured(name, middle[0], middle[1], ratios, len(proto.graph.node))


def _environment() -> str:
    import onnxscript

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    if not torch.cuda.is_available() and Path("/proc/cpuinfo").exists():
        found = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        device = found[0].partition(":")[2].strip() if found else device
    return (
        f"{device}, {torch.get_num_threads()} CPU threads; PyTorch {torch.__version__}, onnxscript "
        f"{onnxscript.__version__}, Python {platform.python_version()}"
    )


def main(words: Sequence[str] | None = None) -> int:
    """Prints one row per workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--files", type=Path)
    parser.add_argument("--folded", action="store_true")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args(words)
    if options.repeats < 2:
        parser.error("--repeats: quartiles need at least 2 pairs.")
    torch.set_num_threads(options.threads)
    head = "| model | nodes | original, ms a step | bridge, ms a step | ratio | quartiles | pairs |"
    lines = [head, "|---" * (head.count("|") - 1) + "|"]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.names:
            found = measure(name, options.files or Path(scratch), options.repeats, folded=options.folded)
            lines.append(found.row())
            print(lines[-1], flush=True)
    lines += ["", _environment()]
    print("\n".join(lines[-2:]))
    if options.markdown:
        options.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
