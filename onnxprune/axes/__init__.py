"""The algebra of axes: expressions, unification, keep masks and size polynomials."""

from onnxprune.axes.expr import Atom, Axis, Prod, Sum, leaves, pin, product, resolve, total
from onnxprune.axes.keep import BoolArray, keep_mask, size_polynomial
from onnxprune.axes.order import IntArray, axis_order
from onnxprune.axes.poly import Poly
from onnxprune.axes.unify import factor, split, split_at, unify

__all__ = [
    "Atom",
    "Axis",
    "BoolArray",
    "IntArray",
    "Poly",
    "Prod",
    "Sum",
    "axis_order",
    "factor",
    "keep_mask",
    "leaves",
    "pin",
    "product",
    "resolve",
    "size_polynomial",
    "split",
    "split_at",
    "total",
    "unify",
]
