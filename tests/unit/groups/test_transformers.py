"""The groups that transformers have: heads, their channels, hidden units, and approximately the residual width."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto
from pruning import Analysed, analysed, disagreement, in_mode, random_plan
from transformer_idioms import (
    ATTENTIONS,
    HEAD,
    HEADS,
    LENGTH,
    PLAIN,
    UNITS,
    WIDTH,
    WORDS,
    Net,
    block,
    embed,
    gated_mlp,
    gelu_mlp,
    grouped_expand_by_shape,
    language_model,
    masked_trilu,
    packed_gated_mlp,
    packed_split,
    relu_mlp,
    rotary_computed,
    rotary_tables,
    scaled_by_shape,
    separate,
    weigh,
)

TOLERANCE = 1e-5


def sizes(item: Analysed) -> list[int]:
    return sorted(g.size for g in item.analysis.groups)


def certified(proto: ModelProto, expected: list[int], width: int = WIDTH) -> Analysed:
    """Asserts the sizes of all groups, exactly and approximately, and that masking is removal."""
    exact = analysed(proto)
    for approximate in (True, False):
        item = in_mode(exact, approximate=approximate)
        assert sizes(item) == sorted([*expected, *([width] if approximate else [])])
        for seed in range(2):
            found = disagreement(item, random_plan(item.analysis, seed), seed=seed)
            assert found < TOLERANCE, f"approximate {approximate}, seed {seed}: {found}"
    return item


@pytest.mark.parametrize("attention", ATTENTIONS, ids=lambda f: f.__name__)
def test_heads_and_their_channels_are_found_in_every_idiom(attention):
    certified(language_model(attention), [*ATTENTIONS[attention], UNITS])


@pytest.mark.parametrize("mlp", [relu_mlp, gelu_mlp, gated_mlp, packed_gated_mlp], ids=lambda f: f.__name__)
def test_hidden_units_are_one_group_in_every_idiom(mlp):
    item = certified(language_model(mlp=mlp), [*PLAIN, UNITS])
    units = next(g for g in item.analysis.groups if g.size == UNITS)
    assert units.multiple == (2 if mlp is packed_gated_mlp else 1)


def test_post_norm_block_has_the_same_groups():
    net = Net()
    x = embed(net)
    for part in (separate, relu_mlp):
        x = net.norm(net("Add", x, part(net, x)))
    certified(net.model((net.linear(x, WIDTH, 5), ["N", LENGTH, 5])), [*PLAIN, UNITS])


def test_two_blocks_share_the_residual_width_alone():
    net = Net()
    x = block(net, block(net, embed(net)), rotary_tables, gated_mlp)
    proto = net.model((net.linear(net.norm(x), WIDTH, 5), ["N", LENGTH, 5]))
    certified(proto, [*PLAIN, UNITS, *ATTENTIONS[rotary_tables], UNITS])


def test_head_tied_to_the_table_loses_the_same_width():
    net = Net()
    x = net.norm(block(net, embed(net)))
    proto = net.model((net("MatMul", x, net("Transpose", "words", perm=[1, 0])), ["N", LENGTH, WORDS]))
    certified(proto, [*PLAIN, UNITS])
    wide = next(g for g in analysed(proto, approximate=True).analysis.groups if g.size == WIDTH)
    assert {m.role for m in wide.members if "words" in m.initializer} >= {"producer"}


def _positions_by_slice(net: Net, x: str) -> str:
    length = net("Slice", net("Shape", x), net.const([1]), net.const([2]))
    return net("Slice", net.weight(LENGTH + 3, WIDTH), net.const([0]), length, net.const([0]))


def _positions_by_gather(net: Net, x: str) -> str:
    length = net("Gather", net("Shape", x), net.const(1))
    return net("Gather", net.weight(LENGTH + 3, WIDTH), net("Range", net.const(0), length, net.const(1)))


@pytest.mark.parametrize("length", [LENGTH, "L"], ids=["static", "dynamic"])
@pytest.mark.parametrize("positions", [_positions_by_slice, _positions_by_gather])
def test_learned_positions_follow_the_width(positions, length):
    net = Net()
    tokens = net.data("tokens", ["N", length], TensorProto.INT64)
    x = net("Gather", net.weight(WORDS, WIDTH), tokens)
    x = block(net, net("Add", x, positions(net, x)), scaled_by_shape)
    proto = net.model((net.linear(net.norm(x), WIDTH, 5), ["N", length, 5]))
    # a slice that never changes is folded, so rows that nothing reads are gone already
    certified(proto, [*PLAIN, UNITS])


@pytest.mark.parametrize("attention", [separate, rotary_computed, grouped_expand_by_shape, masked_trilu])
def test_positions_that_change_at_run_time_leave_the_groups_as_they_are(attention):
    net = Net()
    tokens = net.data("tokens", ["N", "L"], TensorProto.INT64)
    x = block(net, net("Gather", net.weight(WORDS, WIDTH), tokens), attention)
    proto = net.model((net.linear(net.norm(x), WIDTH, 5), ["N", "L", 5]))
    certified(proto, [*ATTENTIONS[attention], UNITS])


def test_cross_attention_couples_heads_over_two_streams():
    net = Net()
    memory = block(net, embed(net))
    states = net("Gather", net.weight(WORDS, WIDTH), net.data("words_out", ["N", 5], TensorProto.INT64))
    queries, read = net.norm(states), net.norm(memory)
    mixed = weigh(net, net.project(queries), net.project(read), net.project(read))
    x = net("Add", states, mixed)
    proto = net.model((net.linear(net.norm(x), WIDTH, 5), ["N", 5, 5]))
    exact = [*PLAIN, UNITS, *PLAIN]
    item = analysed(proto)
    assert sizes(item) == sorted(exact)
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE
    item = analysed(proto, approximate=True)
    assert sizes(item) == sorted([*exact, WIDTH, WIDTH])  # one residual width for each stream
    assert disagreement(item, random_plan(item.analysis)) < TOLERANCE


def test_cached_keys_keep_heads_and_key_channels_with_the_reason():
    net = Net()
    past = net.data("past", ["N", HEADS, 4, HEAD])
    x = embed(net)
    normed = net.norm(x)
    keys = net("Concat", past, net.project(normed), axis=2)
    length = net.const(np.concatenate([np.eye(LENGTH), np.zeros((LENGTH, 4))], axis=1).astype(np.float32))
    values = net("MatMul", net("Transpose", length, perm=[1, 0]), net.project(normed))
    x = net("Add", x, weigh(net, net.project(normed), keys, values))
    x = net("Add", x, relu_mlp(net, net.norm(x)))
    proto = net.model((net.linear(net.norm(x), WIDTH, 5), ["N", LENGTH, 5]), (keys, ["N", HEADS, LENGTH + 4, HEAD]))
    item = certified(proto, [HEAD, UNITS])
    reasons = "; ".join(reason for f in item.analysis.frozen for reason in f.reasons)
    assert "input 'past' of the model" in reasons


@pytest.mark.parametrize("dynamic", [True, False])
def test_class_token_and_patches_of_an_image_follow_the_width(dynamic):
    net = Net()
    image = net.data("image", ["N" if dynamic else 2, 3, 8, 8])
    patches = net("Conv", image, net.weight(WIDTH, 3, 4, 4), net.vector(WIDTH), kernel_shape=[4, 4], strides=[4, 4])
    rows = net("Transpose", net.reshape(patches, 0, WIDTH, -1), perm=[0, 2, 1])
    batch = net("Slice", net("Shape", image), net.const([0]), net.const([1]))
    shape = net("Concat", batch, net.const([1, WIDTH]), axis=0)
    token = net("Expand", net.weight(1, 1, WIDTH, name="token"), shape)
    x = net("Add", net("Concat", token, rows, axis=1), net.weight(1, 5, WIDTH))
    x = net.norm(block(net, x, packed_split, gelu_mlp))
    y = net.linear(net("Gather", x, net.const(0), axis=1), WIDTH, 5)
    certified(net.model((y, ["N" if dynamic else 2, 5])), [*PLAIN, UNITS])


def test_norm_of_each_head_of_queries_and_keys_freezes_their_channels_unless_approximate():
    def normed(net: Net, x: str) -> str:
        def project() -> str:
            flat = net.reshape(net.linear(x, WIDTH, HEADS * HEAD), 0, -1, HEADS, HEAD)
            return net("Transpose", net("LayerNormalization", flat, net.vector(HEAD)), perm=[0, 2, 1, 3])

        return weigh(net, project(), project(), net.project(x))

    exact = analysed(language_model(normed))
    assert sizes(exact) == sorted([HEADS, HEAD, UNITS])
    assert disagreement(exact, random_plan(exact.analysis)) < TOLERANCE
    item = analysed(language_model(normed), approximate=True)
    assert sizes(item) == sorted([*PLAIN, UNITS, WIDTH])
    for seed in range(3):
        assert disagreement(item, random_plan(item.analysis, seed)) < TOLERANCE
