"""The shape and dtype that NumPy gives to the value of each op, and the checker of programs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import REDUCTIONS, UFUNCS, VIEWS, ArgSlot, Buffer, Literal, Op, Program, Value

Result = tuple[tuple[int, ...], Any]
Location = tuple[int, Op] | str  # number and op, or the text


def make(name: str, *ins: Value | Literal, **params: Any) -> Op:
    """An op whose value has the shape and dtype that NumPy gives it."""
    return Op(name, ins, params, [result(name, ins, params)])


def result(name: str, ins: tuple[Any, ...], params: dict[str, Any]) -> Result:
    """The shape and dtype of an op's value.

    Raises:
        ValueError: where NumPy raises it, as for shapes that do not broadcast.
        TypeError: where NumPy raises it, as for a ufunc without a loop for the dtypes.
    """
    if name in UFUNCS:
        shapes = {_shape(x) for x in ins}
        return shapes.pop() if len(shapes) == 1 else broadcast(*shapes), loop(name, tuple(map(kind, ins)))[-1]
    if name in REDUCTIONS:
        return reduced(ins[0].shape, params["axes"]), _reduced_dtype(name, ins[0].dtype)
    return RESULTS[name](*ins, **params)


def kind(x: Value | Literal) -> Any:
    """What promotion depends on: the dtype of a value, the type of a literal."""
    return x.dtype if isinstance(x, Value) else type(x)


broadcast = lru_cache(maxsize=4096)(np.broadcast_shapes)  # asked several times for each op by each pass


@lru_cache(maxsize=4096)
def loop(name: str, kinds: tuple[Any, ...]) -> tuple[np.dtype[Any], ...]:
    """The dtypes of NumPy's inner loop: those to which the operands are converted, then the value's."""
    weak = [np.dtype(bool) if k is bool else k for k in kinds]
    if all(isinstance(k, type) for k in weak):
        weak = [np.dtype(k) for k in weak]
    return UFUNCS[name].resolve_dtypes((*weak, None))


@lru_cache(maxsize=512)
def _reduced_dtype(name: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    return REDUCTIONS[name].reduce(np.ones(1, dtype), keepdims=True).dtype


def reduced(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with size 1 along the axes."""
    if not axes or list(axes) != sorted(set(axes)) or axes[0] < 0 or axes[-1] >= len(shape):
        raise ValueError(f"axes {axes} of shape {shape}")
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def sliced(shape: tuple[int, ...], bounds: tuple[tuple[int, int | None, int], ...]) -> tuple[int, ...]:
    """The shape of a slice."""
    if len(bounds) != len(shape):
        raise ValueError(f"bounds {bounds} of shape {shape}")
    return tuple(len(range(*slice(*b).indices(n))) for n, b in zip(shape, bounds, strict=True))


def step_shape(shape: tuple[int, ...], step: tuple[str, Any]) -> tuple[int, ...]:
    """The shape after a view."""
    name, param = step
    if name == "reshape":
        if math.prod(param) != math.prod(shape):
            raise ValueError(f"reshape of {shape} to {param}")
        return param
    if name == "transpose":
        if sorted(param) != list(range(len(shape))):
            raise ValueError(f"axes {param} of shape {shape}")
        return tuple(shape[k] for k in param)
    return sliced(shape, param)


def indexed(shape: tuple[int, ...], index: tuple[Any, ...], arrays: tuple[Value, ...]) -> tuple[int, ...]:
    """The shape of x[index]."""
    x = np.broadcast_to(np.zeros((), bool), shape)  # has the shape, and no memory of its own
    zeros = [np.zeros(a.shape, np.intp) for a in arrays]
    part: tuple[int, ...] = x[real_index(index, zeros)].shape
    return part


def real_index(index: tuple[Any, ...], arrays: Any) -> tuple[Any, ...]:
    """An index as NumPy takes it, with arrays instead of their slots."""
    return tuple(arrays[p.k] if isinstance(p, ArgSlot) else slice(*p) if isinstance(p, tuple) else p for p in index)


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if isinstance(x, Value) else ()


def _where(c: Any, x: Any, y: Any) -> Result:
    if kind(c) not in (np.dtype(bool), bool):
        raise TypeError(f"where with a condition that is not bool but {kind(c)}")
    kinds = [k if isinstance(k, np.dtype) else k(0) for k in (kind(x), kind(y))]
    return broadcast(_shape(c), _shape(x), _shape(y)), np.result_type(*kinds)


def _broadcast(x: Value, *, shape: tuple[int, ...]) -> Result:
    if broadcast(x.shape, shape) != shape:
        raise ValueError(f"broadcast of {x.shape} to {shape}")
    return shape, x.dtype


def _matmul(x: Value, y: Value) -> Result:
    if not x.ndim or not y.ndim or x.shape[-1] != y.shape[-2 if y.ndim > 1 else 0]:
        raise ValueError(f"matmul of {x.shape} and {y.shape}")
    lead = broadcast(x.shape[:-2], y.shape[:-2])
    shape = (*lead, *x.shape[-2:-1], *(y.shape[-1:] if y.ndim > 1 else ()))
    return shape, np.matmul.resolve_dtypes((x.dtype, y.dtype, None))[-1]


def _set_slice(x: Value, y: Value, *, steps: tuple[Any, ...]) -> Result:
    shape = x.shape
    for step in steps:
        shape = step_shape(shape, step)
    if (y.shape, y.dtype) != (shape, x.dtype):
        raise ValueError(f"set_slice to {y.shape} {y.dtype} of a part that is {shape} {x.dtype}")
    return x.shape, x.dtype


def _concatenate(*arrays: Value, axis: int) -> Result:
    first = arrays[0].shape
    for x in arrays:
        if x.shape[:axis] != first[:axis] or x.shape[axis + 1 :] != first[axis + 1 :]:
            raise ValueError(f"concatenate of {first} and {x.shape} along axis {axis}")
    total = sum(x.shape[axis] for x in arrays)
    return (*first[:axis], total, *first[axis + 1 :]), np.result_type(*(x.dtype for x in arrays))


def _scatter(x: Value, y: Any, *arrays: Value, index: Any, how: str) -> Result:
    shape = indexed(x.shape, index, arrays)
    if how not in ("set", "add") or np.broadcast_shapes(shape, _shape(y)) != shape:
        raise ValueError(f"scatter ({how}) of {_shape(y)} to a part of shape {shape}")
    return x.shape, x.dtype


RESULTS: dict[str, Callable[..., Result]] = {
    "input": lambda *, buffer: (buffer.shape, buffer.dtype),
    "full": lambda *, shape, dtype, value: (shape, dtype),
    "erf": lambda x: (x.shape, x.dtype),
    "normal_cdf": lambda x: (x.shape, x.dtype),
    "where": _where,
    "cast": lambda x, *, dtype: (_shape(x), dtype),
    "broadcast": _broadcast,
    "matmul": _matmul,
    "convolution": lambda x, y, *, function, settings, shape: (shape, np.result_type(x.dtype, y.dtype)),
    "reshape": lambda x, *, shape: (step_shape(x.shape, ("reshape", shape)), x.dtype),
    "transpose": lambda x, *, axes: (step_shape(x.shape, ("transpose", axes)), x.dtype),
    "slice": lambda x, *, bounds: (step_shape(x.shape, ("slice", bounds)), x.dtype),
    "set_slice": _set_slice,
    "concatenate": _concatenate,
    "gather": lambda x, *arrays, index: (indexed(x.shape, index, arrays), x.dtype),
    "scatter": _scatter,
    "copy": lambda x: (x.shape, x.dtype),
}
OPAQUE = frozenset({"random", "call"})


class Malformed(AssertionError):
    """A program breaks a rule of program.py."""


def check(program: Program) -> Program:
    """The program itself, if it keeps the rules of program.py.

    Raises:
        Malformed: it does not. The message names the op.
    """
    buffers = set(program.buffers)
    defined: set[Value] = set()
    read: set[Buffer] = set()
    for at in enumerate(program.ops, 1):
        _, op = at
        for x in op.ins:
            if isinstance(x, Value):
                _require(x in defined, at, "an operand is not computed before it:", x)
            else:
                is_literal = type(x) in (bool, int, float, complex)
                _require(is_literal, at, "an operand is neither a value nor a literal:", x)
        for out in op.outs:
            _require(out.op is op, at, "the value belongs to another op:", out.op)
            _require(out not in defined, at, "the value is computed twice:", out)
            _require({int}.issuperset(map(type, out.shape)), at, "a size is not an int in the shape", out.shape)
        _check_op(at, op)
        if op.name == "input":
            buffer = op.params["buffer"]
            _require(buffer in buffers, at, "not a buffer of the program:", buffer)
            _require(buffer not in read, at, "two inputs read", buffer)
            _require(buffer.kind != "kept", at, "there is no content at the beginning in", buffer)
            read.add(buffer)
        if op.name == "random":
            k = op.params["generator"]
            _require(0 <= k < len(program.generators), at, "the program has no generator", k)
        defined.update(op.outs)
    for buffer, v in program.stores.items():
        where = f"store to {buffer.name}"
        _require(buffer in buffers, where, "not a buffer of the program:", buffer)
        _require(v in defined, where, "the program does not compute", v)
        is_same = (v.shape, v.dtype) == (buffer.shape, buffer.dtype)
        _require(is_same, where, "the buffer has another shape or dtype than", v)
    for v in program.outputs:
        _require(v in defined, "output", "the program does not compute", v)
    return program


def _check_op(at: Location, op: Op) -> None:
    if op.name == "kernel":
        kernel = op.params["kernel"]
        is_same = all((x.size, x.dtype) == (v.size, v.dtype) for x, v in zip(op.operands, kernel.ins, strict=True))
        is_same = is_same and all(x.shape == v.shape for x, v in zip(op.outs, kernel.outs, strict=True))
        _require(is_same, at, "the kernel takes other shapes or dtypes:", kernel.ins)
        return
    if op.name == "check":
        _require(not op.outs and len(op.operands) == 1, at, "a check has one operand and no value, not", op.ins)
        _require(op.operands[0].size > 0, at, "there is no element to check in", op.operands[0])
        _require(op.params["low"] <= op.params["high"], at, "the range is empty:", op.params)
        return
    if op.name in OPAQUE:
        _require(op.name != "random" or len(op.outs) == 1, at, "random numbers are one value, not", op.outs)
        return
    try:
        shape, dtype = result(op.name, op.ins, op.params)
    except KeyError as error:
        raise Malformed(f"{_place(at)}: unknown op or missing parameter {error}") from error
    except (TypeError, ValueError, IndexError) as error:
        raise Malformed(f"{_place(at)}: {error}") from error
    is_same = (op.out.shape, op.out.dtype) == (shape, dtype)
    _require(is_same, at, "NumPy gives another shape or dtype:", (op.out, shape, dtype))
    if op.name in VIEWS:
        _require(len(op.operands) == 1, at, "a view has one operand, not", op.ins)


def _require(condition: bool, at: Location, problem: str, about: Any) -> None:
    if not condition:
        raise Malformed(f"{_place(at)}: {problem} {about}")


def _place(at: Location) -> str:
    return at if isinstance(at, str) else f"op {at[0]}, {at[1].name}"
