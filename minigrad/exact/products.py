"""Products of matrices and other bilinear functions: matmul, einsum, dot, convolutions."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.exact import field
from minigrad.exact.exact_array import Exact, finished, is_special, with_residues_of_shadow
from minigrad.exact.field import P, Q
from minigrad.exact.tables import FUNCTIONS, UFUNCS, implements
from minigrad.ops.einsum import einsum


def bilinear(function: Callable[..., Any], x: Any, y: Any, terms: int = 0, **settings: Any) -> Exact:
    """The value of a function that is linear in both operands: a product of matrices, a convolution.

    Args:
        function: of two arrays and the settings.
        x: the first operand.
        y: the second.
        terms: the largest number of products in an element of the result; by default the size of the smaller operand.
        **settings: further arguments of the function.
    """
    x, y = Exact.of(x), Exact.of(y)
    terms = terms or max(1, min(x.size, y.size))

    def product(a: Any, b: Any) -> Any:
        return function(a, b, **settings)

    with np.errstate(all="ignore"):
        real = product(x.real, y.real)
    p = field.bilinear(product, x.p, y.p, P, terms)
    q = None
    if x.q is not None and y.q is not None and not (x.q < 0).any() and not (y.q < 0).any():
        q = field.bilinear(product, x.q, y.q, Q, terms)
    if np.isfinite(x.real).all() and np.isfinite(y.real).all():
        return finished(real, p, q)
    special_x, special_y = (is_special(v).astype(np.float64) for v in (x, y))
    is_affected = product(special_x, np.ones(y.shape)) + product(np.ones(x.shape), special_y) > 0
    return with_residues_of_shadow(Exact(np.where((p == 0) & ~is_affected, 0.0, real), p, q), is_affected)


def matmul(x: Any, y: Any) -> Exact:
    """np.matmul."""
    return bilinear(np.matmul, x, y, max(1, np.shape(x)[-1]))


UFUNCS["matmul"] = matmul
UFUNCS["vecdot"] = lambda x, y: bilinear(np.vecdot, x, y, max(1, np.shape(x)[-1]))
UFUNCS["matvec"] = lambda x, y: matmul(x, Exact.of(y)[..., None])[..., 0]
UFUNCS["vecmat"] = lambda x, y: matmul(Exact.of(x)[..., None, :], y)[..., 0, :]


FUNCTIONS["bilinear"] = bilinear


@implements(np.einsum)
def _einsum(subscripts: Any, *operands: Any, **options: Any) -> Any:
    """Of several operands by minigrad's own function, whose steps are products of matrices; of one by sums."""
    if not isinstance(subscripts, str):
        return _einsum(*_by_letters(subscripts, *operands))
    if len(operands) > 1:
        return einsum(subscripts, *map(Exact.of, operands))
    x = Exact.of(operands[0])
    real, p = np.einsum(subscripts, x.real), np.einsum(subscripts, x.p) % P
    q = None if x.q is None or (x.q < 0).any() else np.einsum(subscripts, x.q) % Q
    return finished(real, p, q, *([] if real.ndim else [x]))


def _by_letters(*args: Any) -> tuple[Any, ...]:
    """The arguments of einsum with numbers for axes, x, [0, 1], y, [1, 2], [0, 2], as those with letters."""
    lists = [*args[1::2], *(args[-1:] if len(args) % 2 else [])]
    terms = ["".join("..." if k is Ellipsis else string.ascii_letters[k] for k in numbers) for numbers in lists]
    count = len(args) // 2
    return (",".join(terms[:count]) + "->" * (len(args) % 2) + "".join(terms[count:]), *args[: 2 * count : 2])


def _dot(function: Any) -> Any:
    def compute(x: Any, y: Any, out: Any = None) -> Any:
        return bilinear(function, x, y, max(1, np.shape(x)[-1])) if np.ndim(x) and np.ndim(y) else x * y

    return compute


FUNCTIONS.update({f: _dot(f) for f in (np.dot, np.inner)})


@implements(np.outer)
def _outer(x: Any, y: Any, out: Any = None) -> Any:
    return Exact.of(x).reshape(-1, 1) * Exact.of(y).reshape(1, -1)


@implements(np.vdot)
def _vdot(x: Any, y: Any) -> Any:
    return bilinear(np.vdot, x, y)
