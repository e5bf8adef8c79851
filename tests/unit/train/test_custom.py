"""Code of the user's, found by name, and what is said when that fails."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from onnxprune.core.describe import describe_exception
from onnxprune.core.errors import DataError, UsageError
from onnxprune.train.custom import CustomMetric, load_callable, load_metric


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder; what is imported from it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_module_of_the_current_folder_is_found(folder):
    (folder / "mine_a.py").write_text("def loss(): return 3\n")
    assert load_callable("mine_a:loss", "loss")() == 3


def test_package_and_dotted_name_are_found(folder):
    (folder / "mine_b").mkdir()
    (folder / "mine_b/__init__.py").touch()
    (folder / "mine_b/deep.py").write_text("class Box:\n    @staticmethod\n    def open(): return 4\n")
    assert load_callable("mine_b.deep:Box.open", "loss")() == 4


def test_import_inside_a_function_works_later(folder):
    (folder / "mine_c.py").write_text("def loss():\n    import mine_helper\n    return mine_helper.VALUE\n")
    (folder / "mine_helper.py").write_text("VALUE = 5\n")
    assert load_callable("mine_c:loss", "loss")() == 5


def test_current_folder_ends_behind_the_libraries(folder):
    (folder / "mine_d.py").write_text("def loss(): pass\n")
    load_callable("mine_d:loss", "loss")
    load_callable("mine_d:loss", "loss")
    assert sys.path.count(str(folder)) == 1
    assert sys.path[-1] == str(folder)


@pytest.mark.parametrize("text", ["", "loss", "mine:", ":loss", "mine.py:loss()", "a b:c", "a..b:c", "./mine:loss"])
def test_text_of_another_form_is_a_usage_error(text):
    with pytest.raises(UsageError, match=r"write it as pkg\.mod:name"):
        load_callable(text, "loss")


@pytest.mark.parametrize("text", ["no_such_module:loss", "no_such_module.part:loss"])
def test_missing_module_is_a_usage_error(text, folder):
    with pytest.raises(UsageError, match=r"there is no module 'no_such_module'"):
        load_callable(text, "loss")


def test_missing_submodule_is_a_usage_error():
    with pytest.raises(UsageError, match=r"there is no module 'json\.loss'"):
        load_callable("json.loss:f", "loss")


def test_missing_dependency_is_told_apart_from_a_missing_module(folder):
    (folder / "mine_e.py").write_text("import no_such_library\n")
    with pytest.raises(DataError, match="'mine_e' needs 'no_such_library', which is not installed"):
        load_callable("mine_e:loss", "loss")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = 1\nraise ValueError('two\\nlines')\n", r"ValueError: two lines \(mine_f\.py, line 2\)"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero \(mine_f\.py, line 1\)"),
        ("def broken(:\n", r"SyntaxError: invalid syntax \(mine_f\.py, line 1\)"),
        ("import sys\nsys.exit(2)\n", r"SystemExit: 2 \(mine_f\.py, line 2\)"),
    ],
)
def test_module_that_raises_is_a_data_error_with_its_line(code, said, folder):
    (folder / "mine_f.py").write_text(code)
    with pytest.raises(DataError, match=f"'mine_f' fails while it is imported: {said}") as caught:
        load_callable("mine_f:loss", "loss")
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


def test_missing_name_lists_near_ones(folder):
    (folder / "mine_g.py").write_text("def focal_loss(): pass\nlosses = 3\n")
    with pytest.raises(UsageError, match=r"module 'mine_g' \(.*mine_g\.py\) has no 'focal_los'\. Did you mean focal"):
        load_callable("mine_g:focal_los", "loss")


def test_what_cannot_be_called_is_a_usage_error(folder):
    (folder / "mine_h.py").write_text("loss = 3\n")
    with pytest.raises(UsageError, match="'mine_h:loss' is of type int; expected a function"):
        load_callable("mine_h:loss", "loss")


def test_exception_without_a_message_is_named():
    assert describe_exception(KeyError()) == "KeyError"


def _metric(function):
    arrays = {"y": np.ones((2, 3), np.float32)}
    return CustomMetric(function, "m:f")(arrays, np.zeros(2, np.int64), arrays)


def test_metric_gets_outputs_labels_and_teacher():
    found = _metric(lambda outputs, labels, teacher: outputs["y"].sum() + labels.sum() + teacher["y"].size)
    assert found == 12.0
    assert type(found) is float


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "gave a NoneType; expected one number"),
        (np.zeros(3), "gave a ndarray; expected one number"),
        ("good", "gave a str"),
        (float("nan"), "gave nan; expected a finite number"),
        (np.float32(np.inf), "gave inf"),
    ],
)
def test_metric_that_gives_no_finite_number_is_a_data_error(answer, said):
    with pytest.raises(DataError, match=f"metric = 'm:f' {said}"):
        _metric(lambda outputs, labels, teacher: answer)


def test_metric_that_raises_is_a_data_error_with_its_line():
    with pytest.raises(DataError, match=r"metric = 'm:f' failed: KeyError: 'z' \(test_custom\.py, line \d+\)"):
        _metric(lambda outputs, labels, teacher: outputs["z"])


def test_empty_text_is_no_metric():
    assert load_metric("") is None


def test_metric_is_loaded_by_name(folder):
    (folder / "mine_i.py").write_text("def metric(outputs, labels, teacher): return 0.5\n")
    metric = load_metric("mine_i:metric")
    assert metric({}, None, {}) == 0.5
    assert metric.text == "mine_i:metric"
