"""The folder of a run: what it refuses, what it goes on with, what it leaves behind."""

from __future__ import annotations

import json

import pytest

from onnxprune.core.errors import InputError, OutputError
from onnxprune.pipeline.folder import checkpoint_folder, run_folder

OPTIONS = {"flops": "0.4", "seed": 0, "out": "a.onnx"}


def _begin(path, *, checkpoint=True, options=OPTIONS, temporary=False, fail=True, resume=False, digest="abc"):
    """Runs a block that leaves a checkpoint and fails."""
    with run_folder(path, options, digest, resume=resume, temporary=temporary) as folder:
        if checkpoint:
            place = checkpoint_folder(folder.path, 1)
            place.mkdir(exist_ok=True)
            (place / "state.json").write_text("{}")
        if fail:
            raise KeyboardInterrupt


def test_nothing_is_made_when_no_folder_is_asked_for():
    with run_folder(None, OPTIONS, "abc", resume=False, temporary=True) as folder:
        assert folder is None


def test_folder_says_what_it_belongs_to(tmp_path):
    _begin(tmp_path / "run", fail=False)
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    assert content["done"]
    assert content["model_sha256"] == "abc"
    assert content["options"] == {"flops": "0.4", "seed": 0}


def test_temporary_folder_goes_when_the_run_is_done(tmp_path):
    _begin(tmp_path / "run", fail=False, temporary=True)
    assert not (tmp_path / "run").exists()


def test_temporary_folder_stays_when_training_was_stopped(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _begin(tmp_path / "run", temporary=True)
    assert (tmp_path / "run" / "training-1" / "state.json").exists()


def test_temporary_folder_goes_when_nothing_was_trained_yet(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _begin(tmp_path / "run", temporary=True, checkpoint=False)
    assert not (tmp_path / "run").exists()


def test_stopped_run_is_not_overwritten(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _begin(tmp_path)
    with pytest.raises(OutputError, match=r"holds a run that did not finish\. Add --resume"):
        _begin(tmp_path, fail=False)
    assert (tmp_path / "training-1" / "state.json").exists()


def test_stopped_run_goes_on_when_asked(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _begin(tmp_path)
    with run_folder(tmp_path, OPTIONS | {"out": "b.onnx"}, "abc", resume=True, temporary=False) as folder:
        assert (checkpoint_folder(folder.path, 1) / "state.json").exists()


def test_finished_run_is_replaced(tmp_path):
    _begin(tmp_path, fail=False)
    with run_folder(tmp_path, OPTIONS, "abc", resume=False, temporary=False) as folder:
        assert not checkpoint_folder(folder.path, 1).exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"options": OPTIONS | {"flops": "0.5"}}, r"had other options \(flops: 0.4 then, 0.5 now\)"),
        ({"digest": "xyz"}, "was of another model file"),
    ],
)
def test_other_run_is_not_gone_on_with(tmp_path, change, message):
    with pytest.raises(KeyboardInterrupt):
        _begin(tmp_path)
    with pytest.raises(InputError, match=message):
        _begin(tmp_path, resume=True, fail=False, **change)
    assert json.loads((tmp_path / "run.json").read_text())["options"]["flops"] == "0.4"


def test_run_begins_when_there_is_none_to_go_on_with(tmp_path):
    with run_folder(tmp_path / "run", OPTIONS, "abc", resume=True, temporary=False) as folder:
        assert not folder.resume
        assert not folder.has_checkpoint


def test_damaged_record_is_an_error(tmp_path):
    (tmp_path / "run.json").write_text('{"onnxprune_run": 1')
    with pytest.raises(InputError, match="is damaged"):
        _begin(tmp_path, resume=True)


def test_second_run_in_the_folder_is_refused(tmp_path):
    with (
        run_folder(tmp_path, OPTIONS, "abc", resume=False, temporary=False),
        pytest.raises(OutputError, match="in use by another run"),
    ):
        _begin(tmp_path)


def test_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        _begin(tmp_path / "file" / "run")


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "training-data").mkdir()
    (tmp_path / "training-data" / "a.npz").write_text("")
    (tmp_path / "training-1").mkdir()
    (tmp_path / "training-1" / "state.json").write_text("")
    (tmp_path / ".plan.json.7-0.tmp").write_text("")
    _begin(tmp_path, fail=False, temporary=True)
    assert [path.name for path in tmp_path.iterdir()] == ["training-data"]
    assert (tmp_path / "training-data" / "a.npz").exists()
