"""What the compiler knows about arithmetic: constants, neutral elements, signs, products, sums and views.

Results may differ from the step's own in the last digits, as x · (1/s) differs from x / s. A product with 0 is kept,
because it may be NaN. Two things count as 0 although x may not be finite: x - x, and the sum of deviations from a mean.
By these the second term of dl/dμ in batch normalization's derivation disappears, and a bias before it gets the gradient
0 that it has, instead of what rounding leaves.

With constants taken out of sums (Σ c x = c Σ x), small factors multiplied first ((x r) s = x (r s)), and x / s = x
(1/s), the terms of a derivation that was composed line by line become the same as those of one made by hand.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.compiler.builder import Builder, rule
from minigrad.compiler.memory import is_identity, simplified
from minigrad.compiler.program import ELEMENTWISE, REDUCTIONS, UFUNCS, Literal, Value
from minigrad.compiler.rules import kind, result

Operand = Value | Literal
PURE = frozenset(UFUNCS) | {"where", "cast"}


def is_full(x: Any) -> bool:
    """Whether x is one number everywhere."""
    return isinstance(x, Value) and x.line.op == "full"


def number(x: Any) -> Any:
    """The number that x is everywhere, or None."""
    return x.line.params["value"] if is_full(x) else None if isinstance(x, Value) else x


def is_op(x: Any, *operations: str) -> bool:
    """Whether x is the value of one of these operations."""
    return isinstance(x, Value) and x.line.op in operations


def is_float(*operands: Any) -> bool:
    """Whether all values have one floating-point dtype."""
    dtypes = {x.dtype for x in operands if isinstance(x, Value)}
    return len(dtypes) == 1 and next(iter(dtypes)).kind == "f"


def same_form(b: Builder, x: Operand, shape: tuple[int, ...], dtype: Any) -> Value | None:
    """x in this shape and dtype, if it has the dtype."""
    if not isinstance(x, Value) or x.dtype != dtype:
        return None
    return x if x.shape == shape else b.op("broadcast", x, shape=shape)


# Constants


@rule(*PURE)
def fold(b: Builder, *ins: Operand, **params: Any) -> Value | None:
    """A line of constants only is a constant. Entered first, so that `op` is known from the table of rules."""
    return None


def folded(b: Builder, op: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> Value | None:
    """The constant that an operation on constants gives."""
    if not ins or any(number(x) is None for x in ins):
        return None
    shape, dtype = result(op, ins, params)
    given: list[Any] = [np.asarray(number(x), x.dtype) if isinstance(x, Value) else x for x in ins]
    compute: dict[str, Any] = {**UFUNCS, "where": np.where, "cast": lambda x: np.asarray(x).astype(dtype)}
    with np.errstate(all="ignore"):
        value = compute[op](*given)
    return b.raw("full", shape=shape, dtype=np.dtype(dtype), value=np.asarray(value, dtype).item())


def without_full(op: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> tuple[Operand, ...]:
    """Constant operands as literals, where shape and dtype of the result stay the same."""
    wanted = result(op, ins, params)
    for k, x in enumerate(ins):
        if is_full(x) and any(isinstance(y, Value) for j, y in enumerate(ins) if j != k):
            fewer = (*ins[:k], number(x), *ins[k + 1 :])
            if result(op, fewer, params) == wanted:
                return without_full(op, fewer, params)
    return ins


ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide", "maximum", "minimum", "greater", "less"})


def _weak(op: str, ins: tuple[Operand, ...]) -> tuple[Operand, ...]:
    """Python integers beside floating-point values as floats, so that 1 / s and 1.0 / s are the same."""
    if op not in ARITHMETIC or not any(isinstance(x, Value) and x.dtype.kind == "f" for x in ins):
        return ins
    return tuple(float(x) if type(x) is int and abs(x) < 2**24 else x for x in ins)


def without_broadcast(op: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> tuple[Operand, ...]:
    """Operands before they are repeated or get axes of size 1 in front, where the result's shape stays the same."""
    wanted = result(op, ins, params)
    for k, x in enumerate(ins):
        source = x.line.operands[0] if is_op(x, "broadcast") or _drops_front(x) else None  # type: ignore[union-attr]
        if source is not None:
            fewer = (*ins[:k], source, *ins[k + 1 :])
            if result(op, fewer, params) == wanted:
                return without_broadcast(op, fewer, params)
    return ins


def _drops_front(x: Any) -> bool:
    """Whether x is (C,) made of (1, C)."""
    if not is_op(x, "reshape"):
        return False
    source = x.line.operands[0].shape
    extra = len(source) - len(x.shape)
    return extra > 0 and source == (1,) * extra + x.shape


def elementwise(b: Builder, op: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> Value | None:
    """What holds for every elementwise operation."""
    found = folded(b, op, ins, params)
    if found is not None:
        return found
    fewer = without_broadcast(op, _weak(op, without_full(op, ins, params)), params)
    if any(x is not y for x, y in zip(fewer, ins, strict=True)):
        return b.op(op, *fewer, **params)
    return before_reshape(b, op, ins, params)


def before_reshape(b: Builder, op: str, ins: tuple[Operand, ...], params: dict[str, Any]) -> Value | None:
    """f(x.reshape(...)) as f(x).reshape(...), where the reshape drops axes of size 1: axes then line up."""
    values = [x for x in ins if isinstance(x, Value)]
    dropping = [x for x in values if _drops_units(x)]
    if not dropping or len({x.shape for x in values}) > 1:
        return None
    inner = max((x.line.operands[0].shape for x in dropping), key=len)
    shape = values[0].shape
    if not all(x.size == math.prod(inner) for x in values):
        return None
    raised = [b.op("reshape", x, shape=inner) if isinstance(x, Value) else x for x in ins]
    return b.op("reshape", b.op(op, *raised, **params), shape=shape)


def _drops_units(x: Value) -> bool:
    if not is_op(x, "reshape"):
        return False
    source = x.line.operands[0].shape
    return len(source) > x.ndim and [n for n in source if n != 1] == [n for n in x.shape if n != 1]


def _enter_elementwise() -> None:
    def make(op: str) -> Any:
        return lambda b, *ins, **params: elementwise(b, op, ins, params)

    for op in PURE:
        rule(op)(make(op))


_enter_elementwise()


@rule("cast")
def cast(b: Builder, x: Value, *, dtype: Any) -> Value | None:
    """A cast to the dtype that is there."""
    return x if x.dtype == dtype else None


@rule("copy", "positive")
def copied(b: Builder, x: Value) -> Value:
    """The same values."""
    return x


@rule("broadcast")
def broadcast(b: Builder, x: Value, *, shape: tuple[int, ...]) -> Value | None:
    """A broadcast of what is a constant, has the shape, or is a broadcast itself."""
    if x.shape == shape:
        return x
    if is_full(x):
        return b.op("full", shape=shape, dtype=x.dtype, value=number(x))
    if is_op(x, "broadcast") or _drops_front(x):
        return b.op("broadcast", x.line.operands[0], shape=shape)
    return None


# Neutral elements and signs


@rule("add")
def add(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x + 0; x + (-y); x + x."""
    shape, dtype = result("add", (x, y), {})
    for one, other in ((x, y), (y, x)):
        if number(other) == 0 and not is_op(one, "full"):
            return same_form(b, one, shape, dtype)
    if is_float(x, y):
        if is_op(y, "negative"):
            return b.op("subtract", x, y.line.ins[0])  # type: ignore[union-attr]
        if is_op(x, "negative"):
            return b.op("subtract", y, x.line.ins[0])  # type: ignore[union-attr]
        if x is y:
            return b.op("multiply", x, 2.0)
        for one, other in ((x, y), (y, x)):
            if is_op(one, "add") and isinstance(other, Value):
                p, q = one.line.ins  # type: ignore[union-attr]
                if p is other or q is other:
                    return b.op("add", p if q is other else q, b.op("multiply", other, 2.0))
    return None


@rule("subtract")
def subtract(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x - 0; 0 - y; x - (-y); (-x) - y."""
    shape, dtype = result("subtract", (x, y), {})
    if number(y) == 0:
        return same_form(b, x, shape, dtype)
    if not is_float(x, y):
        return None
    if x is y:
        return b.op("full", shape=shape, dtype=dtype, value=0.0)
    if number(x) == 0 and isinstance(y, Value) and y.shape == shape:
        return b.op("negative", y)
    if is_op(y, "negative"):
        return b.op("add", x, y.line.ins[0])  # type: ignore[union-attr]
    if is_op(x, "negative"):
        return b.op("negative", b.op("add", x.line.ins[0], y))  # type: ignore[union-attr]
    return None


@rule("negative")
def negative(b: Builder, x: Value) -> Value | None:
    """-(-x); -(x - y); -(x c) for a number c."""
    if x.dtype.kind != "f":
        return None
    if is_op(x, "negative"):
        return x.line.operands[0]
    if is_op(x, "subtract"):
        return b.op("subtract", *x.line.ins[::-1])
    if is_op(x, "multiply", "divide"):
        for k, c in enumerate(x.line.ins):
            if not isinstance(c, Value):
                ins = list(x.line.ins)
                ins[k] = -c
                return b.op(x.line.op, *ins)
    return None


@rule("multiply")
def multiply(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x · 1; x · (-1); (-x) y; and small factors first: (x r) s = x (r s)."""
    shape, dtype = result("multiply", (x, y), {})
    if number(x) is not None and number(y) is None:
        x, y = y, x
    if number(y) == 1 and type(number(y)) is not bool:
        return same_form(b, x, shape, dtype)
    if not is_float(x, y) or not isinstance(x, Value):
        return None
    if number(y) == -1 and x.shape == shape:
        return b.op("negative", x)
    for one, other in ((x, y), (y, x)):
        if is_op(one, "negative"):
            return b.op("negative", b.op("multiply", one.line.ins[0], other))  # type: ignore[union-attr]
    return _small_first(b, x, y) or _small_first(b, y, x)


def size(x: Operand) -> int:
    """The number of elements; 0 for a literal."""
    return x.size if isinstance(x, Value) else 0


def _small_first(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x y with x = p q, where q and y are smaller than p."""
    if not is_op(x, "multiply") or not is_float(*x.line.ins):  # type: ignore[union-attr]
        return None
    p, q = sorted(x.line.ins, key=size, reverse=True)  # type: ignore[union-attr]
    if size(y) < size(p) and size(q) < size(p) and p.shape == x.shape:  # type: ignore[union-attr]
        small = b.op("multiply", q, y) if isinstance(q, Value) or isinstance(y, Value) else q * y
        return b.op("multiply", p, small)
    return None


@rule("divide")
def divide(b: Builder, x: Operand, y: Operand) -> Value | None:
    """x / 1; x / c and x / s with a small s as products; signs outside."""
    shape, dtype = result("divide", (x, y), {})
    if number(y) == 1:
        return same_form(b, x, shape, dtype)
    if not is_float(x, y) or dtype.kind != "f":
        return None
    if is_op(x, "negative"):
        return b.op("negative", b.op("divide", x.line.ins[0], y))  # type: ignore[union-attr]
    if is_op(y, "negative"):
        return b.op("negative", b.op("divide", x, y.line.ins[0]))  # type: ignore[union-attr]
    if not isinstance(y, Value):
        return b.op("multiply", x, 1 / y) if y and np.isfinite(1 / y) else None
    if isinstance(x, Value) and y.size < x.size:
        return b.op("multiply", x, b.op("divide", 1.0, y))
    return None


@rule("reciprocal")
def reciprocal(b: Builder, x: Value) -> Value | None:
    """1/x."""
    return b.op("divide", 1.0, x) if x.dtype.kind == "f" else None


@rule("square")
def square(b: Builder, x: Value) -> Value:
    """x²."""
    return b.op("multiply", x, x)


@rule("power")
def power(b: Builder, x: Operand, y: Operand) -> Value | None:
    """Powers that are products and roots."""
    if not isinstance(x, Value) or x.dtype.kind != "f" or isinstance(y, (Value, complex)):
        return None
    if y == 1:
        return x
    if y in (2, 3):
        squared = b.op("multiply", x, x)
        return squared if y == 2 else b.op("multiply", squared, x)
    if y == 0.5:
        return b.op("sqrt", x)
    if y in (-1, -2):
        return b.op("divide", 1.0, x if y == -1 else b.op("multiply", x, x))
    return None


@rule("where")
def where(b: Builder, c: Operand, x: Operand, y: Operand) -> Value | None:
    """A choice between equals, or without one."""
    shape, dtype = result("where", (c, x, y), {})
    if x is y or number(c) is not None:
        return same_form(b, x if x is y or number(c) else y, shape, dtype)
    return None


# Sums


@rule(*REDUCTIONS)
def over_single(b: Builder, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """A reduction over axes of size 1."""
    return None


@rule("sum")
def summed(b: Builder, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """Σ of a constant, over axes of size 1, of a sum, of a broadcast; Σ -x, Σ c x, and Σ (c x + d y)."""
    shape, dtype = result("sum", (x,), {"axes": axes})
    if x.dtype.kind != "f":
        return None
    if all(x.shape[k] == 1 for k in axes):
        return x
    count = math.prod(x.shape[k] for k in axes)
    if is_full(x):
        return b.op("full", shape=shape, dtype=dtype, value=number(x) * count)
    if is_op(x, "sum"):
        inner = x.line.operands[0]
        return b.op("sum", inner, axes=tuple(sorted({*axes, *x.line.params["axes"]})))
    if is_op(x, "negative"):
        return b.op("negative", b.op("sum", x.line.operands[0], axes=axes))
    if is_op(x, "broadcast") and is_invariant(x.line.operands[0], x.shape, axes):
        return b.op("multiply", _at_rank(b, x.line.operands[0], shape), float(count))
    if is_deviation(x, axes):
        return b.op("full", shape=shape, dtype=dtype, value=0.0)
    return _without_factors(b, x, axes) or _term_by_term(b, x, axes)


def is_invariant(x: Operand, shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether x, broadcast to the shape, is the same along the axes."""
    if not isinstance(x, Value):
        return True
    lead = len(shape) - x.ndim
    return all(k < lead or x.shape[k - lead] == 1 for k in axes)


def _at_rank(b: Builder, x: Operand, shape: tuple[int, ...]) -> Value:
    """An invariant factor in the shape that the sum has."""
    assert isinstance(x, Value)
    return b.op("broadcast", b.op("reshape", x, shape=(1,) * (len(shape) - x.ndim) + x.shape), shape=shape)


def factors(x: Operand) -> list[Operand]:
    """The factors of a product of one dtype, through nested products."""
    if is_op(x, "multiply") and is_float(*x.line.ins):  # type: ignore[union-attr]
        return [f for y in x.line.ins for f in factors(y)]  # type: ignore[union-attr]
    return [x]


def split(x: Value, axes: tuple[int, ...]) -> tuple[list[Operand], list[Operand]]:
    """The factors of x that are the same along the axes, and the others."""
    found = factors(x)
    fixed = [f for f in found if is_invariant(f, x.shape, axes)]
    return fixed, [f for f in found if not is_invariant(f, x.shape, axes)]


def _without_factors(b: Builder, x: Value, axes: tuple[int, ...]) -> Value | None:
    """Σ c x as c Σ x."""
    fixed, moving = split(x, axes)
    if not fixed or not moving:
        return None
    rest = product(b, moving)
    if any(rest.shape[k - (x.ndim - rest.ndim)] != x.shape[k] for k in axes) or rest.ndim != x.ndim:
        return None
    return _scaled(b, b.op("sum", rest, axes=axes), fixed, result("sum", (x,), {"axes": axes})[0])


def product(b: Builder, operands: list[Operand]) -> Value:
    """The product of factors, in an order of its own so that equal products are found to be equal."""
    first, *others = sorted(operands, key=lambda f: b.lines.index(f.line) if isinstance(f, Value) else -1)
    for f in others:
        first = b.op("multiply", first, f)
    assert isinstance(first, Value)
    return first


def _scaled(b: Builder, total: Value, fixed: list[Operand], shape: tuple[int, ...]) -> Value:
    if number(total) == 0:
        return b.op("full", shape=shape, dtype=total.dtype, value=0.0)
    literals = math.prod(f for f in fixed if not isinstance(f, Value))
    values: list[Operand] = [f for f in fixed if isinstance(f, Value)]
    if values:
        total = b.op("multiply", total, product(b, values))
    total = b.op("multiply", total, literals)
    if len(total.shape) < len(shape):
        total = b.op("reshape", total, shape=(1,) * (len(shape) - total.ndim) + total.shape)
    return total if total.shape == shape else b.op("broadcast", total, shape=shape)


def _term_by_term(b: Builder, x: Value, axes: tuple[int, ...]) -> Value | None:
    """Σ (c x ± d y) as c Σ x ± d Σ y, where both terms have a factor to take out or are the same along the axes."""
    if not is_op(x, "add", "subtract") or not is_float(*x.line.ins):
        return None
    terms = x.line.operands
    if len(terms) < 2 or not all(_gains(t, x.shape, axes) for t in terms):
        return None
    sums = [b.op("sum", b.op("broadcast", t, shape=x.shape) if t.shape != x.shape else t, axes=axes) for t in terms]
    return b.op(x.line.op, *sums)


def _gains(term: Value, shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    while is_op(term, "negative"):
        term = term.line.operands[0]
    if is_invariant(term, shape, axes):
        return True
    if is_op(term, "add", "subtract"):
        return all(_gains(t, shape, axes) for t in term.line.operands) and len(term.line.operands) == 2
    fixed, moving = split(term, axes) if term.shape == shape else ([], [])
    return any(isinstance(f, Value) for f in fixed) and bool(moving)


def is_deviation(x: Value, axes: tuple[int, ...]) -> bool:
    """Whether x is y - Σ y / n with the sum over these axes."""
    if not is_op(x, "subtract") or not isinstance(x.line.ins[0], Value):
        return False
    y, mean = x.line.ins
    while is_op(mean, "reshape", "broadcast"):
        mean = mean.line.operands[0]  # type: ignore[union-attr]
    if not is_op(mean, "multiply") or y.shape != x.shape:  # type: ignore[union-attr]
        return False
    parts = sorted(mean.line.ins, key=size)  # type: ignore[union-attr]
    count = math.prod(x.shape[k] for k in axes)
    total = parts[1]
    return (
        parts[0] == 1 / count and is_op(total, "sum") and total.line.ins[0] is y and total.line.params["axes"] == axes
    )


@rule("matmul")
def matmul(b: Builder, x: Value, y: Value) -> Value | None:
    """A product with a vector of one number is a sum."""
    if not is_float(x, y) or x.ndim + y.ndim != 3:
        return None
    vector, matrix, axis = (x, y, 0) if x.ndim == 1 else (y, x, 1)
    if not is_full(vector) or matrix.ndim != 2:
        return None
    total = b.op("sum", b.op("multiply", matrix, float(number(vector))), axes=(axis,))
    return b.op("reshape", total, shape=(matrix.shape[1 - axis],))


# Views


@rule("reshape")
def reshape(b: Builder, x: Value, *, shape: tuple[int, ...]) -> Value | None:
    """A reshape of a reshape, a constant, or into the shape that is there."""
    if x.shape == shape:
        return x
    if is_full(x):
        return b.op("full", shape=shape, dtype=x.dtype, value=number(x))
    if is_op(x, "reshape"):
        return b.op("reshape", x.line.operands[0], shape=shape)
    return None


@rule("transpose")
def transpose(b: Builder, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """A transpose of a transpose, a constant, of axes of size 1, or none at all."""
    if is_identity(x.shape, ("transpose", axes)):
        return x
    if is_full(x):
        return b.op("full", shape=tuple(x.shape[k] for k in axes), dtype=x.dtype, value=number(x))
    if is_op(x, "transpose"):
        inner = x.line.params["axes"]
        return b.op("transpose", x.line.operands[0], axes=tuple(inner[k] for k in axes))
    if [k for k in axes if x.shape[k] != 1] == [k for k in range(x.ndim) if x.shape[k] != 1]:
        return b.op("reshape", x, shape=tuple(x.shape[k] for k in axes))
    return None


@rule("slice")
def sliced(b: Builder, x: Value, *, bounds: Any) -> Value | None:
    """A slice of everything, of a constant, of what was just put there, or of one part of a concatenation."""
    if is_identity(x.shape, ("slice", bounds)):
        return x
    shape, dtype = result("slice", (x,), {"bounds": bounds})
    if is_full(x):
        return b.op("full", shape=shape, dtype=dtype, value=number(x))
    if is_op(x, "put") and x.line.params["steps"][0] == ("slice", bounds):
        y = x.line.operands[1]
        steps = x.line.params["steps"][1:]
        if all(op == "reshape" for op, _ in steps):
            return b.op("reshape", y, shape=shape)
    if is_op(x, "concatenate"):
        return _part(b, x, bounds)
    return None


def _part(b: Builder, x: Value, bounds: Any) -> Value | None:
    axis, start = x.line.params["axis"], 0
    low, high, step = bounds[axis]
    if step != 1:
        return None
    for part in x.line.operands:
        end = start + part.shape[axis]
        if start <= low and high is not None and high <= end and low < high:
            moved = (low - start, high - start, 1)
            return b.op("slice", part, bounds=(*bounds[:axis], moved, *bounds[axis + 1 :]))
        start = end
    return None


@rule("put")
def put(b: Builder, x: Value, y: Value, *, steps: Any) -> Value | None:
    """A put into a constant that is overwritten, and of what is there already."""
    kept = tuple(simplified(x.shape, list(steps)))
    if all(op == "reshape" for op, _ in kept):
        return b.op("reshape", y, shape=x.shape)
    if is_op(x, "put") and x.line.params["steps"] == kept:
        return b.op("put", x.line.operands[0], y, steps=kept)
    return None


@rule("concatenate")
def concatenate(b: Builder, *arrays: Value, axis: int) -> Value | None:
    """A concatenation of one array."""
    return arrays[0] if len(arrays) == 1 else None


__all__ = ["ELEMENTWISE", "kind"]
