"""What every set of samples keeps to: order, parts of processes, runs that go on in mid-epoch."""

from __future__ import annotations

import numpy as np
import pytest

from onnxprune.graph import TensorSpec
from onnxprune.train.data import Samples, open_data
from onnxprune.train.samples import part_of

X = (TensorSpec("x", np.dtype("float32"), ("n", 2)),)
COUNT = 11


def _values():
    return np.arange(2 * COUNT, dtype=np.float32).reshape(COUNT, 2)


def _in_parts(epoch=0, seed=0):
    """The same samples from code, in batches of 4."""
    for start in range(0, COUNT, 4):
        yield {"x": _values()[start : start + 4], "labels": np.arange(COUNT)[start : start + 4]}


@pytest.fixture(params=["dataset", "stream"])
def samples(request):
    source = {"x": _values(), "labels": np.arange(COUNT)} if request.param == "dataset" else _in_parts
    return open_data(source, X)


def _rows(batches):
    return [batch.rows.tolist() for batch in batches]


def test_both_forms_are_samples(samples):
    assert isinstance(samples, Samples)
    assert (len(samples), samples.inputs, samples.labelled, samples.classes) == (COUNT, ("x",), True, ())


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 11, 20])
def test_batches_have_the_asked_size_and_hold_their_rows(samples, batch_size):
    batches = list(samples.batches(batch_size))
    assert np.concatenate([b.rows for b in batches]).tolist() == list(range(COUNT))
    assert {len(b.rows) for b in batches[:-1]} <= {batch_size}
    for batch in batches:
        assert np.array_equal(batch.inputs["x"], _values()[batch.rows])
        assert batch.labels.tolist() == batch.rows.tolist()


def test_drop_last_leaves_the_small_batch_out(samples):
    assert [len(b.rows) for b in samples.batches(4, drop_last=True)] == [4, 4]
    assert list(samples.batches(20, drop_last=True)) == []


@pytest.mark.parametrize("shuffled", [False, True])
def test_skip_gives_what_would_have_come(samples, shuffled):
    def order():
        return np.random.default_rng([3, 1]) if shuffled else None

    whole = _rows(samples.batches(3, shuffle=order()))
    assert _rows(samples.batches(3, shuffle=order(), skip=2)) == whole[2:]
    assert _rows(samples.batches(3, shuffle=order(), skip=9)) == []


@pytest.mark.parametrize("size", [2, 3])
def test_parts_of_all_processes_are_the_global_batches(samples, size):
    whole = _rows(samples.batches(6, shuffle=np.random.default_rng([0, 1])))
    parts = [_rows(samples.batches(6, shuffle=np.random.default_rng([0, 1]), shard=(r, size))) for r in range(size)]
    assert [[row for part in rows for row in part] for rows in zip(*parts, strict=True)] == whole
    values = next(iter(samples.batches(6, shard=(1, size))))
    assert np.array_equal(values.inputs["x"], _values()[values.rows])


@pytest.mark.parametrize(("count", "size"), [(0, 1), (5, 2), (6, 3), (2, 4), (7, 5)])
def test_part_of_cuts_as_array_split(count, size):
    rows = np.arange(count)
    expected = [part.tolist() for part in np.array_split(rows, size)]
    assert [rows[part_of(count, (rank, size))].tolist() for rank in range(size)] == expected


def test_calibration_draws_samples_with_their_labels(samples):
    drawn = samples.calibration(7, np.random.default_rng(0), batch_size=3)
    assert [len(b.rows) for b in drawn] == [3, 3, 1]
    assert len({int(r) for b in drawn for r in b.rows}) == 7
    for batch in drawn:
        assert np.array_equal(batch.inputs["x"], _values()[batch.rows])
        assert batch.labels.tolist() == batch.rows.tolist()
    assert sum(len(b.rows) for b in samples.calibration(99, np.random.default_rng(0))) == COUNT


def test_first_gives_the_beginning(samples):
    assert samples.first(3).rows.tolist() == [0, 1, 2]
    assert np.array_equal(samples.first(99).inputs["x"], _values())


def test_only_stored_samples_are_the_same_in_every_pass(samples):
    assert samples.stable == hasattr(samples, "columns")


def test_description_is_one_line():
    assert open_data({"x": _values()}, X).describe() == "arrays: 11 samples, without labels"
    assert open_data(_in_parts, X).describe() == "batches of the user's code: 11 samples, labelled"
