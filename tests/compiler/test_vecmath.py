"""The exp, log, tanh and others of kernels against extended precision, and at the ends of their ranges."""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from numba import njit

from minigrad.compiler.kernels import vecmath

EXACT: dict[str, Any] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "erf": lambda x: np.array([math.erf(a) for a in x.astype(float)]),
    "normal_cdf": lambda x: np.array([_normal_cdf(a) for a in x.astype(float)]),
}


def _normal_cdf(x: float) -> Any:
    with mp.workdps(30):
        return np.longdouble(mp.nstr(mp.ncdf(x), 25))


FUNCTIONS = [(name, bits) for name in EXACT for bits in (32, 64) if (name, bits) != ("erf", 64)]
SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-40,
    -1e-40,
    1.0,
    -1.0,
    5e-324,
    88.7,
    88.8,
    -87.4,
    -103.9,
    709.7,
    1e30,
    3.4028235e38,
    1.7976931348623157e308,
]


def computed(name: str, bits: int, x: Any) -> Any:
    function = getattr(vecmath, f"{name}_{bits}")

    @njit(error_model="numpy", fastmath={"contract"})  # as kernels are
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
    if name == "log1p":
        large = np.exp(rng.uniform(-20.0, 88.0 if bits == 32 else 709.0, 20_000))
        return np.concatenate([large, np.abs(near) / 1.6, -np.abs(near) / 1.6, near / 1e4, near / 1e9])
    if name == "normal_cdf":
        return rng.uniform(-13.0 if bits == 32 else -37.5, 6.0, 4000)
    wide = rng.uniform(-1, 1, 20_000) * ((87.0 if bits == 32 else 708.0) if name.startswith("exp") else 10.0)
    return np.concatenate([wide, near, near * 1e-6])


@pytest.mark.parametrize(("name", "bits"), FUNCTIONS)
@pytest.mark.floating(under="ignore")
def test_relative_errors(name: str, bits: int) -> None:
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


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.floating(all="ignore")
def test_logaddexp(bits: int) -> None:
    """Within two roundings of NumPy's in extended precision where nothing cancels, and at the ends of the range."""
    dtype = np.dtype(f"float{bits}")
    function = getattr(vecmath, f"logaddexp_{bits}")

    @njit(error_model="numpy", fastmath={"contract"})
    def loop(x: Any, y: Any, out: Any) -> None:
        for k in range(x.size):
            out[k] = function(x[k], y[k])

    rng = np.random.default_rng(0)
    x, apart = rng.uniform(0, 20, 20_000).astype(dtype), rng.uniform(-50, 50, 20_000).astype(dtype)
    y, out = (np.abs(x + apart)).astype(dtype), np.empty(20_000, dtype)
    loop(x, y, out)
    exact = np.logaddexp(x.astype(np.longdouble), y.astype(np.longdouble))
    assert np.max(np.abs(out / exact - 1)) <= 2 * np.finfo(dtype).eps
    tail = -np.linspace(1, 80, 1000).astype(dtype)  # softplus where it is exp(x)
    loop(tail, np.zeros(1000, dtype), out)
    exact = np.log1p(np.exp(tail.astype(np.longdouble)))
    assert np.max(np.abs(out[:1000] / exact - 1)) <= 3 * np.finfo(dtype).eps
    ends = np.array([np.inf, -np.inf, np.nan, 0.0, 1e30, -1e30, 3.0]).astype(dtype)
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(ends, ends))
    loop(x, y, out)
    np.testing.assert_allclose(out[: x.size], np.logaddexp(x, y), rtol=4 * np.finfo(dtype).eps)
