"""Taylor's remainder: |f(x + hu) - f(x) - h <g, u>| falls like h² if g is the gradient, and like h if it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
COARSE = tuple(2.0**-k for k in range(3, 24))
FINE = tuple(2.0**-k for k in range(24, 40))  # where the function has details as small as that


@dataclass(frozen=True)
class Taylor:
    """How the remainder falls with the step; None where there is none above the noise."""

    order: float | None
    symmetric: float | None  # of |f(x + hu) + f(x - hu) - 2 f(x)|, which does not know the gradient
    least: float = 1.5  # order that passes for second

    @property
    def ok(self) -> bool:
        """Whether the remainder is of second order."""
        return self.order is None or self.order > self.least

    @property
    def is_kink(self) -> bool:
        """Whether it falls too slowly for any gradient."""
        return not self.ok and self.symmetric is not None and self.symmetric < 1.5


def taylor(value: Callable[[Any], Array], weights: Array, along: float, slack: float, dtype: Any) -> Taylor:
    """The order of the remainder of <weights, value(t)>.

    Args:
        value: the function along a line, of a number t.
        weights: `(M,)`, the cotangent.
        along: its derivative at 0, in question.
        slack: how far `along` may be off.
        dtype: in which the values are computed.
    """
    center = value(0)
    noise = 100 * float(np.finfo(dtype).eps) * float(np.add.reduce(np.abs(weights * center)))
    least = 1.25 if dtype is np.float32 else 1.5  # in float32 the only steps clear of the noise are long ones
    remainders: list[float] = []
    bends: list[float] = []
    for steps in (COARSE, FINE):
        for h in steps:
            step = type(weights[0])(h) if weights.size else h
            after = np.add.reduce(weights * (value(step) - center))
            before = np.add.reduce(weights * (center - value(-step)))
            remainders.append(float(abs(after - step * along)))
            bends.append(float(abs(after - before)))
        found = Taylor(_order(remainders, noise, slack), _order(bends, noise, slack), least)
        if found.ok:
            break
    return found


def _order(remainders: list[float], noise: float, slack: float) -> float | None:
    """The order with which they fall at the smallest steps that lie clear of the noise.

    The last of them bound the noise too: a function may be less exact than its dtype. None if the smallest steps that
    the noise leaves readable show no more than the slack: a kink further away bends the remainder before that.
    """
    steps = (COARSE + FINE)[: len(remainders)]
    floor = max(noise, 16 * float(np.nan_to_num(max(remainders[-2:]))))
    clear = [r > floor + slack * h for r, h in zip(remainders, steps, strict=True)]
    orders = [
        float(np.log2(remainders[k] / remainders[k + 1]))
        for k in range(len(steps) - 1)
        if clear[k] and clear[k + 1] and np.isfinite(remainders[k])
    ]
    order = float(np.median(orders[-3:])) if orders else None
    readable = [r <= slack * h for r, h in zip(remainders, steps, strict=True) if noise < slack * h][-2:]
    return None if order is not None and order <= 1.5 and len(readable) == 2 and all(readable) else order
