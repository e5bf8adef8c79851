"""Polynomials in kept counts: the cost of any candidate allocation without rewriting a graph.

A polynomial is Σ_t c_t · Π_{g ∈ t} n_g over multisets t of group names. The MACs of a
convolution are a product of axis sizes, and an axis size is a product (Prod) or a sum (Sum)
of kept counts, so every cost that counts elements is of this form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Poly"]

Monomial = tuple[str, ...]


@dataclass(frozen=True)
class Poly:
    """An immutable polynomial.

    Attributes:
        terms: Sorted names of the variables, with repeats → coefficient.
    """

    terms: Mapping[Monomial, float]

    @classmethod
    def constant(cls, value: float) -> Poly:
        """Returns the polynomial `value`."""
        return cls({(): float(value)} if value else {})

    @classmethod
    def variable(cls, name: str) -> Poly:
        """Returns the polynomial `name`."""
        return cls({(name,): 1.0})

    @classmethod
    def sum(cls, polys: Sequence[Poly]) -> Poly:
        """Returns the sum of `polys`."""
        terms: dict[Monomial, float] = {}
        for poly in polys:
            for key, value in poly.terms.items():
                terms[key] = terms.get(key, 0.0) + value
        return cls(terms)

    @classmethod
    def product(cls, polys: Sequence[Poly]) -> Poly:
        """Returns the product of `polys`."""
        result = cls.constant(1)
        for poly in polys:
            result = result * poly
        return result

    def __add__(self, other: Poly) -> Poly:
        return Poly.sum((self, other))

    def __mul__(self, other: Poly | float) -> Poly:
        if not isinstance(other, Poly):
            return Poly({key: value * other for key, value in self.terms.items()})
        terms: dict[Monomial, float] = {}
        for a, x in self.terms.items():
            for b, y in other.terms.items():
                key = tuple(sorted(a + b))
                terms[key] = terms.get(key, 0.0) + x * y
        return Poly(terms)

    @property
    def names(self) -> tuple[str, ...]:
        """The variables, sorted."""
        return tuple(sorted({name for key in self.terms for name in key}))

    def __call__(self, counts: Mapping[str, Any]) -> Any:
        """Returns the value at `counts`: numbers, numpy arrays or torch tensors alike."""
        value: Any = 0.0
        for key, coefficient in self.terms.items():
            term: Any = coefficient
            for name in key:
                term = term * counts[name]
            value = value + term
        return value

    def derivative(self, name: str) -> Poly:
        """Returns the partial derivative with respect to `name`."""
        terms: dict[Monomial, float] = {}
        for key, value in self.terms.items():
            power = key.count(name)
            if power:
                position = key.index(name)
                rest = key[:position] + key[position + 1 :]
                terms[rest] = terms.get(rest, 0.0) + value * power
        return Poly(terms)

    def compiled(self, order: Sequence[str]) -> Callable[[NDArray[np.float64]], float]:
        """Returns a fast evaluator over a vector of counts.

        Args:
            order: Name of each entry of the vector; must cover `names`.

        Returns:
            A function from float64 [len(order)] to the value.
        """
        slot = {name: i + 1 for i, name in enumerate(order)}
        degree = max((len(key) for key in self.terms), default=0)
        index = np.zeros((len(self.terms), max(degree, 1)), dtype=np.intp)
        for row, key in enumerate(self.terms):
            index[row, : len(key)] = [slot[name] for name in key]
        weight = np.array(list(self.terms.values()), dtype=np.float64)

        def evaluate(counts: NDArray[np.float64]) -> float:
            padded = np.concatenate(([1.0], counts))
            return float(weight @ np.prod(padded[index], axis=1)) if len(weight) else 0.0

        return evaluate
