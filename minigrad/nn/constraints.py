"""Constraints on parameters, applied after a step: optimizer.step(); MaxNorm(3.0)(model), or callbacks of mg.fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.engine.mutation import note_change
from minigrad.nn.module import Module
from minigrad.nn.regularizers import Only, select
from minigrad.ops.reduction import root_of_squares
from minigrad.tensor.tensor import Tensor

Array = Any


class Constraint:
    """Projects parameters onto a set. A subclass defines project(w); the result is written in place.

    Among the callbacks of `mg.fit` it is applied after each step.

    Args:
        only: which parameters of a module, as in regularizers.L1L2.
    """

    def __init__(self, only: Only = None) -> None:
        self.only = only

    def project(self, w: Array) -> Array:
        """The new values for the values w of a parameter."""
        raise NotImplementedError(f"{type(self).__name__} does not define project(w)")

    def __call__(self, of: Module | Tensor | Iterable[Tensor]) -> None:
        """Project the parameters of a model, a layer, a parameter or several. Nothing is recorded.

        Raises:
            ValueError: no parameter matches `only`.
            TypeError: something that is neither a Module nor a Tensor.
        """
        for p in select(of, self.only, type(self).__name__):
            np.copyto(p.data, self.project(p.data))
            note_change(p.data)

    def on_step_end(self, training: Any) -> None:
        """Project the model of the training; with this a constraint is a callback of fit."""
        self(training.model)


class NonNegative(Constraint):
    """w = max(w, 0).

    Example:
        >>> w = Tensor([1.0, -2.0], requires_grad=True)
        >>> NonNegative()(w)
        >>> w.tolist()
        [1.0, 0.0]
    """

    def project(self, w: Array) -> Array:
        return np.maximum(w, 0)


class MaxNorm(Constraint):
    """Scale down vectors longer than max_value: w = w max_value / max(|w|, max_value) (Srebro & Shraibman 2005).

    Keras divides by |w| + 1e-7, and its axis=0 is for dense layers.

    Args:
        max_value: the largest norm.
        axis: the axes over which the norm is taken; by default all but the last, so that each output of a linear layer
            (in, out) or a convolution (*window, in, out) has a norm of its own.
        only: as in regularizers.L1L2. By default the parameters with two axes or more, so no biases.

    Raises:
        ValueError: max_value is not positive.
    """

    def __init__(self, max_value: float = 2.0, axis: int | tuple[int, ...] | None = None, only: Only = None) -> None:
        if not max_value > 0:
            raise ValueError(f"MaxNorm: max_value={max_value} must be positive")
        super().__init__(_is_kernel if only is None else only)
        self.max_value, self.axis = max_value, axis

    def project(self, w: Array) -> Array:
        return w * (self.max_value / np.maximum(_norm(w, self.axis), self.max_value))


class UnitNorm(Constraint):
    """Scale to length 1: w = w / |w|; 0 stays 0. Keras divides by |w| + 1e-7. Arguments as in MaxNorm."""

    def __init__(self, axis: int | tuple[int, ...] | None = None, only: Only = None) -> None:
        super().__init__(_is_kernel if only is None else only)
        self.axis = axis

    def project(self, w: Array) -> Array:
        norm = _norm(w, self.axis)
        return w / np.where(norm > 0, norm, 1)


def _norm(w: Array, axis: int | tuple[int, ...] | None) -> Array:
    axes = tuple(range(w.ndim - 1)) if axis is None else axis
    return root_of_squares(w, axes, True)


def _is_kernel(name: str, p: Tensor) -> bool:
    return p.ndim > 1
