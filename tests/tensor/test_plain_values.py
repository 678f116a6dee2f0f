"""What takes a Tensor for a plain number or array: meant, or an error that names the way."""

from __future__ import annotations

import array
import cmath
import functools
import math
import operator
from collections.abc import Callable
from math import exp
from typing import Any

import numpy as np
import pytest

import minigrad as mg

T = mg.Tensor(2.0, requires_grad=True) * 1
V = mg.Tensor([1.0, 2.0], requires_grad=True)
number = float


def put(a: Any, k: Any, value: Any = T) -> None:
    a[k] = value


def local_name() -> float:
    convert = float
    return convert(T)


def on_several_lines() -> float:
    return float(
        # of the last step
        T
    )


def in_a_loop() -> list[float]:
    found = []
    for x in map(float, [T]):
        found.append(x)  # noqa: PERF402
    return found


class Converts:
    value = float(T)
    convert = float

    def __call__(self) -> float:
        return self.convert(T)


MEANT: dict[str, Callable[[], Any]] = {
    "float": lambda: float(T),
    "int": lambda: int(T),
    "complex": lambda: complex(T),
    "another name": lambda: number(T),
    "a local name": local_name,
    "an expression": lambda: float((T * 2).sum()),
    "an element": lambda: float(V[0]),
    "a choice": lambda: float(T if V.size else 0),
    "on several lines": on_several_lines,
    "within another call": lambda: math.exp(float(T)),
    "in a dict": lambda: {"loss": float(T)},
    "in a list": lambda: [float(x) for x in [T]],
    "in a class": lambda: Converts.value,
    "evaluated": lambda: eval("float(T)"),
    "map": lambda: list(map(float, [T, T])),
    "the sum of map": lambda: sum(map(float, [T, T])),
    "map in a list": lambda: [*map(float, [T])],
    "map in a comprehension": lambda: [x for x in map(float, [T])],  # noqa: C416
    "map in a loop": in_a_loop,
    "a key": lambda: sorted([T, T], key=float),
    "percent": lambda: f"{'%.3f' % T}" + "%g %d" % (T, T),  # noqa: UP031
    "format": lambda: f"{T:.3f} {T}" + f"{T:.2e}",
    "the method": lambda: T.__float__(),
    "item": lambda: T.item() + T.tolist(),
    "isnan": lambda: math.isnan(T) or math.isinf(T) or not math.isfinite(T) or math.isclose(T, 3.0),
    "without a history": lambda: math.exp(T.detach()) + mg.Tensor(T.detach()).item(),
    "values": lambda: put(np.zeros(2), 0, T.detach()),
}
LOST: dict[str, Callable[[], Any]] = {
    "an element": lambda: put(np.zeros(3), 0),
    "an element of integers": lambda: put(np.zeros(3, int), 0),
    "an element of complex numbers": lambda: put(np.zeros(3, complex), 0),
    "an element of a matrix": lambda: put(np.zeros((2, 2)), (0, 0)),
    "the only element": lambda: put(np.zeros(()), ()),
    "a flat element": lambda: put(np.zeros(3).flat, 0),
    "setitem": lambda: operator.setitem(np.zeros(3), 0, T),
    "fill": lambda: np.zeros(3).fill(T),
    "a row": lambda: put(np.zeros((2, 2)), 0, V),
    "a slice": lambda: put(np.zeros(3), slice(0, 1)),
    "a mask": lambda: put(np.zeros(3), np.ones(3, bool)),
    "everything": lambda: put(np.zeros(3), ...),
    "added in place": lambda: operator.iadd(np.zeros(2), V),
    "math.exp": lambda: math.exp(T),
    "exp of math": lambda: exp(T),
    "math.pow": lambda: math.pow(2.0, T),
    "math.hypot": lambda: math.hypot(T, 1.0),
    "math.fsum": lambda: math.fsum([T, T]),
    "math.floor": lambda: math.floor(T),
    "cmath.exp": lambda: cmath.exp(T),
    "map of math": lambda: list(map(math.exp, [T])),
    "math.exp with float": lambda: list(map(math.exp, map(operator.pos, [T]))),
    "partial": lambda: functools.partial(math.exp, T)(),
    "np.array": lambda: np.array([T, T]),
    "np.array of elements": lambda: np.array([[V[0], V[1]]]),
    "np.asarray": lambda: np.asarray(V),
    "np.float64": lambda: np.float64(T),
    "np.full": lambda: np.full(3, T),
    "np.fromiter": lambda: np.fromiter([T], float),
    "array.array": lambda: array.array("d", [T]),
    "np.random": lambda: np.random.default_rng(0).normal(T),
    "np.vectorize": lambda: np.vectorize(math.exp)(V),
    "Tensor": lambda: mg.Tensor(V),
    "Tensor of a result": lambda: mg.Tensor(V * 2),
    "a new leaf": lambda: mg.Tensor(T, requires_grad=True),
    "Tensor of elements": lambda: mg.Tensor([V[0], V[1]]),
    "asarray of elements": lambda: mg.asarray([V[0], 1.0]),
    "full": lambda: mg.full(3, T),
    "full_like": lambda: mg.full_like(V, T),
    "arange": lambda: mg.arange(T),
    "linspace": lambda: mg.linspace(0, T, 3),
}


@pytest.mark.parametrize("what", MEANT)
def test_explicit_conversions_to_numbers_are_allowed(what: str) -> None:
    for _ in range(2):  # the place in the code is looked up once
        MEANT[what]()


@pytest.mark.parametrize("what", LOST)
def test_conversions_that_would_lose_a_gradient_are_refused(what: str) -> None:
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)) as found:
            LOST[what]()
    told = f"{found.value} {found.value.__cause__}"
    assert "gradient" in told or "single item" in told, told  # the latter is NumPy's, of .flat


@pytest.mark.parametrize("what", [name for name in LOST if "Tensor" not in name])
def test_conversions_are_allowed_where_nothing_is_recorded(what: str) -> None:
    if "np." in what or what in ("a row", "a slice", "a mask", "everything", "added in place", "asarray of elements"):
        return  # asks for an array, which needs t.numpy()
    if what.startswith("cmath"):
        assert cmath.exp(T.detach()) == cmath.exp(2.0)
        return
    with mg.no_grad():
        LOST[what]()


def test_the_errors_say_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"given to math\.exp, which takes plain numbers.*mg\.exp.*float\(t\)"):
        math.exp(T)
    with pytest.raises(ValueError, match="sequence") as found:  # NumPy's, on top of ours
        put(np.zeros(3), 0)
    assert "written into an element of a plain array" in str(found.value.__cause__)
    assert "mg.stack" in str(found.value.__cause__)
    with pytest.raises(TypeError, match=r"mg\.copy\(t\).*t\.detach\(\)"):
        mg.Tensor(V)


def test_what_the_errors_recommend_works() -> None:
    def written(x: Any) -> Any:
        h = mg.zeros(3)
        for k in range(3):
            h[k] = x[k] * 2
        return (x * h).sum()

    def stacked(x: Any) -> Any:
        return (x * mg.stack([x[0], x[1], x[2]])).sum()

    x = np.array([1.0, 2.0, 3.0])
    assert mg.grad(written)(x).tolist() == (4 * x).tolist()
    assert mg.grad(stacked)(x).tolist() == (2 * x).tolist()
    assert mg.grad(lambda x: (x * mg.copy(x)).sum())(x).tolist() == (2 * x).tolist()
    assert mg.grad(lambda x: (x * mg.Tensor(x.detach())).sum())(x).tolist() == x.tolist()
    assert mg.grad(lambda x: (x * float(x[0])).sum())(x).tolist() == [1.0, 1.0, 1.0]
