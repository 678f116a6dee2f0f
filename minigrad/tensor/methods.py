# ruff: noqa: D102  (the docstrings are those of the functions)
"""The operators and methods of Tensor. They are the functions of primitives themselves, which saves a call."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from minigrad.ops import activation, cumulative, product, reduction, shape
from minigrad.ops import elementwise as e
from minigrad.ops import piecewise_constant as c
from minigrad.tensor.inplace import augmented, note_part


def power(x: Any, y: Any, /) -> Any:
    """x ** y; for y in 2, 0.5, 1 and -1 the faster operation."""
    if (type(y) is int or type(y) is float) and x.dtype.kind == "f":
        if y == 2:
            return e.square(x)
        if y == 0.5:
            return e.sqrt(x)
        if y == 1:
            return e.positive(x)
        if y == -1:
            return e.reciprocal(x)
    return e.power(x, y)


def floor_divide_and_remainder(x: Any, y: Any, /) -> Any:
    """x // y and x % y."""
    return c.floor_divide(x, y), e.remainder(x, y)


def _matrix_transpose(x: Any) -> Any:
    if x.ndim < 2:
        raise ValueError(f"mT of a Tensor of shape {x.shape}: at least two axes are needed")
    return note_part(shape.matrix_transpose(x), x)


def _clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """x limited to [min, max]; the gradient passes where x lies in the closed interval."""
    return e.clip(x, min, max)


def _transposed(x: Any) -> Any:
    if x.ndim != 2:
        raise ValueError(f"T of a Tensor of shape {x.shape}: exactly two axes are needed; use .mT or permute_dims")
    return note_part(shape.matrix_transpose(x), x)


def _reshape(x: Any, *sizes: Any) -> Any:
    """x with another shape, given as numbers or as a tuple; one size may be -1."""
    return shape.reshape(x, sizes[0] if len(sizes) == 1 else sizes)


def _transpose(x: Any, *axes: Any) -> Any:
    """x with its axes in the given order, reversed if none is given."""
    order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
    return shape.permute_dims(x, order or None)


def _flatten(x: Any, start: int = 0) -> Any:
    """x with the axes from `start` on merged into one."""
    return shape.reshape(x, (*x.shape[:start], -1))


def _reflected(function: Any) -> Any:
    return lambda x, y: function(y, x)


def _method_of_numpy(function: Any) -> Any:
    @functools.wraps(function)
    def method(x: Any, *args: Any, **options: Any) -> Any:
        return function(x, *args, **options)

    return method


_OPERATORS = {
    "add": (e.add, "+"), "sub": (e.subtract, "-"), "mul": (e.multiply, "*"), "matmul": (product.matmul, "@"),
    "truediv": (e.divide, "/"), "floordiv": (c.floor_divide, "//"), "mod": (e.remainder, "%"), "pow": (power, "**"),
    "and": (c.bitwise_and, "&"), "or": (c.bitwise_or, "|"), "xor": (c.bitwise_xor, "^"),
    "lshift": (c.bitwise_left_shift, "<<"), "rshift": (c.bitwise_right_shift, ">>"),
}  # fmt: skip
# What tensor.py adds to the class.
MEMBERS: dict[str, Any] = {
    **{f"__{name}__": function for name, (function, _) in _OPERATORS.items()},
    **{f"__r{name}__": _reflected(function) for name, (function, _) in _OPERATORS.items()},
    **{f"__i{name}__": augmented(symbol, function) for name, (function, symbol) in _OPERATORS.items()},
    "__rpow__": _reflected(e.power), "__divmod__": floor_divide_and_remainder,
    "__rdivmod__": _reflected(floor_divide_and_remainder),
    "__eq__": c.equal, "__ne__": c.not_equal, "__lt__": c.less, "__le__": c.less_equal, "__gt__": c.greater,
    "__ge__": c.greater_equal,
    "__neg__": e.negative, "__pos__": e.positive, "__abs__": e.abs, "__invert__": c.bitwise_invert,
    "abs": e.abs, "exp": e.exp, "log": e.log, "sqrt": e.sqrt, "square": e.square, "sin": e.sin, "cos": e.cos,
    "tanh": e.tanh, "sigmoid": activation.sigmoid, "relu": activation.relu,
    "sum": reduction.sum, "mean": reduction.mean, "prod": reduction.prod, "var": reduction.var, "std": reduction.std,
    "max": reduction.max, "min": reduction.min, "all": reduction.all, "any": reduction.any,
    "logsumexp": reduction.logsumexp, "cumsum": cumulative.cumulative_sum, "cumprod": cumulative.cumulative_prod,
    "argmax": reduction.argmax, "argmin": reduction.argmin,
    "swapaxes": shape.swapaxes, "squeeze": shape.squeeze, "expand_dims": shape.expand_dims, "repeat": shape.repeat,
    "astype": shape.astype, "broadcast_to": shape.broadcast_to,
    "reshape": _reshape, "transpose": _transpose, "flatten": _flatten, "clip": _clip,
    # Methods of NumPy's arrays that are the function of the same name.
    **{
        function.__name__: _method_of_numpy(function)
        for function in (
            np.argsort, np.copy, np.diagonal, np.dot, np.nonzero, np.ravel, np.round, np.searchsorted, np.take,
            np.trace,
        )
    },
    "T": property(_transposed, doc="The transpose of a matrix."),
    "mT": property(_matrix_transpose, doc="The transpose of the last two axes."),
}  # fmt: skip


if TYPE_CHECKING:

    class Methods:
        """The members of Tensor that stand in MEMBERS, for type checkers."""

        def _binary(self, other: Any, /) -> Self: ...
        def _unary(self) -> Self: ...
        def _reduction(self, axis: Any = None, *, keepdims: bool = False) -> Self: ...
        def _sum(self, axis: Any = None, *, dtype: Any = None, keepdims: bool = False) -> Self: ...
        def _variance(self, axis: Any = None, *, correction: float = 0, keepdims: bool = False) -> Self: ...
        def _running(self, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Self: ...
        def _place(self, *, axis: int | None = None, keepdims: bool = False) -> Self: ...

        __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __matmul__ = __pow__ = _binary
        __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = _binary
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rmatmul__ = __rpow__ = _binary
        __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = _binary
        __iadd__ = __isub__ = __imul__ = __itruediv__ = __ifloordiv__ = __imod__ = __imatmul__ = __ipow__ = _binary
        __iand__ = __ior__ = __ixor__ = __ilshift__ = __irshift__ = _binary

        def __divmod__(self, other: Any, /) -> tuple[Self, Self]: ...

        __rdivmod__ = __divmod__
        __lt__ = __le__ = __gt__ = __ge__ = _binary
        __eq__ = __ne__ = _binary  # type: ignore[assignment]  # those of object return a bool
        __neg__ = __pos__ = __abs__ = __invert__ = _unary
        abs = exp = log = sqrt = square = sin = cos = tanh = sigmoid = relu = _unary
        max = min = all = any = logsumexp = _reduction
        sum = mean = prod = _sum
        var = std = _variance
        cumsum = cumprod = _running
        argmax = argmin = _place

        @property
        def T(self) -> Self: ...
        @property
        def mT(self) -> Self: ...
        def swapaxes(self, axis1: int, axis2: int) -> Self: ...
        def squeeze(self, axis: Any = None) -> Self: ...
        def expand_dims(self, axis: Any = 0) -> Self: ...
        def repeat(self, repeats: Any, *, axis: int | None = None) -> Self: ...
        def astype(self, dtype: Any, /, *, copy: bool = True) -> Self: ...
        def broadcast_to(self, shape: Any) -> Self: ...
        def reshape(self, *sizes: Any) -> Self: ...
        def transpose(self, *axes: Any) -> Self: ...
        def flatten(self, start: int = 0) -> Self: ...
        def argsort(self, axis: int | None = -1, *, stable: bool | None = None) -> Self: ...
        def copy(self, order: str = "C") -> Self: ...
        def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self: ...
        def dot(self, b: Any) -> Self: ...
        def nonzero(self) -> tuple[Self, ...]: ...
        def ravel(self, order: str = "C") -> Self: ...
        def round(self, decimals: int = 0) -> Self: ...
        def searchsorted(self, v: Any, side: str = "left", sorter: Any = None) -> Self: ...
        def take(self, indices: Any, axis: int | None = None) -> Self: ...
        def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self: ...
        def clip(self, min: Any = None, max: Any = None) -> Self: ...
