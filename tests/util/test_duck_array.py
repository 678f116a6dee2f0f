"""The base classes of duck arrays: every call of NumPy and every operator arrives at one method."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest

from minigrad.util.duck_array import ArrayMethods, DuckArray, NumPyCalls, arrays_in, map_arrays


class Recorder(ArrayMethods, DuckArray):
    """Records the calls that it takes part in."""

    def __init__(self, shape: tuple[int, ...] = (2, 3)) -> None:
        self.shape, self.dtype, self.calls = shape, np.dtype(float), []  # type: ignore[var-annotated]

    def mg_compute(self, function: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls.append((function, method, kwargs))
        return "result"


CALLS: dict[str, tuple[Any, Any, str]] = {
    "operator": (lambda x: x + 1, np.add, "__call__"),
    "reflected operator": (lambda x: 2.0 - x, np.subtract, "__call__"),
    "operator with an array": (lambda x: np.ones(3) * x, np.multiply, "__call__"),
    "in place": (lambda x: x.__imul__(2), np.multiply, "__call__"),
    "comparison": (lambda x: x < 0, np.less, "__call__"),
    "ufunc": (lambda x: np.exp(x), np.exp, "__call__"),
    "reduction": (lambda x: np.add.reduce(x, axis=1), np.add, "reduce"),
    "function": (lambda x: np.concatenate([np.ones((1, 3)), x]), np.concatenate, "__call__"),
    "method": (lambda x: x.sum(axis=1), np.sum, "__call__"),
    "transpose": (lambda x: x.T, np.transpose, "__call__"),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_call_arrives_at_compute(name: str) -> None:
    call, function, method = CALLS[name]
    x = Recorder()
    assert call(x) == "result"
    assert [(f, m) for f, m, _ in x.calls] == [(function, method)]


def test_shape_properties() -> None:
    x = Recorder((2, 3, 4))
    assert (x.ndim, x.size, len(x)) == (3, 24, 2)
    with pytest.raises(TypeError, match="unsized"):
        len(Recorder(()))


@pytest.mark.parametrize("convert", [float, int, bool, complex, range, np.asarray, lambda x: x.item(), list])
def test_python_cannot_read_values(convert: Any) -> None:
    with pytest.raises(TypeError, match=r"no values that Python could read|not iterable"):
        convert(Recorder())


def test_calls_in_a_subclass_of_ndarray() -> None:
    class Negated(NumPyCalls, np.ndarray):  # type: ignore[type-arg]
        def mg_compute(self, function: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return -getattr(function, method)(*map_arrays(np.asarray, Negated, args), **kwargs)

    x = np.ones(3).view(Negated)
    assert (x + 1).tolist() == [-2.0, -2.0, -2.0]
    assert np.sum(x) == -3.0


def test_arrays_within_containers() -> None:
    pair = namedtuple("pair", "a b")
    x, y = Recorder(), np.ones(2)
    arguments = [x, (1.0, {"k": y}), pair(y, "text")]
    assert [*map(id, arrays_in(arguments))] == [*map(id, (x, y, y))]
    mapped = map_arrays(len, np.ndarray, arguments)
    assert mapped == [x, (1.0, {"k": 2}), pair(2, "text")]
    assert type(mapped[2]) is pair
