"""Torch-Pruning and onnxprune side by side on a glyphs47 net: same teacher, data, MACs and training.

    python tests/bench/torch_pruning_glyphs.py --shared FOLDER --cache FOLDER --net resnet20 --flops 0.4

Needs torch-pruning 1.6 and safetensors, best in an environment of their own that also has what
onnxprune needs. Torch-Pruning starts from the PyTorch source of the net, batch normalisation in
place, and gets what its documentation recommends, and more: each of `VARIANTS` is cut to the target
and its statistics are re-estimated; the most accurate ones get a short pilot run, and the best of
these is trained in full. Both tools train with the same loss,

    L = ½ CE(z, y) + ½ τ² KL(softmax(t / τ) ‖ softmax(z / τ)),  τ = 2     (the second term alone without labels)

t the original's outputs, in the same order of batches, by SGD (Nesterov 0.9, weight decay 5e-4 on
matrices, gradient norm at most 5), each with its best peak learning rate of `--lrs`. For
Torch-Pruning the rate rises over 5 % of the steps and falls linearly to zero; onnxprune runs as it
is, apart from the peak. The target is the MACs of onnxprune's own slim model, and Torch-Pruning may use
1 % more. Validation images make every choice. Finished runs are kept in `--cache`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from glyph_nets import BATCH, Images, accuracy, load_net, logits, macs, reestimate
from result_cache import ResultCache, beside
from torch import nn
from torch_pruning_variants import VARIANTS, Pruner, Variant

TAU = 2.0
SHARE = 0.5
WARMUP = 0.05
CLIP = 5.0
QUICK = 2048
HEAD = "| tool | MACs | peak lr | pruned | statistics anew | validation | test | points lost |"


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

    def own(self, lr: float | None, epochs: int) -> dict[str, Any]:
        """Runs `onnxprune compress`; returns MACs and accuracies."""
        options = self.options
        key = {**self.key, "what": "onnxprune", "lr": lr, "epochs": epochs, "seed": options.seed}
        key |= {"labels": options.labels, "options": options.own_options}
        return self.cache.get(key, lambda: self._compress(lr, epochs))

    def _compress(self, lr: float | None, epochs: int) -> dict[str, Any]:
        options, folder = self.options, self.cache.folder
        source, out = self.data / "train.npz", folder / f"{options.net}-{options.flops}.slim.onnx"
        if options.labels == "no":
            source = folder / "images.npz"
            np.savez(source, images=self.train.pixels.numpy())
        words = [sys.executable, "-m", "onnxprune", "compress", self.shared / f"models/glyphs47_{options.net}.onnx"]
        words += ["-o", out, "--flops", options.flops, "--data", source, "--epochs", epochs, "--seed", options.seed]
        words += ["--image-mean", 0.5, "--image-std", 0.25, "--quiet"]
        words += (["--lr", lr] if lr is not None else []) + options.own_options.split()
        subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
        report = json.loads(out.with_suffix(".report.json").read_text(encoding="utf-8"))
        from onnxprune.bridge import to_torch

        slim = to_torch(out)
        return {"macs": report["after"]["macs"], "val": accuracy(slim, self.val), "test": accuracy(slim, self.test)}

    def target(self) -> float:
        """Returns the MACs that both may use."""
        return float(self.options.macs or self.own(None, 0)["macs"])

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


def torch_pruning_side(work: Comparison, target: float) -> dict[str, Any]:
    """Returns the best that Torch-Pruning reaches, chosen on validation images."""
    options = work.options
    rates = [float(word) for word in options.lrs.split(",")]
    training = Training(rates[len(rates) // 2], options.epochs, options.seed, options.labels == "yes")
    left: Sequence[Variant] = VARIANTS
    for epochs, stay in ((0, options.semifinalists), (options.pilot_epochs, options.finalists)):
        pilots = {variant: work.theirs(variant, replace(training, epochs=epochs), target)["val"] for variant in left}
        left = sorted(pilots, key=lambda variant: -pilots[variant])[:stay]
    runs = [
        work.theirs(variant, replace(training, lr=lr), target) | {"name": str(variant)}
        for variant in left
        for lr in rates
    ]
    return max(runs, key=lambda run: run["val"])


def row(tool: str, run: dict[str, Any], original: dict[str, Any]) -> str:
    """Returns one row of the table."""
    zero = [f"{run[stage]:.2%}" if stage in run else "" for stage in ("pruned", "reestimated")]
    cells = [f"{tool} ({run['name']})" if "name" in run else tool, f"{run['macs'] / original['macs']:.1%}"]
    cells += ["default" if run["lr"] is None else f"{run['lr']:g}", *zero, f"{run['val']:.2%}", f"{run['test']:.2%}"]
    cells.append(f"{100 * (original['test'] - run['test']):.2f}")
    return f"| {' | '.join(cells)} |"


def main(words: list[str]) -> None:
    """Runs what the words ask for; prints a table and a JSON line."""
    options = parse(words)
    torch.set_num_threads(options.threads)
    work = Comparison(options)
    target = work.target()
    runs = {"Torch-Pruning": torch_pruning_side(work, target)}
    if options.side == "both":
        rates = [float(word) for word in options.lrs.split(",")]
        runs["onnxprune"] = max((work.own(lr, options.epochs) for lr in rates), key=lambda run: run["val"])
    original = {"macs": macs(work.net), "test": accuracy(work.net, work.test)}
    print(HEAD + "\n" + "|---" * (HEAD.count(" | ") + 1) + "|")
    for tool, run in runs.items():
        print(row(tool, run, original))
    print(json.dumps({"original": original, **runs}))


def parse(words: list[str]) -> argparse.Namespace:
    """Returns the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", required=True, help="folder with models/ and data/glyphs47/")
    parser.add_argument("--cache", required=True, help="folder that keeps finished runs")
    parser.add_argument("--net", required=True, choices=["resnet20", "mobilenetv2", "vgg"])
    parser.add_argument("--flops", type=float, default=0.4)
    parser.add_argument("--macs", type=float, help="target of Torch-Pruning; by default what onnxprune reaches")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pilot-epochs", type=float, default=0.2)
    parser.add_argument("--semifinalists", type=int, default=3, help="variants that get a pilot run")
    parser.add_argument("--finalists", type=int, default=1, help="variants that are trained in full")
    parser.add_argument("--lrs", default="0.02,0.05,0.1", help="peak learning rates; pilots take the middle one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--labels", choices=["yes", "no"], default="yes")
    parser.add_argument("--side", choices=["both", "torch-pruning"], default="both")
    parser.add_argument("--own-options", default="", help="further options of `onnxprune compress`, in one word")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(words)


if __name__ == "__main__":
    main(sys.argv[1:])
