"""An ONNX graph as an `nn.Module` whose parameters carry the initializers' names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from onnxprune.bridge.program import Step, compile_program
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
        self._program = compile_program(self._source, lambda: self.training)
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
        """
        return self._run(self._bound((), inputs), values)

    @contextmanager
    def watch(self, names: Sequence[str], watcher: Watcher) -> Iterator[None]:
        """Calls `watcher(name, tensor)` for each named input or computed tensor, once per call of the module.

        Raises:
            UsageError: when no input and no computed tensor has that name.
        """
        wanted: dict[int, str] = {}
        slots = self._program.slots
        known = {slot for step in self._program.steps for slot in step.outputs} | {slots[n] for n in self.input_names}
        for name in names:
            slot = slots.get(name, -1)
            if slot < 0 or slot not in known:
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
                copied_table[copied_key].data = table[key].detach().clone()
                copied_table[copied_key].requires_grad_(table[key].requires_grad)
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
        slots = self._program.slots
        env: list[Any] = [None] * len(slots)
        for name, (table, key) in self._cells.items():
            env[slots[name]] = table[key]
        for source in (values, inputs):
            for name, tensor in source.items():
                env[slots[name]] = tensor
        for name in inputs:
            self._show(slots[name], env)
        for step in self._program.steps:
            try:
                result = step.function(*[env[slot] if slot >= 0 else None for slot in step.inputs])
            except RuntimeError as error:
                error.add_note(f"in node {step.node}")
                raise
            self._store(step, result, env)
        outputs = tuple(env[slot] for slot in self._program.outputs)
        return outputs[0] if len(outputs) == 1 else outputs

    def _store(self, step: Step, result: Any, env: list[Any]) -> None:
        for slot, tensor in zip(step.outputs, result if isinstance(result, tuple) else (result,), strict=False):
            if slot < 0:
                continue
            env[slot] = tensor
            self._show(slot, env)
        for slot in step.release:
            env[slot] = None

    def _show(self, slot: int, env: list[Any]) -> None:
        for wanted, watcher in self._watchers:
            if slot in wanted:
                watcher(wanted[slot], env[slot])
