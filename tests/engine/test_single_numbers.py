"""Lines of single numbers, which compiled steps compute with Python's floats and bools: as NumPy does, to the bit."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler.ir.program import UFUNCS
from minigrad.compiler.numpy.plan import is_scalar_op

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

VALUES = [-2.5, -1.0, -0.0, 0.0, 0.5, 3.0, 1e200, np.inf, -np.inf, np.nan]
INTEGERS = {"bitwise_count", "gcd", "lcm", "left_shift", "right_shift", "ldexp"}
SINGLE = sorted(name for name, f in UFUNCS.items() if f.nin <= 2 and name not in INTEGERS)


def accepts(ufunc: np.ufunc, *operands: Any) -> bool:
    try:
        with np.errstate(all="ignore"):
            ufunc(*operands)
    except TypeError:
        return False
    return True


def compare(function: Any, arguments: list[tuple[Any, ...]]) -> Any:
    """Compiled against NumPy; returns the program."""
    step = mg.compile(function, backend="numpy")
    with np.errstate(all="ignore"):
        for given in arguments:
            arrays = [np.array(x) for x in given]
            step(*arrays)  # the first call is the function itself
            found, expected = step(*arrays), function(*arrays)
            np.testing.assert_array_equal(found, expected, err_msg=str(given))
            assert (found.dtype, found.shape) == (np.asarray(expected).dtype, ())
    return step.latest.program


@pytest.mark.parametrize("name", SINGLE)
def test_every_ufunc_of_floats(name: str) -> None:
    ufunc = UFUNCS[name]
    if not accepts(ufunc, *[1.0] * ufunc.nin):
        pytest.skip("of integers")
    compare(lambda *given: np.multiply(ufunc(*given), 1.5), list(product(VALUES, repeat=ufunc.nin)))


@pytest.mark.parametrize("name", SINGLE)
def test_every_ufunc_of_a_bool(name: str) -> None:
    ufunc = UFUNCS[name]
    for kinds in ([True], [True, 0.5], [0.5, True], [True, True]):
        if len(kinds) == ufunc.nin and accepts(ufunc, *kinds):
            values = [[True, False] if x is True else VALUES for x in kinds]
            compare(lambda *given: ufunc(*given) * 1.5, list(product(*values)))


LITERALS = {
    "a choice": lambda x: np.where(x > 0, x, 0),
    "between literals": lambda x: np.where(x > 0, 1.0, 0),
    "a maximum that is an integer": lambda x: np.maximum(x, 1),
    "a negative integer": lambda x: x * -2 - 3,
    "an infinity": lambda x: np.minimum(x, np.inf) + 1,
    "not a number": lambda x: np.where(x < 1, x, np.nan),
    "a bool as a float": lambda x: (x > 0).astype(np.float64) * x,
    "a float as a bool": lambda x: x.astype(bool),
    "0 in the denominator": lambda x: x / 0.0,
    "an integer too large for a float": lambda x: x + (2**60 + 1),
}


@pytest.mark.parametrize("name", LITERALS)
def test_literals(name: str) -> None:
    program = compare(LITERALS[name], [(x,) for x in VALUES])
    assert any(is_scalar_op(line) for line in program.ops) == ("too large" not in name)


def test_other_dtypes_and_shapes_are_left_to_numpy() -> None:
    for array in (np.float32(0.1), np.array([0.1]), np.array(1j), np.array(3)):
        step = mg.compile(lambda x: x * x + x, backend="numpy")
        step(np.asarray(array))
        step.latest.prepare("numpy")
        assert not any(is_scalar_op(line) for line in step.latest.program.ops)


def test_other_readers_of_a_single_number_see_its_memory() -> None:
    """Arrays, views, stored state, other results and float32 arrays, which a Python float would not promote."""
    count, vector, small = np.zeros(()), np.arange(3.0), np.ones(2, np.float32)

    def step(x: Any) -> Any:
        count[...] = count + 1
        y = x * count + 1
        z = y * y
        single = np.multiply(small, z, dtype=np.float32)
        return z, y, z * vector, np.reshape(z, (1, 1)) + 1, single, np.concatenate([z[None], vector]), z

    compiled = mg.compile(step, backend="numpy")
    for _ in range(4):
        expected = [np.array(v) for v in step(np.array(0.3))]
        count -= 1
        found = compiled(np.array(0.3))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype
        kinds = [type(v) for v in step(np.array(0.3))]
        count -= 1
        assert [type(a) for a in found] == kinds
    assert float(count) == 4
    assert kinds[0] is np.float64


def test_swapping_two_numbers() -> None:
    a, b = np.array(1.0), np.array(2.0)

    def step() -> None:
        old = a + 0.0
        a[...] = b
        b[...] = old

    compiled = mg.compile(step, backend="numpy")
    for _ in range(3):
        compiled()
    assert (float(a), float(b)) == (2.0, 1.0)
