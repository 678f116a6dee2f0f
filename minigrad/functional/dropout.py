"""Dropout: random masks, drawn again at each call. `minigrad.functional` lists these functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.primitive import value_of
from minigrad.functional.activations import SELU_ALPHA, SELU_SCALE
from minigrad.ops.random import uniform_like
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator


def dropout(x: Any, /, *, p: float = 0.5, training: bool = True, rng: Any = None) -> Tensor:
    """Each element set to 0 with probability p, the others divided by 1 - p (Srivastava et al. 2014, inverted form).

    Args:
        x: any shape.
        p: the probability of dropping, in [0, 1].
        training: if False, x itself is returned.
        rng: a Generator or a seed; the global generator if not given.

    Raises:
        ValueError: p is not in [0, 1].
    """
    check_probability("dropout", p)
    return _dropped(x, x.shape, p, training, rng)


def spatial_dropout(x: Any, /, *, p: float = 0.5, training: bool = True, rng: Any = None) -> Tensor:
    """Whole channels of each sample set to 0 with probability p, the others divided by 1 - p.

    Neighboring positions are similar, so dropping single ones hides little (Tompson et al. 2015, section 3.2).

    Args:
        x: (N, *spatial, C), channels last.
        p: the probability of dropping, in [0, 1].
        training: if False, x itself is returned.
        rng: a Generator or a seed; the global generator if not given.

    Raises:
        ValueError: p is not in [0, 1]; x has no spatial axis.
    """
    check_probability("spatial_dropout", p)
    shape = x.shape
    if len(shape) < 3:
        raise ValueError(
            f"{call('spatial_dropout', (x,), {})}: x must be (N, *spatial, C); for (N, C) use dropout, "
            "for one sample x[None]"
        )
    return _dropped(x, (shape[0], *(1,) * (len(shape) - 2), shape[-1]), p, training, rng)


def alpha_dropout(x: Any, /, *, p: float = 0.5, training: bool = True, rng: Any = None) -> Tensor:
    """Dropout that keeps mean 0 and variance 1, for networks of SELU units (Klambauer et al. 2017, section 3).

    Each element is set to α' = -λα with probability p; the result is a x + b, with q = 1 - p,
    a = (q + α'² q (1 - q))^(-½) and b = -a (1 - q) α'.

    Args:
        x: any shape.
        p: the probability of dropping, in [0, 1]. With 1 the result is 0.
        training: if False, x itself is returned.
        rng: a Generator or a seed; the global generator if not given.

    Raises:
        ValueError: p is not in [0, 1].
    """
    check_probability("alpha_dropout", p)
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    lowest = -SELU_SCALE * SELU_ALPHA
    a = 1 / math.sqrt((1 - p) * (1 + p * lowest * lowest))
    kept: Any = np.where(uniform_like(x, generator(rng)) >= p, x, lowest)
    return a * kept - a * p * lowest


def check_probability(what: str, p: float) -> None:
    """Raise a ValueError unless p is a probability."""
    if not 0 <= p <= 1:
        raise ValueError(f"{what}(p={p}): p is the probability of dropping an element; it must be in [0, 1]")


def _dropped(x: Any, mask_shape: tuple[int, ...], p: float, training: bool, rng: Any) -> Any:
    """x times a mask that is 0 with probability p, else 1 / (1 - p), and broadcasts from the given shape."""
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0
    like = x if mask_shape == x.shape else np.zeros_like(value_of(x), shape=mask_shape)
    is_kept = uniform_like(like, generator(rng)) >= p
    return x * (is_kept.astype(x.dtype) * (1 / (1 - p)))
