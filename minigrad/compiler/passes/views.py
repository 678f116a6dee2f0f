"""Rules of ops that move elements without changing them."""

from __future__ import annotations

from functools import partial
from typing import Any

from minigrad.compiler.ir.patterns import Pattern, X
from minigrad.compiler.ir.predicates import is_full, is_op, number
from minigrad.compiler.ir.program import VIEWS, Value
from minigrad.compiler.ir.rewriter import Rewriter
from minigrad.compiler.ir.typing import result
from minigrad.compiler.ir.view_memory import is_identity, simplified
from minigrad.compiler.passes.algebra import SIMPLER, drops_leading

rewrite, rule = SIMPLER.rewrite, SIMPLER.rule


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


# Parts that are set


@rule("set_slice")
def set_slice(b: Rewriter, x: Value, y: Value, *, steps: Any) -> Value | None:
    """Setting everything is y; setting the same part twice is setting it once."""
    shorter = tuple(simplified(x.shape, list(steps)))
    if all(name == "reshape" for name, _ in shorter):
        return b.op("reshape", y, shape=x.shape)
    if is_op(x, "set_slice") and x.op.params["steps"] == shorter:
        return b.op("set_slice", x.op.operands[0], y, steps=shorter)
    return None


@rule("add", operands=("set_slice",))
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
