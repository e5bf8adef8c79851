"""An ONNX graph as an `nn.Module` whose parameters carry the initializers' names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from onnxprune.bridge.host import host_tensor
from onnxprune.bridge.lean import compile_lean
from onnxprune.bridge.program import Program
from onnxprune.bridge.roles import tensor_roles
from onnxprune.bridge.scopes import Cell, Scope, hold
from onnxprune.bridge.tensors import as_tensor
from onnxprune.core.errors import UsageError
from onnxprune.graph import Model, constants_to_initializers

__all__ = ["OnnxModule"]

Output = torch.Tensor | tuple[torch.Tensor, ...]
Watcher = Callable[[str, torch.Tensor], None]


class OnnxModule(Scope):
    """A trainable module that computes what an ONNX graph computes.

    Float weights are parameters named as the initializers, BatchNormalization statistics are
    buffers that training updates, everything else is a buffer outside the state dict. An
    initializer that several nodes read is one parameter; a Constant node counts as an
    initializer under its output's name.

    Args:
        model: The graph; it is copied, so later edits do not reach the module.

    Raises:
        ModelError: when a node has no PyTorch counterpart, or a tensor no torch type.

    Attributes:
        input_names: Names of the inputs that `forward` takes, in order.
        output_names: Names of the outputs that it returns, in order.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._source = model.copy()
        constants_to_initializers(self._source)
        self.input_names = tuple(spec.name for spec in self._source.inputs())
        self.output_names = tuple(spec.name for spec in self._source.outputs())
        self._program = compile_lean(self._source, lambda: self.training, fuse=True)
        self._whole: Program | None = None  # without fused steps, made when somebody watches inside of one
        self._cells: dict[str, Cell] = {}
        self._watchers: list[tuple[dict[int, str], Watcher]] = []
        for name, role in tensor_roles(self._source).items():
            self._cells[name] = hold(
                self,
                name,
                as_tensor(self._source.read(name), name),
                parameter=role == "weight",
                persistent=role == "statistic",
            )
        slots = self._program.slots
        self._held = tuple((slots[name], table, key) for name, (table, key) in self._cells.items())

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> Output:
        """Returns the outputs, a tuple where the graph has several.

        Args:
            *inputs: Tensors in the order of `input_names`.
            **named: Further inputs by ONNX name; a name with dots goes in as `**{"a.b": x}`.

        Raises:
            UsageError: when inputs are missing, too many, or unknown.
        """
        return self._run(self._bound(inputs, named), {})

    def call_with(self, values: Mapping[str, torch.Tensor], inputs: Mapping[str, torch.Tensor]) -> Output:
        """Returns the outputs with some parameters or buffers replaced, for any ONNX name.

        `torch.func.functional_call` does the same, but for names that cannot be nested
        modules ("forward.weight").

        Args:
            values: Initializer name → the tensor to use in its place.
            inputs: Input name → tensor.

        Raises:
            UsageError: when a name is not among the initializers that the module computes with, or the
                inputs are not the model's.
        """
        if unknown := sorted(values.keys() - self._cells.keys()):
            raise UsageError(f"The model has no parameter or buffer called {unknown[0]!r}.")
        return self._run(self._bound((), inputs), values)

    @contextmanager
    def watch(self, names: Sequence[str], watcher: Watcher) -> Iterator[None]:
        """Calls `watcher(name, tensor)` for each named input or computed tensor, once per call of the module.

        Raises:
            UsageError: when no input and no computed tensor has that name.
        """
        wanted: dict[int, str] = {}
        slots = self._program.slots
        constants = {slots[name] for name in self._cells}
        for name in names:
            slot = slots.get(name, -1)
            if slot < 0 or slot in constants:
                raise UsageError(f"No node of the model computes a tensor called {name!r}, and no input is called so.")
            wanted[slot] = name
        entry = (wanted, watcher)
        self._watchers.append(entry)
        try:
            yield
        finally:
            self._watchers.remove(entry)

    @contextmanager
    def record(self, names: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
        """Gives a dict that holds the named tensors of the latest call, gradients attached.

        Raises:
            UsageError: when no input and no computed tensor has that name.
        """
        tape: dict[str, torch.Tensor] = {}
        with self.watch(names, tape.__setitem__):
            yield tape

    def producer(self, name: str) -> str:
        """Returns the operator type that computes tensor `name`, or "" for inputs and initializers."""
        for node in self._source.nodes:
            if any(tensor.name == name for tensor in node.outputs):
                return str(node.op)
        return ""

    @property
    def model(self) -> Model:
        """The graph this module was made from, with the weights of that moment; not to be edited."""
        return self._source

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxModule:
        # the steps read this module's training flag: a copy needs steps of its own
        copy = OnnxModule(self._source)
        memo[id(self)] = copy
        with torch.no_grad():
            for name, (table, key) in self._cells.items():
                copied_table, copied_key = copy._cells[name]
                value = table[key].detach().clone()
                parameter = isinstance(table[key], torch.nn.Parameter)
                copied_table[copied_key] = torch.nn.Parameter(value, table[key].requires_grad) if parameter else value
        copy.training = self.training
        return copy

    def _bound(self, inputs: Sequence[torch.Tensor], named: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        bound = dict(zip(self.input_names, inputs, strict=False))
        twice = bound.keys() & named.keys()
        bound.update(named)
        if len(inputs) > len(self.input_names) or twice or bound.keys() != set(self.input_names):
            raise UsageError(
                f"The model takes the inputs {', '.join(self.input_names) or '(none)'}; got {len(inputs)} by position"
                f" and {', '.join(named) or 'none'} by name."
            )
        return bound

    def _run(self, inputs: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> Output:
        program = self._unfused() if self._watchers else self._program
        env = self._start(program, inputs, values)
        step = None
        try:
            for step in program.steps:  # read where a step fails
                result = step.function(*[env[slot] for slot in step.inputs])
                if step.plain or not isinstance(result, tuple):
                    env[step.outputs[0]] = result
                else:
                    for slot, tensor in zip(step.outputs, result, strict=False):
                        if slot >= 0:
                            env[slot] = tensor
                if self._watchers:
                    self._show(step.outputs, program, env)
                for slot in step.release:
                    env[slot] = None
        except RuntimeError as error:
            if step is not None:
                error.add_note(f"in node {step.node}")
            raise
        outputs = tuple(self._tensor(slot, program, env) for slot in program.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _start(
        self, program: Program, inputs: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]
    ) -> list[Any]:
        """The slots before the first step."""
        env: list[Any] = [None] * program.size
        for slot, value in program.values.items():
            env[slot] = value
        for slot, table, key in self._held:
            env[slot] = table[key]
        for source in (values, inputs):
            for name, tensor in source.items():
                env[program.slots[name]] = tensor
        first = next(iter(inputs.values()), None)
        if first is None:
            first = next(self.parameters(), None)
        env[program.device] = None if first is None else first.device
        if self._watchers:
            self._show([*(program.slots[name] for name in inputs), *program.values], program, env)
        return env

    def _unfused(self) -> Program:
        """The program to run while somebody watches: with fused steps only where nobody looks inside."""
        if not any(slot in self._program.hidden for wanted, _ in self._watchers for slot in wanted):
            return self._program
        if self._whole is None:
            self._whole = compile_lean(self._source, lambda: self.training, fuse=False)
        return self._whole

    def _show(self, slots: Sequence[int], program: Program, env: list[Any]) -> None:
        for wanted, watcher in self._watchers:
            for slot in slots:
                if slot in wanted:
                    watcher(wanted[slot], self._tensor(slot, program, env))

    @staticmethod
    def _tensor(slot: int, program: Program, env: list[Any]) -> Any:
        kind = program.hosted.get(slot)
        return env[slot] if kind is None else host_tensor(env[slot], kind, env[program.device])
