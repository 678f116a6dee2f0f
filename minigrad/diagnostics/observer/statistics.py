"""Streaming statistics of the values and gradients of a layer: a few numbers per step, however large the arrays are."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = Any
BINS = 60
EDGE = 0.01  # a unit this close to a bound counts as saturated
LOG_RANGE = (-16.0, 4.0)  # of log10 |gradient|
WINDOW = 256  # a unit that is 0 in so many consecutive rows counts as dead
FEW = 32  # rows; with fewer nothing can be said, as each unit of ReLU is 0 for half of the rows
EQUAL = 1e-7  # relative difference below which units count as equal


@dataclass
class Values:
    """Sums and counts over all calls of a layer in one step."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    zeros: int = 0
    saturated: int = 0
    not_finite: int = 0
    equal_units: bool = True  # whether all units have the same values
    rms_of_calls: list[float] = field(default_factory=list)

    def add(self, x: Array, bounds: tuple[float, float] | None = None) -> None:
        """Add the values of one call. `bounds` are those of the activation, if it has any."""
        finite = np.isfinite(x)
        if not finite.all():
            self.not_finite += int(x.size - np.count_nonzero(finite))
            self.equal_units = False
            x = x[finite]
        elif self.equal_units:
            self.equal_units = are_units_equal(x)
        with np.errstate(over="ignore"):
            squares = _mean(np.square(x, dtype=np.float64))
        self.rms_of_calls.append(math.sqrt(squares))
        self.count += x.size
        self.total += float(np.sum(x, dtype=np.float64))
        self.squares += squares * x.size
        self.zeros += int(x.size - np.count_nonzero(x))
        if bounds is not None:
            low, high = bounds
            self.saturated += int(np.count_nonzero((x < low + EDGE) | (x > high - EDGE)))

    @property
    def mean(self) -> float:
        """The mean of all elements."""
        return self.total / self.count if self.count else math.nan

    @property
    def mean_square(self) -> float:
        """The mean of the squares of all elements."""
        return self.squares / self.count if self.count else math.nan

    @property
    def rms(self) -> float:
        """The root mean square."""
        return math.sqrt(self.mean_square)

    @property
    def std(self) -> float:
        """The standard deviation of all elements."""
        if math.isinf(self.mean_square):
            return math.inf
        return math.sqrt(max(self.mean_square - self.mean * self.mean, 0.0)) if self.count else math.nan

    def fraction(self, count: int) -> float:
        """A number of elements as a fraction of all."""
        return count / self.count if self.count else math.nan


def _mean(x: Array) -> float:
    return float(np.mean(x, dtype=np.float64)) if x.size else math.nan


def are_units_equal(x: Array) -> bool:
    """Whether all units (the last axis) have the same values."""
    if x.ndim < 2 or x.shape[-1] < 2 or not x.size:
        return False
    largest = float(np.abs(x).max())
    return bool(np.abs(x - x[..., :1]).max() <= EQUAL * largest)


class DeadUnits:
    """The fraction of units that were 0 for at least WINDOW consecutive rows; for all rows while there are fewer."""

    def __init__(self) -> None:
        self.fraction: float | None = None
        self.rows = 0
        self._is_first_window = True
        self._alive: Array = None

    def add(self, x: Array) -> None:
        """Add the values of one call; units are on the last axis."""
        if x.ndim < 1 or not x.size:
            return
        alive = np.any(x != 0, axis=tuple(range(x.ndim - 1)))
        fits = self._alive is not None and self._alive.shape == alive.shape
        self._alive = self._alive | alive if fits else alive
        self.rows += x.size // x.shape[-1]

    def end_step(self) -> None:
        """Update the fraction; start a new window if the current one is full."""
        if self.rows >= FEW and (self.fraction is None or self._is_first_window or self.rows >= WINDOW):
            self.fraction, self._is_first_window = 1 - _mean(self._alive), self.rows < WINDOW
            if not self._is_first_window:
                self.rows, self._alive = 0, None


class Histogram:
    """Counts in fixed bins, for the first step and for the last. The bins are chosen by the first values."""

    def __init__(self, bounds: tuple[float, float] | None = None) -> None:
        self.edges: Array = None if bounds is None else np.linspace(*bounds, BINS + 1)
        self.first: Array = None
        self.last: Array = None
        self._counts = np.zeros(BINS, dtype=np.int64)

    def add(self, x: Array) -> None:
        """Add the values of one call. Values outside the bins are counted in the outermost."""
        x = x[np.isfinite(x)]
        if not x.size:
            return
        if self.edges is None:
            middle, spread = _mean(x), float(np.std(x, dtype=np.float64)) or max(abs(_mean(x)), 1.0)
            # The values of a rectifier start at 0 and have a longer tail.
            low, high = (0.0, 6 * spread) if x.min() >= 0 else (middle - 4 * spread, 4 * spread)
            self.edges = np.linspace(low, middle + high, BINS + 1)
        inside = np.clip(x, self.edges[0], self.edges[-1])
        self._counts += np.histogram(inside, self.edges)[0]

    def end_step(self) -> None:
        """Store the counts of the step, and start new ones."""
        if self._counts.any():
            self.last = self._counts
            self.first = self._counts if self.first is None else self.first
            self._counts = np.zeros(BINS, dtype=np.int64)


class ThinnedHistory:
    """Rows of numbers, at most `limit`: if there are more, every other one is dropped."""

    def __init__(self, limit: int = 1024) -> None:
        self.limit, self.stride, self.rows = limit, 1, list[tuple[int, dict[str, float]]]()

    def add(self, step: int, row: dict[str, float]) -> None:
        """Add the numbers of a step, if it is a multiple of the stride."""
        if step % self.stride == 0:
            self.rows.append((step, row))
            if len(self.rows) > self.limit:
                self.stride *= 2
                self.rows = [(k, r) for k, r in self.rows if k % self.stride == 0]

    def curves(self) -> dict[str, list[float]]:
        """A list for each number over the steps, and the list of "step"."""
        names = dict.fromkeys(name for _, row in self.rows for name in row)
        return {"step": [float(k) for k, _ in self.rows]} | {
            name: [row.get(name, math.nan) for _, row in self.rows] for name in names
        }
