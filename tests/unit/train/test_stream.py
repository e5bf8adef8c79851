"""Batches of the user's own code: what is accepted, what is checked, what later passes must keep to."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
import torch

from onnxprune.core.errors import DataError, UsageError
from onnxprune.graph import TensorSpec
from onnxprune.train import open_data

FLOAT = np.dtype("float32")
X = (TensorSpec("x", FLOAT, ("n", 2)),)
PAIR = (*X, TensorSpec("ids", np.dtype("int64"), ("n", 3)))
IMAGE = (TensorSpec("image", FLOAT, ("n", 3, 8, 8)),)
LOGITS = (TensorSpec("logits", FLOAT, ("n", 4)),)


def _x(rows, start=0):
    return (np.arange(2 * rows, dtype=np.float32) + 2 * start).reshape(rows, 2)


def _ids(rows):
    return np.arange(3 * rows).reshape(rows, 3)


@pytest.mark.parametrize(
    "batch",
    [
        {"x": _x(2), "ids": _ids(2), "labels": [0, 1]},
        (_x(2), _ids(2), np.array([0, 1])),
        [_x(2).tolist(), _ids(2).astype(np.int16), (0, 1)],
        (torch.from_numpy(_x(2)), torch.from_numpy(_ids(2)), torch.tensor([0, 1])),
        {"labels": torch.tensor([0, 1]), "ids": torch.from_numpy(_ids(2)), "x": _x(2).astype(np.float64)},
    ],
    ids=["mapping", "tuple", "list", "tensors", "mapping of tensors"],
)
def test_form_of_batch_is_understood(batch):
    data = open_data(lambda: [batch], PAIR, outputs=LOGITS)
    found = data.first(2)
    assert found.inputs["x"].dtype == np.float32
    assert found.inputs["ids"].dtype == np.int64
    assert np.array_equal(found.inputs["x"], _x(2))
    assert np.array_equal(found.inputs["ids"], _ids(2))
    assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize("batch", [(_x(2), _ids(2)), (_x(2), _ids(2), None), {"x": _x(2), "ids": _ids(2)}])
def test_labels_may_be_missing(batch):
    assert not open_data(lambda: [batch], PAIR).labelled


def test_single_input_takes_bare_arrays_and_any_name():
    assert np.array_equal(open_data(lambda: [_x(2)], X).first(2).inputs["x"], _x(2))
    data = open_data(lambda: [{"features": _x(2)}], X)
    assert any("'features' is used for input 'x'" in note and "batch" not in note.split(":")[0] for note in data.notes)


def test_images_are_normalised_as_arrays_are():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    options = {"image_mean": 0.5, "image_std": 0.25}
    found = open_data(lambda: [(pixels[:3],), (pixels[3:],)], IMAGE, **options).first(4).inputs["image"]
    assert np.array_equal(found, open_data({"image": pixels}, IMAGE, **options).first(4).inputs["image"])


def test_arrays_that_the_code_uses_again_are_copied():
    def reusing():
        x = np.zeros((1, 2), np.float32)
        for value in range(4):
            x[:] = value
            yield (x,)

    assert open_data(reusing, X).first(4).inputs["x"][:, 0].tolist() == [0, 1, 2, 3]


def test_code_is_called_anew_for_each_pass_with_epoch_and_seed():
    calls = []

    def loader(*, epoch, seed):
        calls.append((epoch, seed))
        yield (_x(4),)

    data = open_data(loader, X)
    assert calls == [(0, 0)]
    for epoch in (1, 2, 2):
        list(data.batches(2, shuffle=np.random.default_rng([5, epoch])))
    assert [epoch for epoch, _ in calls] == [0, 1, 2, 2]
    assert calls[2] == calls[3]
    assert calls[1][1] != calls[2][1]
    list(data.batches(2))
    assert calls[-1] == (0, 0)


def test_code_is_told_only_what_it_takes():
    seen = []

    def seeded(seed=None):
        seen.append(seed)
        return [(_x(2),)]

    def anything(**options):
        seen.append(sorted(options))
        return [(_x(2),)]

    def nothing(epoch_size=3, /, *, depth=1):
        seen.append((epoch_size, depth))
        return [(_x(2),)]

    for loader in (seeded, anything, nothing):
        open_data(loader, X)
    assert seen == [0, ["epoch", "seed"], (3, 1)]


def test_re_iterable_serves_without_a_function():
    assert len(list(open_data([(_x(3),), (_x(1),)], X).batches(2))) == 2


def test_order_is_the_codes_own_whatever_the_shuffle():
    data = open_data(lambda: [(_x(3),), (_x(3, 3),)], X)
    batches = list(data.batches(4, shuffle=np.random.default_rng([0, 1])))
    assert np.array_equal(np.concatenate([b.inputs["x"] for b in batches]), _x(6))


def test_empty_batches_are_passed_over():
    data = open_data(lambda: [(_x(0),), (_x(3),), (_x(0),)], X)
    assert [len(b.rows) for b in data.batches(2)] == [2, 1]


def test_dense_labels_are_checked_and_kept():
    outputs = (TensorSpec("map", FLOAT, ("n", 5, 4, 4)),)
    labels = np.full((2, 4, 4), 4)
    labels[0, 0, 0] = -100
    assert np.array_equal(open_data(lambda: [(_x(2), labels)], X, outputs=outputs).first(2).labels, labels)


def test_labels_for_a_loss_of_the_users_keep_their_type():
    data = open_data(lambda: [(_x(2), np.ones((2, 7), np.float32))], X, outputs=LOGITS, labels="any")
    assert data.first(2).labels.dtype == np.float32


def _second(batch, labels=(0, 1)):
    """Code whose first batch is good and whose second is `batch`."""
    return lambda: [(_x(2), *([np.array(labels)] if labels is not None else [])), batch]


REFUSED = {
    "nothing": (list, r"gives no samples"),
    "only empty": (lambda: [(_x(0),)], r"gives no samples"),
    "no iterable": (lambda: None, r"gave a NoneType; expected an iterable"),
    "one batch": (lambda: {"x": _x(2)}, r"gave a dict.*into a list"),
    "no batch": (lambda: ["x"], r"batch 1 is of type str"),
    "names": (lambda: [{"a": _x(2), "b": _x(2)}], r"batch 1 does not fit.*'x'.*'a', 'b'"),
    "no input": (lambda: [{"labels": [0]}], r"batch 1.*'x'.*none"),
    "too many": (lambda: [(_x(2), [0, 1], [0, 1])], r"batch 1 has 3 parts.*1 inputs"),
    "shape": (_second((np.zeros((2, 3), np.float32), [0, 1])), r"batch 2, input 'x'.*\[3\]"),
    "dtype": (_second((np.full((2, 2), "a"), [0, 1])), r"batch 2, input 'x'.*<U1"),
    "nan": (_second((_x(2) * np.nan, [0, 1])), r"batch 2, input 'x' holds NaN"),
    "scalar": (_second((3.0, [0, 1])), r"batch 2, input 'x' is a single value"),
    "ragged": (_second(([[1, 2], [3]], [0, 1])), r"batch 2, input 'x' is of type list and no array"),
    "counts": (_second((_x(3), [0, 1])), r"batch 2: .*input 'x': 3, `labels`: 2"),
    "label range": (_second((_x(2), [0, 4])), r"batch 2: `labels` lie in 0\.\.4.*0\.\.3"),
    "text labels": (_second((_x(2), ["a", "b"])), r"batch 2: `labels` holds text, such as 'a'"),
    "labels missing": (_second((_x(2),)), r"batch 2 has no labels, and the first batch has some"),
    "labels appear": (_second((_x(2), [0, 1]), None), r"batch 2 has labels, and the first batch has none"),
    "with gradient": (
        _second((torch.zeros(2, 2, requires_grad=True), [0, 1])),
        r"batch 2, input 'x' is of type Tensor.*detach",
    ),
}


@pytest.mark.parametrize(("code", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_code_that_does_not_fit_is_refused_at_opening(code, message):
    with pytest.raises(DataError, match=message) as caught:
        open_data(code, X, outputs=LOGITS)
    assert "\n" not in str(caught.value)


def test_samples_of_two_shapes_are_refused():
    spec = (TensorSpec("ids", np.dtype("int64"), ("n", "length")),)
    with pytest.raises(DataError, match=r"batch 2, input 'ids'.*\[4\].*first batch \[3\].*pad"):
        open_data(lambda: [(_ids(2),), (np.zeros((2, 4), int),)], spec)


def test_exception_of_the_code_names_the_batch_and_its_cause():
    def failing():
        yield (_x(2),)
        raise KeyError("missing\nfile")

    with pytest.raises(DataError, match=r"failed in batch 2: KeyError: .*missing") as caught:
        open_data(failing, X)
    assert isinstance(caught.value.__cause__, KeyError)
    assert "\n" not in str(caught.value)


def test_exception_of_the_call_is_told():
    def failing():
        raise FileNotFoundError("no such list")

    with pytest.raises(DataError, match=r"failing.*when it was called: FileNotFoundError: no such list"):
        open_data(failing, X)


def test_one_generator_handed_out_again_is_refused_at_opening():
    generator = ((_x(2),) for _ in range(3))
    with pytest.raises(DataError, match=r"hands out one iterator \(generator\)"):
        open_data(lambda: generator, X)
    with pytest.raises(DataError, match=r"hands out one iterator"):
        open_data(((_x(2),) for _ in range(3)), X)


@pytest.mark.parametrize(("rows", "message"), [(0, "used up"), (2, "as many samples as the first")])
def test_later_pass_with_fewer_samples_is_refused(rows, message):
    left = [4, rows]

    def shrinking():
        return [(_x(left.pop(0)),)] if left[0] else []

    data = open_data(shrinking, X)
    with pytest.raises(DataError, match=rf"gave {rows} samples in this pass, and 4 .*{message}"):
        list(data.batches(2))


def test_later_pass_with_more_samples_is_cut_off():
    left = [4, 9]
    data = open_data(lambda: [(_x(left.pop(0)),)], X)
    assert sum(len(b.rows) for b in data.batches(3)) == 4


def test_later_batches_are_checked_too():
    left = [_x(2), _x(2) * np.nan]
    data = open_data(lambda: [(left.pop(0),)], X)
    with pytest.raises(DataError, match="batch 1, input 'x' holds NaN"):
        list(data.batches(2))


def test_code_is_closed_when_a_pass_is_left_early():
    closed = []

    def loader():
        try:
            while len(closed) < 3:
                for start in range(3):
                    yield (_x(2, start),)
                return
        finally:
            closed.append(True)

    data = open_data(loader, X)
    data.first(1)
    assert len(closed) == 2


def test_name_of_a_function_is_loaded_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = """
        import numpy as np
        def batches(epoch):
            for _ in range(3):
                yield np.full((4, 2), epoch, np.float32), np.arange(4)
    """
    (tmp_path / "own_batches_of_a_test.py").write_text(textwrap.dedent(code))
    data = open_data("own_batches_of_a_test:batches", X, outputs=LOGITS)
    assert (len(data), data.labelled) == (12, True)
    batch = next(data.batches(5, shuffle=np.random.default_rng([0, 7])))
    assert (batch.inputs["x"] == 7).all()


def test_wrong_name_is_a_usage_error():
    with pytest.raises(UsageError, match="no_such_module"):
        open_data("no_such_module:batches", X)


def test_file_with_a_colon_in_its_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("data:x", "wb") as file:
        file.write(b"x")
    with pytest.raises(DataError, match="ends in 'nothing'"):
        open_data("data:x", X)
