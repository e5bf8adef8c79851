"""Prints what orders of channels are worth, by method, and what finding them costs.

    OMP_NUM_THREADS=1 python tests/bench/permutation_table.py [MODEL.onnx ...]

First, synthetic 256 x 256 matrices of which 0.7 of the blocks are pruned: percentage of the mass that goes, mean
over seeds. `|N|` is a standard normal's magnitude; "scales" multiplies it by exp(0.6 z) for each row and each
column; "rank 8" is |A B|^1.5 with A [256, 8] and B [8, 256]. Blocks are square, pruned anywhere (tetris) or
as many in each column of blocks (balanced). The columns between "sorted" and "ours" are baselines written here
without the library: the swaps of the TETRIS paper; a dense assignment as M-step, from the original order, with
noise on the matrix (25 %, fading over 20 rounds), and from the sorted order.
Then each layer of the given models on its own, at half the blocks of each tile. Last, CPU seconds by size.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from scipy.optimize import linear_sum_assignment

from onnxprune.tiles import (
    BalancedTiles,
    NOfM,
    Pattern,
    SearchOptions,
    TetrisBlocks,
    block_sums,
    expand_choice,
    measure_saliency,
    retained,
    search_layer,
)
from onnxprune.tiles.arrays import Floats, Indices

SIZE, RATE, SEEDS = 256, 0.7, 4
Orders = tuple[Indices, Indices]


def matrix(kind: str, seed: int, size: int = SIZE) -> Floats:
    """Returns a matrix of mass one."""
    rng = np.random.default_rng(seed)
    if kind == "rank 8":
        values = np.abs(rng.standard_normal((size, 8)) @ rng.standard_normal((8, size))) ** 1.5
    else:
        values = np.abs(rng.standard_normal((size, size)))
        if kind == "scales":
            values *= np.exp(0.6 * rng.standard_normal((size, 1))) * np.exp(0.6 * rng.standard_normal((1, size)))
    result: Floats = values / values.sum()
    return result


def placing_gains(x: Floats, pattern: Pattern, orders: Orders, axis: int) -> Floats:
    """Returns S, mass that each channel keeps at each position under the best mask for the orders."""
    choice = pattern.choose(block_sums(pattern, x, *orders)) > 0.5
    plain: Orders = (np.arange(x.shape[0]), np.arange(x.shape[1]))
    kept = expand_choice(pattern, choice, *plain).astype(np.float64)
    if axis == 0:
        return x[:, orders[1]] @ kept.T
    return x[orders[0]].T @ kept


def assigned(gains: Floats, order: Indices) -> Indices:
    """Returns the best order by dense assignment."""
    channels, positions = linear_sum_assignment(gains, maximize=True)
    result = np.empty_like(order)
    result[positions] = channels
    return result


def swapped(gains: Floats, order: Indices) -> Indices:
    """Returns an order after the paper's swaps: the best pair, until none gains."""
    result, at = order.copy(), gains[order]
    while True:
        now = np.diag(at)
        change = at + at.T - now[:, None] - now[None, :]
        one, other = np.unravel_index(int(change.argmax()), change.shape)
        if change[one, other] <= 1e-9:
            return result
        result[[one, other]] = result[[other, one]]
        at[[one, other]] = at[[other, one]]


def alternate(
    x: Floats,
    pattern: Pattern,
    orders: Orders,
    step: Callable[[Floats, Indices], Indices],
    noise: float = 0.0,
    rng: np.random.Generator | None = None,
) -> float:
    """Returns the best kept mass on the way of E- and M-steps."""
    best, last, rounds = retained(pattern, x, *orders), -1.0, 20 if rng is not None else 0
    for done in range(200):
        heat = noise * (1 - done / rounds) if done < rounds else 0.0
        seen = x if rng is None or heat == 0 else np.maximum(x * (1 + heat * rng.standard_normal(x.shape)), 0)
        rows = step(placing_gains(seen, pattern, orders, 0), orders[0])
        columns = step(placing_gains(seen, pattern, (rows, orders[1]), 1), orders[1])
        orders = rows, columns
        kept = retained(pattern, x, *orders)
        best = max(best, kept)
        if heat == 0 and kept <= last + 1e-7:
            break
        last = kept if heat == 0 else -1.0
    return best


def synthetic_row(kind: str, pattern: Pattern, seed: int) -> list[float]:
    """Returns pruned percentages of one matrix, CPU seconds of ours last."""
    x = matrix(kind, seed)
    plain: Orders = (np.arange(SIZE), np.arange(SIZE))
    by_mass: Orders = (np.argsort(-x.sum(axis=1), kind="stable"), np.argsort(-x.sum(axis=0), kind="stable"))
    begun = time.thread_time()
    found = search_layer(x, pattern, rng=np.random.default_rng(seed))
    seconds = time.thread_time() - begun
    kept = [
        pattern.bound(x),
        retained(pattern, x),
        retained(pattern, x, *by_mass),
        alternate(x, pattern, plain, swapped),
        alternate(x, pattern, plain, assigned),
        alternate(x, pattern, plain, assigned, 0.25, np.random.default_rng(seed)),
        alternate(x, pattern, by_mass, assigned),
    ]
    return [*(100 * (1 - mass) for mass in kept), 100 * found.pruned.found, seconds]


def print_synthetic() -> None:
    """Prints the table of synthetic matrices."""
    heads = ("bound", "none", "sorted", "TETRIS swaps", "LSAP", "LSAP + noise", "sorted LSAP", "ours", "CPU s")
    print_head("matrix", "pattern", "block", *heads)
    for kind in ("iid |N|", "scales", "rank 8"):
        for block in (8, 32):
            blocks = SIZE // block
            kept = blocks - int(blocks * RATE)
            patterns: list[Pattern] = [TetrisBlocks(block, block, RATE), BalancedTiles(block, block, kept / blocks)]
            for pattern in patterns:
                rows = np.array([synthetic_row(kind, pattern, seed) for seed in range(SEEDS)])
                name = "tetris" if isinstance(pattern, TetrisBlocks) else "balanced"
                print_row(kind, name, str(block), *(f"{value:.2f}" for value in rows.mean(axis=0)))
    print_head("matrix", "pattern", "bound", "none", "sorted", "ours", "efficacy", "CPU s")
    for inputs, outputs in ((64, 128), (256, 256)):
        x = np.abs(np.random.default_rng(0).standard_normal((inputs, outputs)))
        print_layer(f"iid |N| {inputs} x {outputs}", "2:4", x, NOfM(2, 4))


def print_layer(name: str, what: str, x: Floats, pattern: Pattern) -> None:
    """Prints one row: a layer on its own."""
    begun = time.thread_time()
    pruned = search_layer(x, pattern, rng=np.random.default_rng(0)).pruned
    seconds = time.thread_time() - begun
    masses = (pruned.bound, pruned.none, pruned.sorted, pruned.found)
    shares = [f"{100 * mass / pruned.total:.2f}" for mass in masses]
    print_row(name, what, *shares, f"{100 * pruned.efficacy:.1f} %", f"{seconds:.2f}")


def weights(path: Path) -> list[tuple[str, Floats]]:
    """Returns the ungrouped layers of a model that have two blocks at least: name, saliency [K, N]."""
    graph = onnx.load(path).graph
    initializers = {each.name: each for each in graph.initializer}
    result = []
    for node in graph.node:
        named = [name for name in node.input[1:2] if name in initializers]
        flags = {each.name: each.i for each in node.attribute}
        if node.op_type not in ("Conv", "Gemm", "MatMul") or not named or flags.get("group", 1) != 1:
            continue
        weight = numpy_helper.to_array(initializers[named[0]])
        inputs_first = node.op_type == "MatMul" or (node.op_type == "Gemm" and not flags.get("transB", 0))
        x = measure_saliency(weight if inputs_first else np.swapaxes(weight, 0, 1))
        if min(x.shape) >= 16:
            result.append((named[0], x))
    return result


def print_model(path: Path) -> None:
    """Prints the table of one model."""
    print(f"\n{path.stem}: half of the blocks of 8 inputs x 16 outputs, then 2:4")
    print_head("layer", "inputs x outputs", "bound", "none", "sorted", "ours", "efficacy", "CPU s")
    layers, sums = weights(path), {"tiles": np.zeros(4), "2:4": np.zeros(4)}
    for name, x in layers:
        print_layer(name, f"{x.shape[0]} x {x.shape[1]}", x, BalancedTiles(8, 16, 0.5))
    for label, pattern in (("tiles", BalancedTiles(8, 16, 0.5)), ("2:4", NOfM(2, 4))):
        options = SearchOptions(kicks=3)
        for _, x in layers:
            pruned = search_layer(x, pattern, options, np.random.default_rng(0)).pruned
            sums[label] += (pruned.bound, pruned.none, pruned.sorted, pruned.found)
        means = 100 * sums[label] / len(layers)
        efficacy = (means[1] - means[3]) / (means[1] - means[0])
        print_row("mean", f"{label}, 3 kicks", *(f"{mean:.2f}" for mean in means), f"{100 * efficacy:.1f} %", "")


def print_sizes() -> None:
    """Prints CPU seconds of the whole search and of its first descent."""
    print("\nsquare matrices of kind `scales`, 30 % of the blocks of 16 inputs x 64 outputs")
    print_head(
        "channels", "none", "sorted", "first descent", "ours", "CPU s, first descent", "CPU s, 0 kicks", "CPU s, ours"
    )
    pattern = BalancedTiles(16, 64, 0.3)
    for size in (512, 1024, 2048, 4096):
        x = matrix("scales", 0, size)
        marks: list[tuple[str, float, float]] = [("", time.thread_time(), 0.0)]
        found = search_layer(
            x,
            pattern,
            rng=np.random.default_rng(0),
            on_point=lambda point, marks=marks: marks.append((point.step, time.thread_time(), point.best)),
        ).pruned
        total = time.thread_time() - marks[0][1]
        first = next(one for one, two in pairwise(marks[1:]) if two[0] != "none")
        starts = next(one for one, two in pairwise(marks[1:]) if two[0].startswith("kick"))
        masses = (found.none, found.sorted, first[2], found.found)
        times = (first[1] - marks[0][1], starts[1] - marks[0][1], total)
        print_row(str(size), *(f"{100 * mass:.2f}" for mass in masses), *(f"{spent:.1f}" for spent in times))


def print_head(*cells: str) -> None:
    """Prints the head of a table."""
    print(f"\n| {' | '.join(cells)} |\n{'|---' * len(cells)}|", flush=True)


def print_row(*cells: str) -> None:
    """Prints a row of a table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def main(paths: list[Path]) -> None:
    """Prints all tables."""
    print_synthetic()
    for path in paths:
        print_model(path)
    print_sizes()


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
