"""Sorting, searching and sets. Values keep their gradient (they are read at the indices found); indices have none."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.primitive import primitive, tensor_function, value_of
from minigrad.engine.specialize import untracked
from minigrad.ops.indexing import getitem, take_along_axis
from minigrad.ops.shape import reshape

argsort_along = primitive(lambda x, /, *, axis, descending: _argsort(x, axis, descending), name="argsort")
searchsorted_in = primitive(
    lambda x, values, /, *, side, sorter: np.searchsorted(x, values, side, sorter), name="searchsorted"
)
isin_values = primitive(lambda x, values, /, *, invert: np.isin(x, values, invert=invert), name="isin")


class UniqueAll(NamedTuple):
    """What unique_all returns."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """What unique_counts returns."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """What unique_inverse returns."""

    values: Any
    inverse_indices: Any


def _argsort(x: Any, axis: int, descending: bool) -> Any:
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    # Reversed twice, so that equal elements keep their order.
    order = np.flip(np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)
    return x.shape[axis] - 1 - order


@tensor_function
def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The indices that sort x along an axis; equal elements keep their order."""
    return argsort_along(x, axis=axis, descending=descending)


@tensor_function
def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """x sorted along an axis."""
    if not np.ndim(x):
        raise np.exceptions.AxisError(f"{call('sort', (x,), {})}: a single number has no axis to sort along")
    return take_along_axis(x, argsort(x, axis=axis, descending=descending), axis=axis)


@tensor_function
def searchsorted(x: Any, values: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    """Where the values would be inserted into the sorted x to keep it sorted."""
    return searchsorted_in(x, values, side=side, sorter=value_of(sorter))


def nonzero(x: Any, /) -> tuple[Any, ...]:
    """The indices of the elements that are not zero, an array for each axis."""
    return _as(x, *np.nonzero(value_of(x)))


def unique_all(x: Any, /) -> UniqueAll:
    """The distinct elements of x, where each is first found, where to find every element among them, and counts."""
    found = np.unique_all(value_of(x))
    values = getitem(reshape(x, (-1,)), index=(found.indices,))
    return UniqueAll(values, *_as(x, found.indices, found.inverse_indices, found.counts))


@tensor_function
def unique_values(x: Any, /) -> Any:
    """The distinct elements of x, in order."""
    return unique_all(x).values


def unique_counts(x: Any, /) -> UniqueCounts:
    """The distinct elements of x and how often each occurs."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """The distinct elements of x, and for every element of x its place among them."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


@tensor_function
def isin(x: Any, values: Any, /, *, invert: bool = False) -> Any:
    """For each element of x, whether it is among the values; with invert, whether it is not."""
    return isin_values(x, values, invert=invert)


def _as(x: Any, *found: Any) -> tuple[Any, ...]:
    """What was found in x: Tensors if x is one."""
    return untracked(found) if hasattr(x, "node") else found
