"""Batches of arrays: DataLoader and train_test_split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minigrad.engine.errors import refuse_mask
from minigrad.util.rng import generator

Array = Any


class DataLoader:
    """Batches of arrays that belong together; each iteration passes once through all rows.

    Args:
        *arrays: arrays or Tensors of equal length, for example inputs (N, ...) and labels (N,).
        batch_size: the number of rows of a batch. The last may have fewer.
        shuffle: whether each iteration takes the rows in a new random order.
        drop_last: whether to leave out a last batch that is smaller.
        rng: a Generator or a seed for the order; the global generator by default.
        transform: called with the arrays of each batch; its result is the batch.

    Iteration yields tuples of arrays, or arrays if there is only one. A batch is a copy.

    Raises:
        ValueError: no arrays, several in one tuple or list, unequal lengths, or a batch_size that is not an integer
            above 0.
        TypeError: the transform is not callable.

    Example:
        >>> loader = DataLoader(np.arange(5), np.arange(5) * 10, batch_size=2)
        >>> len(loader)
        3
        >>> for x, y in loader:
        ...     print(x, y)
        [0 1] [ 0 10]
        [2 3] [20 30]
        [4] [40]
    """

    def __init__(
        self,
        *arrays: Array,
        batch_size: int,
        shuffle: bool = False,
        drop_last: bool = False,
        rng: Any = None,
        transform: Callable[..., Any] | None = None,
    ) -> None:
        self.arrays = _checked(arrays, "DataLoader")
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ValueError(f"DataLoader(batch_size={batch_size!r}): must be an integer, at least 1")
        if transform is not None and not callable(transform):
            raise TypeError(f"DataLoader(transform={transform!r}): must be a function of the arrays of a batch")
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.rng = None if rng is None else generator(rng)
        self.transform = transform

    def __len__(self) -> int:
        """The number of batches."""
        rows = len(self.arrays[0])
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = generator(self.rng).permutation(len(self.arrays[0])) if self.shuffle else None
        for k in range(len(self)):
            rows = slice(k * self.batch_size, (k + 1) * self.batch_size)
            batch = tuple([_rows(x, rows) if order is None else x[order[rows]] for x in self.arrays])
            if self.transform is not None:
                yield self.transform(*batch)
            else:
                yield batch if len(batch) > 1 else batch[0]

    def __repr__(self) -> str:
        shapes = ", ".join(str(tuple(x.shape)) for x in self.arrays)
        return f"DataLoader({shapes}, batch_size={self.batch_size}, shuffle={self.shuffle}, drop_last={self.drop_last})"


def _rows(x: Array, rows: slice) -> Array:
    """Some rows, as a copy of an array."""
    return x[rows].copy() if isinstance(x, np.ndarray) else x[rows]


def train_test_split(*arrays: Array, test_size: float = 0.2, rng: Any = None) -> tuple[Array, ...]:
    """Arrays of equal length, shuffled alike and split in two: x_train, x_test, y_train, y_test, ...

    Args:
        *arrays: arrays or Tensors.
        test_size: the fraction of rows in the second part, in (0, 1).
        rng: a Generator or a seed; the global generator by default.

    Raises:
        ValueError: no arrays, unequal lengths, or a part would be empty.

    Example:
        >>> train, test = train_test_split(np.arange(10), test_size=0.3)
        >>> len(train), len(test)
        (7, 3)
    """
    arrays = _checked(arrays, "train_test_split")
    rows = len(arrays[0])
    test_rows = round(rows * test_size)
    if not 0 < test_rows < rows:
        raise ValueError(f"train_test_split(test_size={test_size}) of {rows} rows leaves a part empty")
    order = generator(rng).permutation(rows)
    return tuple(x[part] for x in arrays for part in (order[test_rows:], order[:test_rows]))


def _checked(arrays: tuple[Array, ...], call: str) -> tuple[Array, ...]:
    if any(isinstance(x, (tuple, list)) and any(np.ndim(part) for part in x) for x in arrays):
        raise ValueError(f"{call}: pass arrays one by one, {call}(x, y, ...), not in a tuple or a list")
    for x in arrays:
        refuse_mask(x, call)
    arrays = tuple(x if hasattr(x, "shape") else np.asarray(x) for x in arrays)
    shapes = [tuple(x.shape) for x in arrays]
    if not arrays or () in shapes or len({s[0] for s in shapes}) > 1:
        raise ValueError(f"{call}: expected at least one array, all with the same number of rows, got shapes {shapes}")
    return arrays
