"""Clipping of gradients: public functions, and those that optimizers apply to flat arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from minigrad.ops.checking import require
from minigrad.optim.options import as_list
from minigrad.tensor.tensor import Tensor

Array = Any


def clip_grad_value_(params: Iterable[Tensor] | Tensor, clip_value: float) -> None:
    """Limit every element of the gradients to ±clip_value. Parameters without a gradient are skipped.

    Args:
        params: Tensors, or one.
        clip_value: the limit.

    Raises:
        ValueError: the limit is not positive.
        TypeError: a parameter is not a Tensor.

    Example:
        >>> w = Tensor([1.0, 1.0], requires_grad=True)
        >>> (w * [3.0, -4.0]).sum().backward()
        >>> clip_grad_value_([w], 3.5)
        >>> w.grad.tolist()
        [3.0, -3.5]
    """
    if not clip_value > 0:
        raise ValueError(f"clip_grad_value_(clip_value={clip_value}): must be positive")
    for p in _with_gradients(params, "clip_grad_value_"):
        p.grad = np.clip(p.grad.data, -clip_value, clip_value)


def clip_grad_norm_(
    params: Iterable[Tensor] | Tensor,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Array:
    """Scale all gradients by one factor, to a joint norm of at most max_norm (Pascanu et al. 2013, algorithm 1).

        total = (Σ |g|ᵖ)^(1/p) over all elements of all gradients;   g = g min(1, max_norm / (total + 1e-6))

    The 1e-6 is PyTorch's; the argument global_clipnorm of the optimizers, as in Keras, has none. The sum is scaled, as
    in LAPACK's dnrm2, and taken in double precision, so that it neither overflows nor underflows: in PyTorch float32
    gradients of 1e20 become 0.

    Args:
        params: Tensors, or one. Those without a gradient are skipped.
        max_norm: the limit; with math.inf the norm is measured and the gradients stay as they are.
        norm_type: p >= 1; math.inf for the largest |g|.
        error_if_nonfinite: raise an error if the norm is NaN or infinite. Otherwise such gradients become NaN, and the
            others 0 or NaN; with an infinite max_norm they stay.

    Returns:
        The norm before clipping, a float64 array of shape ().

    Raises:
        ValueError: the limit is negative, or p below 1.
        TypeError: a parameter is not a Tensor.
        RuntimeError: error_if_nonfinite is set and the norm is not finite; nothing is changed.

    Example:
        >>> w = Tensor([1.0, 1.0], requires_grad=True)
        >>> (w * [3.0, -4.0]).sum().backward()
        >>> print(clip_grad_norm_([w], max_norm=1.0))
        5.0
        >>> np.linalg.norm(w.grad.data).round(5).item()
        1.0
    """
    call = f"clip_grad_norm_(max_norm={max_norm}, norm_type={norm_type})"
    if not max_norm >= 0:
        raise ValueError(f"{call}: max_norm must not be negative")
    if not norm_type >= 1:
        raise ValueError(f"{call}: norm_type must be at least 1, or math.inf")
    members = _with_gradients(params, call)
    gradients = [p.grad.data for p in members if p.size]
    if not gradients:
        return np.zeros(())
    norm = joint_norm(gradients, norm_type)
    total = norm.total()
    if error_if_nonfinite:
        require(
            np.isfinite,
            lambda rest: RuntimeError(
                f"{call}: the norm of the gradients is {rest}, not finite; no gradient was changed. "
                "error_if_nonfinite=False allows it"
            ),
            norm.rest,
        )
    if max_norm < math.inf:
        for p in members:
            limited = np.empty_like(p.grad.data)
            norm.limit(p.grad.data, max_norm, 1e-6, limited)
            p.grad = limited
    return total


def _with_gradients(params: Iterable[Tensor] | Tensor, call: str) -> list[Any]:
    members = as_list(params, call)
    for p in members:
        if not isinstance(p, Tensor):
            raise TypeError(f"{call}: {type(p).__name__} is not a Tensor; give parameters, not gradients")
    return [p for p in members if p.grad is not None]


def by_value(g: Array, limit: float) -> None:
    """Clip each element to [-limit, limit], in place."""
    np.minimum(np.maximum(g, -limit, out=g), limit, out=g)


def by_norm(g: Array, starts: Array, sizes: Array, limit: float) -> None:
    """Scale each parameter's gradient, a segment that begins at `starts`, to a norm of at most limit, in place."""
    if limit == math.inf:
        return
    if type(g) is np.ndarray and limit > LEAST_LIMIT:  # values that underflow are far below the limit
        with np.errstate(over="ignore", under="ignore"):
            squares = np.add.reduceat(g * g, starts)
        if np.all(squares < LARGEST_SQUARE):
            np.multiply(g, np.repeat(limit / np.maximum(np.sqrt(squares), limit), sizes), out=g)
            return
    scale = power_of_two(np.maximum.reduceat(np.abs(g), starts), g.dtype)
    x = g * np.repeat((1 / scale).astype(g.dtype), sizes)
    norm = Norm(scale, np.sqrt(np.add.reduceat(np.multiply(x, x, out=x), starts)).astype(scale.dtype), g.dtype)
    for factor in norm.factors(limit):
        np.multiply(g, np.repeat(factor.astype(g.dtype), sizes), out=g)


def by_global_norm(gradients: list[Array], limit: float) -> None:
    """Scale all gradients by one factor, to a joint norm of at most limit, in place."""
    if limit == math.inf:
        return
    if limit > LEAST_LIMIT and all(type(g) is np.ndarray for g in gradients):
        square = sum_of_squares(gradients)
        if square < LARGEST_SQUARE:
            if square > limit * limit:
                for g in gradients:
                    np.multiply(g, limit / math.sqrt(square), out=g)
            return
    norm = joint_norm(gradients, 2)
    for g in gradients:
        norm.limit(g, limit, 0.0, g)


def sum_of_squares(gradients: list[Array]) -> float:
    """Σ g², which may overflow or underflow without a warning."""
    with np.errstate(over="ignore", under="ignore"):
        return float(sum([np.add.reduce(g * g, axis=None) for g in gradients]))


class Norm(NamedTuple):
    """A norm scale · rest, each of which is far from overflow and underflow.

    scale is a power of two near the largest |g|, so dividing by it is exact. Both are in double precision; gradients
    are multiplied in `dtype`, the widest among them. Without a need for scaling, scale is None, which stands for 1.
    """

    scale: Array | None
    rest: Array
    dtype: np.dtype[Any]

    def total(self) -> Array:
        """The norm; it may overflow."""
        return self.rest if self.scale is None else self.scale * self.rest

    def factors(self, limit: float, eps: float = 0.0) -> tuple[Array, Array]:
        """Two numbers whose product is min(1, limit / (norm + eps)). NaN counts as too large."""
        scale: Any = self.scale
        rest = self.rest + eps / scale
        fits = scale * rest <= limit
        return np.where(fits, 1, 1 / scale), np.where(fits, 1, limit / np.where(rest == 0, 1, rest))

    def limit(self, g: Array, limit: float, eps: float, out: Array) -> None:
        """out = g min(1, limit / (norm + eps)); g itself where that is 1."""
        if self.scale is None:
            factor = min(1.0, limit / (self.rest + eps))
            np.multiply(g, factor, out=out) if factor < 1 or out is not g else None
            return
        wide = g if g.dtype == self.dtype else g.astype(self.dtype)
        first, second = (factor.astype(self.dtype) for factor in self.factors(limit, eps))
        x = wide * first
        np.multiply(x, second, out=out, casting="same_kind")


# Between these nothing overflows in single precision, and values that underflow are far below the norm.
LEAST_LIMIT, LEAST_SQUARE, LARGEST_SQUARE = 1e-8, 1e-20, 1e30


def joint_norm(gradients: list[Array], p: float) -> Norm:
    """The p-norm of all elements of some arrays together. None of them is empty."""
    dtype = np.result_type(np.float32, *(g.dtype for g in gradients))
    if p == 2 and all(type(g) is np.ndarray and g.dtype == dtype for g in gradients):
        square = sum_of_squares(gradients)
        if LEAST_SQUARE < square < LARGEST_SQUARE:
            return Norm(None, np.float64(math.sqrt(square)), dtype)
    wide = [g if g.dtype == dtype else g.astype(dtype) for g in gradients]
    scale = power_of_two(_largest(wide), dtype)
    scaled = [g * (1 / scale).astype(dtype) for g in wide]
    if p == 2:
        total = sum(np.add.reduce(np.multiply(x, x), axis=None) for x in scaled)
        return Norm(scale, np.sqrt(total).astype(scale.dtype), dtype)
    largest = _largest(scaled).astype(scale.dtype)
    if p == math.inf:
        return Norm(scale, largest, dtype)
    unit = np.where((largest > 0) & (largest < math.inf), largest, 1)
    total = sum(np.add.reduce((np.abs(x) / unit) ** p, axis=None) for x in scaled)
    return Norm(scale, unit * total ** (1 / p), dtype)


def _largest(arrays: list[Array]) -> Array:
    """The largest |x| of arrays of one dtype, or NaN."""
    each = [np.maximum(np.maximum.reduce(x, axis=None), -np.minimum.reduce(x, axis=None)) for x in arrays]
    return functools.reduce(np.maximum, each)


def power_of_two(largest: Array, dtype: np.dtype[Any]) -> Array:
    """The power of two below these numbers, at least in double precision; 1 for 0, NaN and infinity.

    Its inverse does not overflow in dtype.
    """
    wide = largest.astype(np.float64) if largest.dtype.itemsize < 8 else largest
    ordinary = (wide > 0) & (wide < math.inf)
    return np.exp2(np.maximum(np.floor(np.log2(np.where(ordinary, wide, 1))), np.finfo(dtype).minexp + 4))
