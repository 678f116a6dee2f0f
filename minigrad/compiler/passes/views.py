"""Rules of what moves elements without changing them."""

from __future__ import annotations

from typing import Any

from minigrad.compiler.ir.builder import Builder, rule
from minigrad.compiler.ir.predicates import is_full, is_op, number
from minigrad.compiler.ir.program import Value
from minigrad.compiler.ir.typing import result
from minigrad.compiler.ir.view_memory import is_identity, simplified


@rule("reshape")
def reshape(b: Builder, x: Value, *, shape: tuple[int, ...]) -> Value | None:
    """A reshape of a reshape, a constant, or into the shape that is there."""
    if x.shape == shape:
        return x
    if is_full(x):
        return b.op("full", shape=shape, dtype=x.dtype, value=number(x))
    if is_op(x, "reshape"):
        return b.op("reshape", x.op.operands[0], shape=shape)
    return None


@rule("transpose")
def transpose(b: Builder, x: Value, *, axes: tuple[int, ...]) -> Value | None:
    """A transpose of a transpose, a constant, of axes of size 1, or none at all."""
    if is_identity(x.shape, ("transpose", axes)):
        return x
    if is_full(x):
        return b.op("full", shape=tuple(x.shape[k] for k in axes), dtype=x.dtype, value=number(x))
    if is_op(x, "transpose"):
        inner = x.op.params["axes"]
        return b.op("transpose", x.op.operands[0], axes=tuple(inner[k] for k in axes))
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
    if is_op(x, "put") and x.op.params["steps"][0] == ("slice", bounds):
        y = x.op.operands[1]
        steps = x.op.params["steps"][1:]
        if all(name == "reshape" for name, _ in steps):
            return b.op("reshape", y, shape=shape)
    if is_op(x, "concatenate"):
        return _part(b, x, bounds)
    return None


def _part(b: Builder, x: Value, bounds: Any) -> Value | None:
    axis, start = x.op.params["axis"], 0
    low, high, step = bounds[axis]
    if step != 1:
        return None
    for part in x.op.operands:
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
    if all(name == "reshape" for name, _ in kept):
        return b.op("reshape", y, shape=x.shape)
    if is_op(x, "put") and x.op.params["steps"] == kept:
        return b.op("put", x.op.operands[0], y, steps=kept)
    return None


@rule("add")
def added_parts(b: Builder, x: Any, y: Any) -> Value | None:
    """Zeros with p in one place + zeros with q in another: zeros with both, or p and q side by side if nothing is left.

    So do the gradients of slices of an array, such as the gates of an LSTM, come together.
    """
    mine, others = placed(x), placed(y)
    if not mine or not others or (x.shape, x.dtype) != (y.shape, y.dtype):
        return None
    if not all(are_apart(p[0][1], q[0][1]) for p, _ in mine for q, _ in others):
        return None
    whole = _side_by_side(b, x.shape, [*mine, *others])
    if whole is not None:
        return whole
    for steps, part in others:
        x = b.op("put", x, part, steps=steps)
    return x  # type: ignore[no-any-return]


def placed(x: Any) -> list[tuple[Any, Value]]:
    """The parts, each with its steps, that were put into zeros to make x; none if x is something else."""
    found = []
    while is_op(x, "put"):
        steps = x.op.params["steps"]
        if steps[0][0] != "slice" or any(step != 1 or stop is None for _, stop, step in steps[0][1]):
            return []
        found.append((steps, x.op.operands[1]))
        x = x.op.operands[0]
    return found[::-1] if is_full(x) and number(x) == 0 else []


def are_apart(a: Any, b: Any) -> bool:
    """Whether two slices have no element in common."""
    return any(p[1] <= q[0] or q[1] <= p[0] for p, q in zip(a, b, strict=True))


def _side_by_side(b: Builder, shape: tuple[int, ...], parts: list[tuple[Any, Value]]) -> Value | None:
    """Parts that fill the shape along one axis, as a concatenation."""
    parts = sorted(parts, key=lambda part: part[0][0][1])
    cut = [k for k, n in enumerate(shape) if parts[0][0][0][1][k] != (0, n, 1)]
    if len(cut) != 1 or any(name != "reshape" for steps, _ in parts for name, _ in steps[1:]):
        return None
    (axis,), end, given = cut, 0, []
    for steps, part in parts:
        bounds = list(steps[0][1])
        given.append(b.op("reshape", part, shape=tuple(stop - start for start, stop, _ in bounds)))
        start, after, _ = bounds[axis]
        bounds[axis] = (0, shape[axis], 1)
        if start != end or bounds != [(0, n, 1) for n in shape]:
            return None
        end = after
    return b.op("concatenate", *given, axis=axis) if end == shape[axis] else None


@rule("concatenate")
def concatenate(b: Builder, *arrays: Value, axis: int) -> Value | None:
    """A concatenation of one array."""
    return arrays[0] if len(arrays) == 1 else None
