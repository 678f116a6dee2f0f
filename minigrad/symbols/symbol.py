"""An array that records what is computed with it as an expression.

A rule runs on a Symbol as on any array, and the result is the rule as a formula. A Symbol has an expression, a shape
and a dtype, but no values, so the result cannot depend on values. Shape and dtype of a result are those that NumPy
gives for arrays of ones.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from minigrad.engine.intercept import Layer, intercept
from minigrad.engine.primitive import DECLARED, Primitive
from minigrad.engine.tape_text import brief
from minigrad.symbols.expression import Call, Expression, Name, Number, constant
from minigrad.util.duck_array import DuckArray, arrays_in, map_arrays

REDUCTIONS: dict[Any, str] = {
    np.add: "sum",
    np.multiply: "prod",
    np.maximum: "max",
    np.minimum: "min",
    np.logical_and: "all",
    np.logical_or: "any",
}
FILLED = {np.zeros_like: 0, np.ones_like: 1}  # new arrays with known elements
NUMBERS_ARE_OPERANDS = ("where", "clip")  # functions whose numbers appear in the formula, as their arrays do


class Symbol(DuckArray):
    """An array known by its expression, shape and dtype."""

    __slots__ = ("_ones", "expression")

    def __init__(self, expression: Expression, shape: tuple[int, ...] = (), dtype: Any = np.float64) -> None:
        self.expression = expression
        self._ones = np.broadcast_to(np.ones((), dtype), shape)

    shape = property(lambda self: self._ones.shape)
    dtype = property(lambda self: self._ones.dtype)
    mT = property(lambda self: like(Call("matrix_transpose", (self.expression,)), self._ones.mT))

    def __repr__(self) -> str:
        return f"Symbol({self.expression}, {self.shape}, {self.dtype})"

    def astype(self, dtype: Any, copy: bool = True) -> Symbol:
        """The symbol with another dtype."""
        if np.dtype(dtype) == self.dtype:
            return self
        return Symbol(Call("astype", (self.expression,), (str(np.dtype(dtype)),)), self.shape, dtype)

    def __getitem__(self, index: Any) -> Symbol:
        return like(_getitem(self.expression, index), self._ones[index])

    def __setitem__(self, index: Any, value: Any) -> None:
        self.mg_refuse("__setitem__")

    def __iter__(self) -> Any:
        return self.mg_refuse("__iter__")

    def mg_compute(self, function: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call as an expression, with the shape and dtype of its result."""
        if isinstance(function, np.ufunc):
            return _ufunc_call(function, method, args, kwargs)
        value = evaluated(function, args, kwargs)
        if not isinstance(value, (np.ndarray, np.generic)):
            return value
        if function in FILLED:
            return like(Number(FILLED[function]), value)
        if function is np.full_like:
            return like(expression_of(args[1]), value)
        if function is np.copy:
            return self
        op = function.__name__
        operands = args if op in NUMBERS_ARE_OPERANDS else arrays_in([args, kwargs])
        return _function_call(op, operands, _diagonal_offset(op, args, kwargs), value)

    def mg_refuse(self, conversion: str) -> Any:
        """Symbols have no values.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{conversion}: a symbol has no value. Write the rule with NumPy's functions, without looking at numbers"
        )


def _ufunc_call(ufunc: np.ufunc, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Symbol:
    if any(part is not None for part in kwargs.pop("out", ())):
        raise TypeError(f"np.{ufunc.__name__}(out=...): a symbol cannot be written to")
    operands = tuple(map(expression_of, args))
    if method == "__call__":
        return like(Call(ufunc.__name__, operands), _ufunc_of_ones(ufunc, _ones(args)))
    if method not in ("reduce", "accumulate"):
        raise TypeError(f"np.{ufunc.__name__}.{method} has no formula")
    value = getattr(ufunc, method)(*_ones(args), **kwargs)
    axis = kwargs.get("axis", 0)
    if method == "accumulate":
        return like(Call(f"cum{REDUCTIONS[ufunc]}", operands), value)
    if axis == ():
        return like(operands[0], value)
    details = () if axis is None else (f"axis={_axis(axis)}",)
    return like(Call(REDUCTIONS.get(ufunc, f"{ufunc.__name__}.reduce"), operands, details), value)


def like(expression: Expression, value: Any) -> Symbol:
    """A symbol with the shape and dtype of a value."""
    value = np.asarray(value)
    return Symbol(expression, value.shape, value.dtype)


def expression_of(x: Any) -> Expression:
    """The expression of an operand: the value of a number, the name of a known constant array."""
    if isinstance(x, Symbol):
        return x.expression
    if isinstance(x, (bool, int, float)):
        return constant(x)
    x = np.asarray(x)
    if x.ndim == 0:
        return constant(x.item())
    if x.ndim == 1 and x.size > 1 and np.array_equal(x, np.arange(x.size)):
        return Name(f"0…{x.size - 1}")
    if x.ndim == 2 and x.shape[0] == x.shape[1] and x.shape[0] > 1 and np.array_equal(x, np.eye(len(x))):
        return Name("I")
    return constant(x.flat[0].item()) if x.size == 1 else Name("const")


def intercepting() -> AbstractContextManager[None]:
    """Within the block, a primitive composed of several NumPy functions becomes one call with its own name.

    Otherwise the symbols would show the NumPy functions that it calls, and it may write into arrays. Calls on arrays do
    not change.
    """
    return intercept(_Formulas())


class _Formulas(Layer):
    """Answers for a composed primitive if one of its operands is a symbol."""

    def __call__(
        self, p: Primitive, call_next: Callable[..., Any], operands: tuple[Any, ...], params: dict[str, Any]
    ) -> Any:
        """A call of the primitive as a formula, or its value."""
        arrays = operands[0] if p.sequence else operands
        is_composed = p in DECLARED and not isinstance(p.function, np.ufunc)
        if not is_composed or not any(isinstance(x, Symbol) for x in arrays):
            return call_next(*operands, **params)
        return primitive_call(p, operands, params)


def primitive_call(p: Primitive, operands: Any, params: dict[str, Any]) -> Any:
    """A primitive applied to symbols: a symbol, or a tuple of them for several outputs."""
    value = evaluated(p.function, operands, params)
    arrays = operands[0] if p.sequence else operands
    if p.outputs:
        call = _function_call(p.name, arrays, _details(params), value[0]).expression
        return tuple(like(Call("select", (call,), (name,)), x) for name, x in zip(p.outputs, value, strict=True))
    if p.name == "getitem":
        return like(_getitem(expression_of(operands[0]), params["index"]), value)
    return _function_call(p.name, arrays, _details(params), value)


def _function_call(op: str, operands: Any, details: tuple[str, ...], value: Any) -> Symbol:
    """A call; the operand itself if the call only adds or removes axes of size 1."""
    operands = tuple(operands)
    x = operands[0]
    if op == "reshape" and _without_ones(x.shape) == _without_ones(np.shape(value)):
        return like(expression_of(x), value)
    return like(Call(op, tuple(map(expression_of, operands)), details), value)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _details(params: dict[str, Any]) -> tuple[str, ...]:
    """The parameters that change what is computed, not only the axes."""
    details = [_index(params["index"])] if "index" in params else []
    if "spec" in params:
        details.append(f'"{params["spec"]}"')
    if params.get("k"):
        details.append(str(params["k"]))
    if "dtype" in params:
        details.append(str(np.dtype(params["dtype"])))
    return tuple(details)


def _diagonal_offset(op: str, args: Any, kwargs: Any) -> tuple[str, ...]:
    if op in ("tril", "triu") and (k := args[1] if len(args) > 1 else kwargs.get("k", 0)):
        return (str(k),)
    return ()


class Index(tuple[Any, ...]):
    """An example of an index; formulas show it as "index"."""

    __slots__ = ()


def _index(index: Any) -> str:
    return "index" if isinstance(index, Index) else brief(index)


def _getitem(x: Expression, index: Any) -> Expression:
    """x[index]; x itself if the index selects everything."""
    parts = index if isinstance(index, tuple) else (index,)
    if not isinstance(index, Index) and all(
        p is Ellipsis or (isinstance(p, slice) and p == slice(None)) for p in parts
    ):
        return x
    text = _index(index)
    return Call("getitem", (x,), (text[1:-1].rstrip(",") if text.startswith("(") else text,))


def _axis(axis: Any) -> str:
    return str(axis[0]) if isinstance(axis, tuple) and len(axis) == 1 else str(axis)


def _ufunc_of_ones(ufunc: np.ufunc, operands: tuple[Any, ...]) -> Any:
    """The result of a ufunc for arrays of ones, without computing every element."""
    with np.errstate(all="ignore"):
        if ufunc is np.matmul:
            x, y = operands
            return np.matmul(x[..., :0], y[:0] if y.ndim == 1 else y[..., :0, :])
        if ufunc.signature is not None:
            return ufunc(*operands)
        elements = [x if np.ndim(x) == 0 else np.ones((), x.dtype) for x in operands]
        return np.broadcast_to(ufunc(*elements), np.broadcast_shapes(*map(np.shape, operands)))


def evaluated(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The result for arrays of ones instead of symbols; for identity matrices if ones have no inverse or factors."""
    with np.errstate(all="ignore"):
        try:
            return function(*_ones(tuple(args)), **_ones(kwargs))
        except np.linalg.LinAlgError:
            return function(*_identities(tuple(args)), **_identities(kwargs))


def _ones(x: Any) -> Any:
    return map_arrays(lambda symbol: symbol._ones, Symbol, x)


def _identities(x: Any) -> Any:
    return map_arrays(lambda symbol: _identity(symbol._ones), Symbol, x)


def _identity(ones: Any) -> Any:
    return np.broadcast_to(np.eye(*ones.shape[-2:], dtype=ones.dtype), ones.shape) if ones.ndim > 1 else ones
