"""Other values of the same kind for an array: what is special about the given one stays as it is.

A mask stays a mask, one-hot rows stay one-hot, probabilities still sum to 1, a symmetric matrix stays symmetric: with
other values the forward function may mean something else, or refuse to run.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

Array = Any
CLOSE = 1e-9


def away_from_0_and_1(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers of both signs and of size 0.3 to 0.8 or 1.2 to 1.7. At 0 and 1 wrong terms vanish."""
    size = rng.uniform(0.3, 0.8, shape) + 0.9 * rng.integers(0, 2, shape)
    return size * rng.choice([-1.0, 1.0], shape)


def redrawn(value: Array, rng: np.random.Generator) -> Array:
    """Another array of the shape and the kind of a given one.

    Kept are: only 0 and 1, and how many ones a row has (masks, one-hot labels); integers; 0 where it was 0, if that
    is a triangle; rows, columns or all elements that sum to 1; symmetric and positive definite matrices; sorted
    elements; one sign only. Anything else is drawn with both signs, away from 0 and 1.

    Example:
        >>> labels = np.eye(3)[[0, 2, 1, 1]]
        >>> redrawn(labels, np.random.default_rng(0)).sum(axis=1)
        array([1., 1., 1., 1.])
    """
    if not value.size or not np.all(np.isfinite(value)):
        return value.copy()
    if np.all((value == 0) | (value == 1)) and not np.all(value == value.flat[0]):
        return rng.permuted(value, axis=-1) if value.ndim > 1 else rng.permutation(value)
    if np.all(value == np.rint(value)) and not np.all(value == value.flat[0]):
        return rng.permutation(value.reshape(-1)).reshape(value.shape)
    axis = sums_to_one(value)
    if axis != "none":
        positive = rng.uniform(0.2, 1.0, value.shape)
        return positive / positive.sum(axis=axis, keepdims=True)
    new = away_from_0_and_1(rng, value.shape)
    if value.ndim >= 2 and value.shape[-1] == value.shape[-2] and value.shape[-1] > 1:
        return _matrix(value, new)
    if value.ndim == 1 and value.size > 2 and (is_rising := np.all(np.diff(value) > 0)) | np.all(np.diff(value) < 0):
        new = np.sort(np.abs(new) if np.all(value > 0) else new)
        return new if is_rising else new[::-1].copy()
    return _of_one_sign(value, new)


_LABELS = re.compile(
    r"^(?:y|t|targets?|labels?|y_?true|y_?onehot|one_?hot|\w*mask|\w*labels?|\w*targets?)$", re.IGNORECASE
)


def may_be_wanted(name: str, value: Array, is_loss: bool) -> bool:
    """Whether somebody may want the gradient of an input: not of a mask, of one-hot rows, or of a loss's labels.

    Example:
        >>> may_be_wanted("m", np.array([1.0, 0.0, 1.0]), False), may_be_wanted("x", np.array([0.3, 1.2]), True)
        (False, True)
    """
    if value.dtype.kind != "f":
        return False
    if value.size > 1 and np.all((value == 0) | (value == 1)) and not np.all(value == value.flat[0]):
        return False
    is_named = _LABELS.match(name) is not None
    return not is_named or not (is_loss or "mask" in name.lower() or "label" in name.lower())


def _of_one_sign(value: Array, new: Array) -> Array:
    if np.all(value >= 0):
        new = np.abs(new)
        if np.all(value <= 1):
            new = new / 2.0  # probabilities, keep rates
        return new
    return -np.abs(new) if np.all(value <= 0) else new


def sums_to_one(value: Array) -> Any:
    """The axis along which non-negative elements sum to 1; None for all elements; "none" if there is none."""
    if np.any(value < 0) or np.all(value == value.flat[0]):
        return "none"
    for axis in (*range(value.ndim)[::-1], None):
        count = value.size if axis is None else value.shape[axis]
        if count > 1 and np.all(np.abs(value.sum(axis=axis) - 1) < CLOSE):
            return axis
    return "none"


def _matrix(value: Array, new: Array) -> Array:
    """A square matrix, or a stack of them: symmetric, positive definite or triangular as before."""
    transposed = np.swapaxes(value, -1, -2)
    if np.allclose(value, transposed, rtol=CLOSE, atol=CLOSE) and np.any(value != value * np.eye(value.shape[-1])):
        is_definite = bool(np.all(np.linalg.eigvalsh(value) > 0))
        if is_definite:
            return new @ np.swapaxes(new, -1, -2) + value.shape[-1] * np.eye(value.shape[-1])
        return (new + np.swapaxes(new, -1, -2)) / 2
    new = _of_one_sign(value, new)
    for part in (np.tril, np.triu):
        if np.array_equal(value, part(value)):
            return np.where(part(np.ones(value.shape, bool)) & ((value != 0) | (part(value, 0) != 0)), new, 0.0)
    return new
