"""Penalties on parameters, to be added to a loss: loss + L2(1e-4, only="*weight")(model)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from minigrad.nn.module import Module
from minigrad.tensor.tensor import Tensor

Only = str | Iterable[str] | Callable[[str, Tensor], bool] | None


class L1L2:
    """Elastic net: λ₁ Σ |w| + λ₂ Σ w² (Zou & Hastie 2005, equation 3), as in Keras.

    There is no factor ½: with plain gradient descent, λ₂ is equivalent to weight_decay = 2 λ₂. The derivative of |w|
    at 0 is 0.

    Args:
        l1: λ₁.
        l2: λ₂.
        only: which parameters of a module: None for all, names and patterns such as "*weight" or
            ["0.weight", "head.*"], or a function of name and parameter, `lambda name, p: p.ndim > 1`.

    Raises:
        ValueError: a negative λ.

    Example:
        >>> from minigrad import nn
        >>> layer = nn.Linear(2, 1, init="ones")
        >>> penalty = L1L2(l1=0.5, l2=0.25, only="weight")
        >>> penalty(layer).item()
        1.5
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, only: Only = None) -> None:
        for name, value in (("l1", l1), ("l2", l2)):
            if not value >= 0:
                raise ValueError(f"{type(self).__name__}: {name}={value} must not be negative")
        self.l1, self.l2, self.only = l1, l2, only

    def __call__(self, of: Module | Tensor | Iterable[Tensor]) -> Tensor:
        """The penalty of a model, a layer, a parameter or several, as a Tensor of shape ().

        Raises:
            ValueError: no parameter matches `only`.
            TypeError: something that is neither a Module nor a Tensor.
        """
        terms: list[Any] = []
        for p in select(of, self.only, repr(self)):
            terms += [self.l1 * np.sum(np.abs(p))] * bool(self.l1) + [self.l2 * np.sum(p * p)] * bool(self.l2)
        total = terms[0] if terms else Tensor(0.0)
        for term in terms[1:]:
            total = total + term
        return total

    def __repr__(self) -> str:
        only = f", only={self.only!r}" if self.only is not None else ""
        return f"{type(self).__name__}(l1={self.l1}, l2={self.l2}{only})"


class L1(L1L2):
    """Lasso: λ Σ |w| (Tibshirani 1996). Arguments as in L1L2."""

    def __init__(self, l1: float = 0.01, only: Only = None) -> None:
        super().__init__(l1=l1, only=only)


class L2(L1L2):
    """Ridge or Tikhonov regularization: λ Σ w², without a factor ½. Arguments as in L1L2."""

    def __init__(self, l2: float = 0.01, only: Only = None) -> None:
        super().__init__(l2=l2, only=only)


def select(of: Module | Tensor | Iterable[Tensor], only: Only, call: str) -> list[Tensor]:
    """The parameters that a penalty or a constraint applies to.

    Args:
        of: a module, a Tensor, or several Tensors.
        only: as in L1L2.
        call: the start of error messages.

    Raises:
        ValueError: no parameter matches.
        TypeError: something that is neither a Module nor a Tensor, or names without a module.
    """
    if isinstance(of, Module):
        named = list(of.named_parameters())
        matches = _filter(only)
        selected = [p for name, p in named if matches(name, p)]
        if not selected:
            names = ", ".join(name for name, _ in named) or "none"
            raise ValueError(f"{call}: no parameter of {type(of).__name__} matches; its parameters are: {names}")
        return selected
    members = [of] if isinstance(of, Tensor) else list(of)
    for p in members:
        if not isinstance(p, Tensor):
            raise TypeError(f"{call}: {type(p).__name__} is not a Tensor; give a module, a parameter or several")
    if only is not None and not callable(only):
        raise TypeError(f"{call}: only={only!r} are names of a module's parameters; give the module instead of Tensors")
    return [p for p in members if only is None or only("", p)]


def _filter(only: Only) -> Callable[[str, Tensor], bool]:
    if only is None:
        return lambda name, p: True
    if callable(only):
        return only
    patterns = [only] if isinstance(only, str) else list(only)
    return lambda name, p: any(fnmatchcase(name, pattern) for pattern in patterns)
