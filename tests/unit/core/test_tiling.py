"""Tiled layers: masks, and what a plan tells of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from onnxprune.core.errors import InputError
from onnxprune.core.tiling import TiledLayer, Tiling

LAYER = TiledLayer("fc", "w", "MatMul", 0, inputs=5, outputs=6, block=2, tile=4, kept=((0, 2), (1, 2)))


def test_mask_covers_shorter_blocks_and_tiles_at_the_end():
    mask = LAYER.mask()
    assert mask.shape == (5, 6)
    assert mask.astype(int).tolist() == [[1] * 4 + [0] * 2] * 2 + [[0] * 4 + [1] * 2] * 2 + [[1] * 6]
    assert (LAYER.blocks, LAYER.kept_blocks) == (3, 2)


def test_choice_names_the_blocks_of_each_tile():
    assert LAYER.choice().astype(int).tolist() == [[1, 0], [0, 1], [1, 1]]


def test_mask_is_turned_as_the_weight_is():
    turned = TiledLayer(**{**vars(LAYER), "input_axis": 1})
    np.testing.assert_array_equal(turned.weight_mask(), LAYER.mask().T)
    conv = TiledLayer(**{**vars(LAYER), "input_axis": 1, "operator": "Conv"})
    assert conv.weight_mask().shape == (6, 5, 1, 1)
    assert list(Tiling((conv,)).masks()) == ["w"]


def test_a_layer_is_read_as_it_was_written():
    assert TiledLayer.from_record(json.loads(json.dumps(LAYER.to_record()))) == LAYER


@pytest.mark.parametrize(
    "change",
    [
        {"kept": [[0, 2], [1]]},
        {"kept": [[0, 2]]},
        {"kept": [[0, 3], [1, 2]]},
        {"kept": [[2, 0], [1, 2]]},
        {"kept": [[], []]},
        {"block": 0},
        {"inputs": "5"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_what_is_no_layer_is_refused(change):
    with pytest.raises(InputError, match=r"[Pp]lan"):
        TiledLayer.from_record({**LAYER.to_record(), **change})
