"""What the rules share: running means, and weight decay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any


def decayed(p: Array, g: Array, weight_decay: float, work: Array) -> Array:
    """g + λ p, the gradient of loss + λ/2 Σ p²."""
    return np.add(g, np.multiply(p, weight_decay, out=work))


def weight_of_mean(beta: float, step: Array, g: Array) -> Array:
    """1 - βᵗ in g's dtype, without the cancellation that it suffers for β near 1 in single precision.

    np.log and not math.log, which would make a constant of a β that a schedule changes in a compiled step.
    """
    return in_dtype_of(g, -np.expm1(step * (np.log(beta) if beta else -math.inf)))


def in_dtype_of(g: Array, x: Array) -> Array:
    """A number without axes that was computed from the count of steps, in double precision."""
    return x if x.dtype == g.dtype else x.astype(g.dtype)


def toward(mean: Array, x: Array, beta: float, work: Array) -> Array:
    """mean = β mean + (1 - β) x, in place, as mean + (1 - β)(x - mean)."""
    np.multiply(np.subtract(x, mean, out=work), 1 - beta, out=work)
    return np.add(mean, work, out=mean)


def toward_square(mean: Array, x: Array, beta: float, work: Array) -> Array:
    """mean = β mean + (1 - β) x², in place."""
    np.multiply(np.multiply(x, x, out=work), 1 - beta, out=work)
    return np.add(np.multiply(mean, beta, out=mean), work, out=mean)
