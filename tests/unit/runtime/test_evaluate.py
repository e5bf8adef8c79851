"""Accuracy and agreement on logits that are known."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest

from onnxprune.core.errors import DataError, ModelError
from onnxprune.runtime.evaluate import EvalResult, evaluate

LOGITS = np.array([[3, 2, 1, 0, -1, -2], [0, 1, 2, 3, 4, 5], [5, 5, 0, 0, 0, 0]], np.float32)


def identity(batch: str = "n", body: str = "y = Identity(x)") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[{batch}, 6] x) => (float[{batch}, 6] y) {{ {body} }}'
    )


def once(labels: list[int] | None, logits: np.ndarray = LOGITS, batch: str = "n") -> EvalResult:
    given = None if labels is None else np.array(labels)
    return evaluate({"m": identity(batch)}, [({"x": logits}, given)])["m"]


def test_top1_and_top5() -> None:
    found = once([0, 0, 0])
    assert (found.n, found.labelled) == (3, 3)
    assert found.top1 == pytest.approx(2 / 3)
    assert found.top5 == pytest.approx(2 / 3)  # class 0 of row 1 is sixth
    assert once([5, 1, 5]).top5 == pytest.approx(1 / 3)


def test_ties_go_to_the_smaller_index() -> None:
    assert once([0, 5, 0]).top1 == 1
    assert once([0, 5, 1]).top1 == pytest.approx(2 / 3)


def test_constant_logits_are_right_for_one_class_only() -> None:
    assert once([0, 1, 2], np.zeros((3, 6), np.float32)).top1 == pytest.approx(1 / 3)


def test_rows_with_nan_are_wrong() -> None:
    logits = LOGITS.copy()
    logits[0, 3] = np.nan
    found = once([0, 5, 0], logits)
    assert found.top1 == found.top5 == pytest.approx(2 / 3)


def test_agreement_is_with_the_first_model() -> None:
    models = {"plain": identity(), "negated": identity(body="y = Neg(x)"), "scaled": identity(body="y = Add(x, x)")}
    found = evaluate(models, [({"x": LOGITS[:2]}, None)])
    assert [found[name].agreement for name in models] == [1.0, 0.0, 1.0]
    assert found["plain"].top1 is None
    assert found["plain"].labelled == 0


def test_batches_add_up_and_may_differ_in_size() -> None:
    labels = np.array([0, 5, 5])
    batches = [({"x": LOGITS[:2]}, labels[:2]), ({"x": LOGITS[2:]}, labels[2:])]
    found = evaluate({"m": identity()}, batches)["m"]
    assert found.n == 3
    assert found.top1 == pytest.approx(2 / 3)


@pytest.mark.parametrize("batch", ["1", "2", "3", "4"])
def test_static_batch_sees_every_row_once(batch: str) -> None:
    found = once([0, 5, 5], batch=batch)
    assert found.n == 3
    assert found.top1 == pytest.approx(2 / 3)


def test_named_output_is_chosen_among_several() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n, 6] x) => (float[n, 6] y, float[n, 6] z)'
        "{ y = Neg(x) z = Identity(x) }"
    )
    batches = [({"x": LOGITS}, np.array([0, 5, 0]))]
    assert evaluate({"m": model}, batches, output="z")["m"].top1 == 1
    with pytest.raises(ModelError, match=r"y float32 \[3, 6\], z float32 \[3, 6\]"):
        evaluate({"m": model}, batches)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array([0, 6, 0]), r"Label 6 is out of range; the model has 6 classes"),
        (np.array([0, -1, 0]), "Label -1"),
        (np.array([0, 1]), r"\[2\]; expected integers \[3\]"),
        (np.array([0.0, 1.0, 2.0]), "float64"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        evaluate({"m": identity()}, [({"x": LOGITS}, labels)])


def test_no_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="no rows"):
        evaluate({"m": identity()}, [])


def test_arrays_with_different_rows_are_refused() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n, 6] x, float[m, 6] z) => (float[n, 6] y) { y = Add(x, z) }'
    )
    with pytest.raises(DataError, match=r"\[1, 3\] rows"):
        evaluate({"m": model}, [({"x": LOGITS, "z": LOGITS[:1]}, None)])


def test_label_minus_100_counts_for_nothing() -> None:
    found = once([0, -100, 1])
    assert (found.n, found.labelled) == (3, 2)
    assert found.top1 == pytest.approx(1 / 2)
    assert once([-100, -100, -100]).top1 is None


def dense(shape: str, body: str = "y = Identity(x)") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[{shape}] x) => (float[{shape}] y) {{ {body} }}'
    )


@pytest.mark.parametrize(("shape", "axis"), [("n,2,6", 2), ("n,6,2,1", 1), ("n,2,1,6", 3)])
def test_labels_for_positions_find_their_axis_of_classes(shape: str, axis: int) -> None:
    logits = np.moveaxis(np.stack([LOGITS, LOGITS[::-1]]).reshape(3, 2, *[1] * (shape.count(",") - 2), 6), -1, axis)
    labels = np.full([s for i, s in enumerate(logits.shape) if i != axis], -100)
    labels.reshape(-1)[:4] = [0, 0, 0, 5]
    models = {"plain": dense(shape), "negated": dense(shape, "y = Neg(x)")}
    found = evaluate(models, [({"x": logits}, labels)])
    # rows of LOGITS in turn: 0, 1, 2, 2
    assert (found["plain"].n, found["plain"].labelled) == (3, 4)
    assert found["plain"].top1 == pytest.approx(2 / 4)
    assert found["plain"].top5 == pytest.approx(2 / 4)
    assert found["negated"].agreement == 0


def test_labels_for_positions_are_checked() -> None:
    with pytest.raises(DataError, match="Label 6 is out of range; the model has 6 classes"):
        evaluate({"m": dense("n,2,6")}, [({"x": np.zeros((1, 2, 6), np.float32)}, np.array([[0, 6]]))])


def test_labels_that_no_output_fits_are_refused() -> None:
    with pytest.raises(ModelError, match=r"y float32 \[1, 2, 6\]"):
        evaluate({"m": dense("n,2,6")}, [({"x": np.zeros((1, 2, 6), np.float32)}, np.zeros((1, 3), int))])


def test_many_positions_are_ranked_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.array([0, 5, 1])
    whole = once(labels.tolist())
    monkeypatch.setattr("onnxprune.runtime.ranks._CHUNK_VALUES", 12)
    assert once(labels.tolist()) == whole


def test_metric_is_averaged_over_rows() -> None:
    def metric(outputs, labels, reference):
        assert np.array_equal(outputs["y"], reference["y"])
        return float(outputs["y"].max() + labels.sum())

    batches = [({"x": LOGITS[:2]}, np.array([0, 1])), ({"x": LOGITS[2:] * 2}, np.array([3]))]
    found = evaluate({"m": identity()}, batches, metric=metric)["m"]
    assert found.custom == pytest.approx((2 * (5 + 1) + 1 * (10 + 3)) / 3)
    assert found.labelled == 3


def test_metric_sees_the_first_model_as_the_reference() -> None:
    models = {"plain": identity(), "scaled": identity(body="y = Add(x, x)")}
    found = evaluate(
        models, [({"x": LOGITS}, None)], metric=lambda outputs, labels, reference: (outputs["y"] - reference["y"]).max()
    )
    assert (found["plain"].custom, found["scaled"].custom) == (0, 5)


@pytest.mark.parametrize("labels", [np.array([0.5, 1.0, 2.0]), np.zeros((3, 4)), np.zeros((3, 2), int)])
def test_labels_of_any_kind_go_to_the_metric(labels: np.ndarray) -> None:
    found = evaluate({"m": identity()}, [({"x": LOGITS}, labels)], metric=lambda o, given, r: float(given.sum()))["m"]
    assert found.custom == labels.sum()
    assert (found.labelled, found.top1) == (0, None)


def test_model_without_classes_is_measured_by_the_metric_alone() -> None:
    model = dense("2,3,4")
    found = evaluate({"m": model}, [({"x": np.ones((5, 3, 4), np.float32)}, None)], metric=lambda o, g, r: len(o["y"]))
    assert found["m"] == EvalResult(5, 0, None, None, None, 5.0)


def test_without_a_metric_there_is_no_custom_figure() -> None:
    assert once([0, 0, 0]).custom is None


def test_empty_batch_is_passed_over() -> None:
    batches = [({"x": LOGITS[:0]}, None), ({"x": LOGITS}, None)]
    assert evaluate({"m": identity("2")}, batches)["m"].n == 3
