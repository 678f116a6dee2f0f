"""Products of matrices and other bilinear functions: matmul, einsum, dot, convolutions."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.exact import field
from minigrad.exact.exact_array import Exact, finished, is_special, with_residues_of_shadow
from minigrad.exact.field import P, Q
from minigrad.exact.tables import FUNCTIONS, UFUNCS, implements


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


def einsum(subscripts: Any, *operands: Any, **options: Any) -> Any:
    """np.einsum, two operands at a time."""
    if not isinstance(subscripts, str):
        return einsum(*_by_letters(subscripts, *operands))
    text = subscripts.replace(" ", "")
    xs = [Exact.of(x) for x in operands]
    ins, arrow, out = text.partition("->")
    if not arrow:
        letters = ins.replace(",", "").replace("...", "")
        out = "..." * ("..." in ins) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    terms = ins.split(",")
    while len(xs) > 2:
        rest = "".join(terms[2:]) + out
        letters = "".join(c for c in dict.fromkeys(terms[0] + terms[1]) if c in rest and c != ".")
        letters = "..." * ("..." in terms[0] + terms[1]) + letters
        xs = [einsum(f"{terms[0]},{terms[1]}->{letters}", *xs[:2]), *xs[2:]]
        terms = [letters, *terms[2:]]
    equation = f"{','.join(terms)}->{out}"
    if len(xs) == 2:
        sizes = {c: n for t, x in zip(terms, xs, strict=True) if "." not in t for c, n in zip(t, x.shape, strict=True)}
        count = math.prod(n for c, n in sizes.items() if c not in out) if "..." not in equation else xs[0].size
        return bilinear(lambda a, b: np.einsum(equation, a, b), xs[0], xs[1], max(1, count))
    (x,) = xs
    q = None if x.q is None or (x.q < 0).any() else np.einsum(equation, x.q) % Q
    return finished(np.einsum(equation, x.real), np.einsum(equation, x.p) % P, q, *([] if out else [x]))


def _by_letters(*args: Any) -> tuple[Any, ...]:
    """The arguments of einsum with numbers for axes, x, [0, 1], y, [1, 2], [0, 2], as those with letters."""
    lists = [*args[1::2], *(args[-1:] if len(args) % 2 else [])]
    terms = ["".join("..." if k is Ellipsis else string.ascii_letters[k] for k in numbers) for numbers in lists]
    count = len(args) // 2
    return (",".join(terms[:count]) + "->" * (len(args) % 2) + "".join(terms[count:]), *args[: 2 * count : 2])


FUNCTIONS.update({"bilinear": bilinear, np.einsum: lambda *args, **options: einsum(*args, **options)})


def _dot(function: Any) -> Any:
    def compute(x: Any, y: Any, out: Any = None) -> Any:
        return bilinear(function, x, y, max(1, np.shape(x)[-1])) if np.ndim(x) and np.ndim(y) else x * y

    return compute


FUNCTIONS.update({f: _dot(f) for f in (np.dot, np.inner)})


@implements(np.outer)
def _outer(x: Any, y: Any, out: Any = None) -> Any:
    return Exact.of(x).reshape(-1, 1) * Exact.of(y).reshape(1, -1)


@implements(np.tensordot)
def _tensordot(x: Any, y: Any, axes: Any = 2) -> Any:
    return bilinear(lambda a, b: np.tensordot(a, b, axes), x, y)


@implements(np.vdot)
def _vdot(x: Any, y: Any) -> Any:
    return bilinear(np.vdot, x, y)
