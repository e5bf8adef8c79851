"""The builder of function bodies: nodes of standard operators, each value named by its place."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import AttributeProto, FunctionProto, NodeProto, helper

from onnxprune.core.errors import UsageError

__all__ = ["CAST_LIKE", "OLDEST_OPSET", "Body"]

OLDEST_OPSET = 13
_ALLOW_ZERO = 14
CAST_LIKE = 15


class Body:
    """Nodes in the making.

    Args:
        opset: Version of the standard operators.

    Raises:
        UsageError: when the opset is too old.
    """

    def __init__(self, opset: int) -> None:
        if opset < OLDEST_OPSET:
            raise UsageError(
                f"Block-sparse operators need opset {OLDEST_OPSET} or newer, the model has {opset}; convert it with "
                "onnx.version_converter."
            )
        self.opset = opset
        self.nodes: list[NodeProto] = []

    def add(
        self, op: str, *inputs: str, output: str = "", refs: Sequence[str] = (), **attributes: int | float | list[int]
    ) -> str:
        """Returns the output of a new node; `refs` are attributes that are handed on from the function's."""
        output = output or f"v{len(self.nodes)}"
        node = helper.make_node(op, list(inputs), [output])
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        node.attribute.extend(_reference(name, name) for name in refs)
        self.nodes.append(node)
        return output

    def integers(self, *values: int) -> str:
        """Returns int64 [len(values)]."""
        return self.add("Constant", value_ints=list(values))

    def size(self, name: str) -> str:
        """Returns an integer attribute of the function as int64 [1]."""
        output = self.add("Constant")
        self.nodes[-1].attribute.append(_reference("value_int", name))
        return self.add("Reshape", output, self.integers(1))

    def number(self, value: float | str, like: str) -> str:
        """Returns a number, or a float attribute of the function, in the element type of `like`."""
        if isinstance(value, str):
            output = self.add("Constant")
            self.nodes[-1].attribute.append(_reference("value_float", value))
        else:
            output = self.add("Constant", value_float=value)
        # before CastLike existed only float32 can be served
        return self.add("CastLike", output, like) if self.opset >= CAST_LIKE else output

    def cast(self, x: str, element: str) -> str:
        """Returns `x` in the element type that an attribute of the function names."""
        output = self.add("Cast", x)
        self.nodes[-1].attribute.append(_reference("to", element))
        return output

    def part(self, sizes: str, start: int, end: int) -> str:
        """Returns some of several sizes."""
        return self.add("Slice", sizes, self.integers(start), self.integers(end))

    def blocks(self, inputs: str, block: str) -> str:
        """Returns how many blocks the inputs make."""
        return self.add("Div", self.add("Sub", self.add("Add", inputs, block), self.integers(1)), block)

    def reshape(self, x: str, *sizes: str, output: str = "") -> str:
        """Returns `x` with a shape of several parts, in which a zero is a zero."""
        shape = self.add("Concat", *sizes, axis=0)
        if self.opset < _ALLOW_ZERO:
            return self.add("Reshape", x, shape, output=output)
        return self.add("Reshape", x, shape, output=output, allowzero=1)

    def function(self, domain: str, name: str, inputs: Sequence[str], attributes: Sequence[str]) -> FunctionProto:
        """Returns the function of these nodes, whose last gives y."""
        return helper.make_function(
            domain,
            name,
            list(inputs),
            ["y"],
            self.nodes,
            [helper.make_opsetid("", self.opset)],
            attributes=list(attributes),
        )


def _reference(name: str, attribute: str) -> AttributeProto:
    """Returns an attribute of a node in a function's body that takes its value from the function's."""
    kinds = {
        "value_int": AttributeProto.INT,
        "value_float": AttributeProto.FLOAT,
        "alpha": AttributeProto.FLOAT,
        "beta": AttributeProto.FLOAT,
        "group": AttributeProto.INT,
        "to": AttributeProto.INT,
    }
    return AttributeProto(name=name, ref_attr_name=attribute, type=kinds.get(name, AttributeProto.INTS))
