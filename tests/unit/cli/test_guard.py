"""Whatever a command raises becomes one message and the documented exit code."""

from __future__ import annotations

import errno
import os
import signal

import click
import pytest
from click.testing import CliRunner, Result

from onnxprune.cli.guard import GuardedGroup
from onnxprune.core import errors


def _run(error: BaseException) -> Result:
    @click.group(cls=GuardedGroup)
    def group() -> None:
        """A group."""

    @group.command()
    def fail() -> None:
        click.echo("half a result")
        raise error

    return CliRunner().invoke(group, ["fail"])


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InputError, 1),
        (errors.ModelError, 1),
        (errors.DataError, 1),
        (errors.OutputError, 1),
        (errors.UsageError, 2),
        (errors.GateError, 3),
        (errors.CertificateError, 4),
        (errors.BudgetError, 5),
    ],
)
def test_user_error_is_one_paragraph_without_traceback(kind: type[errors.OnnxPruneError], code: int) -> None:
    text = "Node 'conv1' has 3 of what should be 4. " * 6 + "Do something else."
    result = _run(kind(text))
    assert result.exit_code == code
    assert " ".join(result.stderr.split()) == f"error: {text}"
    assert "Traceback" not in result.stderr
    assert max(len(line) for line in result.stderr.splitlines()) <= 100
    assert result.stdout == "half a result\n"


def test_names_are_not_cut_when_the_paragraph_is_wrapped() -> None:
    path = "/" + "very-long-folder-name/" * 12 + "net.onnx"
    assert f"{path}:" in _run(errors.ModelError(f"{path}: not an ONNX file.")).stderr.split()


@pytest.mark.parametrize("error", [errors.InternalError("a broken promise"), ZeroDivisionError("a broken promise")])
def test_internal_error_shows_traceback_and_how_to_report(error: Exception) -> None:
    result = _run(error)
    assert result.exit_code == 70
    assert "Traceback (most recent call last)" in result.stderr
    assert "a broken promise" in result.stderr
    assert "onnxprune doctor" in " ".join(result.stderr.split())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), errors.Interrupted("The best epoch so far was kept.")])
def test_interrupt_is_said_without_traceback(error: BaseException) -> None:
    result = _run(error)
    assert result.exit_code == 130
    assert result.stderr.startswith("interrupted: ")
    assert str(error) in result.stderr
    assert "Traceback" not in result.stderr


def test_sigterm_acts_like_ctrl_c_and_the_handler_is_put_back() -> None:
    @click.group(cls=GuardedGroup)
    def group() -> None:
        """A group."""

    @group.command()
    def wait() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        click.echo("still here")

    before = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(group, ["wait"])
    assert result.exit_code == 130
    assert "still here" not in result.stdout
    assert signal.getsignal(signal.SIGTERM) is before


def test_closed_pipe_is_no_bug_of_ours() -> None:
    result = _run(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert result.exit_code == 1
    assert "internal error" not in result.stderr


def test_usage_error_of_click_is_two() -> None:
    @click.group(cls=GuardedGroup)
    def group() -> None:
        """A group."""

    result = CliRunner().invoke(group, ["no-such-command"])
    assert result.exit_code == 2
    assert "No such command" in result.stderr
