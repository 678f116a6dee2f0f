"""Rules of sums, and of ops that move elements without changing them.

Factors that are constant along the axes come out of a sum, sums of terms become sums of sums.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from minigrad.compiler.ir.patterns import Pattern, X
from minigrad.compiler.ir.predicates import TINY, Operand, is_float, is_full, is_op, is_scale, number, size
from minigrad.compiler.ir.program import VIEWS, Value
from minigrad.compiler.ir.rewriter import Rewriter
from minigrad.compiler.ir.typing import result
from minigrad.compiler.ir.view_memory import is_identity, simplified
from minigrad.compiler.passes.algebra import SIMPLER, drops_leading

rewrite, rule = SIMPLER.rewrite, SIMPLER.rule
of_floats = partial(rule, any_dtype=False)

# Sums

rewrite(X.apply("sum"), lambda x: x, lambda x, axes: all(x.shape[k] == 1 for k in axes))
rewrite((-X).apply("sum"), lambda x, axes: -x.apply("sum", axes=axes))


@of_floats("sum", operands=("full",))
def sum_of_constant(b: Rewriter, x: Value, *, axes: tuple[int, ...]) -> Value:
    """Σ c is n c."""
    shape, dtype = result("sum", (x,), {"axes": axes})
    return b.op("full", shape=shape, dtype=dtype, value=number(x) * count(x, axes))


@of_floats("sum", operands=("sum",))
def sum_of_sum(b: Rewriter, x: Value, *, axes: tuple[int, ...]) -> Value:
    """Σ Σ x is one sum."""
    return b.op("sum", x.op.operands[0], axes=tuple(sorted({*axes, *x.op.params["axes"]})))


@of_floats("sum", operands=("broadcast",))
def sum_of_repeated(b: Rewriter, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """Σ of a value that is repeated along the axes is n times the value."""
    source = x.op.operands[0]
    if not is_invariant(source, x.shape, axes):
        return None
    shape = result("sum", (x,), {"axes": axes})[0]
    wide = b.op("reshape", source, shape=(1,) * (len(shape) - source.ndim) + source.shape)
    return b.op("multiply", b.op("broadcast", wide, shape=shape), float(count(x, axes)))


@of_floats("sum", operands=("subtract",))
def sum_of_deviations(b: Rewriter, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """Σ of deviations from a mean is 0, or NaN where the mean is not finite."""
    if not is_deviation(x, axes):
        return None
    return b.op("multiply", b.op("reshape", mean_of(x), shape=result("sum", (x,), {"axes": axes})[0]), 0.0)


@of_floats("sum", operands=("multiply",))
def sum_of_product(b: Rewriter, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """Σ c x is c Σ x."""
    fixed, others = split(x, axes)
    if not fixed or not others or not _is_ordinary(fixed):
        return None
    if len(others) > 2 and any(map(is_scale, others)):  # their order may matter
        return None
    rest = product(b, others)
    if any(rest.shape[k - (x.ndim - rest.ndim)] != x.shape[k] for k in axes) or rest.ndim != x.ndim:
        return None
    return _scaled(b, b.op("sum", rest, axes=axes), fixed, result("sum", (x,), {"axes": axes})[0])


@of_floats("sum", operands=("add", "subtract"))
def sum_of_terms(b: Rewriter, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """Σ (c x ± d y) is c Σ x ± d Σ y, if a factor comes out of each term, or the term's sum is known."""
    terms = x.op.operands
    if not is_float(*x.op.ins) or len(terms) < 2 or not all(_gains(b, t, x.shape, axes) for t in terms):
        return None
    sums = [b.op("sum", b.op("broadcast", t, shape=x.shape) if t.shape != x.shape else t, axes=axes) for t in terms]
    return b.op(x.op.name, *sums)


def count(x: Value, axes: tuple[int, ...]) -> int:
    """The number of elements along the axes."""
    return math.prod(x.shape[k] for k in axes)


def is_invariant(x: Operand, shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether x, broadcast to the shape, is the same along the axes."""
    if not isinstance(x, Value):
        return True
    lead = len(shape) - x.ndim
    return all(k < lead or x.shape[k - lead] == 1 for k in axes)


def factors(x: Operand) -> list[Operand]:
    """The factors of a product of one dtype, also of nested products."""
    if is_op(x, "multiply") and is_float(*x.op.ins):
        return [f for y in x.op.ins for f in factors(y)]
    return [x]


def split(x: Value, axes: tuple[int, ...]) -> tuple[list[Operand], list[Operand]]:
    """The factors of x that can be taken out of a sum over the axes, and the others."""
    all_factors = factors(x)
    varying = [f for f in all_factors if not is_invariant(f, x.shape, axes)]
    is_scaled = len(varying) > 1  # x (y s) may be finite where x y overflows
    fixed = [f for f in all_factors if is_invariant(f, x.shape, axes) and not (is_scaled and is_scale(f))]
    return fixed, [f for f in all_factors if all(f is not other for other in fixed)]


def _is_ordinary(factors: list[Operand]) -> bool:
    """Whether the numbers among the factors, and their product, are far from 0, overflow and infinity.

    Σ (∞ x) is not ∞ Σ x where x has both signs, and Σ x may overflow where Σ (1e-300 x) does not.
    """
    numbers = [abs(number(f)) for f in factors if number(f) is not None]
    return all(TINY <= n <= 1 / TINY for n in [*numbers, math.prod(numbers)])


def product(b: Rewriter, operands: list[Operand]) -> Value:
    """The product of factors, in the order of their ops, so that equal products are found to be equal."""
    first, *others = sorted(operands, key=lambda f: b.position[f.op] if isinstance(f, Value) else -1)
    for f in others:
        first = b.op("multiply", first, f)
    assert isinstance(first, Value)
    return first


def _scaled(b: Rewriter, total: Value, fixed: list[Operand], shape: tuple[int, ...]) -> Value:
    """A sum times the factors that were taken out of it, in the shape of the original sum."""
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


def _gains(b: Rewriter, term: Value, shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether the sum of a term takes no loop over its elements, or a smaller one."""
    while is_op(term, "negative"):
        term = term.op.operands[0]
    if is_invariant(term, shape, axes) or (term.shape == shape and b.has("sum", term, axes=axes)):
        return True
    if is_op(term, "add", "subtract"):
        return all(_gains(b, t, shape, axes) for t in term.op.operands) and len(term.op.operands) == 2
    fixed, others = split(term, axes) if term.shape == shape else ([], [])
    return any(isinstance(f, Value) for f in fixed) and bool(others)


def is_deviation(x: Value, axes: tuple[int, ...]) -> bool:
    """Whether x is y - Σ y / n, with the sum over these axes."""
    if not is_op(x, "subtract") or len(x.op.operands) != 2:
        return False
    y, mean = x.op.operands[0], mean_of(x)
    while is_op(mean, "reshape"):
        mean = mean.op.operands[0]
    if not is_op(mean, "multiply") or y.shape != x.shape:
        return False
    factor, total = sorted(mean.op.ins, key=size)
    return (
        factor == 1 / count(x, axes)
        and is_op(total, "sum")
        and total.op.ins[0] is y
        and total.op.params["axes"] == axes
    )


def mean_of(x: Value) -> Value:
    """The mean from which x are deviations, in the shape that the sum has."""
    mean: Value = x.op.operands[1]
    while is_op(mean, "broadcast"):
        mean = mean.op.operands[0]
    return mean


@of_floats("matmul")
def matmul(b: Rewriter, x: Value, y: Value) -> Value | None:
    """A product with a constant vector is a sum."""
    if x.ndim + y.ndim != 3:
        return None
    vector, matrix, axis = (x, y, 0) if x.ndim == 1 else (y, x, 1)
    if not is_full(vector) or matrix.ndim != 2:
        return None
    total = b.op("sum", b.op("multiply", matrix, float(number(vector))), axes=(axis,))
    return b.op("reshape", total, shape=(matrix.shape[1 - axis],))


# Views and broadcasts


def unchanged(name: str, b: Rewriter, x: Value, **params: Any) -> Value | None:
    """x, if the view changes nothing."""
    (param,) = params.values()
    return x if is_identity(x.shape, (name, param)) else None


def constant(name: str, b: Rewriter, x: Value, **params: Any) -> Value | None:
    """A view of a constant is a constant."""
    if not is_full(x):
        return None
    shape, dtype = result(name, (x,), params)
    return b.op("full", shape=shape, dtype=dtype, value=number(x))


for _name in sorted(VIEWS):
    rule(_name)(partial(unchanged, _name))
    rule(_name, operands=("full",))(partial(constant, _name))
rewrite(X.apply("broadcast"), lambda x: x, lambda x, shape: x.shape == shape, any_dtype=True)
rule("broadcast", operands=("full",))(partial(constant, "broadcast"))

rewrite(X.apply("reshape").apply("reshape"), lambda x, shape: x.apply("reshape", shape=shape), any_dtype=True)
rewrite(X.apply("broadcast").apply("broadcast"), lambda x, shape: x.apply("broadcast", shape=shape), any_dtype=True)
rewrite(Pattern("concatenate", (X,)), lambda x: x, any_dtype=True)


@rule("broadcast", operands=("reshape",))
def broadcast(b: Rewriter, x: Value, *, shape: tuple[int, ...]) -> Value | None:
    """A broadcast does not need leading axes of size 1 to be dropped."""
    if not drops_leading(x) or x.op.operands[0].ndim > len(shape):
        return None
    return b.op("broadcast", x.op.operands[0], shape=shape)


@rule("transpose")
def transpose(b: Rewriter, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """Two transposes as one; a transpose that moves only axes of size 1 as a reshape."""
    if is_op(x, "transpose"):
        inner = x.op.params["axes"]
        return b.op("transpose", x.op.operands[0], axes=tuple(inner[k] for k in axes))
    if [k for k in axes if x.shape[k] != 1] == [k for k in range(x.ndim) if x.shape[k] != 1]:
        return b.op("reshape", x, shape=tuple(x.shape[k] for k in axes))
    return None


@rule("slice", operands=("set_slice",))
def slice_of_set_slice(b: Rewriter, x: Value, *, bounds: Any) -> Value | None:
    """A slice of the part that was just set is what it was set to."""
    first, *others = x.op.params["steps"]
    if first != ("slice", bounds) or any(name != "reshape" for name, _ in others):
        return None
    return b.op("reshape", x.op.operands[1], shape=result("slice", (x,), {"bounds": bounds})[0])


@rule("slice", operands=("concatenate",))
def slice_of_concatenation(b: Rewriter, x: Value, *, bounds: Any) -> Value | None:
    """A slice of a concatenation that lies within one of its arrays is a slice of that array."""
    axis, start = x.op.params["axis"], 0
    low, high, step = bounds[axis]
    if step != 1:
        return None
    for array in x.op.operands:
        end = start + array.shape[axis]
        if start <= low and high is not None and high <= end and low < high:
            inner = (low - start, high - start, 1)
            return b.op("slice", array, bounds=(*bounds[:axis], inner, *bounds[axis + 1 :]))
        start = end
    return None


@rule("set_slice")
def set_slice(b: Rewriter, x: Value, y: Value, *, steps: Any) -> Value | None:
    """Setting everything is y; setting the same part twice is setting it once."""
    shorter = tuple(simplified(x.shape, list(steps)))
    if all(name == "reshape" for name, _ in shorter):
        return b.op("reshape", y, shape=x.shape)
    if is_op(x, "set_slice") and x.op.params["steps"] == shorter:
        return b.op("set_slice", x.op.operands[0], y, steps=shorter)
    return None
