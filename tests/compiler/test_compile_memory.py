"""Steps that read and write one memory through several views, against eager mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import interpreted
import numpy as np
import pytest

import minigrad as mg
from minigrad.util.pytree import flatten

pytestmark = pytest.mark.floating(all="ignore")  # where errors raise, steps run eagerly

windows = np.lib.stride_tricks.sliding_window_view
BACKENDS = ["numpy", "numba"]


@pytest.fixture(autouse=True)
def _by_python(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted.use(monkeypatch)


# What a step does with memory, against eager mode. Each makes a step and the arrays that it may change.

Made = tuple[Callable[[Any], Any], list[Any]]


def steps_with_views() -> dict[str, Callable[[], Made]]:
    """The small steps in which one array is read and written through several views."""

    def views(change: Any) -> Callable[[], Made]:
        def made() -> Made:
            a = np.arange(6.0)
            v, w = a[::2], a[1:5]
            return lambda x: change(x, a, v, w), [a]

        return made

    def both(x: Any, a: Any, v: Any, w: Any) -> Any:
        v[:] += x
        w[:] *= 2
        a[0] += w[0]
        return v * 1

    def only(x: Any, a: Any, v: Any, w: Any) -> Any:
        w[:] *= 2
        return v * 1

    def number(x: Any, a: Any, v: Any, w: Any) -> Any:
        a[0] += w[0]
        return v * 1

    def inner(x: Any, a: Any, v: Any, w: Any) -> Any:
        t = v[:]
        a[0] += 10
        return t * 1

    def nothing(x: Any, a: Any, v: Any, w: Any) -> None:
        v[:] += x
        w[:] *= 2
        a[0] += w[0]

    def neighbors(x: Any, a: Any, v: Any, w: Any) -> Any:
        np.add(a[1:], a[:-1], out=a[1:])
        np.copyto(v, w[:3], where=v > w[1:])
        return a[::-1] * 1

    def split(x: Any, a: Any, v: Any, w: Any) -> Any:
        p, q = np.split(a, 2)
        p += q
        q *= x
        return p - q

    def reduced(x: Any, a: Any, v: Any, w: Any) -> Any:
        np.add.reduce(a.reshape(2, 3), axis=0, out=a[1:4])
        np.add.at(a, [0, 0, -1], x)
        return a * 1

    return {f.__name__: views(f) for f in (both, only, number, inner, nothing, neighbors, split, reduced)}


def diagonal() -> Made:
    a = np.zeros((3, 3))
    d = np.einsum("ii->i", a)

    def step(x: Any) -> Any:
        d[:] += x
        inner = np.einsum("ij->ji", a)
        inner[0, 1] = 7
        return a * 1

    return step, [a]


def fortran() -> Made:
    a = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    rows, columns, flat = a[1:], a[:, ::2], a.ravel("F")[2:9]

    def step(x: Any) -> Any:
        rows[...] *= 2
        columns[...] += rows[:1, :2]
        flat[...] -= 1
        np.add.at(a, (..., [0, -1]), a.min())
        return a.sum(), a.reshape(-1) * 1, a.T[0] + x

    return step, [a]


def read_windows() -> Made:
    a = np.arange(6.0)
    w = windows(a, 3)

    def step(x: Any) -> Any:
        before = w.sum(1)
        a[1] += 1
        return before, w.max(1), windows(a, 2).sum(1)

    return step, [a]


def layouts() -> Made:
    """reshape is a view or a copy, as the layout of what NumPy made decides."""
    a = np.arange(6.0).reshape(2, 3)

    def step(x: Any) -> Any:
        results = []
        for y in (
            a.T.copy(),
            np.copy(a.T),
            a.T * 2,
            np.zeros_like(a.T),
            np.full_like(a.T, 2, order="C"),
            a.T.astype("f4"),
        ):
            flat = y.reshape(-1)
            flat += 1
            results.append(y)
        taken = np.take(a, [0, 1], axis=1)
        part = taken.reshape(-1)
        part += 1
        return [*results, taken]

    return step, [a]


def parts_of_complex_numbers() -> Made:
    z = np.arange(4) * (1 + 2j)
    real, imag = z.real, z.imag

    def step(x: Any) -> Any:
        real[:] += imag
        return real * 2

    return step, [z]


def fields() -> Made:
    table = np.zeros(3, [("a", "f8"), ("b", "f8")])
    a, b = table["a"], table["b"]

    def step(x: Any) -> Any:
        a[:] += x
        b[:] = a * 2 + 1

    return step, [a, b]


def bytes_as_floats() -> Made:
    raw = np.zeros(48, np.uint8)
    floats = raw.view(float)  # a closure is read by names: this one before its part, so that it stands for the memory
    part = floats[1:4]

    def step(x: Any) -> Any:
        floats[...] += 1
        part[...] *= 2
        return part + x

    return step, [floats]


def through_memoryview() -> Made:
    a = np.arange(4.0)
    b = np.asarray(memoryview(a))[1:]

    def step(x: Any) -> Any:
        a[...] += 1
        return b + x

    return step, [a]


STEPS = steps_with_views() | {
    f.__name__: f
    for f in (
        diagonal,
        fortran,
        read_windows,
        layouts,
        parts_of_complex_numbers,
        fields,
        bytes_as_floats,
        through_memoryview,
    )
}


def compare(make_step: Callable[[], Made], backend: str) -> None:
    (eager, arrays), (plain, others) = make_step(), make_step()
    compiled = mg.compile(plain, backend=backend, fallback="raise", audit=False)
    for k in range(5):
        expected, actual = eager(np.full(3, k)), compiled(np.full(3, k))
        for x, y in zip(flatten(expected)[0], flatten(actual)[0], strict=True):
            np.testing.assert_array_equal(y, x, strict=True)
        for x, y in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(y, x, err_msg=f"after call {k + 1}")
    assert compiled.latest is not None
    assert compiled.latest.calls == 3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", STEPS)
def test_arguments_that_share_memory_through_views(name: str, backend: str) -> None:
    compare(STEPS[name], backend)


@pytest.mark.parametrize("name", ["both", "fortran"])
def test_arguments_that_share_memory_with_numba(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    monkeypatch.undo()
    compare(STEPS[name], "numba")
