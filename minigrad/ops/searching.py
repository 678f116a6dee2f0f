"""Sorting, searching and sets. Gradients flow to values, which are read at the computed indices; not to indices."""

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
    """The result of unique_all."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """The result of unique_counts."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """The result of unique_inverse."""

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
        raise np.exceptions.AxisError(f"{call('sort', (x,), {})}: a 0-d array has no axis to sort along")
    return take_along_axis(x, argsort(x, axis=axis, descending=descending), axis=axis)


@tensor_function
def searchsorted(x: Any, values: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    """The indices at which to insert the values into the sorted x to keep it sorted."""
    return searchsorted_in(x, values, side=side, sorter=value_of(sorter))


def nonzero(x: Any, /) -> tuple[Any, ...]:
    """The indices of the elements that are not zero, one array for each axis."""
    return _wrapped(x, *np.nonzero(value_of(x)))


def unique_all(x: Any, /) -> UniqueAll:
    """The distinct elements of x, the first index of each, the index of every element of x among them, and counts."""
    _, indices, inverse_indices, counts = np.unique_all(value_of(x))
    values = getitem(reshape(x, (-1,)), index=(indices,))
    return UniqueAll(values, *_wrapped(x, indices, inverse_indices, counts))


@tensor_function
def unique_values(x: Any, /) -> Any:
    """The distinct elements of x, in order."""
    return unique_all(x).values


def unique_counts(x: Any, /) -> UniqueCounts:
    """The distinct elements of x and how often each occurs."""
    values, _, _, counts = unique_all(x)
    return UniqueCounts(values, counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """The distinct elements of x, and for every element of x its index among them."""
    values, _, inverse_indices, _ = unique_all(x)
    return UniqueInverse(values, inverse_indices)


@tensor_function
def isin(x: Any, values: Any, /, *, invert: bool = False) -> Any:
    """For each element of x, whether it is among the values; with invert, whether it is not."""
    return isin_values(x, values, invert=invert)


def _wrapped(x: Any, *arrays: Any) -> tuple[Any, ...]:
    """The arrays, as Tensors without a gradient if x is a Tensor."""
    return untracked(arrays) if hasattr(x, "node") else arrays
