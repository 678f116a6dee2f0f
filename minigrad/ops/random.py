"""Random arrays with NumPy's protocols: random numbers are an operation like any other, drawn again at each call."""

from __future__ import annotations

from typing import Any

import numpy as np


def uniform_like(x: Any, rng: np.random.Generator) -> Any:
    """Uniform numbers in [0, 1) of x's shape and dtype; for integers and booleans they are float64.

    A tracer array intercepts this call like a NumPy function.
    """
    return _drawn(uniform_like, "random", x, rng)


def normal_like(x: Any, rng: np.random.Generator) -> Any:
    """Standard normal numbers of x's shape and dtype; for integers and booleans they are float64."""
    return _drawn(normal_like, "standard_normal", x, rng)


def _drawn(public: Any, method: str, x: Any, rng: np.random.Generator) -> Any:
    if not issubclass(type(x), (np.ndarray, np.generic)) and hasattr(type(x), "__array_function__"):
        return x.__array_function__(public, (type(x),), (x, rng), {})
    draw, dtype = getattr(rng, method), drawn_dtype(x)
    if dtype in (np.float32, np.float64):
        return draw(x.shape, dtype=dtype)
    return draw(x.shape).astype(dtype)


def drawn_dtype(x: Any) -> Any:
    """The dtype of random numbers for x: float64 for integers, as uniform integers in [0, 1) would all be 0."""
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
