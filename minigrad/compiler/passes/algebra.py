"""Rules of arithmetic: constants, neutral elements, signs, products and powers.

Results may differ from the step's own in the last digits, as x · (1/s) differs from x / s. A product with 0 is kept,
because it may be NaN. So is x - x. The sum of deviations from a mean is 0 times the mean, for the same reason. With it
the second term of dl/dμ in batch normalization's derivation needs no pass over the batch, and a bias before it gets the
gradient 0 that it has, instead of what rounding leaves.

With constants taken out of sums (Σ c x = c Σ x), small factors multiplied first ((x r) s = x (r s)), and x / s = x
(1/s), the terms of a derivation that was composed op by op become the same as those of one written by hand.

Elementwise ops take their operands as they are before a broadcast, or before axes of size 1 are added or dropped, so
that axes line up and equal ops are found to be equal.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from minigrad.compiler.ir.patterns import LITERAL, C, K, P, Pattern, Q, S, X, Y
from minigrad.compiler.ir.predicates import TINY, Operand, is_float, is_full, is_op, is_scale, lower_bound, number, size
from minigrad.compiler.ir.program import UFUNCS, Value
from minigrad.compiler.ir.rewriter import Rewriter, Rules
from minigrad.compiler.ir.typing import result

SIMPLER = Rules()  # filled by algebra.py and sums_and_views.py, in this order
rewrite = SIMPLER.rewrite
SMALLEST = 1e-12  # a divisor becomes a factor if it is never smaller
MODERATE = 4096.0  # factors by which no number overflows that is otherwise harmless
INTEGERS_AS_FLOATS = frozenset({"add", "subtract", "multiply", "divide", "maximum", "minimum", "greater", "less"})

# Every elementwise op


def computed(name: str, b: Rewriter, *ins: Operand, **params: Any) -> Value | None:
    """An op on constants is a constant."""
    for x in ins:
        if number(x) is None:
            return None
    shape, dtype = result(name, ins, params)
    compute: dict[str, Any] = {**UFUNCS, "where": np.where, "cast": lambda x: np.asarray(x).astype(dtype)}
    with np.errstate(all="ignore"):
        value = compute[name](*[np.asarray(number(x), x.dtype) if isinstance(x, Value) else x for x in ins])
    return b.raw("full", shape=shape, dtype=np.dtype(dtype), value=np.asarray(value, dtype).item())


def on_simpler(name: str, b: Rewriter, *ins: Operand, **params: Any) -> Value | None:
    """The op on simpler operands, as long as shape and dtype of the result stay the same.

    Constant arrays become literals. Python integers beside floating-point values become floats, so that 1 / s and
    1.0 / s are the same. Values are taken before they are repeated, or leading axes of size 1 are added or dropped.
    """
    has_floats = name in INTEGERS_AS_FLOATS and any(isinstance(x, Value) and x.dtype.kind == "f" for x in ins)

    def simpler(x: Operand) -> Operand | None:
        if type(x) is int:
            return float(x) if has_floats and abs(x) < 2**24 else None
        if is_full(x):
            return number(x)
        return x.op.operands[0] if is_op(x, "broadcast") or drops_leading(x) else None

    operands = ins
    for k in range(len(ins)):
        while (x := simpler(operands[k])) is not None:
            fewer = (*operands[:k], x, *operands[k + 1 :])
            has_values = any(isinstance(y, Value) for y in fewer)
            if not has_values or result(name, fewer, params) != result(name, ins, params):
                break
            operands = fewer
    return b.op(name, *operands, **params) if operands is not ins else None


def drops_leading(x: Operand) -> TypeGuard[Value]:
    """Whether x is a reshape that drops leading axes of size 1, as (1, C) to (C,)."""
    if not is_op(x, "reshape"):
        return False
    before = x.op.operands[0].shape
    extra = len(before) - x.ndim
    return extra > 0 and before == (1,) * extra + x.shape


def before_reshape(name: str, b: Rewriter, *ins: Operand, **params: Any) -> Value | None:
    """f(x.reshape(...)) as f(x).reshape(...), where the reshape drops axes of size 1: axes then line up."""
    values = [x for x in ins if isinstance(x, Value)]
    dropping = [x for x in values if _drops_units(x)]
    if not dropping or len({x.shape for x in values}) > 1:
        return None
    inner = max((x.op.operands[0].shape for x in dropping), key=len)
    if not all(x.size == math.prod(inner) for x in values):
        return None
    wide = [b.op("reshape", x, shape=inner) if isinstance(x, Value) else x for x in ins]
    return b.op("reshape", b.op(name, *wide, **params), shape=values[0].shape)


def _drops_units(x: Value) -> bool:
    if not is_op(x, "reshape"):
        return False
    before = x.op.operands[0].shape
    return len(before) > x.ndim and [n for n in before if n != 1] == [n for n in x.shape if n != 1]


for _name in (*UFUNCS, "where", "cast"):
    SIMPLER.rule(_name, operands=("full", LITERAL))(partial(computed, _name))
    SIMPLER.rule(_name, operands=("full", LITERAL, "broadcast", "reshape"))(partial(on_simpler, _name))
    SIMPLER.rule(_name, operands=("reshape",))(partial(before_reshape, _name))


# Neutral elements


def changes_nothing(k: complex, x: Value) -> bool:
    """Whether x + k is x: of floats k is the negative 0 then, as -0.0 + 0.0 is 0.0."""
    return k == 0 and (x.dtype.kind not in "fc" or (x.dtype.kind == "f" and bool(np.signbit(k))))


rewrite(X + K, lambda x: x, changes_nothing, any_dtype=True)
rewrite(X - K, lambda x: x, lambda k: k == 0 and type(k) is not complex and not np.signbit(k), any_dtype=True)
rewrite(X * 1, lambda x: x, any_dtype=True)
rewrite(X / 1, lambda x: x, any_dtype=True)
rewrite(Pattern("where", (K, P, Q)), lambda k, p, q: p if k else q, any_dtype=True)
rewrite(Pattern("where", (P, X, X)), lambda x: x, any_dtype=True)
rewrite(X.apply("copy"), lambda x: x, any_dtype=True)
rewrite(X.apply("positive"), lambda x: x, any_dtype=True)
rewrite(X.apply("cast"), lambda x: x, lambda x, dtype: x.dtype == dtype, any_dtype=True)

# Signs move outward

rewrite(S + -Y, lambda s, y: s - y)
rewrite(S - -Y, lambda s, y: s + y)
rewrite(-X - S, lambda x, s: -(x + s))
rewrite(-(-X), lambda x: x)  # noqa: B002
rewrite(-(P - Q), lambda p, q: q - p)
rewrite(-(X * C), lambda x, c: x * -c)
rewrite(-(X / C), lambda x, c: x / -c)
rewrite(-(C / X), lambda x, c: -c / x)
rewrite(X * -1, lambda x: -x)
rewrite(-X * S, lambda x, s: -(x * s))
rewrite(-X / S, lambda x, s: -(x / s))
rewrite(S / -Y, lambda s, y: -(s / y))

# Equal terms

rewrite(X + X, lambda x: x * 2.0)
rewrite((S + X) + X, lambda s, x: s + x * 2.0)

# Small factors first, quotients as products


def are_smaller(p: Operand, q: Operand, s: Operand) -> bool:
    """Whether (p q) s is better computed as p (q s): p is larger than q and s, and no number overflows by that."""
    if not (size(q) < size(p) and size(s) < size(p) and is_float(p, q)) or (is_scale(q) and is_scale(s)):
        return False
    if isinstance(q, Value) or isinstance(s, Value):
        return True
    return TINY <= abs(q * s) <= 1 / TINY and _is_safe(q, s)


def _is_safe(p: complex, q: complex) -> bool:
    """Whether x (p q) overflows or underflows only where (x p) q does.

    A loss in float32 that is multiplied by 65536, and gradients that are divided by it later, overflow where they do in
    an eager step. 1e300 · 1e300 and 1e-300 · 1e-300 are not multiplied either: x may be such that (x p) q is finite.
    """
    same_side = (abs(p) >= 1) is (abs(q) >= 1)
    return same_side or all(1 / MODERATE <= abs(c) <= MODERATE for c in (p, q))


rewrite((P * Q) * S, lambda p, q, s: p * (q * s), are_smaller)
rewrite(X / C, lambda x, c: x * (1 / c), lambda c: bool(c) and bool(np.isfinite(1 / c)))
rewrite(X / Y, lambda x, y: x * (1.0 / y), lambda x, y: y.size < x.size and lower_bound(y) >= SMALLEST)  # 1/y is finite
rewrite(X.apply("reciprocal"), lambda x: 1.0 / x)
rewrite(X.apply("square"), lambda x: x * x, lambda x: x.dtype.kind != "b", any_dtype=True)

# Powers that are products and roots


def has_same_root(x: Value) -> bool:
    """Whether NumPy's power and root are equal: in float16 they differ for -inf and -0.0."""
    return x.dtype.itemsize > 2 or lower_bound(x) >= 0


rewrite(X**1, lambda x: x)
rewrite(X**2, lambda x: x * x)
rewrite(X**3, lambda x: x * x * x)
rewrite(X**0.5, lambda x: x.apply("sqrt"), has_same_root)
rewrite(X**-1, lambda x: 1.0 / x)
rewrite(X**-2, lambda x: 1.0 / (x * x))

# Parts of zeros


@SIMPLER.rule("add", operands=("set_slice",))
def add_parts(b: Rewriter, x: Any, y: Any) -> Value | None:
    """Zeros with p in one place + zeros with q in another: zeros with both, or p and q side by side if nothing is left.

    So do the gradients of slices of an array, such as the gates of an LSTM, come together.
    """
    parts, more = parts_of(x), parts_of(y)
    if not parts or not more or (x.shape, x.dtype) != (y.shape, y.dtype):
        return None
    if not all(are_disjoint(p[0][1], q[0][1]) for p, _ in parts for q, _ in more):
        return None
    concatenation = _side_by_side(b, x.shape, [*parts, *more])
    if concatenation is not None:
        return concatenation
    for steps, part in more:
        x = b.op("set_slice", x, part, steps=steps)
    return x


def parts_of(x: Any) -> list[tuple[Any, Value]]:
    """The parts that were set in zeros to make x, each with its steps; none if x is something else."""
    parts = []
    while is_op(x, "set_slice"):
        steps = x.op.params["steps"]
        if steps[0][0] != "slice" or any(step != 1 or stop is None for _, stop, step in steps[0][1]):
            return []
        parts.append((steps, x.op.operands[1]))
        x = x.op.operands[0]
    return parts[::-1] if is_full(x) and number(x) == 0 else []


def are_disjoint(a: Any, b: Any) -> bool:
    """Whether two slices have no element in common."""
    return any(p[1] <= q[0] or q[1] <= p[0] for p, q in zip(a, b, strict=True))


def _side_by_side(b: Rewriter, shape: tuple[int, ...], parts: list[tuple[Any, Value]]) -> Value | None:
    """Parts that fill the shape along one axis, as a concatenation."""
    parts = sorted(parts, key=lambda part: part[0][0][1])
    cut = [k for k, n in enumerate(shape) if parts[0][0][0][1][k] != (0, n, 1)]
    if len(cut) != 1 or any(name != "reshape" for steps, _ in parts for name, _ in steps[1:]):
        return None
    (axis,), end, arrays = cut, 0, []
    for steps, part in parts:
        bounds = list(steps[0][1])
        arrays.append(b.op("reshape", part, shape=tuple(stop - start for start, stop, _ in bounds)))
        start, after, _ = bounds[axis]
        bounds[axis] = (0, shape[axis], 1)
        if start != end or bounds != [(0, n, 1) for n in shape]:
            return None
        end = after
    return b.op("concatenate", *arrays, axis=axis) if end == shape[axis] else None
