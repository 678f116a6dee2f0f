"""Symbolic arrays: arrays with values that also know the term of which they are the value.

The forward function and the rules of the tape run on them, as on any array.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.util.duck_array import ArrayMethods, DuckArray, arrays_in, map_arrays
from minigrad.verify.derive.factors import CannotWrite
from minigrad.verify.derive.term import ONE, Term, names_in
from minigrad.verify.derive.term_algebra import Algebra
from minigrad.verify.derive.term_operations import operation

BRANCHES = "the function looks at its constants, so the lines hold for the branches that it took here"  # a note
REDUCTIONS = {np.add: "sum", np.multiply: "prod", np.maximum: "max", np.minimum: "min", np.logical_or: "any"}
REDUCTIONS |= {np.logical_and: "all"}
BY_FUNCTION = {np.sum: "sum", np.prod: "prod", np.max: "max", np.min: "min", np.any: "any", np.all: "all"}
FILLED = {np.zeros_like: 0, np.ones_like: 1, np.zeros: 0, np.ones: 1}


class Symbolic(DuckArray, ArrayMethods):
    """An array with a term.

    Args:
        algebra: builds the terms.
        value: the array.
        term: what it is. It is changed when the value gets a name.
    """

    __slots__ = ("algebra", "term", "value")
    __array_priority__ = 1000

    def __init__(self, algebra: Algebra, value: Any, term: Term) -> None:
        self.algebra, self.value, self.term = algebra, np.asarray(value), term
        if term.shape != self.value.shape:
            self.term = algebra.fit(term, self.value.shape)

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    flags = property(lambda self: self.value.flags)
    itemsize = property(lambda self: self.value.itemsize)

    def __repr__(self) -> str:
        return f"Symbolic({self.term}, {self.shape})"

    def mg_refuse(self, conversion: str) -> Any:
        """Python may look at values that no gradient flows through, and at numbers for a decision."""
        if conversion == "__array__":
            return self.value
        used = set(names_in(self.term))
        if used - self.algebra.fixed:
            raise CannotWrite("it looks at values that depend on its inputs, as a branch does")
        if used and BRANCHES not in self.algebra.notes:
            self.algebra.notes.append(BRANCHES)
        return getattr(self.value, conversion)()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise CannotWrite("a value is turned into a NumPy array, after which it is only numbers")

    def __iter__(self) -> Any:
        return iter([self[k] for k in range(len(self))])

    def __getitem__(self, index: Any) -> Any:
        plain = map_arrays(lambda s: s.value, Symbolic, index)
        value = self.value[plain]
        return Symbolic(self.algebra, value, getitem(self.algebra, self, index, np.shape(value)))

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """The same term: dtypes are NumPy's affair."""
        return Symbolic(self.algebra, self.value.astype(dtype), self.term)

    def reshape(self, *shape: Any) -> Any:
        """np.reshape."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """np.transpose."""
        return np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def copy(self, order: str = "C") -> Any:
        """The array itself, as nothing writes into it."""
        return self

    def mg_compute(self, function: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The value of a call and its term."""
        a = self.algebra
        if any(hasattr(type(x), "requires_grad") for x in arrays_in([args, kwargs])):  # a Tensor records the call
            return NotImplemented
        if any(part is not None for part in np.atleast_1d(np.array(kwargs.get("out"), object))):
            raise CannotWrite(f"np.{function.__name__}(out=...) writes into an array")
        kwargs = {k: v for k, v in kwargs.items() if k != "out"}
        plain_args, plain_kwargs = map_arrays(lambda s: s.value, Symbolic, (args, kwargs))
        with np.errstate(all="ignore"):
            call = function if method == "__call__" else getattr(function, method)
            value = call(*plain_args, **plain_kwargs)
        if isinstance(function, np.ufunc):
            return Symbolic(a, value, _ufunc(a, function, method, args, kwargs, np.shape(value)))
        if not isinstance(value, (np.ndarray, np.generic)):
            if isinstance(value, (tuple, list)) and any(isinstance(x, np.ndarray) for x in value):
                raise CannotWrite(f"np.{function.__name__} returns several arrays")
            return value
        return Symbolic(a, value, _function(a, function, args, kwargs, value))


def term_of(a: Algebra, x: Any) -> Term:
    """The term of an operand."""
    if isinstance(x, Symbolic):
        return x.term
    value = np.asarray(x)
    if value.ndim == 0:
        return a.number(x if isinstance(x, (int, float)) else value.item())
    for known, term in a.arrays:
        if np.array_equal(known, value):
            return term
    if value.size and np.all(value == value.flat[0]):
        return a.fit(a.number(value.flat[0].item()), value.shape)
    if value.ndim == 1 and value.dtype.kind in "iu" and np.array_equal(value, np.arange(value.size)):
        return Term("arange", (a.number(value.size),), (), value.shape)
    if value.ndim == 2 and value.shape[1] == 1 and np.array_equal(value[:, 0], np.arange(len(value))):
        return operation(a, "reshape", (term_of(a, value[:, 0]),), (value.shape,), value.shape)
    if value.ndim == 2 and value.shape[0] == value.shape[1] and np.array_equal(value, np.eye(len(value))):
        return Term("eye", (a.number(len(value)),), (), value.shape)
    if value.size <= 8:
        return Term("array", (), (tuple(value.reshape(-1).tolist()), value.shape), value.shape)
    raise CannotWrite(f"an array of shape {value.shape} is neither an input nor computed from one; make it an input")


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The reduced axes, sorted; all of them for None."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(sorted(k % ndim for k in (axis if isinstance(axis, tuple) else (axis,))))


def _ufunc(a: Algebra, ufunc: Any, method: str, args: Any, kwargs: Any, shape: tuple[int, ...]) -> Term:
    if method == "reduce" and ufunc in REDUCTIONS:
        x = term_of(a, args[0])
        axis = kwargs.get("axis", args[1] if len(args) > 1 else 0)
        return reduction(a, REDUCTIONS[ufunc], x, axes_of(axis, len(x.shape)), shape)
    if method == "accumulate":
        return Term(f"{ufunc.__name__}.accumulate", (term_of(a, args[0]),), (kwargs.get("axis", 0),), shape)
    if method != "__call__":
        raise CannotWrite(f"np.{ufunc.__name__}.{method}")
    terms = tuple(term_of(a, x) for x in args)
    if ufunc is np.matmul:
        return operation(a, "matmul", terms, (), shape)
    name = {"true_divide": "divide", "float_power": "power"}.get(ufunc.__name__, ufunc.__name__)
    return operation(a, name, terms, (), shape)


def reduction(a: Algebra, op: str, x: Term, axes: tuple[int, ...], shape: tuple[int, ...]) -> Term:
    """A reduction, whose axes are then removed if the shape lacks them."""
    left = tuple(1 if k in axes else n for k, n in enumerate(x.shape))
    return operation(a, "reshape", (operation(a, op, (x,), (axes,), left),), (shape,), shape)


def _function(a: Algebra, function: Any, args: Any, kwargs: Any, value: Any) -> Term:  # noqa: PLR0912  (a table)
    shape, name = np.shape(value), function.__name__
    if function in FILLED:
        return a.number(FILLED[function], shape)
    if name in ("isneginf", "isposinf"):
        return a.number(0, shape)
    if function is np.full_like:
        return a.fit(term_of(a, args[1]), shape)
    if function in BY_FUNCTION or function is np.mean:
        x = term_of(a, args[0])
        axes = axes_of(kwargs.get("axis", args[1] if len(args) > 1 else None), len(x.shape))
        total = reduction(a, BY_FUNCTION.get(function, "sum"), x, axes, shape)
        if function is np.mean:
            total = a.times([(total, 1), (a.number(math.prod(x.shape[k] for k in axes)), -1)], ONE, shape)
        return total
    if name in ("reshape", "expand_dims", "squeeze", "ravel", "broadcast_to"):
        op = "broadcast_to" if name == "broadcast_to" else "reshape"
        return operation(a, op, (term_of(a, args[0]),), (shape,), shape)
    if name in ("transpose", "swapaxes", "moveaxis", "matrix_transpose"):
        x = term_of(a, args[0])
        marks = function(np.empty(tuple(range(2, 2 + len(x.shape)))), *args[1:], **kwargs).shape
        return operation(a, "transpose", (x,), (tuple(n - 2 for n in marks),), shape)
    if name == "where" and len(args) == 3:
        return operation(a, "where", tuple(term_of(a, x) for x in args), (), shape)
    if name in ("copy", "asarray", "ascontiguousarray"):
        return term_of(a, args[0])
    if name in ("concatenate", "stack"):
        terms = tuple(term_of(a, x) for x in args[0])
        return Term(name, terms, (kwargs.get("axis", args[1] if len(args) > 1 else 0),), shape)
    if name in ("clip",):
        return Term("clip", tuple(term_of(a, x) for x in args), (), shape)
    if name == "einsum":
        return operation(a, "einsum", tuple(term_of(a, x) for x in args[1:]), (args[0].replace(" ", ""),), shape)
    if name == "eye":
        return Term("eye", (a.number(args[0]),), (), shape)
    arrays = [x for x in args if isinstance(x, (Symbolic, np.ndarray))]
    rest = tuple(x for x in args if not isinstance(x, (Symbolic, np.ndarray)))
    if args[: len(arrays)] != tuple(arrays) and len(arrays) > 1:
        raise CannotWrite(f"np.{name} with these arguments")
    path = f"{function.__module__}.{name}".replace("numpy.", "np.", 1).replace("np.lib.", "np.")
    path = path if path.startswith(("np.linalg.", "np.fft.")) else f"np.{name}"
    params = (path, rest, tuple(sorted(kwargs.items(), key=lambda item: item[0])))
    return Term("call", tuple(term_of(a, x) for x in arrays), params, shape)


def getitem(a: Algebra, x: Symbolic, index: Any, shape: tuple[int, ...]) -> Term:
    """x[index]; new axes and axes of size 1 are a matter of shape."""
    parts = index if isinstance(index, tuple) else (index,)
    if is_reshape(parts, x.shape):
        return operation(a, "reshape", (x.term,), (shape,), shape)
    return Term("getitem", (x.term, *index_terms(a, parts)), (index_template(parts),), shape)


def is_reshape(parts: tuple[Any, ...], shape: tuple[int, ...]) -> bool:
    """Whether an index only adds axes of size 1, and removes such axes."""
    left = list(shape)
    given = [p for p in parts if p is not None]
    if Ellipsis in [p for p in given if p is Ellipsis]:
        k = next(k for k, p in enumerate(given) if p is Ellipsis)
        given[k : k + 1] = [slice(None)] * (len(left) - len(given) + 1)
    for p, n in zip(given, left, strict=False):
        is_whole = isinstance(p, slice) and p == slice(None)
        is_only = isinstance(p, (int, np.integer)) and not isinstance(p, bool) and n == 1
        if not is_whole and not is_only:
            return False
    return True


def index_terms(a: Algebra, parts: tuple[Any, ...]) -> list[Term]:
    """The terms of the arrays in an index."""
    return [term_of(a, p) for p in parts if isinstance(p, (Symbolic, np.ndarray))]


def index_template(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """The index with "array" for each array."""
    return tuple("array" if isinstance(p, (Symbolic, np.ndarray)) else p for p in parts)
