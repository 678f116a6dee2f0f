"""How many units in the last place values and derivatives are off, against mpmath in 60 digits.

A subject is a function of one number; functions of two are made into several by holding one. It is measured over the
whole range of a dtype: a few numbers in every binade, the neighborhood of 0, and special values. What is measured are
the value, the first derivative in reverse and in forward mode, and the second one. The unit of a result is the distance
of two neighboring numbers where the exact result lies, so what underflows is held to the least denormal number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np

import minigrad as mg

DIGITS = 60
WHAT = ("value", "reverse", "forward", "second")


@dataclass(frozen=True)
class Subject:
    """A function, and what it is exactly.

    Args:
        name: as in the table.
        function: of arrays and Tensors.
        exact: the function of mpmath's numbers.
        slope: its derivative.
        low: below which it is not measured, or not defined.
        high: above which.
        second: the second derivative, None if it is not measured.
    """

    name: str
    function: Callable[[Any], Any]
    exact: Callable[[Any], Any]
    slope: Callable[[Any], Any]
    low: float = -np.inf
    high: float = np.inf
    second: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Error:
    """The largest error of a subject in units in the last place, and the argument where it is."""

    units: float = 0.0
    at: float = np.nan


def arguments(subject: Subject, dtype: Any, density: int, seed: int = 0) -> Any:
    """Numbers of both signs in every binade or so, uniform ones near 0, and powers of two, within the domain."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(seed)
    low, high = np.log2(float(info.smallest_subnormal)), np.log2(float(info.max))
    count = int(density * (25 if dtype == np.float32 else 40))
    sizes = np.exp2(rng.uniform(low, high, count))
    near = rng.uniform(-60.0, 60.0, 2 * count)
    unit = rng.uniform(-2.0, 2.0, count)
    special = [1.0, 2.0, 0.5, 20.0, 1e-4, float(info.max), float(info.tiny), float(info.smallest_subnormal)]
    x = np.concatenate([sizes, -sizes, near, unit, special, np.negative(special)])
    with np.errstate(all="ignore"):
        x = np.unique(x.astype(dtype))
    return x[np.isfinite(x) & (x > subject.low) & (x < subject.high) & (x != 0)]


def computed(function: Callable[[Any], Any], x: Any, second: bool) -> Iterator[tuple[str, Any]]:
    """The value and its derivatives."""
    t = mg.Tensor(x, requires_grad=True)
    y = function(t)
    yield "value", y.numpy()
    (slope,) = _gradient(y, t, second)
    yield "reverse", slope.numpy()
    yield "forward", np.asarray(mg.jvp(function, (x,), (np.ones_like(x),))[1])
    if second and slope.requires_grad:
        yield "second", _gradient(slope, t, False)[0].numpy()


def _gradient(y: Any, t: Any, create_graph: bool) -> tuple[Any]:
    t.grad = None
    y.backward(np.ones_like(y.numpy()), create_graph=create_graph)
    found = t.grad
    t.grad = None
    return (found,)


def units(found: float, exact: Any, dtype: Any) -> float:
    """The distance of a number from the exact one, in units in the last place there."""
    info = np.finfo(dtype)
    if mp.isnan(exact):
        return 0.0 if np.isnan(found) else np.inf
    largest = mp.mpf(float(info.max))
    if abs(exact) > largest:
        if np.isinf(found):
            return 0.0 if (found > 0) == (exact > 0) else np.inf
        exact = largest * mp.sign(exact)
    if not np.isfinite(found):
        near = abs(exact) * (1 + 64 * mp.mpf(float(info.eps))) > largest  # a few units below what overflows
        return 0.0 if near and (found > 0) == (exact > 0) else np.inf
    exponent = mp.frexp(exact)[1] if exact else info.minexp
    unit = mp.ldexp(mp.mpf(1), int(max(exponent - info.nmant - 1, info.minexp - info.nmant)))
    return float(abs(mp.mpf(float(found)) - exact) / unit)


def measured(subject: Subject, dtype: Any, density: int = 8, seed: int = 0) -> dict[str, Error]:
    """The largest errors of the value and of each derivative."""
    x = arguments(subject, dtype, density, seed)
    worst: dict[str, Error] = {}
    with mp.workdps(DIGITS), np.errstate(all="ignore"):
        points = [mp.mpf(float(a)) for a in x]
        exact = {"value": [subject.exact(a) for a in points], "reverse": [subject.slope(a) for a in points]}
        exact["forward"] = exact["reverse"]
        for what, found in computed(subject.function, x, subject.second is not None):
            if what == "second":
                assert subject.second is not None
                exact[what] = [subject.second(a) for a in points]
            errors = [units(float(f), e, dtype) for f, e in zip(found, exact[what], strict=True)]
            k = int(np.argmax(errors))
            worst[what] = Error(errors[k], float(x[k]))
    return worst
