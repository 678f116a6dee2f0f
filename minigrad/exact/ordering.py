"""Order and products of exact arrays: NumPy's functions, continued from functions.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.exact.array import FUNCTIONS, Exact, Tie, are_near, integers, is_special
from minigrad.exact.functions import enter
from minigrad.exact.reductions import bilinear, einsum, position

# Order


def _position(argument: Any) -> Any:
    def compute(x: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        rows = x.reshape(-1) if axis is None else x
        place = position(argument, rows, 0 if axis is None else axis)
        if keepdims and keepdims is not np._NoValue:
            return place.reshape((1,) * x.ndim) if axis is None else place
        return np.squeeze(place, 0 if axis is None else axis)

    return compute


FUNCTIONS.update({np.argmax: _position(np.argmax), np.argmin: _position(np.argmin)})


@enter(np.argsort)
def _argsort(x: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    if axis is None:
        x, axis = x.reshape(-1), 0
    places = np.argsort(x.real, axis=axis, kind="stable")
    ordered: Any = np.moveaxis(np.take_along_axis(x, places, axis), axis, 0)
    a, b = ordered[:-1], ordered[1:]
    near = are_near(a.real, b.real)
    if (near & (a.p != b.p)).any() or (np.isnan(x.real) & ~is_special(x)).any():
        raise Tie("elements that are nearly equal are sorted")
    if near.any():  # equal elements keep their order, whatever the rounding
        ranks = np.concatenate([np.zeros((1, *near.shape[1:]), int), np.add.accumulate(~near, axis=0)])
        rank = np.empty(x.shape, int)
        np.put_along_axis(rank, places, np.moveaxis(ranks, 0, axis), axis)
        places = np.argsort(rank, axis=axis, kind="stable")
    return places


@enter(np.sort)
def _sort(x: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    if axis is None:
        x, axis = x.reshape(-1), 0
    return np.take_along_axis(x, _argsort(x, axis), axis)


@enter(np.round, np.around)
def _round(x: Any, decimals: int = 0, out: Any = None) -> Any:
    return integers(np.rint, x * 10**decimals) / 10**decimals


# Products


FUNCTIONS.update({"bilinear": bilinear, np.einsum: lambda *args, **options: einsum(*args, **options)})


@enter(np.dot)
def _dot(x: Any, y: Any, out: Any = None) -> Any:
    return bilinear(np.dot, x, y, max(1, np.shape(x)[-1])) if np.ndim(x) and np.ndim(y) else x * y


@enter(np.inner)
def _inner(x: Any, y: Any) -> Any:
    return bilinear(np.inner, x, y, max(1, np.shape(x)[-1])) if np.ndim(x) and np.ndim(y) else x * y


@enter(np.outer)
def _outer(x: Any, y: Any, out: Any = None) -> Any:
    return Exact.of(x).reshape(-1, 1) * Exact.of(y).reshape(1, -1)


@enter(np.tensordot)
def _tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    return bilinear(lambda a, b: np.tensordot(a, b, axes), x, y)


@enter(np.vdot)
def _vdot(x: Any, y: Any) -> Any:
    return bilinear(np.vdot, x, y)
