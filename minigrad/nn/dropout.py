"""Dropout."""

from __future__ import annotations

from typing import Any

from minigrad import functional
from minigrad.nn.module import Module
from minigrad.rng import generator


class Dropout(Module):
    """Each element set to 0 with probability p in training, the others divided by 1 - p; x itself in evaluation.

    Args:
        p: the probability of dropping, in [0, 1].
        rng: a Generator or a seed; the global generator if not given.

    Raises:
        ValueError: p is not in [0, 1].
    """

    def __init__(self, p: float = 0.5, rng: Any = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout(p={p}): p is the probability of dropping an element, so it lies in [0, 1]")
        self.p = p
        self.rng = None if rng is None else generator(rng)

    def forward(self, x: Any) -> Any:
        """x with elements dropped in training."""
        return functional.dropout(x, p=self.p, training=self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"
