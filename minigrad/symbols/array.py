"""An array that writes down what is done to it.

A Symbol answers NumPy's protocols, so a rule runs on it as on any array; what comes out is the rule as a formula.
Besides its expression it has a shape and a dtype, because rules ask for them, but no values: what a rule makes of
them cannot depend on them. An operation's shape and dtype are those that NumPy gives for arrays of ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from minigrad.engine.intercept import Layer, intercept
from minigrad.engine.primitive import DECLARED, Primitive
from minigrad.engine.tape_text import brief
from minigrad.symbols.expression import Call, Expression, Name, Number, number

REDUCED = {
    np.add: "sum",
    np.multiply: "prod",
    np.maximum: "max",
    np.minimum: "min",
    np.logical_and: "all",
    np.logical_or: "any",
}
MADE = {np.zeros_like: 0, np.ones_like: 1}  # new arrays whose elements are known
CHOICES = ("where", "clip")  # functions of NumPy whose numbers are operands too


class Symbol(NDArrayOperatorsMixin):
    """An array known by its expression, shape and dtype."""

    __slots__ = ("_ones", "expression")

    def __init__(self, expression: Expression, shape: tuple[int, ...] = (), dtype: Any = np.float64) -> None:
        self.expression = expression
        self._ones = np.broadcast_to(np.ones((), dtype), shape)

    shape = property(lambda self: self._ones.shape)
    dtype = property(lambda self: self._ones.dtype)
    ndim = property(lambda self: self._ones.ndim)
    size = property(lambda self: self._ones.size)
    T = property(lambda self: np.transpose(self))
    mT = property(lambda self: like(Call("matrix_transpose", (self.expression,)), self._ones.mT))

    def __repr__(self) -> str:
        return f"Symbol({self.expression}, {self.shape}, {self.dtype})"

    def __len__(self) -> int:
        return len(self._ones)

    def astype(self, dtype: Any, copy: bool = True) -> Symbol:
        """The symbol with another dtype."""
        if np.dtype(dtype) == self.dtype:
            return self
        return Symbol(Call("astype", (self.expression,), (str(np.dtype(dtype)),)), self.shape, dtype)

    def __getitem__(self, index: Any) -> Symbol:
        return like(_read(self.expression, index), self._ones[index])

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if any(part is not None for part in options.pop("out", ())):
            raise TypeError(f"np.{ufunc.__name__}(out=...): a symbol cannot be written to")
        operands = tuple(map(expression_of, inputs))
        if method == "__call__":
            return like(Call(ufunc.__name__, operands), _called(ufunc, [_bare(x) for x in inputs]))
        if method in ("reduce", "accumulate"):
            op = REDUCED.get(ufunc, f"{ufunc.__name__}.{method}") if method == "reduce" else f"cum{REDUCED[ufunc]}"
            value = getattr(ufunc, method)(*map(_bare, inputs), **options)
            axis = options.get("axis", 0)
            if axis == () and method == "reduce":
                return like(operands[0], value)
            details = () if axis is None or method == "accumulate" else (f"axis={_axis(axis)}",)
            return like(Call(op, operands, details), value)
        raise TypeError(f"np.{ufunc.__name__}.{method} has no formula")

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        value = evaluated(function, inputs, options)
        if not _is_array(value):
            return value
        if function in MADE:
            return like(Number(MADE[function]), value)
        if function is np.full_like:
            return like(expression_of(inputs[1]), value)
        if function is np.copy:
            return self
        op = function.__name__
        operands = inputs if op in CHOICES else list(_arrays((*inputs, *options.values())))
        return _result(op, operands, _notes(op, inputs, options), value)

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        raise TypeError("a symbol has no value: a rule must be written with NumPy's functions, not depend on numbers")

    __array__ = __float__ = __int__ = __bool__ = __index__ = __complex__ = __iter__ = __setitem__ = _refuse


def like(expression: Expression, value: Any) -> Symbol:
    """A symbol with the shape and dtype of a value."""
    value = np.asarray(value)
    return Symbol(expression, value.shape, value.dtype)


def expression_of(x: Any) -> Expression:
    """The expression of an operand: of a number its value, of an array what it is."""
    if isinstance(x, Symbol):
        return x.expression
    if isinstance(x, (bool, int, float)):
        return number(x)
    x = np.asarray(x)
    if x.ndim == 0:
        return number(x.item())
    if x.ndim == 1 and x.size > 1 and np.array_equal(x, np.arange(x.size)):
        return Name(f"0…{x.size - 1}")
    if x.ndim == 2 and x.shape[0] == x.shape[1] and x.shape[0] > 1 and np.array_equal(x, np.eye(len(x))):
        return Name("I")
    return number(x.flat[0].item()) if x.size == 1 else Name("const")


def intercepting() -> AbstractContextManager[None]:
    """Within, a primitive composed of several NumPy functions meets symbols as one call that bears its name.

    Its function would be seen as what it is made of, and may write into arrays. For arrays nothing changes.
    """
    return intercept(_Formulas())


class _Formulas(Layer):
    """Answers for a composed primitive if there is a symbol among its operands."""

    def __call__(
        self, p: Primitive, call_next: Callable[..., Any], operands: tuple[Any, ...], params: dict[str, Any]
    ) -> Any:
        """A call of the primitive as a formula, or what it computes."""
        given = operands[0] if p.sequence else operands
        is_composed = p in DECLARED and not isinstance(p.function, np.ufunc)
        if not is_composed or not any(isinstance(x, Symbol) for x in given):
            return call_next(*operands, **params)
        return applied(p, operands, params)


def applied(p: Primitive, operands: Any, params: dict[str, Any]) -> Any:
    """What a primitive makes of symbols: one, or a tuple of them for several outputs."""
    value = evaluated(p.function, operands, params)
    given = operands[0] if p.sequence else operands
    if p.outputs:
        whole = _result(p.name, given, _details(params), value[0]).expression
        return tuple(like(Call("select", (whole,), (name,)), x) for name, x in zip(p.outputs, value, strict=True))
    if p.name == "getitem":
        return like(_read(expression_of(operands[0]), params["index"]), value)
    return _result(p.name, given, _details(params), value)


def _result(op: str, operands: Any, details: tuple[str, ...], value: Any) -> Symbol:
    """A call; where nothing but axes of size 1 changes, the operand itself."""
    operands = tuple(operands)
    x = operands[0]
    if op == "reshape" and _stretched(x.shape) == _stretched(np.shape(value)):
        return like(expression_of(x), value)
    return like(Call(op, tuple(map(expression_of, operands)), details), value)


def _stretched(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _details(params: dict[str, Any]) -> tuple[str, ...]:
    """The parameters that say what is computed, not only along which axes."""
    shown = [_index(params["index"])] if "index" in params else []
    if "spec" in params:
        shown.append(f'"{params["spec"]}"')
    if params.get("k"):
        shown.append(str(params["k"]))
    if "dtype" in params:
        shown.append(str(np.dtype(params["dtype"])))
    return tuple(shown)


def _notes(op: str, inputs: Any, options: Any) -> tuple[str, ...]:
    if op in ("tril", "triu") and (k := inputs[1] if len(inputs) > 1 else options.get("k", 0)):
        return (str(k),)
    return ()


def _arrays(given: Any) -> Iterator[Any]:
    """The arrays among arguments, within sequences too."""
    for x in given:
        if isinstance(x, (Symbol, np.ndarray)):
            yield x
        elif isinstance(x, (tuple, list)):
            yield from _arrays(x)


class Index(tuple[Any, ...]):
    """An index that stands for any: shown by its name."""

    __slots__ = ()


def _index(index: Any) -> str:
    return "index" if isinstance(index, Index) else brief(index)


def _read(of: Expression, index: Any) -> Expression:
    """of[index]; the operand itself if the index reads everything."""
    parts = index if isinstance(index, tuple) else (index,)
    if not isinstance(index, Index) and all(
        p is Ellipsis or (isinstance(p, slice) and p == slice(None)) for p in parts
    ):
        return of
    text = _index(index)
    return Call("getitem", (of,), (text[1:-1].rstrip(",") if text.startswith("(") else text,))


def _axis(axis: Any) -> str:
    return str(axis[0]) if isinstance(axis, tuple) and len(axis) == 1 else str(axis)


def _called(ufunc: Any, values: list[Any]) -> Any:
    """What a ufunc makes of arrays of ones, without touching every element."""
    with np.errstate(all="ignore"):
        if ufunc is np.matmul:
            x, y = values
            return np.matmul(x[..., :0], y[:0] if y.ndim == 1 else y[..., :0, :])
        if ufunc.signature is not None:
            return ufunc(*values)
        first = [x if np.ndim(x) == 0 else np.ones((), x.dtype) for x in values]
        return np.broadcast_to(ufunc(*first), np.broadcast_shapes(*map(np.shape, values)))


def evaluated(function: Callable[..., Any], inputs: Any, options: Any) -> Any:
    """What a function makes of arrays of ones; of identities if ones have no inverse or no factors."""
    with np.errstate(all="ignore"):
        try:
            return function(*_bare(tuple(inputs)), **_bare(options))
        except np.linalg.LinAlgError:
            return function(*_bare(tuple(inputs), _identity), **_bare(options, _identity))


def _identity(ones: Any) -> Any:
    return np.broadcast_to(np.eye(*ones.shape[-2:], dtype=ones.dtype), ones.shape) if ones.ndim > 1 else ones


def _bare(x: Any, made: Callable[[Any], Any] = lambda ones: ones) -> Any:
    """Arrays in place of symbols, inside containers too."""
    if isinstance(x, Symbol):
        return made(x._ones)
    if isinstance(x, (tuple, list)) and not hasattr(x, "_fields"):
        return type(x)(_bare(part, made) for part in x)
    if isinstance(x, dict):
        return {k: _bare(v, made) for k, v in x.items()}
    return x


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic))
