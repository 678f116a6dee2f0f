"""Clipping of gradients that lie in flat arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


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
