"""Clipping of gradients: for users, and of those that lie in flat arrays, for the optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.ops.checking import require
from minigrad.tensor import Tensor

Array = Any


def clip_grad_value_(params: Iterable[Tensor] | Tensor, clip_value: float) -> None:
    """Limit every element of the gradients to ±clip_value. Parameters without a gradient are passed over.

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

    The 1e-6 is PyTorch's; the argument global_clipnorm of the optimizers, as in Keras, has none.

    Args:
        params: Tensors, or one. Those without a gradient are passed over.
        max_norm: the limit.
        norm_type: p, from 1 up; math.inf for the largest |g|.
        error_if_nonfinite: refuse NaN and infinite norms. Otherwise the gradients become NaN or 0.

    Returns:
        The norm before clipping, an array of shape ().

    Raises:
        ValueError: the limit is negative, or p below 1.
        TypeError: a parameter is not a Tensor.
        RuntimeError: the norm is not finite, if error_if_nonfinite; nothing is changed.

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
    if not members:
        return np.zeros(())
    flat = np.concatenate([np.reshape(p.grad.data, (-1,)) for p in members])
    total = np.linalg.norm(flat, norm_type) if flat.size else np.zeros_like(flat, shape=())
    if error_if_nonfinite:
        require(
            np.isfinite,
            lambda total: RuntimeError(
                f"{call}: the norm of the gradients is {total}, not finite; no gradient was changed. "
                "error_if_nonfinite=False lets it pass"
            ),
            total,
        )
    factor = np.minimum(max_norm / (total + 1e-6), 1)
    for p in members:
        p.grad = p.grad.data * factor.astype(p.dtype)
    return total


def _with_gradients(params: Iterable[Tensor] | Tensor, call: str) -> list[Any]:
    members = [params] if isinstance(params, Tensor) else list(params)
    for p in members:
        if not isinstance(p, Tensor):
            raise TypeError(f"{call}: {type(p).__name__} is not a Tensor; give parameters, not gradients")
    return [p for p in members if p.grad is not None]


def by_value(g: Array, limit: float) -> None:
    """Each element into [-limit, limit], in place."""
    np.minimum(np.maximum(g, -limit, out=g), limit, out=g)


def by_norm(g: Array, starts: Array, sizes: Array, limit: float) -> None:
    """Each parameter's gradient to a norm of at most limit, in place: the segments that begin at `starts`."""
    norms = np.sqrt(np.add.reduceat(g * g, starts))
    np.multiply(g, np.repeat(_factor(norms, limit), sizes), out=g)


def by_global_norm(gradients: list[Array], limit: float) -> None:
    """All gradients by one factor, to a joint norm of at most limit, in place."""
    total = np.sqrt(sum(np.add.reduce(g * g) for g in gradients))
    for g in gradients:
        np.multiply(g, _factor(total, limit).astype(g.dtype), out=g)


def _factor(norm: Array, limit: float) -> Array:
    """limit / norm where the norm is larger, else 1."""
    return limit / np.maximum(norm, limit)
