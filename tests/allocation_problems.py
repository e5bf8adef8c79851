"""Allocation problems shaped like residual, depthwise and fully connected nets, and random ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxprune.allocate import Problem
from onnxprune.axes import Poly
from onnxprune.core.group import Group

Layer = tuple[str | int, str | int, int]


def size_of(name: str | int) -> Poly:
    """A group's variable, or a fixed number of channels."""
    return Poly.variable(name) if isinstance(name, str) else Poly.constant(name)


def problem(
    sizes: Mapping[str, int],
    layers: list[Layer],
    shares: Mapping[str, float],
    seed: int = 0,
    align: str | int = "auto",
    depthwise: Mapping[str, int] | None = None,
    multiples: Mapping[str, int] | None = None,
) -> Problem:
    """A problem over `layers` of (input, output, MACs per weight slice); `shares` bound flops and params."""
    macs = [size_of(a) * size_of(b) * float(c) for a, b, c in layers]
    weights = [size_of(a) * size_of(b) * 9.0 for a, b, _ in layers]
    for name, work in (depthwise or {}).items():
        macs.append(size_of(name) * float(work))
        weights.append(size_of(name) * 9.0)
    costs = {"flops": Poly.sum(macs), "params": Poly.sum(weights)}
    generator = np.random.default_rng(seed)
    scores = {name: generator.lognormal(0.0, 0.6, size) for name, size in sizes.items()}
    return Problem(
        groups=tuple(Group(n, s, (), (multiples or {}).get(n, 1)) for n, s in sizes.items()),
        scores={name: s / s.mean() for name, s in scores.items()},
        costs=costs,
        limits={resource: share * costs[resource](sizes) for resource, share in shares.items()},
        align=align,
    )


def residual(shares: Mapping[str, float], blocks: int = 3, seed: int = 0, align: str | int = "auto") -> Problem:
    """Three stages of 16, 32, 64 channels; one trunk group per stage is shared by all its blocks."""
    sizes: dict[str, int] = {}
    layers: list[Layer] = []
    before: str | int = 3
    for stage, width in enumerate((16, 32, 64)):
        trunk = f"trunk{stage}"
        sizes[trunk] = width
        work = 9 * (32 >> stage) ** 2
        layers.append((before, trunk, work))
        for block in range(blocks):
            inner = f"s{stage}b{block}"
            sizes[inner] = width
            layers += [(trunk, inner, work), (inner, trunk, work)]
        before = trunk
    layers.append((before, 47, 1))
    return problem(sizes, layers, shares, seed, align)


def depthwise(shares: Mapping[str, float], seed: int = 0, align: str | int = "auto") -> Problem:
    """Inverted bottlenecks: wide groups with a linear term, narrow trunks."""
    widths = (16, 24, 40, 64, 96)
    sizes: dict[str, int] = {}
    layers: list[Layer] = []
    linear: dict[str, int] = {}
    before: str | int = 3
    for i, width in enumerate(widths):
        trunk, wide = f"trunk{i}", f"wide{i}"
        sizes |= {trunk: width, wide: 4 * width}
        work = (32 >> (i // 2)) ** 2
        layers += [(before, trunk, work), (trunk, wide, work), (wide, trunk, work)]
        linear[wide] = 9 * work
        before = trunk
    layers.append((before, 47, 1))
    return problem(sizes, layers, shares, seed, align, linear)


def dense(shares: Mapping[str, float], seed: int = 0, align: str | int = "auto") -> Problem:
    """A chain of fully connected layers."""
    widths = {"fc0": 300, "fc1": 100, "fc2": 37}
    layers: list[Layer] = [(784, "fc0", 1), ("fc0", "fc1", 1), ("fc1", "fc2", 1), ("fc2", 10, 1)]
    return problem(widths, layers, shares, seed, align)


FAMILIES = (residual, depthwise, dense)


@cache
def _large(groups: int, channels: int, terms: int) -> tuple[Poly, dict[str, NDArray[np.float64]]]:
    """The cost and scores of a large net; drawing them takes longer than most allocators do."""
    generator = np.random.default_rng(5)
    names = [f"g{i}" for i in range(groups)]
    monomials: dict[tuple[str, ...], float] = {}
    while len(monomials) < terms:
        degree = int(generator.integers(1, 4))
        key = tuple(sorted(str(n) for n in generator.choice(names, degree)))
        monomials[key] = float(generator.integers(1, 1000) * 100 ** (3 - degree))
    return Poly(monomials), {name: np.sort(generator.lognormal(0.0, 0.5, channels)) for name in names}


def large(
    share: float, groups: int = 100, channels: int = 100, terms: int = 3000, align: str | int = "auto"
) -> Problem:
    """`groups` groups of `channels` channels and a polynomial of about `terms` terms."""
    cost, scores = _large(groups, channels, terms)
    limit = share * cost(dict.fromkeys(scores, channels))
    return Problem(tuple(Group(n, channels, ()) for n in scores), scores, {"flops": cost}, {"flops": limit}, align)


def lowest_share(given: Problem) -> float:
    """The smallest share of every limited cost at which one channel per group fits."""
    ones = dict.fromkeys(given.sizes, 1)
    return max(float(given.costs[r](ones) / given.costs[r](given.sizes)) for r in given.limits)


def with_limit(given: Problem, resource: str, limit: float) -> Problem:
    """The same problem with one limit alone."""
    return Problem(given.groups, given.scores, given.costs, {resource: limit}, given.align, given.floor)


@st.composite
def random_problems(draw: st.DrawFn, resources: int = 2) -> Problem:
    """Up to six groups of 2 to 100 channels, sparse integer polynomials up to degree three, limits at the original."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    sizes = {f"g{i}": int(rng.integers(2, 101)) for i in range(int(rng.integers(1, 7)))}
    costs = {}
    for resource in ("flops", "params")[: int(rng.integers(1, resources + 1))]:
        terms: dict[tuple[str, ...], float] = {(): float(rng.integers(0, 1000) * rng.integers(0, 2))}
        for _ in range(int(rng.integers(1, 12))):
            terms[tuple(sorted(str(n) for n in rng.choice(list(sizes), rng.integers(1, 4))))] = float(
                rng.integers(1, 99)
            )
        costs[resource] = Poly(terms)
    return Problem(
        groups=tuple(Group(n, s, (), int(rng.choice([1, 1, 1, 3, 4, 64]))) for n, s in sizes.items()),
        scores={n: rng.choice([0.0, 0.5, 1.0], s) if rng.random() < 0.3 else rng.random(s) for n, s in sizes.items()},
        costs=costs,
        limits={resource: float(cost(sizes)) for resource, cost in costs.items()},
        align=draw(st.sampled_from(["auto", "auto", 1, 4, 12]), label="align"),
        floor=draw(st.sampled_from([0.1, 0.1, 0.0, 0.5]), label="floor"),
    )


def is_aligned(kept: int, group: Group, channels: int = 8) -> bool:
    """Whether a count is complete, a multiple of `channels` physical ones, or of a group too small for that."""
    unit = channels // math.gcd(channels, group.multiple)
    return kept == group.size or group.size < 2 * unit or kept % unit == 0
