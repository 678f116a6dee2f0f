"""Linear algebra that is rational: inv, solve and det by elimination modulo P. Norms are roots of sums of squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.exact.exact_array import Exact, Inexact, finished
from minigrad.exact.field import P, Residues
from minigrad.exact.reductions import axes_of
from minigrad.exact.tables import FUNCTIONS, UFUNCS, implements


def eliminated(a: Any, b: Any) -> tuple[Residues, int]:
    """The solution x of a x = b modulo P for a square matrix a, 0 if it is singular; and its determinant.

    Example:
        >>> x, det = eliminated([[0, 2], [3, 4]], [[2], [7]])
        >>> x.tolist(), det - P
        ([[1], [1]], -6)
    """
    n = len(a)
    rows = np.concatenate([np.asarray(a, np.int64), np.asarray(b, np.int64)], axis=1) % P
    det = 1
    for k in range(n):
        below = np.nonzero(rows[k:, k])[0]
        if not len(below):
            return np.zeros_like(rows[:, n:]), 0
        if below[0]:
            rows[[k, k + below[0]]] = rows[[k + below[0], k]]
            det = -det
        det = det * int(rows[k, k]) % P
        rows[k] = rows[k] * pow(int(rows[k, k]), -1, P) % P
        factors = rows[:, k].copy()
        factors[k] = 0
        rows = (rows - factors[:, None] * rows[k]) % P
    return rows[:, n:], det


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Exact:
    """np.linalg.solve."""
    a, b = Exact.of(a), Exact.of(b)
    is_vector = b.ndim == 1
    columns = b[:, None] if is_vector else b
    shape = np.broadcast_shapes(a.shape[:-2], columns.shape[:-2])
    left = np.broadcast_to(a.p, shape + a.shape[-2:])
    right = np.broadcast_to(columns.p, shape + columns.shape[-2:])
    p = np.empty(right.shape, np.int64)
    for place in np.ndindex(shape):
        p[place], _ = eliminated(left[place], right[place])
    return finished(np.linalg.solve(a.real, b.real), p[..., 0] if is_vector else p, None, a, b)


@implements(np.linalg.inv)
def inv(a: Any) -> Exact:
    """np.linalg.inv."""
    return solve(a, np.broadcast_to(np.eye(a.shape[-1]), a.shape))


@implements(np.linalg.det)
def det(a: Any) -> Exact:
    """np.linalg.det."""
    none = np.zeros((a.shape[-1], 0), np.int64)
    p = np.array([eliminated(m, none)[1] for m in a.p.reshape(-1, *a.shape[-2:])], np.int64)
    return finished(np.linalg.det(a.real), p.reshape(a.shape[:-2]), None, a)


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """np.linalg.slogdet."""
    value = det(a)
    result = np.linalg.slogdet(a.real)
    return type(result)(UFUNCS["sign"](value), UFUNCS["log"](UFUNCS["absolute"](value)))


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """np.linalg.norm of order 2: of vectors, or of matrices by Frobenius."""
    axes = axes_of(axis, x.ndim)
    if not (ord is None or (ord == 2 and len(axes) == 1) or (ord == "fro" and len(axes) == 2)):
        raise Inexact(f"norm(ord={ord!r})")
    return UFUNCS["sqrt"](FUNCTIONS[np.sum](x * x, axes, keepdims=keepdims))
