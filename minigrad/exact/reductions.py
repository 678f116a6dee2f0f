"""Reductions, accumulations, and products of matrices of exact arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.exact import field
from minigrad.exact.array import (
    METHODS,
    UFUNCS,
    Exact,
    Tie,
    are_near,
    finished,
    fixed_by_shadow,
    is_special,
)
from minigrad.exact.field import P, Q
from minigrad.exact.ufuncs import truth


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that an argument `axis` names, non-negative."""
    given = range(ndim) if axis is None else (axis,) if isinstance(axis, int | np.integer) else axis
    return tuple(sorted(int(k) % ndim for k in given))


def _kept(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return x if keepdims else np.squeeze(x, axes)


def _checked(x: Exact, result: Exact, axes: tuple[int, ...]) -> Exact:
    """A sum or product along axes, kept; by the shadow where infinities or NaN stand among the elements."""
    if np.isfinite(x.real).all():
        return finished(result.real, result.p, result.q)
    touched = is_special(x).any(axis=axes, keepdims=True)
    return fixed_by_shadow(Exact(np.where((result.p == 0) & ~touched, 0.0, result.real), result.p, result.q), touched)


def add_reduce(x: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None) -> Any:
    """Σ x."""
    axes = axes_of(axis, x.ndim)
    q = None
    if x.q is not None:
        q = np.where((x.q < 0).any(axis=axes, keepdims=True), -1, np.add.reduce(x.q, axis=axes, keepdims=True) % Q)
    with np.errstate(all="ignore"):
        real = np.add.reduce(x.real, axis=axes, keepdims=True)
    total = _checked(x, Exact(real, np.add.reduce(x.p, axis=axes, keepdims=True) % P, q), axes)
    total = _kept(total, axes, keepdims)
    return total if initial is None else total + initial


def multiply_reduce(x: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None) -> Any:
    """The product."""
    axes = axes_of(axis, x.ndim)
    p = x.p
    for k in axes:
        p = field.product_along(p, k, P)
    with np.errstate(all="ignore"):
        real = np.multiply.reduce(x.real, axis=axes, keepdims=True)
    product = _kept(_checked(x, Exact(real, p), axes), axes, keepdims)
    return product if initial is None else product * initial


def _extreme(argument: Any) -> Any:
    def compute(x: Any, axis: Any = 0, keepdims: bool = False, initial: Any = None) -> Any:
        axes = axes_of(axis, x.ndim)
        if not axes:
            return x
        rest = [k for k in range(x.ndim) if k not in axes]
        lead = tuple(x.shape[k] for k in rest)
        count = math.prod(x.shape[k] for k in axes)
        rows = x.each(lambda a: np.transpose(a, (*rest, *axes)).reshape(*lead, count))
        place = position(argument, rows, -1)
        top = rows.each(lambda a: np.take_along_axis(a, place, -1))
        shape = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
        found = _kept(top.reshape(shape), axes, keepdims)
        both = UFUNCS["maximum" if argument is np.argmax else "minimum"]
        return found if initial is None else both(found, initial)

    return compute


def position(argument: Any, x: Exact, axis: int) -> Any:
    """np.argmax or np.argmin along an axis, which is kept. Raises Tie where different elements are nearly the best."""
    place = argument(x.real, axis=axis, keepdims=True)
    best = x.each(lambda a: np.take_along_axis(a, place, axis))
    if (are_near(x.real, best.real) & (x.p != best.p)).any() or (np.isnan(x.real) & ~is_special(x)).any():
        raise Tie("the largest or smallest of elements that are nearly equal")
    first: Any = np.argmax(x.p == best.p, axis=axis, keepdims=True)  # equal elements: the first, whatever the rounding
    return first


def _truth_reduce(name: str) -> Any:
    return lambda x, axis=0, **options: getattr(np, name).reduce(truth(x), axis=axis, **options)


def add_accumulate(x: Any, axis: int = 0) -> Exact:
    """np.cumsum along an axis."""
    q = None if x.q is None or (x.q < 0).any() else np.add.accumulate(x.q, axis=axis) % Q
    return finished(np.add.accumulate(x.real, axis=axis), np.add.accumulate(x.p, axis=axis) % P, q, x)


def multiply_accumulate(x: Any, axis: int = 0) -> Exact:
    """np.cumprod along an axis."""
    p = field.accumulated(lambda a, b: a * b % P, x.p, axis)
    return finished(np.multiply.accumulate(x.real, axis=axis), p, None, x)


def extreme_accumulate(name: str) -> Any:
    """np.maximum.accumulate or np.minimum.accumulate."""

    def compute(x: Any, axis: int = 0) -> Any:
        out: Any = np.moveaxis(np.copy(x), axis, 0)
        for k in range(1, len(out)):
            out[k] = UFUNCS[name](out[k - 1], out[k])
        return np.moveaxis(out, 0, axis)

    return compute


def outer(name: str) -> Any:
    """A ufunc of all pairs."""

    def compute(x: Any, y: Any) -> Any:
        x, y = Exact.of(x), Exact.of(y)
        return UFUNCS[name](x.reshape(*x.shape, *(1,) * y.ndim), y)

    return compute


def add_at(x: Any, index: Any, values: Any) -> None:
    """np.add.at."""
    values = Exact.of(values)
    q = values.q
    if x.q is not None and (q is None or (q < 0).any() or (x.q < 0).any()):
        x.q[...] = -1
    with np.errstate(all="ignore"):
        np.add.at(x.real, index, values.real)
    np.add.at(x.p, index, values.p)
    if x.q is not None and q is not None and not (x.q < 0).any():
        np.add.at(x.q, index, q)
        x.q %= Q
    x.p %= P
    x.real[x.p == 0] = 0


def subtract_at(x: Any, index: Any, values: Any) -> None:
    """np.subtract.at."""
    add_at(x, index, -Exact.of(values))


METHODS.update({
    ("add", "reduce"): add_reduce,
    ("multiply", "reduce"): multiply_reduce,
    ("maximum", "reduce"): _extreme(np.argmax),
    ("minimum", "reduce"): _extreme(np.argmin),
    ("logical_and", "reduce"): _truth_reduce("logical_and"),
    ("logical_or", "reduce"): _truth_reduce("logical_or"),
    ("add", "accumulate"): add_accumulate,
    ("multiply", "accumulate"): multiply_accumulate,
    ("maximum", "accumulate"): extreme_accumulate("maximum"),
    ("minimum", "accumulate"): extreme_accumulate("minimum"),
    ("add", "at"): add_at,
    ("subtract", "at"): subtract_at,
    **{(name, "outer"): outer(name) for name in ("add", "subtract", "multiply", "divide")},
})  # fmt: skip


def bilinear(function: Callable[..., Any], x: Any, y: Any, terms: int = 0, **settings: Any) -> Exact:
    """A function that is linear in both operands: a product of matrices, a convolution.

    Args:
        function: of two arrays and the settings.
        x: the first operand.
        y: the second.
        terms: how many products at most an element of the result adds up; the size of the smaller operand by default.
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
    marks = [is_special(v).astype(np.float64) for v in (x, y)]
    touched = (product(marks[0], np.ones(y.shape)) + product(np.ones(x.shape), marks[1])) > 0
    return fixed_by_shadow(Exact(np.where((p == 0) & ~touched, 0.0, real), p, q), touched)


def matmul(x: Any, y: Any) -> Exact:
    """np.matmul."""
    return bilinear(np.matmul, x, y, max(1, np.shape(x)[-1]))


UFUNCS["matmul"] = matmul
UFUNCS["vecdot"] = lambda x, y: bilinear(np.vecdot, x, y, max(1, np.shape(x)[-1]))
UFUNCS["matvec"] = lambda x, y: matmul(x, Exact.of(y)[..., None])[..., 0]
UFUNCS["vecmat"] = lambda x, y: matmul(Exact.of(x)[..., None, :], y)[..., 0, :]


def einsum(subscripts: str, *operands: Any, **options: Any) -> Any:
    """np.einsum: two operands at a time."""
    text = subscripts.replace(" ", "")
    xs = [Exact.of(x) for x in operands]
    ins, arrow, out = text.partition("->")
    if not arrow:
        letters = ins.replace(",", "").replace("...", "")
        out = "..." * ("..." in ins) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    terms = ins.split(",")
    while len(xs) > 2:
        rest = "".join(terms[2:]) + out
        kept = "".join(c for c in dict.fromkeys(terms[0] + terms[1]) if c in rest and c != ".")
        kept = "..." * ("..." in terms[0] + terms[1]) + kept
        xs = [einsum(f"{terms[0]},{terms[1]}->{kept}", *xs[:2]), *xs[2:]]
        terms = [kept, *terms[2:]]
    equation = f"{','.join(terms)}->{out}"
    if len(xs) == 2:
        sizes = {c: n for t, x in zip(terms, xs, strict=True) if "." not in t for c, n in zip(t, x.shape, strict=True)}
        count = math.prod(n for c, n in sizes.items() if c not in out) if "..." not in equation else xs[0].size
        return bilinear(lambda a, b: np.einsum(equation, a, b), xs[0], xs[1], max(1, count))
    (x,) = xs
    q = None if x.q is None or (x.q < 0).any() else np.einsum(equation, x.q) % Q
    return finished(np.einsum(equation, x.real), np.einsum(equation, x.p) % P, q, *([] if out else [x]))
