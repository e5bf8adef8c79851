"""From whatever went wrong to one message and one exit code.

The user's problems are one paragraph on stderr; ours come with the traceback. The codes are
those of `onnxprune.core.errors`; click itself gives 2 for a call that it cannot parse.
"""

from __future__ import annotations

import errno
import shutil
import signal
import textwrap
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from onnxprune.core.errors import InternalError, Interrupted, OnnxPruneError

__all__ = ["GuardedGroup", "terminate_as_interrupt"]

_MAX_WIDTH = 100
_STOPPED = "stopped before the end. Files are written whole or not at all, so none is half-written."
_REPORT_BUG = (
    "This is a bug in onnxprune, not a mistake of yours. Please report it with the lines above, the command, "
    "and what `onnxprune doctor` prints."
)


class GuardedGroup(click.Group):
    """A click group whose commands end with the exit codes of `onnxprune.core.errors`."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; what it raises becomes a message and an exit code."""
        try:
            with terminate_as_interrupt():
                return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except (KeyboardInterrupt, Interrupted) as error:
            _say("interrupted", str(error) or _STOPPED)
            ctx.exit(Interrupted.exit_code)
        except OnnxPruneError as error:
            _say("error", str(error))
            ctx.exit(error.exit_code)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of stdout went away, as in `onnxprune inspect m.onnx | head`; click handles it
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
            _say("internal error", _REPORT_BUG)
            ctx.exit(InternalError.exit_code)


def _say(label: str, text: str) -> None:
    width = min(shutil.get_terminal_size().columns, _MAX_WIDTH)
    # a path or a name that is cut in two can no longer be copied
    paragraph = textwrap.fill(f"{label}: {text}", width, break_long_words=False, break_on_hyphens=False)
    click.echo(paragraph, err=True)


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Makes SIGTERM act like Ctrl-C inside the block, so that both clean up alike."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
