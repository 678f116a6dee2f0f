"""Taylor's remainder: |f(x + hu) - f(x) - h <g, u>| falls like h² if g is the gradient, and like h if it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
COARSE = tuple(2.0**-k for k in range(3, 24))
FINE = tuple(2.0**-k for k in range(24, 40))  # for functions with such small details


@dataclass(frozen=True)
class Taylor:
    """The order in which the remainder falls with the step; None if it is not above the noise."""

    order: float | None
    symmetric: float | None  # of |f(x + hu) + f(x - hu) - 2 f(x)|, which does not depend on the gradient
    least: float = 1.5  # the smallest order that counts as second order

    @property
    def ok(self) -> bool:
        """Whether the remainder is of second order."""
        return self.order is None or self.order > self.least

    @property
    def is_kink(self) -> bool:
        """Whether the remainder falls too slowly for any gradient."""
        return not self.ok and self.symmetric is not None and self.symmetric < 1.5


def taylor(value: Callable[[Any], Array], weights: Array, along: float, slack: float, dtype: Any) -> Taylor:
    """The order of the remainder of <weights, value(t)>.

    Args:
        value: the function of a number t, along a direction.
        weights: `(M,)`, the cotangent.
        along: the derivative at 0 that is checked.
        slack: how far `along` may be off.
        dtype: of the computation.
    """
    center = value(0)
    noise = 100 * float(np.finfo(dtype).eps) * float(np.add.reduce(np.abs(weights * center)))
    least = 1.25 if dtype is np.float32 else 1.5  # in float32 only long steps are above the noise
    remainders: list[float] = []
    second_differences: list[float] = []
    for steps in (COARSE, FINE):
        for h in steps:
            step = type(weights[0])(h) if weights.size else h
            after = np.add.reduce(weights * (value(step) - center))
            before = np.add.reduce(weights * (center - value(-step)))
            remainders.append(float(abs(after - step * along)))
            second_differences.append(float(abs(after - before)))
        result = Taylor(_order(remainders, noise, slack), _order(second_differences, noise, slack), least)
        if result.ok:
            break
    return result


def _order(remainders: list[float], noise: float, slack: float) -> float | None:
    """The order in which the remainders fall at the smallest steps where they are above the noise.

    The last remainders bound the noise too: a function may be less accurate than its dtype. None if the remainders of
    the smallest steps above the noise are within the slack: a kink at a distance affects only longer steps.
    """
    steps = (COARSE + FINE)[: len(remainders)]
    floor = max(noise, 16 * float(np.nan_to_num(max(remainders[-2:]))))
    is_clear = [r > floor + slack * h for r, h in zip(remainders, steps, strict=True)]
    orders = [
        float(np.log2(remainders[k] / remainders[k + 1]))
        for k in range(len(steps) - 1)
        if is_clear[k] and is_clear[k + 1] and np.isfinite(remainders[k])
    ]
    order = float(np.median(orders[-3:])) if orders else None
    within_slack = [r <= slack * h for r, h in zip(remainders, steps, strict=True) if noise < slack * h][-2:]
    return None if order is not None and order <= 1.5 and len(within_slack) == 2 and all(within_slack) else order
