"""One file per family of operators: axis rule, surgery, MACs, PyTorch counterpart."""

from onnxprune.ops.base import OpRule, describe
from onnxprune.ops.registry import OPS, find_rule, register_op

__all__ = ["OPS", "OpRule", "describe", "find_rule", "register_op"]
