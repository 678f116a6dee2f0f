"""Indexing of every kind: basic, boolean, integers that repeat, mixtures; and its transposes."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases.case import Case, distinct, row, signed
from minigrad.ops import indexing as i
from minigrad.ops import product, searching

MASK = np.array([[True, False, True, False], [False, False, True, True], [True, True, True, False]])
ROWS = np.array([0, 2, 0, 0])
PLACES = (np.array([[0, 2], [0, 0]]), np.array([1, 3]))

INDICES: dict[str, Any] = {
    "a number": 1,
    "negative": -1,
    "numbers": (1, 2),
    "slice": slice(1, None),
    "step": (slice(None, None, 2), slice(None, None, -1)),
    "nothing": slice(0, 0),
    "ellipsis": (..., 0),
    "new axes": (None, slice(None), None, 1),
    "everything": ...,
    "empty tuple": (),
    "NumPy integer": np.int64(2),
    "mask": MASK,
    "mask of rows": np.array([True, False, True]),
    "mask of nothing": np.zeros((3, 4), dtype=bool),
    "mask and slice": (slice(None), np.array([True, False, True, True])),
    "mask and number": (np.array([True, False, True]), 1),
    "repeated integers": ROWS,
    "negative integers": np.array([-1, 0, -1]),
    "matrix of integers": np.array([[0, 1], [1, 1]]),
    "places": PLACES,
    "integers and slice": (slice(1, 3), ROWS),
    "integers, then slice": (ROWS, slice(None, 2)),
    "integers and a new axis": (ROWS, None),
    "integers and a number": (ROWS, 1),
    "0-d integers": np.array(1),
    "no integers": np.zeros(0, dtype=int),
    "unsigned": np.array([1, 1], dtype=np.uint8),
}


def scattered(v: Any, index: Any, shape: Any) -> Any:
    out = np.zeros(shape)
    places = np.arange(out.size).reshape(shape)[index]
    for place, value in zip(places.ravel(), np.broadcast_to(v, places.shape).ravel(), strict=True):
        out.flat[place] += value
    return out


def written(x: Any, value: Any, index: Any) -> Any:
    out = x.copy()
    out[index] = value
    return out


def set_rows() -> list[Case]:
    shapes = {label: np.zeros((3, 4))[index].shape for label, index in INDICES.items()}
    rows = [
        row("set_index", label, lambda x, value, index=index: i.set_index(x, value, index=index), signed(3, 4), signed(*shapes[label]),
            reference=lambda x, value, index=index: written(x, value, index))
        for label, index in INDICES.items()
    ]  # fmt: skip
    for label in ("slice", "mask", "repeated integers", "everything", "places", "step", "nothing"):
        index = INDICES[label]
        rows.append(
            row("set_index", f"{label}, a number", lambda x, value, index=index: i.set_index(x, value, index=index),
                signed(3, 4), signed(), reference=lambda x, value, index=index: written(x, value, index))
        )  # fmt: skip
        rows.append(
            row("set_index", f"{label}, a constant", lambda x, index=index: i.set_index(x, 2.0, index=index),
                signed(3, 4), reference=lambda x, index=index: written(x, 2.0, index))
        )  # fmt: skip
    for label, shape in [
        ("slice", (4,)),
        ("slice", (2, 1)),
        ("repeated integers", (4,)),
        ("repeated integers", (4, 1)),
        ("step", (1, 4)),
    ]:
        index = INDICES[label]
        rows.append(
            row("set_index", f"{label}, broadcast {shape}", lambda x, value, index=index: i.set_index(x, value, index=index),
                signed(3, 4), signed(*shape), reference=lambda x, value, index=index: written(x, value, index))
        )  # fmt: skip
    return rows


def item_assignment(x: Any, value: Any) -> Any:
    y = x * 1.0
    y[0] = value
    y[:, 1] = y[:, 2] * value
    return y * y


def item_assigned(x: Any, value: Any) -> Any:
    y = x.copy()
    y[0] = value
    y[:, 1] = y[:, 2] * value
    return y * y


ALONG = np.array([[0, 1, 1, 0], [2, 2, 0, 1]])

CASES = [
    row("getitem", label, lambda x, index=index: x[index], signed(3, 4), reference=lambda x, index=index: np.array(x[index]))
    for label, index in INDICES.items()
]  # fmt: skip
CASES += [
    row("scatter_add", label, lambda v, index=index: i.scatter_add(v, index=index, shape=(3, 4)), signed(*np.zeros((3, 4))[index].shape),
        reference=lambda v, index=index: scattered(v, index, (3, 4)))
    for label, index in INDICES.items()
]  # fmt: skip
CASES += set_rows()
CASES += [
    row("getitem", "0-d by ellipsis", lambda x: x[...], signed(), reference=lambda x: x),
    row("getitem", "0-d by a new axis", lambda x: x[None], signed(), reference=lambda x: np.array([x])),
    row("getitem", "empty", lambda x: x[:, 1:], signed(0, 3), reference=lambda x: x[:, 1:]),
    row("getitem", "take", lambda x: i.take(x, np.array([2, 0, 2]), axis=1), signed(3, 4), reference=lambda x: x[:, [2, 0, 2]]),
    row("getitem", "take, flat", lambda x: np.take(x, [5, 5, 0]), signed(3, 4), reference=lambda x: x.ravel()[[5, 5, 0]]),
    row("getitem", "take_along_axis 0", lambda x: i.take_along_axis(x, ALONG, axis=0), signed(3, 4),
        reference=lambda x: np.take_along_axis(x, ALONG, 0)),
    row("getitem", "take_along_axis -1", lambda x: np.take_along_axis(x, ALONG.T % 2, axis=-1), signed(4, 3),
        reference=lambda x: np.array([[x[r, c % 2] for c in ALONG[:, r]] for r in range(4)])),
    row("getitem", "take_along_axis, broadcast", lambda x: i.take_along_axis(x, np.array([[0], [2]]), axis=0), signed(3, 4),
        reference=lambda x: x[[0, 2]]),
    row("getitem", "gather", lambda x: i.gather(x, ALONG % 2, axis=1), signed(2, 4),
        reference=lambda x: np.take_along_axis(x, ALONG % 2, 1)),
    row("scatter_add", "scatter", lambda v: i.scatter(v, ALONG, axis=0, size=3), signed(2, 4),
        reference=lambda v: np.array([[sum(v[r, c] for r in range(2) if ALONG[r, c] == k) for c in range(4)] for k in range(3)])),
    row("scatter_add", "0-d into a vector", lambda v: i.scatter_add(v, index=1, shape=(3,)), signed(),
        reference=lambda v: np.array([0, v, 0])),
    row("set_index", "item assignment", item_assignment, signed(3, 4), signed(), reference=item_assigned,
        standin="an array is not rebound"),
    row("getitem", "sort", lambda x: searching.sort(x, axis=0), distinct(4, 3), reference=lambda x: np.sort(x, 0)),
    row("getitem", "sort down", lambda x: searching.sort(x, descending=True), distinct(2, 4), reference=lambda x: -np.sort(-x)),
    row("getitem", "np.sort", lambda x: np.sort(x, axis=None), distinct(2, 4), reference=lambda x: np.sort(x.ravel())),
    row("getitem", "unique", searching.unique_values, distinct(5), reference=np.unique, standin="the shape depends on the values"),
    row("getitem", "diagonal", product.diagonal, signed(3, 4), reference=np.diagonal),
    row("getitem", "diagonal above", lambda x: product.diagonal(x, offset=1), signed(2, 3, 4),
        reference=lambda x: np.diagonal(x, 1, -2, -1)),
    row("getitem", "np.trace", lambda x: np.trace(x, -1), signed(4, 3), reference=lambda x: x[1, 0] + x[2, 1] + x[3, 2]),
]  # fmt: skip
