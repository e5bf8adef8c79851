"""Every option of a run, typed and validated.

A recipe comes from Python keywords, from a TOML file, from the command line, or from a TOML
file with the command line laid over it; all four end in the same checks and the same messages.
In a TOML file each option is a top-level key, named as on the command line with "_" or "-",
and paths are relative to the file:

    model = "resnet.onnx"
    flops = 0.4
    data = "train.npz"
    image_mean = 0.5
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from onnxprune.core.budget import Budget
from onnxprune.core.errors import InputError, UsageError
from onnxprune.core.gate import Gate

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    ModelSource = Path | onnx.ModelProto
    DataSource = str | Mapping[str, NDArray[Any]]

__all__ = ["DEFAULT_EPOCHS", "Comparison", "Recipe"]

DEFAULT_EPOCHS = 3
_ARGUMENTS = ("model", "original", "slim")
_PATHS = ("model", "out", "data", "eval_data", "run_dir", "report")


def _model(value: Any) -> Any:
    if isinstance(value, str | os.PathLike):
        return Path(value)
    if type(value).__name__ == "ModelProto":
        return value
    raise ValueError(f"expected a path or an onnx.ModelProto, found {type(value).__name__}")


def _budget(resource: str) -> BeforeValidator:
    def parse(value: Any) -> Any:
        if value is None or (isinstance(value, Budget) and value.resource == resource):
            return value
        # bool is an int to Python: true would mean the whole model
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError("expected a fraction, a percentage, or a number with a unit")
        return Budget.parse(resource, value)

    return BeforeValidator(parse)


def _align(value: Any) -> Any:
    if value == "auto":
        return value
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError('expected "auto" or a whole number of at least 1')
    return value


def _numbers(value: Any) -> Any:
    """Returns "0.5,0.4" and 0.5 as tuples; what else comes, pydantic judges."""
    if isinstance(value, str):
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            raise ValueError("expected a number, or numbers separated by commas") from None
    return (value,) if isinstance(value, int | float) else value


def _gates(value: Any) -> Any:
    """Returns one text, one gate or several of either as gates."""
    several = value if isinstance(value, list | tuple) else (value,)
    return tuple(Gate.parse(item) if isinstance(item, str) else item for item in several)


def _data(value: Any) -> Any:
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"expected a path or a mapping from names to arrays, found {type(value).__name__}")


if not TYPE_CHECKING:
    # onnx is imported where a model is read, not for the sake of a type; arrays are data's to judge
    ModelSource = Annotated[Any, BeforeValidator(_model)]
    DataSource = Annotated[Any, BeforeValidator(_data)]
Align = Annotated[int | Literal["auto"], BeforeValidator(_align)]
Gates = Annotated[tuple[Gate, ...], BeforeValidator(_gates)]
Channels = Annotated[tuple[float, ...], BeforeValidator(_numbers), Field(min_length=1)]


class _Options(BaseModel):
    """Options that explain themselves in the words of the command line when they are wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="wrap")
    @classmethod
    def _checked(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            options = handler(values)
        except ValidationError as error:
            raise UsageError(_explain(error, cls.model_fields)) from error
        options.check_together()
        return options

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Returns the options that `values` describe; None stands for "not given".

        Raises:
            UsageError: when an option is unknown, missing or outside its domain.
        """
        return cls.model_validate({key: value for key, value in values.items() if value is not None})


class Recipe(_Options):
    """The options of one run.

    Attributes:
        model: The model: a path, or an onnx.ModelProto.
        out: Where the slim model goes; None means `out_path`.
        flops: Upper bound on multiply-accumulates (MACs).
        params: Upper bound on the number of parameters.
        size: Upper bound on bytes of weights.
        allocator: Name of the allocator that shares the budget out over groups.
        criterion: Name of the criterion that scores channels.
        approximate: Whether channels may go over which an operator takes statistics, such as the
            width that LayerNormalization normalises.
        align: Multiple that kept counts prefer; "auto" asks the provider's hardware.
        data: Training data: a path, or a mapping from names to arrays; None for no retraining.
        eval_data: Evaluation data, in the same forms.
        image_mean: Per-channel mean of uint8 images after scaling to [0, 1]; one number serves all.
        image_std: Per-channel standard deviation, in the same units.
        epochs: Passes over the training data; None means `training_epochs`.
        batch_size: Samples per training step.
        lr: Peak learning rate; None lets the trainer choose.
        provider: Execution provider for certificate, parity and timing.
        seed: Seed of everything random.
        run_dir: Folder for plan and records; None keeps none.
        report: Where report.json goes; None means `report_path`.
        threads: Threads per onnxruntime session; None lets onnxruntime choose.
        gates: Bounds on what is measured, such as "speedup>=1.2" (`onnxprune.core.gate`).
    """

    model: ModelSource
    out: Path | None = None
    flops: Annotated[Budget | None, _budget("flops")] = None
    params: Annotated[Budget | None, _budget("params")] = None
    size: Annotated[Budget | None, _budget("size")] = None
    allocator: str = "global"
    criterion: str = "magnitude"
    approximate: bool = False
    align: Align = "auto"
    data: DataSource | None = None
    eval_data: DataSource | None = None
    image_mean: Channels | None = None
    image_std: Channels | None = None
    epochs: int | None = Field(default=None, ge=0)
    batch_size: int = Field(default=128, ge=1)
    lr: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = Field(default=0, ge=0, lt=2**63)
    run_dir: Path | None = None
    report: Path | None = None
    threads: int | None = Field(default=None, ge=1)
    gates: Gates = ()

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets that were set; all of them must hold."""
        return tuple(b for b in (self.flops, self.params, self.size) if b is not None)

    @property
    def training_epochs(self) -> int:
        """`epochs`, where unset `DEFAULT_EPOCHS` with training data and 0 without."""
        if self.epochs is not None:
            return self.epochs
        return DEFAULT_EPOCHS if self.data is not None else 0

    @property
    def out_path(self) -> Path | None:
        """`out`, where unset `<stem>.slim.onnx` in the current folder; None for a model in memory."""
        if self.out is not None:
            return self.out
        return Path(f"{self.model.stem}.slim.onnx") if isinstance(self.model, Path) else None

    @property
    def report_path(self) -> Path | None:
        """`report`, where unset `<stem>.report.json` beside the slim model; None without a slim file."""
        if self.report is not None:
            return self.report
        out = self.out_path
        return out.with_name(f"{out.stem}.report.json") if out is not None else None

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """
        if not self.budgets:
            raise UsageError("There is no budget to meet. Give --flops, --params or --size, for example --flops 0.5.")
        if self.data is None and self.epochs:
            raise UsageError(f"--epochs {self.epochs} needs training data. Give --data, or leave --epochs out.")
        has_data = self.data is not None or self.eval_data is not None
        _check_images(self.image_mean, self.image_std, has_data=has_data)
        _check_gates(self.gates, has_data=self.eval_data is not None)
        seen: dict[Path, str] = {}
        for name, path in (("MODEL", self.model), ("--out", self.out_path), ("--report", self.report_path)):
            if not isinstance(path, Path):
                continue
            other = seen.setdefault(path.resolve(), name)
            if other != name:
                raise UsageError(f"{other} and {name} are the same file, {path}. Give {name} another name.")

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Recipe:
        """Returns the recipe written in a TOML file, with `overrides` laid over it.

        Args:
            path: The file; relative paths in it start from its folder.
            overrides: Option → value; None stands for "not given".

        Raises:
            InputError: when the file cannot be read or is not TOML.
            UsageError: when an option is unknown, missing or outside its domain.
        """
        given = {key: value for key, value in (overrides or {}).items() if value is not None}
        return cls.from_mapping(_read_toml(Path(path)) | given)


class Comparison(_Options):
    """The options of one comparison of two models.

    Attributes:
        original: A path, or an onnx.ModelProto.
        slim: Likewise.
        data: Evaluation data, as in `Recipe`.
        image_mean: As in `Recipe`.
        image_std: As in `Recipe`.
        provider: Execution provider that runs both.
        threads: Threads per onnxruntime session; None lets onnxruntime choose.
        gates: As in `Recipe`.
    """

    original: ModelSource
    slim: ModelSource
    data: DataSource | None = None
    image_mean: Channels | None = None
    image_std: Channels | None = None
    provider: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int | None = Field(default=None, ge=1)
    gates: Gates = ()

    def check_together(self) -> None:
        """Checks what no single option shows.

        Raises:
            UsageError: when the options do not go together.
        """
        _check_images(self.image_mean, self.image_std, has_data=self.data is not None)
        _check_gates(self.gates, has_data=self.data is not None)


def _check_images(mean: tuple[float, ...] | None, std: tuple[float, ...] | None, *, has_data: bool) -> None:
    for flag, value in (("--image-mean", mean), ("--image-std", std)):
        if value is not None and not has_data:
            raise UsageError(f"{flag} speaks of images, and there is no data. Give data, or leave {flag} out.")
    if std is not None and min(std) <= 0:
        raise UsageError(f"--image-std {min(std):g}: a standard deviation is greater than zero.")


def _check_gates(gates: Iterable[Gate], *, has_data: bool) -> None:
    for gate in gates:
        if gate.needs_evaluation and not has_data:
            raise UsageError(f"--gate {gate} needs evaluation data. Give it, or leave the gate out.")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Recipe {path}: cannot be read ({error.strerror}). Give the path of a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Recipe {path}: not TOML: {error}.") from error
    values = {key.replace("-", "_"): value for key, value in content.items()}
    return {key: _from_folder(path.parent, value) if key in _PATHS else value for key, value in values.items()}


def _from_folder(folder: Path, value: Any) -> Any:
    return str(folder / value) if isinstance(value, str) else value


def _flag(name: str) -> str:
    return name.upper() if name in _ARGUMENTS else "--" + name.replace("_", "-")


def _explain(error: ValidationError, fields: Iterable[str]) -> str:
    """Returns one sentence per problem, in the words of the command line."""
    sentences = []
    for problem in error.errors(include_url=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "missing":
            sentences.append(f"{_flag(name)} is missing.")
        elif problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, fields, n=3, cutoff=0.5)
            hint = f" Did you mean {', '.join(near)}?" if near else f" Known: {', '.join(fields)}."
            sentences.append(f"There is no option {name!r}.{hint}")
        else:
            reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            sentence = f"{_flag(name)} {problem['input']}: {reason}."
            if sentence not in sentences:
                sentences.append(sentence)
    return " ".join(sentences)
