"""Two ways to write a function agree: values, gradients, forward mode, and second derivatives in both mixes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minigrad as mg


def slope(function: Callable[..., Any], tangents: Sequence[Any]) -> Callable[..., Any]:
    """<gradient, tangents>, from reverse mode."""

    def along(*operands: Any) -> Any:
        contributions = mg.grad(function, tuple(range(len(operands))))(*operands)
        return sum((g * t).sum() for g, t in zip(contributions, tangents, strict=True) if g is not None)

    return along


def assert_agree(function: Any, reference: Any, operands: Sequence[Any], tolerance: float = 1e-10) -> None:
    """Of functions of arrays to one number."""
    rng = np.random.default_rng(5)
    which = tuple(range(len(operands)))
    tangents = tuple(rng.standard_normal(x.shape) for x in operands)

    def results(f: Any) -> list[Any]:
        along = slope(f, tangents)
        return [
            f(*operands),
            *mg.grad(f, which)(*operands),
            mg.jvp(f, tuple(operands), tangents)[1],
            *mg.grad(along, which)(*operands),
            mg.jvp(along, tuple(operands), tangents)[1],
        ]

    for found, expected in zip(results(function), results(reference), strict=True):
        a, b = (0.0 if x is None else np.asarray(getattr(x, "data", x)) for x in (found, expected))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
