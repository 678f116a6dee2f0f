"""Rules of what moves elements without changing them."""

from __future__ import annotations

from typing import Any

from minigrad.compiler.builder import Builder, rule
from minigrad.compiler.memory import is_identity, simplified
from minigrad.compiler.program import Value
from minigrad.compiler.rules import result
from minigrad.compiler.terms import is_full, is_op, number


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
