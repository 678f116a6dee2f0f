"""Running sums and products.

A running product y_k = x_k y_{k-1} is a linear recurrence, and so is its transpose. In this form, zeros in x are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.pairwise import running_sums
from minigrad.engine.primitive import Function, linear, primitive, tensor_function
from minigrad.ops.precision import widened
from minigrad.ops.reduction import cast_to, in_dtype, shifted
from minigrad.ops.shape import axis_of


def _recurrence(a: Any, b: Any, /) -> Any:
    """y_k = b_k + a_k y_{k-1} along the last axis."""
    out = np.copy(b)
    for k in range(1, b.shape[-1]):
        out[..., k] = b[..., k] + a[..., k] * out[..., k - 1]
    return out


def _transposed_recurrence(v: Any, a: Any) -> Any:
    """w_k = v_k + a_{k+1} w_{k+1}."""
    return np.flip(recurrence(shifted(np.flip(a, -1), -1, 0), np.flip(v, -1)), -1)


recurrence = primitive(
    _recurrence,
    lambda v, a, out: _transposed_recurrence(v, a) * shifted(out, -1, 0),
    lambda v, a: _transposed_recurrence(v, a),
)


def _cumprod_cotangent(v: Any, x: Any, axis: int) -> Any:
    """w_k = v_k + x_{k+1} w_{k+1} along an axis: the cotangent of a running product, without its own factor."""
    v, x = np.moveaxis(v, axis, -1), np.moveaxis(x, axis, -1)
    return np.moveaxis(_transposed_recurrence(v, x), -1, axis)


cumsum_along: Function = linear(
    running_sums,
    lambda v, axis: np.flip(cumsum_along(np.flip(v, axis), axis=axis), axis),
    signature="(x, /, *, axis)",
    name="cumulative_sum",
)
cumprod_along = primitive(
    np.cumprod,
    widened(lambda v, x, out, axis: _cumprod_cotangent(v, x, axis) * shifted(out, axis, 1)),
    signature="(x, /, *, axis)",
    name="cumulative_prod",
    analytic=True,
)


@tensor_function
def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running sums along an axis; axis is optional for one-dimensional x."""
    return _running(cumsum_along, x, axis, dtype, include_initial, 0)


@tensor_function
def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """Running products along an axis; axis is optional for one-dimensional x."""
    return _running(cumprod_along, x, axis, dtype, include_initial, 1)


def _running(along: Any, x: Any, axis: int | None, dtype: Any, include_initial: bool, first: int) -> Any:
    x = cast_to(x, dtype)
    if axis is None and x.ndim != 1:
        raise ValueError(f"{along.__name__}: x of shape {x.shape} has {x.ndim} axes; choose one (axis=...)")
    axis = axis_of(axis or 0, x.ndim)
    out = in_dtype(along(x, axis=axis), dtype)
    if not include_initial:
        return out
    lead = (slice(None),) * axis
    start = np.full((*out.shape[:axis], 1, *out.shape[axis + 1 :]), first, dtype=out.dtype)
    return np.concatenate([start, out[(*lead, slice(None))]], axis=axis)
