"""Torch-Pruning and onnxprune side by side on a glyphs47 net: same teacher, data, MACs and training.

    python tests/bench/torch_pruning_glyphs.py --shared FOLDER --cache FOLDER --net resnet20 --flops 0.4

Needs torch-pruning 1.6 and safetensors, best in an environment of their own that also has what
onnxprune needs. Torch-Pruning starts from the PyTorch source of the net, batch normalisation in
place, and gets what its documentation recommends, and more: each of `VARIANTS` is cut to the target
and its statistics are re-estimated; the most accurate ones get a short pilot run, and the best of
these is trained in full. Both tools train with the same loss,

    L = ½ CE(z, y) + ½ τ² KL(softmax(t / τ) ‖ softmax(z / τ)),  τ = 2     (the second term alone without labels)

t the original's outputs, in the same order of batches, by SGD (Nesterov 0.9, weight decay 5e-4 on
matrices, gradient norm at most 5). For Torch-Pruning the rate rises over 5 % of the steps to the best
of `--lrs` and falls linearly to zero; onnxprune runs as it is. Torch-Pruning may use 1 % more MACs
than the target. Validation images make every choice.

Latency is the time of a run in onnxruntime over the original's, median and 95 % interval, all three
turn by turn. Finished runs are kept in `--cache`; those of onnxprune are the ones of `retrain_table.py`
with the same FOLDER and options.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from glyph_nets import BATCH, EXAMPLE, Images, accuracy, load_net, logits, macs, reestimate
from result_cache import ResultCache, beside
from retrain_table import COLUMNS, Run
from retrain_table import Table as RetrainTable
from torch import nn
from torch_pruning_variants import VARIANTS, Pruner, Variant

from onnxprune.runtime import LatencyOptions, measure

TAU = 2.0
SHARE = 0.5
WARMUP = 0.05
CLIP = 5.0
QUICK = 2048
IMAGES = "--image-mean 0.5 --image-std 0.25"
TORCH_PRUNING = "Torch-Pruning"


@dataclass(frozen=True)
class Training:
    """How a pruned PyTorch net is trained.

    Attributes:
        lr: Peak learning rate.
        epochs: Passes over the data; a fraction is a pilot run.
        seed: Decides the order of images.
        labels: Whether the loss looks at them.
        dropout: Whether the net keeps its Dropout; the exported original has none.
    """

    lr: float
    epochs: float
    seed: int
    labels: bool
    dropout: bool = False

    def rate(self, step: int, steps: int) -> float:
        """Returns the learning rate of a step."""
        rising = min(round(WARMUP * steps), steps - 1)
        return self.lr * ((step + 1) / rising if step < rising else (steps - step) / (steps - rising))

    def loss(self, scores: torch.Tensor, targets: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Returns the loss of a batch."""
        log_p, log_q = F.log_softmax(scores / TAU, 1), F.log_softmax(targets / TAU, 1)
        soft = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * TAU**2
        return (1 - SHARE) * F.cross_entropy(scores, labels) + SHARE * soft if self.labels else soft

    def run(self, net: nn.Module, images: Images, targets: torch.Tensor) -> None:
        """Trains `net` in place; `targets` are the original's outputs for all images."""
        for module in net.modules():
            if isinstance(module, nn.Dropout) and not self.dropout:
                module.p = 0.0
        thin_out_first(net)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        optimizer = self._optimizer(net)
        per_epoch = len(images) // BATCH
        steps = round(per_epoch * self.epochs)
        torch.manual_seed(self.seed)
        net.train()
        for step in range(steps):
            if step % per_epoch == 0:
                order = np.arange(len(images))
                np.random.default_rng([self.seed, step // per_epoch + 1]).shuffle(order)
            at = step % per_epoch * BATCH
            rows = torch.from_numpy(order[at : at + BATCH])
            for group in optimizer.param_groups:
                group["lr"] = self.rate(step, steps)
            loss = self.loss(net(images.batch(rows)), targets[rows], images.labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
        net.eval()

    def _optimizer(self, net: nn.Module) -> torch.optim.Optimizer:
        parameters = list(net.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 5e-4},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=self.lr, momentum=0.9, nesterov=True)


def thin_out_first(net: nn.Module) -> None:
    """Has strided 1×1 convolutions drop the positions they skip beforehand, which changes nothing else.

    PyTorch 2.13 on CPUs with AVX2 writes past its memory in the weight gradient of such a
    convolution when it has fewer than eight input channels and images lie channels-last.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride != (1, 1):
            down, across = module.stride
            module.register_forward_pre_hook(lambda _, args, d=down, a=across: (args[0][:, :, ::d, ::a],))
            module.stride = (1, 1)


class Comparison:
    """Everything for one net, budget, seed and kind of labels."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.shared = options, Path(options.shared)
        self.cache = ResultCache(Path(options.cache))
        self.data = self.shared / "data" / "glyphs47"
        self.train, self.val, self.test = (Images.load(self.data / f"{part}.npz") for part in ("train", "val", "test"))
        self.net = load_net(self.shared, options.net)
        self.key = {"net": options.net, "flops": options.flops}

    def targets(self) -> torch.Tensor:
        """Returns the original's outputs for the training images."""
        path = self.cache.folder / f"teacher-{self.options.net}.npy"
        if not path.exists():
            with beside(path) as part, part.open("wb") as file:
                np.save(file, logits(self.net, self.train).numpy())
        return torch.from_numpy(np.load(path))

    def own(self) -> dict[str, Any]:
        """Runs `onnxprune compress` as `retrain_table.py` does, which finds the run again; returns it and its path."""
        options, table = self.options, RetrainTable(self.cache.folder)
        model, column = self.shared / f"models/glyphs47_{options.net}.onnx", COLUMNS[1 + (options.labels == "no")]
        words = f"{IMAGES} {options.own_options}".strip()
        run = Run(str(model), f"{options.flops:g}", column, options.epochs, words, options.own_name, options.seed)
        table.make(run, self.data / "train.npz", self.data / "test.npz")
        found = self.cache.find(run.key)
        if found is None:
            raise SystemExit(1)
        return found | {"path": Path(f"{self.cache.place(run.key)}.slim.onnx")}

    def target(self) -> float:
        """Returns the MACs that Torch-Pruning is held to."""
        return float(self.options.macs or self.options.flops * macs(self.net))

    def theirs(self, variant: Variant, training: Training, target: float) -> dict[str, Any]:
        """Prunes with Torch-Pruning and trains; returns MACs, channel counts and accuracies."""
        key = {**self.key, "what": "torch-pruning", "target": target, **asdict(variant), **asdict(training)}
        return self.cache.get(key, lambda: self._theirs(variant, training, target))

    def _theirs(self, variant: Variant, training: Training, target: float) -> dict[str, Any]:
        net = Pruner(self.net, target, self.train).cut(variant)
        if net is None:
            return {"macs": None, "val": 0.0, "why": "no ratio reaches the target"}
        widths = [module.out_channels for module in net.modules() if isinstance(module, nn.Conv2d)]
        found: dict[str, Any] = {"macs": macs(net), "widths": widths}
        full = training.epochs >= 1
        if full:
            found["pruned"] = accuracy(net, self.test)
        reestimate(net, self.train, training.seed)
        if full:
            found["reestimated"] = accuracy(net, self.test)
        if training.epochs:
            training.run(net, self.train, self.targets())
        found["val"] = accuracy(net, self.val if training.epochs else self.val.first(QUICK))
        return found | ({"test": accuracy(net, self.test)} if full else {})

    def export(self, variant: Variant, target: float, path: Path) -> None:
        """Writes what Torch-Pruning leaves of the net as ONNX, untrained, normalisation folded."""
        net = Pruner(self.net, target, self.train).cut(variant)
        if net is None:
            raise SystemExit(f"{variant}: no ratio reaches the target.")
        net.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stub lacks it
        free = {"image": {0: "n"}}
        torch.onnx.export(
            net, (torch.zeros(EXAMPLE),), str(path), dynamo=False, input_names=["image"], dynamic_axes=free
        )

    def latency(self, variant: Variant, target: float, own: Path) -> dict[str, list[str]]:
        """Returns each tool's time over the original's in onnxruntime, a text for each batch size of `--batches`."""
        original = self.shared / f"models/glyphs47_{self.options.net}.onnx"
        cut = self.cache.folder / f"torch-pruning-{self.options.net}-{self.options.flops:g}.onnx"
        self.export(variant, target, cut)
        models: dict[str, Path] = {"original": original, TORCH_PRUNING: cut, "onnxprune": own}
        found: dict[str, list[str]] = {TORCH_PRUNING: [], "onnxprune": []}
        for batch in self.options.batches:
            feeds = {"image": self.test.batch(torch.arange(batch)).contiguous().numpy()}
            compared = measure(models, feeds, LatencyOptions(threads=self.options.threads, batch=batch))
            for name, times in found.items():
                ratio = compared.ratios[name]
                times.append(f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]")
        return found


def torch_pruning_side(work: Comparison, target: float) -> tuple[Variant, dict[str, Any]]:
    """Returns the best that Torch-Pruning reaches, chosen on validation images."""
    options = work.options
    rates = [float(word) for word in options.lrs.split(",")]
    training = Training(rates[len(rates) // 2], options.epochs, options.seed, options.labels == "yes")
    left: Sequence[Variant] = [variant for variant in VARIANTS if options.round_to in (None, variant.round_to)]
    for epochs, stay in ((0, options.semifinalists), (options.pilot_epochs, options.finalists)):
        pilots = {variant: work.theirs(variant, replace(training, epochs=epochs), target) for variant in left}
        able = [variant for variant in left if pilots[variant]["macs"]]
        left = sorted(able, key=lambda variant: -pilots[variant]["val"])[:stay]
    if not left:
        raise SystemExit("Torch-Pruning: no variant reaches the target.")
    runs = [(variant, work.theirs(variant, replace(training, lr=lr), target)) for variant in left for lr in rates]
    return max(runs, key=lambda run: run[1]["val"])


def main(words: list[str]) -> None:
    """Runs what the words ask for; prints a table and a JSON line."""
    options = parse(words)
    torch.set_num_threads(options.threads)
    work = Comparison(options)
    whole, before = macs(work.net), accuracy(work.net, work.test)
    variant, theirs = torch_pruning_side(work, work.target())
    own = work.own()
    times = work.latency(variant, work.target(), own["path"])
    head = ["tool", "MACs", "test", "points lost", *(f"latency, batch {batch}" for batch in options.batches)]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, detail, part, after in (
        (TORCH_PRUNING, str(variant), theirs["macs"] / whole, theirs["test"]),
        ("onnxprune", options.own_name, own["macs"], own["after"]),
    ):
        cells = [f"{name} ({detail})", f"{part:.1%}", f"{after:.2%}", f"{100 * (before - after):.2f}", *times[name]]
        print(f"| {' | '.join(cells)} |")
    print(json.dumps({"original": before, TORCH_PRUNING: theirs, "onnxprune": own, "latency": times}, default=str))


def parse(words: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", required=True, help="folder with models/ and data/glyphs47/")
    parser.add_argument("--cache", required=True, help="folder that keeps finished runs")
    parser.add_argument("--net", required=True, choices=["resnet20", "mobilenetv2", "vgg"])
    parser.add_argument("--flops", type=float, default=0.4)
    parser.add_argument("--macs", type=float, help="target of Torch-Pruning; by default the budget's")
    parser.add_argument("--round-to", type=int, choices=[0, 8], help="take only variants with this rounding")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pilot-epochs", type=float, default=0.2)
    parser.add_argument("--semifinalists", type=int, default=3, help="variants that get a pilot run")
    parser.add_argument("--finalists", type=int, default=1, help="variants that are trained in full")
    parser.add_argument("--lrs", default="0.02,0.05,0.1", help="peak learning rates; pilots take the middle one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", choices=["yes", "no"], default="yes")
    parser.add_argument("--own-options", default="", help="further options of `onnxprune compress`, in one word")
    parser.add_argument("--own-name", default="default", help="what they are called")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], help="batch sizes of the latency")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(words)


if __name__ == "__main__":
    main(sys.argv[1:])
