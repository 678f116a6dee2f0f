"""Norms of vectors and matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.pairwise import reduce
from minigrad.engine.primitive import primitive, tensor_function
from minigrad.ops.cofactor import cofactor
from minigrad.ops.elementwise import abs, quotient
from minigrad.ops.factorization import svdvals
from minigrad.ops.piecewise_constant import not_equal
from minigrad.ops.precision import widened
from minigrad.ops.reduction import keep_axes, left_shape, max, min, root_of_squares, sum
from minigrad.ops.shape import astype, axes_of, expand_dims, moveaxis


def _norm(x: Any, /, *, ord: float, axis: Any, keepdims: bool) -> Any:
    if ord == 2:
        return root_of_squares(x, axis, keepdims)
    size = np.absolute(x)
    if not x.size:  # the maximum of no elements is undefined
        return np.power(reduce(size, axis=axis, keepdims=keepdims), 1 / ord)
    extreme = np.maximum if ord > 0 else np.minimum  # of the dominant element; divided by it, no power overflows
    dominant = extreme.reduce(size, axis=axis, keepdims=True)
    scale = np.where((dominant > 0) & np.isfinite(dominant), dominant, 1)
    ratio = size / scale if ord > 0 else np.where(dominant == 0, 1, size / scale)
    with np.errstate(under="ignore"):
        total = np.add.reduce(np.power(ratio, ord), axis=axis, keepdims=True)
    root = np.power(total, 1 / ord) * (scale if ord > 0 else np.where(dominant == 0, 0, scale))
    return root if keepdims else np.reshape(root, left_shape(x.shape, axis))


def _norm_contribution(v: Any, x: Any, out: Any, ord: float, axis: Any) -> Any:
    """d|x|_p / dx = sign(x) (|x| / |x|_p)^(p-1), 0 at the origin, and for p < 1 where x is 0."""
    if ord == 2:
        multiple = cofactor(v, out)
        if multiple is not None:
            return keep_axes(multiple, x.shape, axis) * x
        v, out = keep_axes(v, x.shape, axis), keep_axes(out, x.shape, axis)
        return v * (x / (out + (out == 0)) if type(out) is np.ndarray else quotient(x, out))
    v, out = keep_axes(v, x.shape, axis), keep_axes(out, x.shape, axis)
    ratio = quotient(np.absolute(x), out)
    if ord < 1:
        v, ratio = v * (out != 0), ratio + (ratio == 0)
    return v * np.sign(x) * np.power(ratio, ord - 1)


norm_over = primitive(widened(_norm), widened(_norm_contribution), name="vector_norm")


@tensor_function
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Any:
    """The p-norm (Σ |xᵢ|ᵖ)^(1/p) over axes: an int, a tuple, or all of them.

    Args:
        x: any shape. The axes are taken together as one vector.
        axis: the axes; all if None.
        keepdims: keep the axes with size 1.
        ord: p; inf and -inf give the largest and the smallest |xᵢ|, 0 the number of elements that are not 0.

    The gradient of a norm at 0 is 0; elements that tie for the largest share it evenly. For p < 1, where the slope at
    an element that is 0 is infinite, its gradient is 0. No intermediate result overflows. Integers are converted to
    float64.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([3.0, 4.0], requires_grad=True)
        >>> mg.linalg.vector_norm(x).backward()
        >>> x.grad
        Tensor([0.6, 0.8])
    """
    axis = tuple(axis) if isinstance(axis, list) else axis
    x = x if x.dtype.kind in "fc" else astype(x, np.float64)  # as NumPy: squares of integers wrap around
    if ord == math.inf:
        return max(abs(x), axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return min(abs(x), axis=axis, keepdims=keepdims)
    if ord == 1:
        return sum(abs(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return sum(not_equal(x, 0), axis=axis, dtype=x.dtype, keepdims=keepdims)
    return norm_over(x, ord=ord, axis=axis, keepdims=keepdims)


@tensor_function
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """A norm of matrices (..., M, N).

    Args:
        x: (..., M, N).
        keepdims: keep the last two axes with size 1.
        ord: "fro" (root of the sum of squares), "nuc" (sum of singular values), 2 and -2 (largest and smallest singular
            value), 1 and -1 (largest and smallest sum of a column's absolute values), inf and -inf (of a row's).

    Second derivatives of "nuc", 2 and -2 are NaN where singular values are equal; see svd.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.matrix_norm(mg.Tensor([[1.0, -2.0], [3.0, 4.0]]), ord=1)
        Tensor(6.)
    """
    if len(np.shape(x)) < 2:
        raise ValueError(f"{call('matrix_norm', (x,), {'ord': ord})}: x must be matrices (..., M, N); see vector_norm")
    x = x if x.dtype.kind in "fc" else astype(x, np.float64)
    if ord in ("fro", None):
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    extreme = min if isinstance(ord, (int, float)) and ord < 0 else max
    if ord == "nuc":
        out = sum(svdvals(x), axis=-1)
    elif ord in (2, -2):
        out = extreme(svdvals(x), axis=-1)
    elif ord in (1, -1):
        out = extreme(sum(abs(x), axis=-2), axis=-1)
    elif ord in (math.inf, -math.inf):
        out = extreme(sum(abs(x), axis=-1), axis=-1)
    else:
        raise ValueError(f"{call('matrix_norm', (x,), {'ord': ord})}: ord must be 'fro', 'nuc', ±1, ±2 or ±inf")
    return expand_dims(out, axis=(-2, -1)) if keepdims else out


@tensor_function
def norm(x: Any, /, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """The norm as in NumPy: of vectors along one axis, of matrices over two, by default of all elements as one vector.

    Example:
        >>> import minigrad as mg
        >>> mg.linalg.norm(mg.Tensor([[3.0, 4.0], [6.0, 8.0]]), axis=1)
        Tensor([ 5., 10.])
    """
    ndim = len(np.shape(x))
    if axis is None and (ord is None or ndim == 1):
        return vector_norm(x, ord=2 if ord is None else ord, keepdims=keepdims)
    axes = axes_of(axis, ndim)
    if len(axes) == 1:
        return vector_norm(x, axis=axes[0], ord=2 if ord is None else ord, keepdims=keepdims)
    if len(axes) != 2:
        raise ValueError(
            f"{call('norm', (x,), {'ord': ord, 'axis': axis})}: give one axis for vectors, two for matrices"
        )
    out = matrix_norm(moveaxis(x, axes, (-2, -1)), ord=ord)
    return expand_dims(out, axis=axes) if keepdims else out
