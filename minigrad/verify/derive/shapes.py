"""Shapes of terms: reshapes, transposes, matrix products."""

from __future__ import annotations

from typing import Any

from minigrad.verify.derive.factors import stripped, without_lead
from minigrad.verify.derive.term import ONE, Term
from minigrad.verify.derive.term_algebra import Algebra


def reshape(a: Algebra, args: Any, params: Any, shape: Any) -> Term:
    """A term with another shape; numbers go in front of it."""
    (x,) = args
    if x.shape == shape:
        return x
    if x.op == "number":
        return a.fit(x, shape)
    if x.op == "reshape":
        return reshape(a, x.args, params, shape)
    coefficient, factors = x.factors()
    small = {t: e for t, e in factors.items() if t.shape == ()}
    if (small and len(small) < len(factors)) or coefficient != 1:
        rest = a.times([(t, e) for t, e in factors.items() if t not in small])
        if rest.shape == x.shape:
            return a.times([(reshape(a, (rest,), params, shape), 1), *small.items()], coefficient)
    if x.op == "matmul" and (product := _vector_product(a, x, shape)) is not None:
        return product
    if x.op == "broadcast_to" and without_lead(x.shape) == without_lead(shape):
        return a.fit(stripped(x), shape) if stripped(x).shape != shape else stripped(x)
    if x.op == "broadcast_to" and stripped(x).shape == ():
        return a.fit(stripped(x), shape)
    return a.known(Term("reshape", (x,), (shape,), shape))


def _vector_product(a: Algebra, x: Term, shape: tuple[int, ...]) -> Term | None:
    """A @ v for (A @ v[:, None])[:, 0], and the same for a row."""
    left, right = x.args
    if shape == x.shape[:-1] and right.op == "reshape" and len(right.args[0].shape) == 1 and right.shape[-1:] == (1,):
        return matmul(a, (left, right.args[0]), (), shape)
    if shape == x.shape[1:] and left.op == "reshape" and len(left.args[0].shape) == 1 and left.shape[:-1] == (1,):
        return matmul(a, (left.args[0], right), (), shape)
    return None


def transpose(a: Algebra, args: Any, params: Any, shape: Any) -> Term:
    """A term with its axes in another order; of a matrix product, that of the turned factors if it is shorter."""
    (x,) = args
    axes = params[0]
    if axes == tuple(range(len(axes))):
        return x
    if sum(n != 1 for n in x.shape) < 2:
        return reshape(a, (x,), (), shape)
    if x.op == "times" and len(x.shape) == 2:
        turned = [(transpose(a, (_with_axes(a, t, 2),), (axes,), _with_axes(a, t, 2).shape[::-1]), e)
                  for t, e in zip(x.args, x.params[1], strict=True)]  # fmt: skip
        if (other := a.times(turned, x.params[0], shape)).cost <= x.cost:
            return other
    if x.op == "transpose":
        return transpose(a, x.args, (tuple(x.params[0][k] for k in axes),), shape)
    coefficient, factors = x.factors()
    small = {t: e for t, e in factors.items() if t.shape == ()}
    if coefficient != 1 or small:
        rest = a.times([(t, e) for t, e in factors.items() if t not in small])
        if rest.shape == x.shape:
            return a.times([(transpose(a, (rest,), params, shape), 1), *small.items()], coefficient)
    if x.op == "matmul" and axes[:-2] == tuple(range(len(axes) - 2)) and all(len(t.shape) > 1 for t in x.args):
        swapped = [transposed(a, t) for t in x.args[::-1]]
        if sum(t.cost for t in swapped) <= x.cost:
            return matmul(a, tuple(swapped), (), shape)
    return a.known(Term("transpose", (x,), (axes,), shape))


def _with_axes(a: Algebra, t: Term, count: int) -> Term:
    shape = (1,) * (count - len(t.shape)) + t.shape
    return (
        Term("reshape", (t,), (shape,), shape) if t.shape and t.shape != shape else t if t.shape else a.fit(t, (1, 1))
    )


def transposed(a: Algebra, x: Term) -> Term:
    """The matrix transpose."""
    n = len(x.shape)
    axes = (*range(n - 2), n - 1, n - 2)
    return transpose(a, (x,), (axes,), tuple(x.shape[k] for k in axes))


def matmul(a: Algebra, args: Any, params: Any, shape: Any) -> Term:
    """A matrix product; numbers go in front of it."""
    outside: list[tuple[Term, Any]] = []
    coefficient: Any = ONE
    operands = []
    if all(len(x.shape) > 1 for x in args) and args[0].shape[-1] == 1:
        return a.times([(x, 1) for x in args], ONE, shape)
    for x in args:
        c, factors = x.factors()
        small = {t: e for t, e in factors.items() if t.shape == ()}
        rest = a.times([(t, e) for t, e in factors.items() if t not in small])
        if rest.shape == x.shape and x.op != "number":
            coefficient = coefficient * c
            outside += small.items()
            operands.append(rest)
        else:
            operands.append(x)
    product = a.known(Term("matmul", tuple(operands), (), shape))
    return a.times([(product, 1), *outside], coefficient, shape)
