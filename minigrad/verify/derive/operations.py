"""The operations of terms beyond sums and products: reductions, matrix products, shapes, choices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from minigrad.verify.derive.algebra import HALF, Algebra, stripped, without_lead
from minigrad.verify.derive.term import ONE, Term, mapped, names_in

LARGEST = float(np.finfo(np.float64).max)


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


# Elementwise


def _power(a: Algebra, x: Term, y: Term) -> Term:
    if y.op == "number" and isinstance(y.params[0], Fraction):
        return a.times([(x, y.params[0])])
    return a.known(Term("power", (stripped(x), stripped(y)), (), np.broadcast_shapes(x.shape, y.shape)))


def _compared(op: str) -> Any:
    def compare(a: Algebra, x: Term, y: Term) -> Term:
        if x.op == y.op == "number":
            return a.number(bool(getattr(np, op)(float(x.params[0]), float(y.params[0]))))
        if op in ("equal", "not_equal") and y.is_zero and x.op != "number":
            return a.number(op == "not_equal")
        return Term(op, (stripped(x), stripped(y)), (), np.broadcast_shapes(x.shape, y.shape))

    return compare


def _where(a: Algebra, condition: Term, x: Term, y: Term) -> Term:
    if condition.op == "number":
        return x if condition.params[0] else y
    condition = stripped(condition)
    yes, no = (Term("mask", (condition,), (kept,), condition.shape) for kept in (True, False))
    if y.is_zero:
        return a.times([(x, 1), (yes, 1)])
    if x.is_zero:
        return a.times([(y, 1), (no, 1)])
    shape = np.broadcast_shapes(condition.shape, x.shape, y.shape)
    return a.known(Term("where", (condition, stripped(x), stripped(y)), (), shape))


def _unary(op: str) -> Any:
    return lambda a, x: a.known(Term(op, (stripped(x),), (), stripped(x).shape))


def _log(a: Algebra, x: Term) -> Term:
    if x.op == "number" and x.params[0] > 0:
        return a.number(math.log(x.params[0]))
    return a.known(Term("log", (stripped(x),), (), stripped(x).shape))


def _exp(a: Algebra, x: Term) -> Term:
    for part in x.args if x.op == "plus" else ():
        coefficient, factors = part.factors()
        inner = next(iter(factors), part)
        if len(factors) == 1 and abs(coefficient) == 1 and stripped_axes(inner).op == "log":  # exp(x - log s) is exp(x) / s
            rest = a.plus([(ONE, x), (-coefficient, inner)])
            s = _reshape(a, (stripped_axes(inner).args[0],), (), inner.shape)
            return a.times([(_exp(a, rest), 1), (s, coefficient)])
    return a.known(Term("exp", (stripped(x),), (), stripped(x).shape))


def stripped_axes(t: Term) -> Term:
    """The term without changes of its shape."""
    while t.op in ("reshape", "broadcast_to"):
        (t,) = t.args
    return t


def _sech_squared(a: Algebra, x: Term) -> Term:
    return a.plus([(ONE, a.number(1)), (-ONE, a.times([(_unary("tanh")(a, x), 2)]))])


def _sigmoid_slope(a: Algebra, x: Term) -> Term:
    s = _unary("sigmoid")(a, x)
    return a.times([(s, 1), (a.plus([(ONE, a.number(1)), (-ONE, s)]), 1)])


def _hypot(a: Algebra, x: Term, y: Term) -> Term:
    return a.times([(a.plus([(ONE, a.times([(x, 2)])), (ONE, a.times([(y, 2)]))]), HALF)])


def _extreme(op: str) -> Any:
    def extreme(a: Algebra, x: Term, y: Term) -> Term:
        if any(t.op == "number" and abs(t.params[0]) == LARGEST for t in (x, y)):
            return x if y.op == "number" else y
        return a.known(Term(op, (stripped(x), stripped(y)), (), np.broadcast_shapes(x.shape, y.shape)))

    return extreme


def _logical(op: str) -> Any:
    def logical(a: Algebra, x: Term, y: Term) -> Term:
        for s, other in ((x, y), (y, x)):
            if s.op == "number":
                is_neutral = bool(s.params[0]) == (op == "bitwise_and")
                return other if is_neutral else a.number(op == "bitwise_or")
        return Term(op, (stripped(x), stripped(y)), (), np.broadcast_shapes(x.shape, y.shape))

    return logical


ELEMENTWISE: dict[str, Any] = {
    "add": lambda a, x, y: a.plus([(ONE, x), (ONE, y)]),
    "subtract": lambda a, x, y: a.plus([(ONE, x), (-ONE, y)]),
    "negative": lambda a, x: a.times([(x, 1)], -ONE),
    "positive": lambda a, x: x,
    "multiply": lambda a, x, y: a.times([(x, 1), (y, 1)]),
    "divide": lambda a, x, y: a.times([(x, 1), (y, -1)]),
    "quotient": lambda a, x, y: a.times([(x, 1), (y, -1)]),
    "reciprocal": lambda a, x: a.times([(x, -1)]),
    "square": lambda a, x: a.times([(x, 2)]),
    "sqrt": lambda a, x: a.times([(x, HALF)]),
    "power": _power,
    "where": _where,
    "exp": _exp,
    "log": _log,
    "absolute": _unary("absolute"),
    "sech_squared": _sech_squared,
    "sigmoid_slope": _sigmoid_slope,
    "relu": lambda a, x: _extreme("maximum")(a, x, a.number(0)),
    "softplus": lambda a, x: a.known(Term("logaddexp", (stripped(x), a.number(0)), (), x.shape)),
    "gaussian": lambda a, x: _exp(a, a.times([(x, 2)], -ONE)),
    "hypot": _hypot,
    "maximum": _extreme("maximum"),
    "minimum": _extreme("minimum"),
    "bitwise_and": _logical("bitwise_and"),
    "bitwise_or": _logical("bitwise_or"),
    "isfinite": lambda a, x: a.number(1),
    **{op: (lambda a, x: a.number(0)) for op in ("isnan", "isinf", "isneginf", "isposinf")},
    **{
        op: _compared(op)
        for op in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    },
}  # fmt: skip


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
    for name, meaning in a.meanings.items():
        meaning = stripped_axes(meaning)
        coefficient, factors = meaning.factors()
        rest = {t: e for t, e in factors.items() if t is not total}
        if factors.get(total) == 1 and all(t.op == "size" for t in rest):
            there = _reshape(a, (name,), (), total.shape)
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
            return a.fit(_reshape(a, (_matmul(a, product, (), (t.shape[1 - axes[0]],)),), (), shape), shape)
    return None


def _reduced(a: Algebra, args: Any, params: Any, shape: Any) -> Term:
    return summed(a, args[0], params[0], args[0].shape)


def _reshape(a: Algebra, args: Any, params: Any, shape: Any) -> Term:
    (x,) = args
    if x.shape == shape:
        return x
    if x.op == "number":
        return a.fit(x, shape)
    if x.op == "reshape":
        return _reshape(a, x.args, params, shape)
    coefficient, factors = x.factors()
    small = {t: e for t, e in factors.items() if t.shape == ()}
    if small and len(small) < len(factors) or coefficient != 1:
        rest = a.times([(t, e) for t, e in factors.items() if t not in small])
        if rest.shape == x.shape:
            return a.times([(_reshape(a, (rest,), params, shape), 1), *small.items()], coefficient)
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
        return _matmul(a, (left, right.args[0]), (), shape)
    if shape == x.shape[1:] and left.op == "reshape" and len(left.args[0].shape) == 1 and left.shape[:-1] == (1,):
        return _matmul(a, (left.args[0], right), (), shape)
    return None


def _transpose(a: Algebra, args: Any, params: Any, shape: Any) -> Term:
    (x,) = args
    axes = params[0]
    if axes == tuple(range(len(axes))):
        return x
    if sum(n != 1 for n in x.shape) < 2:
        return _reshape(a, (x,), (), shape)
    if x.op == "times" and len(x.shape) == 2:
        turned = [(_transpose(a, (_with_axes(a, t, 2),), (axes,), _with_axes(a, t, 2).shape[::-1]), e)
                  for t, e in zip(x.args, x.params[1], strict=True)]  # fmt: skip
        if (other := a.times(turned, x.params[0], shape)).cost <= x.cost:
            return other
    if x.op == "transpose":
        return _transpose(a, x.args, (tuple(x.params[0][k] for k in axes),), shape)
    coefficient, factors = x.factors()
    small = {t: e for t, e in factors.items() if t.shape == ()}
    if coefficient != 1 or small:
        rest = a.times([(t, e) for t, e in factors.items() if t not in small])
        if rest.shape == x.shape:
            return a.times([(_transpose(a, (rest,), params, shape), 1), *small.items()], coefficient)
    if x.op == "matmul" and axes[:-2] == tuple(range(len(axes) - 2)) and all(len(t.shape) > 1 for t in x.args):
        turned = [transposed(a, t) for t in x.args[::-1]]
        if sum(t.cost for t in turned) <= x.cost:
            return _matmul(a, tuple(turned), (), shape)
    return a.known(Term("transpose", (x,), (axes,), shape))


def _with_axes(a: Algebra, t: Term, count: int) -> Term:
    shape = (1,) * (count - len(t.shape)) + t.shape
    return Term("reshape", (t,), (shape,), shape) if t.shape and t.shape != shape else t if t.shape else a.fit(t, (1, 1))


def transposed(a: Algebra, x: Term) -> Term:
    """The matrix transpose."""
    n = len(x.shape)
    axes = (*range(n - 2), n - 1, n - 2)
    return _transpose(a, (x,), (axes,), tuple(x.shape[k] for k in axes))


def _matmul(a: Algebra, args: Any, params: Any, shape: Any) -> Term:
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


SPECIAL: dict[str, Any] = {
    "sum": _reduced,
    "reshape": _reshape,
    "transpose": _transpose,
    "matmul": _matmul,
    "broadcast_to": lambda a, args, params, shape: a.fit(args[0], shape),
}
