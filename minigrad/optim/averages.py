"""Terms that the update rules share: running averages, their bias corrections, and weight decay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any
State = dict[str, Array]


def add_l2(p: Array, g: Array, weight_decay: float, work: Array) -> Array:
    """g + λ p, the gradient of loss + λ/2 Σ p²."""
    return np.add(g, np.multiply(p, weight_decay, out=work))


def update_mean(mean: Array, x: Array, beta: float, work: Array) -> Array:
    """mean = β mean + (1 - β) x, in place, as mean + (1 - β)(x - mean)."""
    np.multiply(np.subtract(x, mean, out=work), 1 - beta, out=work)
    return np.add(mean, work, out=mean)


def update_mean_square(mean: Array, x: Array, beta: float, work: Array) -> Array:
    """mean = β mean + (1 - β) x², in place."""
    np.multiply(np.multiply(x, x, out=work), 1 - beta, out=work)
    return np.add(np.multiply(mean, beta, out=mean), work, out=mean)


def bias_correction(beta: float, step: Array, g: Array) -> Array:
    """1 - βᵗ in g's dtype, without cancellation for β near 1 in single precision.

    np.log instead of math.log, which would turn a β that a schedule changes into a constant of a compiled step.
    """
    return cast_like(g, -np.expm1(step * (np.log(beta) if beta else -math.inf)))


def cast_like(g: Array, x: Array) -> Array:
    """A number computed from the step count in double precision, in g's dtype."""
    return x if x.dtype == g.dtype else x.astype(g.dtype)
