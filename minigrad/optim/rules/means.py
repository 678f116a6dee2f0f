"""What the rules share: running means, and weight decay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any


def decayed(p: Array, g: Array, weight_decay: float, work: Array) -> Array:
    """g + λ p, the gradient of loss + λ/2 Σ p²."""
    return np.add(g, np.multiply(p, weight_decay, out=work))


def weight_of_mean(beta: float, step: Array) -> Array:
    """1 - βᵗ, without the cancellation that it suffers for β near 1 in single precision.

    np.log and not math.log, which would make a constant of a β that a schedule changes in a compiled step.
    """
    if step.dtype == np.float64:
        return -np.expm1(step * (np.log(beta) if beta else -math.inf))
    exact = -np.expm1(step.astype(np.float64) * (np.log(beta) if beta else -math.inf))
    return exact.astype(step.dtype)


def toward(mean: Array, x: Array, beta: float, work: Array) -> Array:
    """mean = β mean + (1 - β) x, in place, as mean + (1 - β)(x - mean)."""
    np.multiply(np.subtract(x, mean, out=work), 1 - beta, out=work)
    return np.add(mean, work, out=mean)


def toward_square(mean: Array, x: Array, beta: float, work: Array) -> Array:
    """mean = β mean + (1 - β) x², in place."""
    np.multiply(np.multiply(x, x, out=work), 1 - beta, out=work)
    return np.add(np.multiply(mean, beta, out=mean), work, out=mean)
