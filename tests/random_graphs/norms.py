"""Steps that normalise feature maps: as nodes, and as exporters write them out."""

from __future__ import annotations

from random_graphs.builder import Builder

__all__ = ["NORMS"]


def _batch(b: Builder) -> None:
    source = b.pick()
    vectors = [b.vector(source.channels) for _ in range(4)]
    b.put(b.add("BatchNormalization", source.name, *vectors), source.channels, source.sizes)


def _affine(b: Builder, name: str, channels: int, rank: int) -> str:
    scale, shift = b.vector(channels, *[1] * rank), b.vector(channels, *[1] * rank)
    return b.add("Add", b.add("Mul", name, scale), shift)


def _instance(b: Builder) -> None:
    source = b.pick()
    if min(source.sizes) > 2:
        vectors = [b.vector(source.channels) for _ in range(2)]
        b.put(b.add("InstanceNormalization", source.name, *vectors), source.channels, source.sizes)


def _group(b: Builder) -> None:
    source = b.pick()
    if source.channels % 2 or min(source.sizes) < 3:
        return
    groups = b.choose(*(g for g in (1, 2, 4) if source.channels % g == 0))
    if b.opset >= 21 and b.chance(0.5):
        vectors = [b.vector(source.channels) for _ in range(2)]
        result = b.add("GroupNormalization", source.name, *vectors, num_groups=groups)
    else:
        flat = b.reshape(source.name, (0, groups, -1))
        ones = [b.vector(groups) for _ in range(2)]
        flat = b.add("InstanceNormalization", flat, *ones)
        back = b.add("Reshape", flat, b.add("Shape", source.name))
        result = _affine(b, back, source.channels, len(source.sizes))
    b.put(result, source.channels, source.sizes)


def _channels_last(b: Builder) -> None:
    """LayerNormalization over channels between two transposes."""
    source = b.pick()
    rank = len(source.sizes)
    last = b.add("Transpose", source.name, perm=[0, *range(2, rank + 2), 1])
    vectors = [b.vector(source.channels) for _ in range(2)]
    normal = b.add("LayerNormalization", last, *vectors, axis=-1)
    b.put(b.add("Transpose", normal, perm=[0, rank + 1, *range(1, rank + 1)]), source.channels, source.sizes)


def _channels_first(b: Builder) -> None:
    """The same written out over axis 1."""
    source = b.pick()
    centred = b.add("Sub", source.name, b.statistics(source.name, "ReduceMean", 1))
    power = b.add("Pow", centred, b.scalar(2.0)) if b.chance(0.5) else b.add("Mul", centred, centred)
    spread = b.add("Sqrt", b.add("Add", b.statistics(power, "ReduceMean", 1), b.scalar(1e-2)))
    result = _affine(b, b.add("Div", centred, spread), source.channels, len(source.sizes))
    b.put(result, source.channels, source.sizes)


def _local(b: Builder) -> None:
    source = b.pick()
    if len(source.sizes) == 2:
        b.put(b.add("LRN", source.name, size=3, alpha=0.1), source.channels, source.sizes)


NORMS = {
    "batch norm": _batch, "instance norm": _instance, "group norm": _group, "channels-last norm": _channels_last,
    "channels-first norm": _channels_first, "local norm": _local,
}  # fmt: skip
