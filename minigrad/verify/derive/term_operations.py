"""The operations of terms beyond sums and products: reductions, matrix products, shapes, choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minigrad.verify.derive.factors import stripped, stripped_axes
from minigrad.verify.derive.shapes import matmul, reshape, transpose
from minigrad.verify.derive.term import ONE, Term, mapped, names_in
from minigrad.verify.derive.term_algebra import Algebra
from minigrad.verify.derive.term_functions import ELEMENTWISE


def built(a: Algebra, t: Term, args: tuple[Term, ...]) -> Term:
    """The term of the kind of `t` with these operands."""
    if t.op in ("name", "number", "size"):
        return t
    if t.op == "times":
        return a.times(list(zip(args, t.params[1], strict=True)), t.params[0])
    if t.op == "plus":
        return a.plus([(ONE, x) for x in args])
    return operation(a, t.op, args, t.params, t.shape)


def rebuilt(a: Algebra, t: Term, replaced: dict[Term, Term]) -> Term:
    """The term with some parts replaced, simplified again."""
    return mapped(t, lambda part, args: replaced[part] if part in replaced else built(a, part, args))


def operation(a: Algebra, op: str, args: tuple[Term, ...], params: tuple[Any, ...], shape: tuple[int, ...]) -> Term:
    """A simplified operation, by its name."""
    if op in ELEMENTWISE:
        return a.fit(ELEMENTWISE[op](a, *args), shape)
    if op in SPECIAL:
        return a.known(SPECIAL[op](a, args, params, shape))
    return a.known(Term(op, args, params, shape))


# Reductions. They keep their axes, with size 1; a reshape around them removes them.


def summed(a: Algebra, t: Term, axes: Sequence[int], shape: tuple[int, ...]) -> Term:
    """The sum of a term spread over a shape, along axes that stay with size 1."""
    axes = tuple(k for k in axes if shape[k] != 1)
    if not axes:
        return a.fit(t, shape)
    left = tuple(1 if k in axes else n for k, n in enumerate(shape))
    t = stripped(t)
    coefficient, factors = t.factors()
    lead = len(shape) - len(t.shape)
    outside: list[tuple[Term, Any]] = []
    inside: list[tuple[Term, Any]] = []
    for x, e in factors.items():
        here = len(shape) - len(x.shape)
        is_constant = all(k < here or x.shape[k - here] == 1 for k in axes)
        (outside if is_constant else inside).append((x, e))
    core = a.times(inside) if inside else a.number(1)
    lead = len(shape) - len(core.shape)
    spread = [k for k in axes if k < lead or core.shape[k - lead] == 1]  # along these it is constant
    if spread:
        outside.append((a.number(math.prod(shape[k] for k in spread)), 1))
    axes = tuple(k for k in axes if k not in spread)
    if axes:
        outside.append((_sum_of(a, core, tuple(k - len(shape) + core_ndim(core, shape) for k in axes)), 1))
    return a.fit(a.times(outside, coefficient), left)


def core_ndim(core: Term, shape: tuple[int, ...]) -> int:
    """The number of axes of a factor."""
    return min(len(core.shape), len(shape))


def _sum_of(a: Algebra, t: Term, axes: tuple[int, ...]) -> Term:
    """The shortest form of a sum: as it is, term by term, or what the definition of a value says about it."""
    shape = tuple(1 if k in axes else n for k, n in enumerate(t.shape))
    if t.op == "one_hot" and axes == (1,):
        return a.number(1)
    if t.op == "sum" and len(t.shape) == len(shape):
        return _sum_of(a, t.args[0], tuple(sorted({*axes, *t.params[0]})))
    if _is_one_of_ties(a, t, axes):
        return a.number(1)
    best = a.known(Term("sum", (t,), (axes,), shape))
    if best.op == "name":
        return best
    if (by_mean := _by_name_of_mean(a, best)) is not None:
        return by_mean
    if _is_centered(a, t, axes):
        return a.number(0)
    if (product := _as_matrix_product(a, t, axes, shape)) is not None:
        return product
    if t.op in ("name", "exp") and (found := _by_meaning(a, t, axes)) is not None:
        return found
    parts = a.expanded(ONE, t)
    if len(parts) > 1:
        total = a.plus([(c, summed(a, x, axes, t.shape)) for c, x in parts])
        if total.cost < best.cost:
            return total
    return best


def _is_centered(a: Algebra, t: Term, axes: tuple[int, ...]) -> bool:
    """Whether a term is x minus the mean of x along the axes."""
    for k, part in enumerate(t.args if t.op == "plus" else ()):
        coefficient, factors = part.factors()
        sums = [x for x in factors if x.op == "sum" and x.params == (axes,) and factors[x] == 1]
        if coefficient == -1 and len(factors) == 2 and sums:
            n = math.prod(t.shape[axis] for axis in axes)
            rest = stripped(a.plus([(ONE, x) for x in (*t.args[:k], *t.args[k + 1 :])]))
            if factors.get(Term("size", (), (n,))) == -1 and rest is sums[0].args[0]:
                return True
    return False


def _is_one_of_ties(a: Algebra, t: Term, axes: tuple[int, ...]) -> bool:
    """Whether a sum counts the elements that are equal to the largest or smallest one."""
    if t.op not in ("equal", "mask") or (t.op == "mask" and t.args[0].op != "equal"):
        return False
    x, y = (t if t.op == "equal" else t.args[0]).args
    for one, other in ((x, y), (y, x)):
        meaning = stripped_axes(a.meanings.get(stripped_axes(other), other))
        if meaning.op in ("max", "min") and meaning.args[0] is one and meaning.params[0] == axes:
            note = f"where several elements are the {meaning.op}imum, each gets the whole gradient"
            if note not in a.notes:
                a.notes.append(note)
            return True
    return False


def _by_name_of_mean(a: Algebra, total: Term) -> Term | None:
    """Σx as N times the value that is called the mean of x."""
    for name, full in a.meanings.items():
        meaning = stripped_axes(full)
        coefficient, factors = meaning.factors()
        rest = {t: e for t, e in factors.items() if t is not total}
        if factors.get(total) == 1 and all(t.op == "size" for t in rest):
            there = reshape(a, (name,), (), total.shape)
            return a.times([(there, 1), *((t, -e) for t, e in rest.items())], 1 / coefficient)
    return None


def _by_meaning(a: Algebra, t: Term, axes: tuple[int, ...]) -> Term | None:
    """The sum if the definition of a named value makes it a number: the sum of centered values is 0."""
    for name in [name for name in a.meanings if name.params[0] in names_in(t)]:
        meaning = a.meanings[name]
        with a.without(name):
            total = stripped(summed(a, rebuilt(a, t, {name: meaning}), axes, t.shape))
        if total.op in ("number", "size"):
            return total
    return None


def _as_matrix_product(a: Algebra, t: Term, axes: tuple[int, ...], shape: tuple[int, ...]) -> Term | None:
    """The product of a matrix with a vector for the sum of a matrix times a vector along the vector's axis."""
    if t.op != "times" or t.params != (1, (1, 1)) or len(axes) > 1 or len(t.shape) != 2:
        return None
    for x, y in (t.args, t.args[::-1]):
        v = y.args[0] if y.op == "reshape" and y.shape[1:] == (1,) else y
        if x.shape == t.shape and len(v.shape) == 1 and (v is y) == (axes == (1,)):
            product = (x, v) if axes == (1,) else (v, x)
            return a.fit(reshape(a, (matmul(a, product, (), (t.shape[1 - axes[0]],)),), (), shape), shape)
    return None


def _reduced(a: Algebra, args: Any, params: Any, shape: Any) -> Term:
    return summed(a, args[0], params[0], args[0].shape)


SPECIAL: dict[str, Any] = {
    "sum": _reduced,
    "reshape": reshape,
    "transpose": transpose,
    "matmul": matmul,
    "broadcast_to": lambda a, args, params, shape: a.fit(args[0], shape),
}
