"""Graphs in ONNX text for what the bridge makes lean: one per fused pattern, and nets with dynamic shapes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PATTERNS", "SIZES", "TRANSFORMER", "Pattern"]


@dataclass(frozen=True)
class Pattern:
    """A graph that holds one pattern.

    Attributes:
        text: The graph; input x.
        shape: Shape of x.
        inner: A tensor that the fused step leaves out.
        opset: Version of the operator set.
    """

    text: str
    shape: tuple[int, ...]
    inner: str
    opset: int = 18


PATTERNS = {
    "linear": Pattern(
        "g (float[N,3,4] x, float[4,6] w, float[6] b) => (float[N,3,6] y) { m = MatMul(x, w)  y = Add(b, m) }",
        (2, 3, 4),
        "m",
    ),
    "linear on a matrix": Pattern(
        "g (float[N,4] x, float[4,6] w, float[6] b) => (float[N,6] y) { m = MatMul(x, w)  y = Add(m, b) }",
        (3, 4),
        "m",
    ),
    "relu in place": Pattern(
        """g (float[N,3,4,4] x, float[4,3,1,1] w, float[4] s, float[4] b, float[4] m, float[4] v)
             => (float[N,4,4,4] y) {
          c = Conv<kernel_shape=[1,1]>(x, w)
          n = BatchNormalization(c, s, b, m, v)
          r = Relu(n)
          a = Add(c, r)
          y = Relu(a)
        }""",
        (2, 3, 4, 4),
        "a",
    ),
    "silu": Pattern("g (float[N,4] x) => (float[N,4] y) { s = Sigmoid(x)  y = Mul(s, x) }", (3, 4), "s"),
    "gelu": Pattern(
        """g (float[N,4] x) => (float[N,4] y) {
          root = Constant<value = float {1.4142135}>()
          one = Constant<value = float {1.0}>()
          half = Constant<value = float {0.5}>()
          d = Div(x, root)
          e = Erf(d)
          p = Add(e, one)
          m = Mul(x, p)
          y = Mul(m, half)
        }""",
        (3, 4),
        "e",
    ),
    "gelu, half first": Pattern(
        """g (float[N,4] x) => (float[N,4] y) {
          root = Constant<value = float {0.70710677}>()
          one = Constant<value = float {1.0}>()
          half = Constant<value = float {0.5}>()
          h = Mul(half, x)
          d = Mul(root, x)
          e = Erf(d)
          p = Add(one, e)
          y = Mul(h, p)
        }""",
        (3, 4),
        "p",
    ),
    "hard swish": Pattern(
        "g (float[N,4] x) => (float[N,4] y) { h = HardSigmoid<alpha=0.16666667>(x)  y = Mul(x, h) }", (3, 4), "h"
    ),
    "hard swish by clip": Pattern(
        """g (float[N,4] x) => (float[N,4] y) {
          three = Constant<value = float {3.0}>()
          zero = Constant<value = float {0.0}>()
          six = Constant<value = float {6.0}>()
          a = Add(x, three)
          c = Clip(a, zero, six)
          m = Mul(x, c)
          y = Div(m, six)
        }""",
        (3, 4),
        "c",
    ),
    "rms norm": Pattern(
        """g (float[N,3,8] x, float[8] w) => (float[N,3,8] y) {
          two = Constant<value = float {2.0}>()
          eps = Constant<value = float {0.01}>()
          p = Pow(x, two)
          m = ReduceMean<axes=[-1]>(p)
          a = Add(m, eps)
          r = Sqrt(a)
          i = Reciprocal(r)
          n = Mul(x, i)
          y = Mul(w, n)
        }""",
        (2, 3, 8),
        "n",
        opset=17,
    ),
    "layer norm": Pattern(
        """g (float[N,3,8] x, float[8] w, float[8] b) => (float[N,3,8] y) {
          two = Constant<value = float {2.0}>()
          eps = Constant<value = float {0.01}>()
          u = ReduceMean<axes=[-1]>(x)
          d = Sub(x, u)
          p = Pow(d, two)
          m = ReduceMean<axes=[-1]>(p)
          a = Add(m, eps)
          r = Sqrt(a)
          q = Div(d, r)
          n = Mul(q, w)
          y = Add(n, b)
        }""",
        (2, 3, 8),
        "q",
        opset=16,
    ),
    "attention": Pattern(
        """g (float[N,2,5,4] x, float[4,4] wq, float[4,4] wk, float[4,4] wv) => (float[N,2,5,4] y) {
          q = MatMul(x, wq)
          k = MatMul(x, wk)
          v = MatMul(x, wv)
          t = Transpose<perm=[0,1,3,2]>(k)
          c = Constant<value = float {2.0}>()
          s = MatMul(q, t)
          d = Div(s, c)
          p = Softmax<axis=-1>(d)
          y = MatMul(p, v)
        }""",
        (2, 2, 5, 4),
        "p",
    ),
    "masked attention with the guard": Pattern(
        """g (float[N,2,5,4] x, float[4,4] wq, float[4,4] wk, float[4,4] wv, float[1,2,5,5] bias)
             => (float[N,2,5,4] y) {
          q = MatMul(x, wq)
          k = MatMul(x, wk)
          v = MatMul(x, wv)
          t = Transpose<perm=[0,1,3,2]>(k)
          c = Constant<value = float {0.7}>()
          zero = Constant<value = float {0.0}>()
          a = Mul(q, c)
          b = Mul(t, c)
          s = MatMul(a, b)
          m = Add(s, bias)
          p = Softmax<axis=-1>(m)
          n = IsNaN(p)
          g = Where(n, zero, p)
          y = MatMul(g, v)
        }""",
        (2, 2, 5, 4),
        "m",
    ),
    "keys by way of three axes": Pattern(
        """g (float[N,2,5,4] x, float[4,4] w) => (float[N,2,4,5] y) {
          k = MatMul(x, w)
          flat = Constant<value = int64[3] {-1, 5, 4}>()
          s = Shape(k)
          zero = Constant<value = int64[1] {0}>()
          two = Constant<value = int64[1] {2}>()
          outer = Slice(s, zero, two)
          last = Constant<value = int64[2] {4, 5}>()
          back = Concat<axis=0>(outer, last)
          f = Reshape(k, flat)
          t = Transpose<perm=[0,2,1]>(f)
          y = Reshape(t, back)
        }""",
        (2, 2, 5, 4),
        "t",
    ),
}

TRANSFORMER = """g (int64[N,L] tokens, float[11,8] table, float[8] g1, float[8] h1, float[8,8] wq, float[8,8] wk,
   float[8,8] wv, float[8,8] wo, float[8] bo, float[8,16] w1, float[16] b1, float[16,8] w2, float[8] b2)
   => (float[N,L,8] y) {
  x = Gather(table, tokens)
  n = LayerNormalization<axis=-1>(x, g1, h1)
  shape = Shape(tokens)
  at0 = Constant<value = int64 {0}>()
  at1 = Constant<value = int64 {1}>()
  first = Constant<value = int64[1] {0}>()
  batch = Gather(shape, at0)
  batch1 = Unsqueeze(batch, first)
  length = Gather(shape, at1)
  length1 = Unsqueeze(length, first)
  heads = Constant<value = int64[1] {2}>()
  whole = Constant<value = int64[1] {8}>()
  width = Div(whole, heads)
  split = Concat<axis=0>(batch1, length1, heads, width)
  joined = Concat<axis=0>(batch1, length1, whole)
  q0 = MatMul(n, wq)
  q1 = Reshape(q0, split)
  q = Transpose<perm=[0,2,1,3]>(q1)
  k0 = MatMul(n, wk)
  k1 = Reshape(k0, split)
  k = Transpose<perm=[0,2,3,1]>(k1)
  v0 = MatMul(n, wv)
  v1 = Reshape(v0, split)
  v = Transpose<perm=[0,2,1,3]>(v1)
  scale = Constant<value = float {0.5}>()
  s0 = MatMul(q, k)
  s = Mul(s0, scale)
  times = Range(at0, length, at1)
  axis1 = Constant<value = int64[1] {1}>()
  rows = Unsqueeze(times, axis1)
  later = Greater(times, rows)
  never = Constant<value = float {-10000.0}>()
  nothing = Constant<value = float {0.0}>()
  mask = Where(later, never, nothing)
  m = Add(s, mask)
  p = Softmax<axis=-1>(m)
  a = MatMul(p, v)
  a1 = Transpose<perm=[0,2,1,3]>(a)
  a2 = Reshape(a1, joined)
  o0 = MatMul(a2, wo)
  o = Add(o0, bo)
  r = Add(x, o)
  f0 = MatMul(r, w1)
  f1 = Add(f0, b1)
  f2 = Sigmoid(f1)
  f3 = Mul(f1, f2)
  f4 = MatMul(f3, w2)
  f = Add(f4, b2)
  y = Add(r, f)
}"""
"""One causal transformer block; batch and length are read from the tokens at run time."""

SIZES = """g (float[N,4,H,W] x) => (float[A,B] y, int64[R] sizes, int64 half) {
  shape = Shape(x)
  zero = Constant<value = int64[1] {0}>()
  one = Constant<value = int64[1] {1}>()
  two = Constant<value = int64[1] {2}>()
  three = Constant<value = int64[1] {3}>()
  four = Constant<value = int64[1] {4}>()
  minus = Constant<value = int64[1] {-1}>()
  lead = Slice(shape, zero, two)
  maps = Slice(shape, two, four, zero, one)
  area = ReduceProd<keepdims=1>(maps)
  tail = Mul(area, minus)
  back = Neg(tail)
  third = Div(back, three)
  rest = Mod(back, three)
  wanted = Mul(third, three)
  fits = Add(wanted, rest)
  same = Equal(fits, area)
  column = Where(same, area, minus)
  rows = ReduceProd<keepdims=1>(lead)
  least = Min(rows, area)
  most = Max(rows, area)
  target = Concat<axis=0>(rows, column)
  flat = Reshape(x, target)
  count = Shape(target)
  ones = ConstantOfShape<value = int64[1] {1}>(count)
  free = Equal(target, minus)
  safe = Where(free, ones, target)
  wide = Expand(flat, safe)
  scalar = Squeeze(least, zero)
  number = Cast<to=1>(scalar)
  scaled = Div(wide, number)
  filled = ConstantOfShape<value = float[1] {0.5}>(safe)
  y = Add(scaled, filled)
  sizes = Concat<axis=0>(shape, least, most)
  both = Constant<value = int64 {2}>()
  half = Div(scalar, both)
}"""
"""Arithmetic on sizes that ends in shapes, in data and in graph outputs."""
