"""Random arrays with NumPy's protocols: random numbers are an operation like any other, drawn again at each call."""

from __future__ import annotations

from typing import Any

import numpy as np


def uniform_like(x: Any, rng: np.random.Generator) -> Any:
    """Uniform numbers in [0, 1) of x's shape and dtype; for integers and booleans they are float64.

    A tracer array intercepts this call like a NumPy function.
    """
    return _draw(uniform_like, _uniform, x, rng)


def normal_like(x: Any, rng: np.random.Generator) -> Any:
    """Standard normal numbers of x's shape and dtype; for integers and booleans they are float64."""
    return _draw(normal_like, _normal, x, rng)


def _draw(public: Any, draw: Any, x: Any, rng: np.random.Generator) -> Any:
    if not issubclass(type(x), (np.ndarray, np.generic)) and hasattr(type(x), "__array_function__"):
        return x.__array_function__(public, (type(x),), (x, rng), {})
    return draw(x, rng)


def drawn_dtype(x: Any) -> Any:
    """The dtype of random numbers for x: float64 for integers, as uniform integers in [0, 1) would all be 0."""
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)


def _uniform(x: Any, rng: np.random.Generator) -> Any:
    dtype = drawn_dtype(x)
    if dtype in (np.float32, np.float64):
        return rng.random(x.shape, dtype=dtype)
    return rng.random(x.shape).astype(dtype)


def _normal(x: Any, rng: np.random.Generator) -> Any:
    dtype = drawn_dtype(x)
    if dtype in (np.float32, np.float64):
        return rng.standard_normal(x.shape, dtype=dtype)
    return rng.standard_normal(x.shape).astype(dtype)
