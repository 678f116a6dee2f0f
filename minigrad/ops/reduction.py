"""Reductions and running sums and products.

A cotangent v does not have the reduced axes. Rules insert them with size 1 (`keep_axes`) and then broadcast v to x's
shape.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from minigrad.engine.pairwise import add_reduce, reduce
from minigrad.engine.primitive import linear, primitive, tensor_function
from minigrad.ops.cofactor import cofactor
from minigrad.ops.elementwise import quotient
from minigrad.ops.precision import widened
from minigrad.ops.shape import axes_of, axis_of, broadcast_to_shape, cast


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The reduced axes. A single number may be reduced along its axis 0, as in NumPy."""
    return axes_of(axis, ndim) if ndim or axis not in (0, -1) else ()


@lru_cache(maxsize=4096)
def _shape_with_axes(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    axes = _axes(axis, len(shape))
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def keep_axes(v: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """v with the reduced axes inserted, of size 1."""
    with_axes = _shape_with_axes(shape, axis)
    return v if v.shape == with_axes else np.reshape(v, with_axes)


def _spread(v: Any, shape: tuple[int, ...], axis: Any) -> Any:
    return broadcast_to_shape(v if axis is None and v.ndim == 0 else keep_axes(v, shape, axis), shape=shape)


@lru_cache(maxsize=4096)
def _count(shape: tuple[int, ...], axis: Any) -> int:
    return math.prod(shape[k] for k in _axes(axis, len(shape)))


def _mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    if x.dtype.char == "e":
        return _mean(x.astype(np.float32), axis=axis, keepdims=keepdims).astype(np.float16)
    if x.dtype.kind in "iub":  # a sum of integers may overflow
        total = reduce(x, axis=axis, keepdims=keepdims, dtype=np.float64)
    else:
        total = add_reduce(x, axis=axis, keepdims=keepdims)
    return total / _count(x.shape, axis)


def _var(x: Any, /, *, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Any:
    centered = _centered_by(_mean, x, axis)
    return add_reduce(centered * centered, axis=axis, keepdims=keepdims) / _freedom(x.shape, axis, correction)


def _std(x: Any, /, *, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Any:
    return root_of_squares(_centered_by(_mean, x, axis), axis, keepdims, _freedom(x.shape, axis, correction))


def _centered_by(mean: Any, x: Any, axis: Any) -> Any:
    """x - μ, minus its own mean: the rounded mean of equal numbers may differ from all of them."""
    centered = x - mean(x, axis=axis, keepdims=True)
    return centered - mean(centered, axis=axis, keepdims=True)


# Between these, a sum of squares of the dtype has all its digits.
SQUARES = {"f": (1e-31, 3.4028234663852886e38), "d": (1e-292, 1.7976931348623157e308)}


def root_of_squares(x: Any, axis: Any, keepdims: bool, count: float = 1) -> Any:
    """√(Σ x² / count) over axes, computed from x / max |x| where a square leaves the range (as in LAPACK's dnrm2).

    A tracer array stands for the values of all calls, so it is always scaled.
    """
    if not x.size or (type(x) is not np.ndarray and not hasattr(x, "mg_check")):
        total = reduce(x * x, axis=axis, keepdims=keepdims)
        return np.sqrt(total if count == 1 else total / count)
    if type(x) is np.ndarray and x.dtype.char in SQUARES:
        least, most = SQUARES[x.dtype.char]
        with np.errstate(over="ignore", under="ignore"):
            total = add_reduce(x * x, axis=axis, keepdims=keepdims)
        is_inside = least <= total <= most if total.ndim == 0 else ((total >= least) & (total <= most)).all()
        if is_inside:
            return np.sqrt(total if count == 1 else total / count)
    largest = np.maximum.reduce(np.absolute(x), axis=axis, keepdims=True)
    # The scale is bounded, so that its inverse, by which a program may multiply, is neither infinite nor denormal.
    info = np.finfo(x.dtype)
    scale = np.minimum(np.maximum(largest, float(info.tiny)), float(info.max) / 8)
    scale = np.where(np.isfinite(largest) & (scale > 0), scale, 1)  # long double has a tiny that is 0 as a float
    # A program moves common factors out of sums, which would undo the scaling. The maximum prevents that.
    ratio = np.maximum(np.absolute(x) / scale, 0)
    with np.errstate(under="ignore"):
        total = add_reduce(ratio * ratio, axis=axis, keepdims=True)
        root = np.sqrt(total if count == 1 else total / count) * scale
    return root if keepdims else np.reshape(root, left_shape(x.shape, axis))[()]


@lru_cache(maxsize=4096)
def left_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape without the reduced axes."""
    axes = _axes(axis, len(shape))
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def _freedom(shape: tuple[int, ...], axis: Any, correction: float) -> float:
    count = _count(shape, axis) - correction
    if count <= 0:
        raise ValueError(
            f"variance over {_count(shape, axis)} elements with correction={correction} is undefined; "
            "take more elements or correction=0"
        )
    return count


def _centered(x: Any, axis: Any) -> Any:
    return _centered_by(mean_over, x, axis)


def _split_among_ties(v: Any, x: Any, out: Any, axis: Any) -> Any:
    """v divided evenly among the elements that are equal to the extreme value."""
    is_extreme = x == keep_axes(out, x.shape, axis)
    count = np.add.reduce(is_extreme, axis=axis, keepdims=True, dtype=v.dtype)
    return np.where(is_extreme, keep_axes(v, x.shape, axis) / (count + (count == 0)), 0)


def _logsumexp(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    if not x.size:
        with np.errstate(divide="ignore"):
            return np.log(reduce(np.exp(x), axis=axis, keepdims=keepdims))
    top = np.maximum.reduce(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = add_reduce(np.exp(x - top), axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):  # log 0 = -inf is the value for x = -inf
        out = np.log(total) + top
    return out if keepdims else np.reshape(out, left_shape(x.shape, axis))


_AXIS = "(x, /, *, axis=None, keepdims=False)"

sum_over = linear(add_reduce, lambda v, axis, x_shape: _spread(v, x_shape, axis), signature=_AXIS, name="sum")
mean_over = linear(
    _mean, lambda v, axis, x_shape: _spread(_divided(v, _count(x_shape, axis)), x_shape, axis), name="mean"
)
var_over = primitive(
    widened(_var),
    widened(
        lambda v, x, axis, correction: (
            keep_axes(v, x.shape, axis) * (2 / _freedom(x.shape, axis, correction)) * _centered(x, axis)
        )
    ),
    name="var",
)
std_over = primitive(
    widened(_std),
    widened(lambda v, x, out, axis, correction: _std_contribution(v, x, out, axis, correction)),
    name="std",
)
max_over = primitive(
    np.maximum.reduce, lambda v, x, out, axis: _split_among_ties(v, x, out, axis), signature=_AXIS, name="max"
)
min_over = primitive(
    np.minimum.reduce, lambda v, x, out, axis: _split_among_ties(v, x, out, axis), signature=_AXIS, name="min"
)
prod_over = primitive(
    np.multiply.reduce,
    lambda v, x, axis: keep_axes(v, x.shape, axis) * _product_of_others(x, axis),
    signature=_AXIS,
    name="prod",
    analytic=True,
)
logsumexp_over = primitive(
    widened(_logsumexp),
    lambda v, x, out, axis: keep_axes(v, x.shape, axis) * _softmax(x, keep_axes(out, x.shape, axis), axis),
    name="logsumexp",
    analytic=True,
)
# Counting and comparing: no gradient flows through these
all_over = primitive(np.logical_and.reduce, signature=_AXIS, name="all")
any_over = primitive(np.logical_or.reduce, signature=_AXIS, name="any")
argmax = primitive(
    np.argmax,
    signature=_AXIS,
    doc="The index of the largest element along an axis (the first such), or of the flattened x if axis is None.",
)
argmin = primitive(
    np.argmin,
    signature=_AXIS,
    doc="The index of the smallest element along an axis (the first such), or of the flattened x if axis is None.",
)
count_nonzero = primitive(
    lambda x, /, *, axis=None, keepdims=False: np.add.reduce(x != 0, axis=axis, keepdims=keepdims),
    name="count_nonzero",
    doc="The number of elements over the axes that are not 0.",
)


def _std_contribution(v: Any, x: Any, out: Any, axis: Any, correction: float) -> Any:
    """v (x - μ) / (σ (N - correction)), 0 where σ is 0; see elementwise.along."""
    freedom, multiple = _freedom(x.shape, axis, correction), cofactor(v, out)
    if multiple is not None:
        return keep_axes(multiple / freedom, x.shape, axis) * _centered(x, axis)
    return keep_axes(v / freedom, x.shape, axis) * quotient(_centered(x, axis), keep_axes(out, x.shape, axis))


def _divided(v: Any, count: int) -> Any:
    """v / count, in single precision for float16, which cannot represent large counts."""
    return v / count if v.dtype != np.float16 else (v.astype(np.float32) / count).astype(np.float16)


def _softmax(x: Any, out: Any, axis: Any) -> Any:
    """exp(x) / Σ exp(x): 0 where x is -inf, even if all elements are; equal parts for the elements that are inf.

    exp(x - out) alone would have the rounding error of out, which is large if x is; division by its sum removes it.
    """
    largest = float(np.finfo(x.dtype).max)
    p = np.exp(np.minimum(x, largest) - np.where(np.isneginf(out), 0, np.minimum(out, largest)))
    total = np.sum(p, axis=axis, keepdims=True)
    return p / (total + (total == 0))


def shifted(x: Any, axis: int, first: float) -> Any:
    """x shifted by one along the axis, with `first` at the beginning."""
    lead = (slice(None),) * axis_of(axis, x.ndim)
    start = np.full_like(x[(*lead, slice(0, 1))], first)
    return np.concatenate([start, x[(*lead, slice(0, -1))]], axis=axis)


def _product_of_others(x: Any, axis: Any) -> Any:
    """For each element, the product of the others that are reduced with it; exact where some are zero."""
    axes = _axes(axis, x.ndim)
    order = [k for k in range(x.ndim) if k not in axes] + list(axes)
    transposed = np.transpose(x, order)
    rows = np.reshape(transposed, (*transposed.shape[: x.ndim - len(axes)], _count(x.shape, axis)))
    before = shifted(np.cumprod(rows, axis=-1), -1, 1)
    after = np.flip(shifted(np.cumprod(np.flip(rows, -1), axis=-1), -1, 1), -1)
    others = np.reshape(before * after, transposed.shape)
    return np.transpose(others, [order.index(k) for k in range(x.ndim)])


# The public functions


def _axis(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


@tensor_function
def sum(x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Any:
    """The sum over axes: an int, a tuple, or all of them."""
    return in_dtype(sum_over(cast_to(x, dtype), axis=_axis(axis), keepdims=keepdims), dtype)


@tensor_function
def prod(x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Any:
    """The product over axes. Its gradient is exact where factors are zero."""
    return in_dtype(prod_over(cast_to(x, dtype), axis=_axis(axis), keepdims=keepdims), dtype)


@tensor_function
def mean(x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Any:
    """The mean over axes."""
    return in_dtype(mean_over(cast_to(x, dtype), axis=_axis(axis), keepdims=keepdims), dtype)


@tensor_function
def var(x: Any, /, axis: Any = None, *, correction: float = 0, keepdims: bool = False) -> Any:
    """The variance over axes, Σ (x - μ)² / (N - correction)."""
    return var_over(x, axis=_axis(axis), correction=correction, keepdims=keepdims)


@tensor_function
def std(x: Any, /, axis: Any = None, *, correction: float = 0, keepdims: bool = False) -> Any:
    """The standard deviation over axes. Its gradient at a constant x is 0."""
    return std_over(x, axis=_axis(axis), correction=correction, keepdims=keepdims)


@tensor_function
def max(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The largest element over axes. Elements that tie share the gradient evenly."""
    return max_over(x, axis=_axis(axis), keepdims=keepdims)


@tensor_function
def min(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The smallest element over axes. Elements that tie share the gradient evenly."""
    return min_over(x, axis=_axis(axis), keepdims=keepdims)


@tensor_function
def logsumexp(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """log Σ exp(x) over axes, without overflow; -inf for no elements. Elements that are inf share the gradient."""
    return logsumexp_over(x, axis=_axis(axis), keepdims=keepdims)


@tensor_function
def all(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Whether all elements over the axes are true."""
    return all_over(x, axis=_axis(axis), keepdims=keepdims)


@tensor_function
def any(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Whether any element over the axes is true."""
    return any_over(x, axis=_axis(axis), keepdims=keepdims)


def cast_to(x: Any, dtype: Any) -> Any:
    """x converted to the dtype, which may be None."""
    return x if dtype is None else cast(x, dtype=np.dtype(dtype))


def in_dtype(out: Any, dtype: Any) -> Any:
    """The result in the requested dtype: NumPy returns sums of small integers in a larger dtype."""
    return out if dtype is None or out.dtype == dtype else cast(out, dtype=np.dtype(dtype))
