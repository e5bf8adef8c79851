"""What went wrong in the user's own code, in one line."""

from __future__ import annotations

import os
import traceback

__all__ = ["describe_exception"]


def describe_exception(error: BaseException) -> str:
    """Returns an exception's type, its message on one line, and the user's line that raised it."""
    message = " ".join(str(error).split()).rstrip(".")
    described = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if isinstance(error, SyntaxError):
        return described
    ours = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not os.path.abspath(frame.filename).startswith(ours) and "importlib" not in frame.filename
    ]
    if not frames:
        return described
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f"{described} ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})"
