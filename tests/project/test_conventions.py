"""Points without a derivative: one choice each, as docs/conventions.md states it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import Tensor
from minigrad.engine import borrowed
from minigrad.ops import reduction


def gradients(function: Any, *operands: Any) -> list[Any]:
    leaves = [Tensor(np.array(x, dtype=float), requires_grad=True) for x in operands]
    value = function(*leaves)
    value.backward(np.ones(value.shape))
    return [leaf.grad.tolist() for leaf in leaves]


POINTS: dict[str, tuple[Any, tuple[Any, ...], list[Any]]] = {
    "relu'(0) is 0": (mg.relu, (0.0,), [0.0]),
    "abs'(0) is 0": (np.abs, (0.0,), [0.0]),
    "maximum shares a tie": (np.maximum, ([1.0, 2.0], [1.0, 0.0]), [[0.5, 1.0], [0.5, 0.0]]),
    "minimum shares a tie": (np.minimum, ([1.0, 2.0], [1.0, 0.0]), [[0.5, 0.0], [0.5, 1.0]]),
    "max shares a tie of three": (np.max, ([3.0, 3.0, 1.0, 3.0],), [[1 / 3, 1 / 3, 0.0, 1 / 3]]),
    "min shares a tie along its axis": (
        lambda t: t.min(axis=1),
        ([[1.0, 1.0], [2.0, 1.0]],),
        [[[0.5, 0.5], [0.0, 1.0]]],
    ),
    "clip is closed below": (lambda t: mg.clip(t, 0.0, 1.0), (0.0,), [1.0]),
    "clip is closed above": (lambda t: mg.clip(t, 0.0, 1.0), (1.0,), [1.0]),
    "clip outside": (lambda t: mg.clip(t, 0.0, 1.0), (1.5,), [0.0]),
    "hypot at the origin": (np.hypot, (0.0, 0.0), [0.0, 0.0]),
    "arctan2 at the origin": (np.arctan2, (0.0, 0.0), [0.0, 0.0]),
    "std of a constant": (np.std, ([2.0, 2.0, 2.0],), [[0.0, 0.0, 0.0]]),
    "std of one element": (np.std, ([2.0],), [[0.0]]),
    "norm at the origin": (np.linalg.norm, ([0.0, 0.0],), [[0.0, 0.0]]),
    "prod of one zero": (np.prod, ([0.0, 2.0, 3.0],), [[6.0, 0.0, 0.0]]),
    "prod of two zeros": (np.prod, ([0.0, 2.0, 0.0],), [[0.0, 0.0, 0.0]]),
    "cumprod of a zero": (lambda t: np.cumprod(t), ([2.0, 0.0, 3.0],), [[1.0, 2.0 + 6.0, 0.0]]),
    "0 ** 2 by the base": (lambda t: t**2.0, (0.0,), [0.0]),
    "0 ** 1 by the base": (lambda t: np.power(t, 1.0), (0.0,), [1.0]),
    "0 ** 0 by the base": (lambda t: np.power(t, 0.0), (0.0,), [0.0]),
    "0 ** y by the exponent": (lambda t: np.power(0.0, t), (2.0,), [0.0]),
    "logsumexp of -inf": (reduction.logsumexp, ([-np.inf, 0.0],), [[0.0, 1.0]]),
    "copysign at 0": (lambda t: np.copysign(t, -1.0), (0.0,), [0.0]),
    "where gives nothing to the branch not taken": (
        lambda t: np.where(t > 0, t * 2, -t),
        ([1.0, -1.0],),
        [[2.0, -1.0]],
    ),
}


@pytest.mark.parametrize("what", POINTS)
def test_points_without_a_derivative(what: str) -> None:
    function, operands, expected = POINTS[what]
    for found, wanted in zip(gradients(function, *operands), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 0.3, 1.1, 1e4 / 3])
def test_std_of_a_constant_whose_mean_is_rounded(value: float, dtype: Any) -> None:
    """The mean of seven times 0.1 is not 0.1."""
    both = mg.value_and_grad(lambda x: mg.std(x, axis=0).sum())
    step = mg.compile(lambda x: both(x))
    for count in (3, 6, 7, 10, 100, 1000):
        x = np.full((count, 2), value, dtype)
        for found in (
            mg.value_and_grad(lambda x: mg.std(x, axis=0).sum())(x),
            step(x),
            step(x),
            (mg.var(x), mg.grad(mg.var)(x)),
        ):
            assert all(not np.any(np.asarray(part)) for part in found)


def test_std_of_neighbors() -> None:
    """Of numbers that differ by a unit in the last place the mean is rounded to one of them."""
    x = np.array([1e4, 1e4, 1e4, np.nextafter(np.float32(1e4), np.float32(np.inf))], np.float32)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(mg.std(x), np.std(exact), rtol=1e-6)
    np.testing.assert_allclose(mg.grad(mg.std)(x), (exact - exact.mean()) / np.std(exact) / 4, rtol=1e-6)


@pytest.mark.floating(divide="ignore")
def test_the_derivative_of_sqrt_at_zero_is_its_limit() -> None:
    assert gradients(np.sqrt, 0.0) == [np.inf]


def test_second_derivatives_at_such_points_are_finite() -> None:
    for function, operands in [
        (np.prod, [0.0, 0.0]),
        (np.prod, [0.0, 3.0]),
        (mg.relu, 0.0),
        (np.abs, 0.0),
    ]:
        x = Tensor(operands, requires_grad=True)
        function(x).backward(create_graph=True)
        g = x.grad
        x.grad = None
        if g.requires_grad:
            g.sum().backward()
            assert x.grad is None or np.all(np.isfinite(x.grad.data))


def test_nested_derivatives_do_not_confuse_their_variables() -> None:
    """d/dx [x · d/dy (x·y)] at x = 3 is 6."""
    assert float(mg.grad(lambda x: x * mg.grad(lambda y: x * y)(1.0))(3.0)) == 6.0


# Writes between forward and backward


def slope_after(n: int, write: Any) -> Any:
    """The gradient of the sum of w * w * c, written to in between, with w = 2 and c = 3: 12 as it was computed."""
    w, c = Tensor(np.full(n, 2.0), requires_grad=True), np.full(n, 3.0)
    loss = (w * w * c).sum()
    with mg.no_grad():
        write(w, c)
    loss.backward()
    return w.grad.numpy()


def write_one(at: int) -> Any:
    return lambda w, c: c.__setitem__(at, 0.0)


@pytest.mark.parametrize("n", [2048, 2049, 100_000])
def test_which_elements_of_a_constant_may_be_written(n: int) -> None:
    """At 16 KiB it is copied; a larger one is watched at 48 elements at most."""
    seen = 0
    watched = set(borrowed._sampled_indices(n)) if n > 2048 else set()
    other = next(k for k in range(1, n) if k not in watched)
    for at in (0, other, n - 1):
        if at in watched:
            with pytest.raises(RuntimeError, match="was changed since"):
                slope_after(n, write_one(at))
            seen += 1
        else:
            found = slope_after(n, write_one(at))
            assert found[at] == (12.0 if n <= 2048 else 0.0), "copied, or unseen: the gradient of the new value"
            assert np.all(np.delete(found, at) == 12.0)
    assert seen == (2 if n > 2048 else 0)
    assert len(watched) <= 48


@pytest.mark.parametrize("n", [4, 100_000])
def test_writes_to_the_memory_of_a_tensor(n: int) -> None:
    assert np.all(slope_after(n, lambda w, c: w.data.__setitem__(..., 5.0)) == 30.0), "unseen"
    assert np.all(slope_after(n, lambda w, c: setattr(w, "data", np.full(n, 5.0))) == 12.0), "not written at all"
    with pytest.raises(RuntimeError, match="changed in place"):
        slope_after(n, lambda w, c: w.__setitem__(n - 2, 5.0))


def test_a_constant_that_cannot_be_written_is_not_watched() -> None:
    w, c = Tensor(np.ones(5000), requires_grad=True), np.full(5000, 3.0)
    c.flags.writeable = False
    assert type((w * c).node.residuals) is tuple
    c.flags.writeable = True
    assert type((w * c).node.residuals) is borrowed.Watched
