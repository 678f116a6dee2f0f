"""The exp, log, tanh, erf and normal_cdf of kernels against extended precision, and at the ends of their ranges."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from numba import njit

from minigrad.compiler import vecmath

EXACT: dict[str, Any] = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "erf": lambda x: np.array([math.erf(a) for a in x.astype(float)]),
    "normal_cdf": lambda x: np.array([_normal_cdf(a) for a in x.astype(float)]),
}


def _normal_cdf(x: float) -> Any:
    with mp.workdps(30):
        return np.longdouble(mp.nstr(mp.ncdf(x), 25))


FUNCTIONS = [(name, bits) for name in EXACT for bits in (32, 64) if (name, bits) != ("erf", 64)]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1.0, -1.0, 5e-324, 88.7, 88.8, -87.4, -103.9, 709.7, 1e30]


def computed(name: str, bits: int, x: Any) -> Any:
    function = getattr(vecmath, f"{name}{bits}")

    @njit(error_model="numpy", fastmath={"reassoc", "contract"})  # as kernels are
    def loop(x: Any, y: Any) -> None:
        for k in range(x.size):
            y[k] = function(x[k])

    y = np.empty_like(x)
    loop(x, y)
    return y


def arguments(name: str, bits: int) -> Any:
    rng = np.random.default_rng(0)
    near = rng.uniform(-1.5, 1.5, 20_000)
    if name == "log":
        smallest = -103.0 if bits == 32 else -744.0
        return np.concatenate([np.exp(rng.uniform(smallest, 88.0, 20_000)), 1 + near / 3, 1 + near / 1e4])
    if name == "normal_cdf":
        return rng.uniform(-13.0 if bits == 32 else -37.5, 6.0, 4000)
    wide = rng.uniform(-1, 1, 20_000) * ((87.0 if bits == 32 else 708.0) if name == "exp" else 10.0)
    return np.concatenate([wide, near, near * 1e-6])


@pytest.mark.parametrize(("name", "bits"), FUNCTIONS)
@pytest.mark.floating(under="ignore")
def test_errors(name: str, bits: int) -> None:
    dtype = np.dtype(f"float{bits}")
    x = arguments(name, bits).astype(dtype)
    exact = EXACT[name](x.astype(np.longdouble))
    normal = np.abs(exact) >= np.finfo(dtype).tiny
    errors = np.abs(computed(name, bits, x)[normal] / exact[normal] - 1) / np.finfo(dtype).eps
    documented = vecmath.ERRORS[name][bits == 64]
    assert documented / 2 < errors.max() <= documented


@pytest.mark.parametrize(("name", "bits"), FUNCTIONS)
@pytest.mark.floating(all="ignore")
def test_ends_of_the_range(name: str, bits: int) -> None:
    """Infinities, NaN, signed zeros, denormal arguments and results."""
    dtype = np.dtype(f"float{bits}")
    x = np.array(SPECIAL).astype(dtype)
    found, exact = computed(name, bits, x), EXACT[name](x).astype(dtype)
    np.testing.assert_allclose(found, exact, rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).smallest_subnormal)
    np.testing.assert_array_equal(np.signbit(found[exact == 0]), np.signbit(exact[exact == 0]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("function", "reference"), [("maximum", np.maximum), ("minimum", np.minimum)])
def test_maximum_and_minimum_propagate_nan(function: str, reference: Any, dtype: str) -> None:
    choose = getattr(vecmath, function)
    both = njit(lambda x, y: choose(x, y))
    for x, y in [(1.0, 2.0), (np.nan, 1.0), (1.0, np.nan), (-np.inf, 3.0), (np.inf, np.inf)]:
        a, b = np.dtype(dtype).type(x), np.dtype(dtype).type(y)
        np.testing.assert_array_equal(both(a, b), reference(a, b))
