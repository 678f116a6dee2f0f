"""Reductions and running sums.

v comes without the reduced axes and is first given them back with size 1 (`_kept`), then spread over x.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from minigrad.engine.pairwise import add_reduce, running_sums
from minigrad.engine.primitive import Function, linear, primitive, tensor_function
from minigrad.ops.cofactor import cofactor
from minigrad.ops.elementwise import quotient
from minigrad.ops.precision import widened
from minigrad.ops.shape import axes_of, axis_of, broadcast_to_shape, cast


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """The reduced axes. A single number may be reduced along its axis 0, as in NumPy."""
    return axes_of(axis, ndim) if ndim or axis not in (0, -1) else ()


@lru_cache(maxsize=4096)
def _kept_shape(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    axes = _axes(axis, len(shape))
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def _kept(v: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """v with the reduced axes present, of size 1."""
    kept = _kept_shape(shape, axis)
    return v if v.shape == kept else np.reshape(v, kept)


def _spread(v: Any, shape: tuple[int, ...], axis: Any) -> Any:
    return broadcast_to_shape(v if axis is None and v.ndim == 0 else _kept(v, shape, axis), shape=shape)


@lru_cache(maxsize=4096)
def _count(shape: tuple[int, ...], axis: Any) -> int:
    return math.prod(shape[k] for k in _axes(axis, len(shape)))


def _mean(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    if x.dtype.char == "e":
        return _mean(x.astype(np.float32), axis=axis, keepdims=keepdims).astype(np.float16)
    if x.dtype.kind in "iub":  # a sum of integers may be none
        total = np.add.reduce(x, axis=axis, keepdims=keepdims, dtype=np.float64)  # type: ignore[call-overload]
    else:
        total = add_reduce(x, axis=axis, keepdims=keepdims)
    return total / _count(x.shape, axis)


def _var(x: Any, /, *, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Any:
    centered = _centered_by(_mean, x, axis)
    return add_reduce(centered * centered, axis=axis, keepdims=keepdims) / _freedom(x.shape, axis, correction)


def _std(x: Any, /, *, axis: Any = None, correction: float = 0, keepdims: bool = False) -> Any:
    return root_of_squares(_centered_by(_mean, x, axis), axis, keepdims, _freedom(x.shape, axis, correction))


def _centered_by(mean: Any, x: Any, axis: Any) -> Any:
    """x - μ. The mean of equal numbers is rounded and may be none of them; then it is the rest that has a mean."""
    centered = x - mean(x, axis=axis, keepdims=True)
    return centered - mean(centered, axis=axis, keepdims=True)


# Between these the sum of squares of a dtype has all its digits.
SQUARES = {"f": (1e-31, 3.4028234663852886e38), "d": (1e-292, 1.7976931348623157e308)}


def root_of_squares(x: Any, axis: Any, keepdims: bool, count: float = 1) -> Any:
    """√(Σ x² / count) over axes, by way of x / max |x| where a square leaves the range (as in LAPACK's dnrm2).

    A tracer array stands for the values of all calls, and takes the second way always.
    """
    if not x.size or (type(x) is not np.ndarray and not hasattr(x, "takes_check")):
        total = np.add.reduce(x * x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]
        return np.sqrt(total if count == 1 else total / count)
    if type(x) is np.ndarray and x.dtype.char in SQUARES:
        least, most = SQUARES[x.dtype.char]
        with np.errstate(over="ignore", under="ignore"):
            total = add_reduce(x * x, axis=axis, keepdims=keepdims)
        is_inside = least <= total <= most if total.ndim == 0 else ((total >= least) & (total <= most)).all()
        if is_inside:
            return np.sqrt(total if count == 1 else total / count)
    largest = np.maximum.reduce(np.absolute(x), axis=axis, keepdims=True)
    # Not so small or large that the inverse, by which a program may multiply, is infinite or denormal.
    info = np.finfo(x.dtype)
    scale = np.minimum(np.maximum(largest, float(info.tiny)), float(info.max) / 8)
    scale = np.where(np.isfinite(largest) & (scale > 0), scale, 1)  # long double has a tiny that is 0 as a float
    # A program takes common factors out of sums, which would undo the scaling; not through a maximum.
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


def _tied(v: Any, x: Any, out: Any, axis: Any) -> Any:
    """v to the extreme elements, in even parts."""
    at = x == _kept(out, x.shape, axis)
    count = np.add.reduce(at, axis=axis, keepdims=True, dtype=v.dtype)
    return np.where(at, _kept(v, x.shape, axis) / (count + (count == 0)), 0)


def _logsumexp(x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    if not x.size:
        with np.errstate(divide="ignore"):
            return np.log(np.add.reduce(np.exp(x), axis=axis, keepdims=keepdims))  # type: ignore[call-overload]
    top = np.maximum.reduce(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    total = add_reduce(np.exp(x - top), axis=axis, keepdims=True)
    with np.errstate(divide="ignore"):  # log 0 = -inf is the value for x = -inf
        out = np.log(total) + top
    return out if keepdims else np.reshape(out, left_shape(x.shape, axis))


_AXIS = "(x, /, *, axis=None, keepdims=False)"

sum_over = linear(add_reduce, lambda v, axis, x_shape: _spread(v, x_shape, axis), signature=_AXIS, name="sum")
mean_over = linear(
    _mean, lambda v, axis, x_shape: _spread(_shared(v, _count(x_shape, axis)), x_shape, axis), name="mean"
)
var_over = primitive(
    widened(_var),
    widened(
        lambda v, x, axis, correction: (
            _kept(v, x.shape, axis) * (2 / _freedom(x.shape, axis, correction)) * _centered(x, axis)
        )
    ),
    name="var",
)
std_over = primitive(
    widened(_std), widened(lambda v, x, out, axis, correction: _std_share(v, x, out, axis, correction)), name="std"
)
max_over = primitive(np.maximum.reduce, lambda v, x, out, axis: _tied(v, x, out, axis), signature=_AXIS, name="max")
min_over = primitive(np.minimum.reduce, lambda v, x, out, axis: _tied(v, x, out, axis), signature=_AXIS, name="min")
prod_over = primitive(
    np.multiply.reduce,
    lambda v, x, axis: _kept(v, x.shape, axis) * _product_of_others(x, axis),
    signature=_AXIS,
    name="prod",
    analytic=True,
)
logsumexp_over = primitive(
    widened(_logsumexp),
    lambda v, x, out, axis: _kept(v, x.shape, axis) * _softmax_share(x, _kept(out, x.shape, axis), axis),
    name="logsumexp",
    analytic=True,
)
cumsum_along: Function = linear(
    running_sums,
    lambda v, axis: np.flip(cumsum_along(np.flip(v, axis), axis=axis), axis),
    signature="(x, /, *, axis)",
    name="cumulative_sum",
)
cumprod_along = primitive(
    np.cumprod,
    widened(lambda v, x, out, axis: _chain(v, x, axis) * _before(out, axis, 1)),
    signature="(x, /, *, axis)",
    name="cumulative_prod",
    analytic=True,
)

# Counting and comparing: nothing flows through these
all_over = primitive(np.logical_and.reduce, signature=_AXIS, name="all")
any_over = primitive(np.logical_or.reduce, signature=_AXIS, name="any")
argmax = primitive(
    np.argmax,
    signature=_AXIS,
    doc="Where the largest element along an axis is (the first), of the flattened x if none.",
)
argmin = primitive(
    np.argmin,
    signature=_AXIS,
    doc="Where the smallest element along an axis is (the first), of the flattened x if none.",
)
count_nonzero = primitive(
    lambda x, /, *, axis=None, keepdims=False: np.add.reduce(x != 0, axis=axis, keepdims=keepdims),
    name="count_nonzero",
    doc="How many elements over the axes are not 0.",
)


def _std_share(v: Any, x: Any, out: Any, axis: Any, correction: float) -> Any:
    """v (x - μ) / (σ (N - correction)), 0 where σ is 0; see elementwise.along."""
    freedom, multiple = _freedom(x.shape, axis, correction), cofactor(v, out)
    if multiple is not None:
        return _kept(multiple / freedom, x.shape, axis) * _centered(x, axis)
    return _kept(v / freedom, x.shape, axis) * quotient(_centered(x, axis), _kept(out, x.shape, axis))


def _shared(v: Any, count: int) -> Any:
    """v / count, where half precision has no such count."""
    return v / count if v.dtype != np.float16 else (v.astype(np.float32) / count).astype(np.float16)


def _softmax_share(x: Any, out: Any, axis: Any) -> Any:
    """exp(x) / Σ exp(x): 0 where x is -inf even if all are, and even parts for the elements that are inf.

    exp(x - out) alone has the rounding of out, which is large if x is; all elements along the axis have the same.
    """
    most = float(np.finfo(x.dtype).max)
    p = np.exp(np.minimum(x, most) - np.where(np.isneginf(out), 0, np.minimum(out, most)))
    total = np.sum(p, axis=axis, keepdims=True)
    return p / (total + (total == 0))


# Products. y_k = x_k y_{k-1} is a linear recurrence, and so is its transpose; written so, zeros in x are exact.


def _recurrence(a: Any, b: Any, /) -> Any:
    """y_k = b_k + a_k y_{k-1} along the last axis."""
    out = np.copy(b)
    for k in range(1, b.shape[-1]):
        out[..., k] = b[..., k] + a[..., k] * out[..., k - 1]
    return out


def _recurrence_back(v: Any, a: Any) -> Any:
    """The transpose: w_k = v_k + a_{k+1} w_{k+1}."""
    return np.flip(recurrence(_before(np.flip(a, -1), -1, 0), np.flip(v, -1)), -1)


recurrence = primitive(
    _recurrence,
    lambda v, a, out: _recurrence_back(v, a) * _before(out, -1, 0),
    lambda v, a: _recurrence_back(v, a),
)


def _before(x: Any, axis: int, first: float) -> Any:
    """x moved by one place along the axis, beginning with `first`."""
    lead = (slice(None),) * axis_of(axis, x.ndim)
    start = np.full_like(x[(*lead, slice(0, 1))], first)
    return np.concatenate([start, x[(*lead, slice(0, -1))]], axis=axis)


def _chain(v: Any, x: Any, axis: int) -> Any:
    """w_k = v_k + x_{k+1} w_{k+1} along an axis: the cotangent of a running product before its own factor."""
    v, x = np.moveaxis(v, axis, -1), np.moveaxis(x, axis, -1)
    return np.moveaxis(_recurrence_back(v, x), -1, axis)


def _product_of_others(x: Any, axis: Any) -> Any:
    """For each element the product of the others that are reduced with it: exact where some are zero."""
    axes = _axes(axis, x.ndim)
    order = [k for k in range(x.ndim) if k not in axes] + list(axes)
    moved = np.transpose(x, order)
    rows = np.reshape(moved, (*moved.shape[: x.ndim - len(axes)], _count(x.shape, axis)))
    before = _before(np.cumprod(rows, axis=-1), -1, 1)
    after = np.flip(_before(np.cumprod(np.flip(rows, -1), axis=-1), -1, 1), -1)
    others = np.reshape(before * after, moved.shape)
    return np.transpose(others, [order.index(k) for k in range(x.ndim)])


# The public functions


def _axis(axis: Any) -> Any:
    return tuple(axis) if isinstance(axis, list) else axis


@tensor_function
def sum(x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Any:
    """The sum over axes: an int, a tuple, or all of them."""
    return _as(sum_over(_in(x, dtype), axis=_axis(axis), keepdims=keepdims), dtype)


@tensor_function
def prod(x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Any:
    """The product over axes. Its gradient is exact where factors are zero."""
    return _as(prod_over(_in(x, dtype), axis=_axis(axis), keepdims=keepdims), dtype)


@tensor_function
def mean(x: Any, /, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Any:
    """The mean over axes."""
    return _as(mean_over(_in(x, dtype), axis=_axis(axis), keepdims=keepdims), dtype)


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
    """log Σ exp(x) over axes, without overflow; -inf of no elements. Where some are inf they share the gradient."""
    return logsumexp_over(x, axis=_axis(axis), keepdims=keepdims)


@tensor_function
def all(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Whether all elements over the axes are true."""
    return all_over(x, axis=_axis(axis), keepdims=keepdims)


@tensor_function
def any(x: Any, /, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Whether any element over the axes is true."""
    return any_over(x, axis=_axis(axis), keepdims=keepdims)


@tensor_function
def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running sums along an axis, which may be left out for one-dimensional x."""
    return _running(cumsum_along, x, axis, dtype, include_initial, 0)


@tensor_function
def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running products along an axis, which may be left out for one-dimensional x."""
    return _running(cumprod_along, x, axis, dtype, include_initial, 1)


def _running(along: Any, x: Any, axis: int | None, dtype: Any, include_initial: bool, first: int) -> Any:
    x = _in(x, dtype)
    if axis is None and x.ndim != 1:
        raise ValueError(f"{along.__name__}: x of shape {x.shape} has {x.ndim} axes; say which one (axis=...)")
    axis = axis_of(axis or 0, x.ndim)
    out = _as(along(x, axis=axis), dtype)
    if not include_initial:
        return out
    lead = (slice(None),) * axis
    start = np.full((*out.shape[:axis], 1, *out.shape[axis + 1 :]), first, dtype=out.dtype)
    return np.concatenate([start, out[(*lead, slice(None))]], axis=axis)


def _in(x: Any, dtype: Any) -> Any:
    return x if dtype is None else cast(x, dtype=np.dtype(dtype))


def _as(out: Any, dtype: Any) -> Any:
    """The result in the dtype that was asked for: NumPy adds small integers in large ones."""
    return out if dtype is None or out.dtype == dtype else cast(out, dtype=np.dtype(dtype))
