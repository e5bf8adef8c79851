"""The error tree, and the exit code that each branch carries.

OnnxPruneError            what the user can act on; the command line prints one paragraph
├── InputError        1   a file, an array or an option value that cannot be used
│   ├── ModelError        the ONNX file
│   ├── DataError         calibration, training or evaluation data
│   └── OutputError       a place that cannot be written
├── UsageError        2   a call that makes no sense, whatever the files hold
├── GateError         3   a gate the user set was not met
├── CertificateError  4   an emitted model does not compute what it must
├── BudgetError       5   no allocation meets the budget
└── Interrupted     130   stopped by the user; what was finished is kept
InternalError        70   our own mistake; shown with its traceback
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BudgetError",
    "CertificateError",
    "DataError",
    "GateError",
    "InputError",
    "InternalError",
    "Interrupted",
    "ModelError",
    "OnnxPruneError",
    "OutputError",
    "UsageError",
]


class OnnxPruneError(Exception):
    """A problem the user can act on. `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(OnnxPruneError):
    """Something the user gave cannot be used."""

    exit_code = 1


class ModelError(InputError):
    """The ONNX model cannot be read, or holds something that makes pruning meaningless."""


class DataError(InputError):
    """Calibration, training or evaluation data does not fit the model."""


class OutputError(InputError):
    """A result cannot be written where the user asked."""


class UsageError(OnnxPruneError):
    """An option or argument has a value outside its domain."""

    exit_code = 2


class GateError(OnnxPruneError):
    """A gate set by the user was not met; everything else was done.

    Attributes:
        outcome: What the call would have returned: a Result or a Report.
    """

    exit_code = 3

    def __init__(self, message: str, outcome: Any = None) -> None:
        super().__init__(message)
        self.outcome = outcome


class CertificateError(OnnxPruneError):
    """A pruned model and the masked original disagree, or a module and its export; no model was written."""

    exit_code = 4


class BudgetError(OnnxPruneError):
    """No allocation of kept channels meets the budget."""

    exit_code = 5


class Interrupted(OnnxPruneError):
    """The user stopped the run (Ctrl-C or SIGTERM)."""

    exit_code = 130


class InternalError(Exception):
    """A broken promise of onnxprune itself; please report it with the traceback."""

    exit_code = 70
