"""Random steps full of views, writes and products, compiled against eager."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.compiler.ir import typing as rules
from minigrad.compiler.passes import pipeline as passes

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

UNARY = [np.tanh, np.negative, np.square, np.sin, np.abs, lambda x: x * 2.0, lambda x: 1 - x, lambda x: x / 4]
BINARY = [np.add, np.subtract, np.multiply, np.maximum, lambda x, y: x / (2 + y * y), lambda x, y: x - (-y)]


def fit(*shapes: Any) -> bool:
    try:
        return np.broadcast_shapes(*shapes) is not None
    except ValueError:
        return False


class Step:
    """A random step: with the same seed it does the same to other arrays."""

    def __init__(self, seed: int, dtype: Any) -> None:
        self.seed = seed
        r = np.random.default_rng(seed)
        self.flat = r.normal(size=24).astype(dtype)
        self.p = self.flat[:12].reshape(3, 4)
        self.q = self.flat[12:].reshape(4, 3)
        self.n = np.zeros((), dtype)

    def __call__(self, x: Any) -> Any:
        r = np.random.default_rng([self.seed, 1])
        values: list[Any] = [x, self.p, self.q.T, self.p[1], self.p[:, 2:3], x.mean(axis=0), x * self.n]
        for _ in range(r.integers(8, 25)):
            values.append(self.one(r, values))
        return [v + 0 for v in values[-4:]], values[-1].sum()

    def one(self, r: Any, values: list[Any]) -> Any:
        def pick(beside: Any = None) -> Any:
            fitting = [v for v in values if beside is None or fit(v.shape, beside.shape)]
            return fitting[r.integers(len(fitting))]

        kind, x = r.integers(12), pick()
        if kind < 2:
            return UNARY[r.integers(len(UNARY))](x)
        if kind < 6:
            return BINARY[r.integers(len(BINARY))](x, pick(x))
        if kind == 6:
            return np.add.reduce(x, axis=int(r.integers(x.ndim)), keepdims=bool(r.integers(2))) if x.ndim else x * 3
        if kind == 7:
            return (x * pick(x)).mean(axis=0) if x.ndim == 2 else x + 1
        if kind == 8:
            return x[..., ::-1] if x.ndim else np.copy(x)
        if kind == 9:
            return np.where(x > 0.123, x, pick(x))  # a value that no rounded 0 is near
        return self.write(r, x)

    def write(self, r: Any, x: Any) -> Any:
        """Write into some of the state in place."""
        self.n += 1
        target = [self.p, self.q.T, self.p[1:], self.flat[3:15].reshape(3, 4), self.q.T[:, 1:3]][r.integers(5)]
        value = np.tanh(x if x.ndim < 2 and x.shape in ((), (1,)) else x.sum())
        how = r.integers(4)
        if how == 0:
            target *= 0.5
            target += value
        elif how == 1:
            target[...] = value
        elif how == 2:
            np.multiply(target, 1 - 0.1 * value, out=target)
        else:
            np.copyto(target, target[::-1] * 0.9)
        return target * 1


@pytest.fixture(autouse=True)
def _checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, change in passes.PASSES.items():
        monkeypatch.setitem(passes.PASSES, name, lambda program, change=change: rules.check(change(program)))


def run(seed: int) -> None:
    dtype = np.float64
    ours, theirs = Step(seed, dtype), Step(seed, dtype)
    compiled = mg.compile(ours)
    r = np.random.default_rng([seed, 2])
    for k in range(4):
        x = r.normal(size=(3, 4))
        with np.errstate(all="ignore"):
            (got, total), (expected, other) = compiled(x.copy()), theirs(x.copy())
        for a, b in zip([*got, total, ours.flat], [*expected, other, theirs.flat], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=f"seed {seed}, call {k}")
    assert len(compiled.versions) == 1


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_random_steps(first: int) -> None:
    for seed in range(first, first + 10):
        run(seed)


@pytest.mark.slow
def test_many_random_steps() -> None:
    for seed in range(1000, 2000):
        run(seed)
