"""The exact derivative of a function along a line, in exact arithmetic and without any rule.

Along a line, g(t) = u · f(x + t v) is a rational function of t, if f has no roots and exponentials. Its values at
enough points t determine it, and its derivative at t = 0, by a linear system modulo the prime; further points confirm
its degree. Rules are compared with it: (Jᵀ u) · v by reverse mode, u · (J v) by forward mode. The points lie so close
together that comparisons are decided alike at all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.exact import Exact, draw, rational
from minigrad.exact.field import P

DEGREES = (2, 4, 8, 16, 32)  # of numerator and denominator
CONFIRMATIONS = 4  # points beyond those that determine the function
STEP = 10**8  # the points are k / STEP


class NotRational(Exception):
    """The function is not rational along a line, up to the largest degree."""


def derivative_along(values: Callable[[Any], int]) -> int:
    """The derivative at t = 0 of a rational function modulo P.

    Args:
        values: the function of an exact number t.

    Raises:
        NotRational: it is not a rational function, or its degree is too large.

    Example:
        >>> g = derivative_along(lambda t: int(((2 + t) / (1 - t * t)).p))
        >>> g
        1
    """
    known: list[tuple[int, int]] = []
    for degree in DEGREES:
        count = 2 * degree + 1 + CONFIRMATIONS
        while len(known) < count:
            t = rational(len(known) + 1, STEP)
            known.append((int(t.p), values(t)))
        found = _interpolated(known, degree)
        if found is not None:
            return found
    raise NotRational(f"it is not a rational function along a line, up to degree {DEGREES[-1]}")


def _interpolated(points: Sequence[tuple[int, int]], degree: int) -> int | None:
    """The derivative at 0 of N(t) / D(t) with D(0) = 1 and these values; None if there is no such function."""
    t, g = (np.array(column, np.int64) for column in zip(*points, strict=True))
    powers = np.ones((len(t), degree + 1), np.int64)
    for k in range(1, degree + 1):
        powers[:, k] = powers[:, k - 1] * t % P
    # N(t) - g (D(t) - 1) = g
    system = np.concatenate([powers, (P - g[:, None]) * powers[:, 1:] % P, g[:, None]], axis=1)
    solution = solved(system)
    if solution is None:
        return None
    n0, n1, d1 = int(solution[0]), int(solution[1]), int(solution[degree + 1])
    return (n1 - n0 * d1) % P


def solved(system: Any) -> Any:
    """A solution modulo P of linear equations, the right-hand sides in the last column; None if there is none.

    Unknowns that are not determined are 0.
    """
    a = np.array(system, np.int64) % P
    rows, columns = a.shape
    pivots: list[int] = []
    for column in range(columns - 1):
        row = len(pivots)
        below = np.nonzero(a[row:, column])[0]
        if not len(below):
            continue
        if row == rows:
            break
        a[[row, row + below[0]]] = a[[row + below[0], row]]
        a[row] = a[row] * pow(int(a[row, column]), -1, P) % P
        factors = a[:, column].copy()
        factors[row] = 0
        a = (a - factors[:, None] * a[row]) % P
        pivots.append(column)
    if a[len(pivots) :, -1].any():
        return None
    solution = np.zeros(columns - 1, np.int64)
    solution[pivots] = a[: len(pivots), -1]
    return solution


def pairing(xs: Sequence[Any], ys: Sequence[Any]) -> int:
    """The sum of the products of all elements, modulo P."""
    total = 0
    for x, y in zip(xs, ys, strict=True):
        products = Exact.of(x).p * Exact.of(y).p % P
        total += int(np.sum(products))
    return total % P


def random_like(rng: np.random.Generator, values: Sequence[Any]) -> list[Exact]:
    """A random array for each array, of its shape."""
    return [draw(rng, np.shape(v)) for v in values]
