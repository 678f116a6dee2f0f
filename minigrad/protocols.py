"""NumPy's own functions on Tensors: np.exp(t), np.mean(t, axis=0), np.einsum("ij,jk", a, b).

Two tables say which function of minigrad answers which of NumPy's. What is in neither is refused, because computing
with the bare values would silently lose the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import numpy as np

from minigrad import dtypes
from minigrad.errors import call
from minigrad.ops import einsum, elementwise, indexing, product, random, reduction, searching, shape
from minigrad.ops.spatial.slide import sliding_windows
from minigrad.primitive import value_of
from minigrad.specialize import attach

_REDUCE: dict[Any, Any] = {
    np.add: reduction.sum,
    np.multiply: reduction.prod,
    np.maximum: reduction.max,
    np.minimum: reduction.min,
    np.logical_and: reduction.all,
    np.logical_or: reduction.any,
}
_ACCUMULATE: dict[Any, Any] = {np.add: reduction.cumulative_sum, np.multiply: reduction.cumulative_prod}

_UFUNCS: dict[Any, Any] = {
    f.primitive.function: f
    for f in vars(elementwise).values()
    if hasattr(f, "primitive") and isinstance(f.primitive.function, np.ufunc)
}
_UFUNCS |= {
    np.matmul: product.matmul,
    np.vecdot: product.vecdot,
    np.fabs: elementwise.abs,
    np.deg2rad: lambda x: x * (np.pi / 180),
    np.rad2deg: lambda x: x * (180 / np.pi),
    np.float_power: elementwise.power,
    np.fmax: elementwise.maximum,
    np.fmin: elementwise.minimum,
    np.logaddexp2: lambda x, y: elementwise.logaddexp(x * np.log(2.0), y * np.log(2.0)) / np.log(2.0),
}
# Where both operands are NaN-free these agree; NaN handling differs, so they are refused rather than approximated.
del _UFUNCS[np.fmax], _UFUNCS[np.fmin]

FUNCTIONS: dict[Any, Callable[..., Any]] = {}


def function(asked: Any, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """Answer a NumPy function that met a Tensor."""
    ours = FUNCTIONS.get(asked)
    if ours is None:
        import minigrad.protocols_linalg  # noqa: F401  (linear algebra is not loaded before it is asked for)

        ours = FUNCTIONS.get(asked)
    if ours is None:
        raise TypeError(
            f"NumPy's {_name(asked)} is not defined for Tensors, and on the bare values the gradient would be lost. "
            "Use the functions of minigrad, or t.numpy() for the values alone."
        )
    _refuse_out(_name(asked), inputs, options)
    given = {k: v for k, v in options.items() if v is not np._NoValue}
    try:
        return ours(*inputs, **given)
    except TypeError as error:
        if "argument" not in str(error) or hasattr(error, "minigrad_call"):
            raise
        what = call(_name(asked), tuple(inputs), given)
        raise TypeError(f"{what}: {error}. On Tensors it takes {', '.join(signature(ours).parameters)}.") from error


def ufunc(asked: Any, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """Answer a NumPy ufunc, or one of its methods, that met a Tensor."""
    _refuse_out(_name(asked), inputs, options)
    if method == "reduce" and asked in _REDUCE:
        options.setdefault("axis", 0)
        return _REDUCE[asked](inputs[0], **options)
    if method == "accumulate" and asked in _ACCUMULATE:
        return _ACCUMULATE[asked](inputs[0], axis=options.pop("axis", 0), **options)
    ours = _UFUNCS.get(asked)
    if ours is None or method not in ("__call__", "outer"):
        name = _name(asked) + ("" if method == "__call__" else f".{method}")
        raise TypeError(
            f"{name} is not defined for Tensors; use the functions of minigrad, or t.numpy() for the values"
        )
    if options:
        what = ", ".join(f"{k}=..." for k in options)
        raise TypeError(
            f"{_name(asked)}({what}) is not supported for Tensors; use mg.where, or t.astype(dtype) before it"
        )
    if method == "outer":
        x, y = inputs
        return ours(np.reshape(x, np.shape(x) + (1,) * np.ndim(y)), y)
    return ours(*inputs)


def _refuse_out(name: str, inputs: Sequence[Any], options: dict[str, Any]) -> None:
    out = options.get("out")
    if out is None or (isinstance(out, tuple) and all(part is None for part in out)):
        options.pop("out", None)
        return
    raise TypeError(
        f"{call(name, tuple(inputs), {})} with out=: an operation on Tensors makes a new Tensor, so that the old "
        "value is still there for the gradient. Assign the result instead: t = ..."
    )


def _name(asked: Any) -> str:
    module = getattr(asked, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{asked.__name__}"


def implements(*names: str) -> Callable[[Any], Any]:
    """Mark the answer to NumPy functions, named as in np.linalg.norm."""

    def mark(ours: Any) -> Any:
        for name in names:
            asked: Any = np
            for part in name.split("."):
                asked = getattr(asked, part)
            FUNCTIONS[asked] = ours
        return ours

    return mark


# Functions whose parameters agree with ours
for _ours, *_theirs in (
    (reduction.sum, "sum"),
    (reduction.prod, "prod"),
    (reduction.mean, "mean"),
    (reduction.max, "max", "amax"),
    (reduction.min, "min", "amin"),
    (reduction.all, "all"),
    (reduction.any, "any"),
    (shape.reshape, "reshape"),
    (shape.permute_dims, "transpose", "permute_dims"),
    (shape.matrix_transpose, "matrix_transpose"),
    (shape.swapaxes, "swapaxes"),
    (shape.moveaxis, "moveaxis"),
    (shape.expand_dims, "expand_dims"),
    (shape.squeeze, "squeeze"),
    (shape.broadcast_to, "broadcast_to"),
    (shape.tile, "tile"),
    (elementwise.clip, "clip"),
    (einsum.einsum, "einsum"),
    (product.outer, "outer"),
    (searching.unique_values, "unique_values"),
    (searching.unique_counts, "unique_counts"),
    (searching.unique_inverse, "unique_inverse"),
    (searching.unique_all, "unique_all"),
    (searching.nonzero, "nonzero"),
    (searching.isin, "isin"),
    (dtypes.result_type, "result_type"),
):
    implements(*_theirs)(_ours)


@implements("where")
def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return searching.nonzero(condition)
    return elementwise.where(condition, x, y)


@implements("flip")
def _flip(m: Any, axis: Any = None) -> Any:
    return shape.flip(m, axis=axis)


@implements("roll")
def _roll(a: Any, shift: Any, axis: Any = None) -> Any:
    return shape.roll(a, shift, axis=axis)


@implements("concatenate", "concat")
def _concatenate(arrays: Any, axis: Any = 0, **options: Any) -> Any:
    return shape.concat(arrays, axis=axis, **options)


@implements("stack")
def _stack(arrays: Any, axis: int = 0, **options: Any) -> Any:
    return shape.stack(arrays, axis=axis, **options)


@implements("array_split")
def _array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Sections that differ in size by one at most, the larger ones first."""
    if isinstance(indices_or_sections, int):
        size, extra = divmod(ary.shape[axis], indices_or_sections)
        indices_or_sections = [k * size + min(k, extra) for k in range(1, indices_or_sections)]
    return shape.split(ary, indices_or_sections, axis=axis)


@implements("split")
def _split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    return shape.split(ary, indices_or_sections, axis=axis)


@implements("unstack")
def _unstack(x: Any, axis: int = 0) -> Any:
    return shape.unstack(x, axis=axis)


@implements("repeat")
def _repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    return shape.repeat(a, repeats, axis=axis)


@implements("pad")
def _pad(array: Any, pad_width: Any, mode: str = "constant", **options: Any) -> Any:
    return shape.pad(array, pad_width, mode, **options)


@implements("diff")
def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    edge = tuple(1 if k == axis % a.ndim else size for k, size in enumerate(a.shape))
    ends = [x if x is None or np.ndim(x) else shape.broadcast_to(x, edge) for x in (prepend, append)]
    return shape.diff(a, axis=axis, n=n, prepend=ends[0], append=ends[1])


@implements("round", "around")
def _round(a: Any, decimals: int = 0) -> Any:
    return elementwise.round(a, decimals=decimals)


@implements("meshgrid")
def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if sparse:
        raise TypeError("np.meshgrid(sparse=True) is not supported for Tensors; reshape each, as in x[:, None]")
    return shape.meshgrid(*xi, indexing=indexing)


@implements("broadcast_arrays")
def _broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    return tuple(shape.broadcast_arrays(*args))


@implements("tril")
def _tril(m: Any, k: int = 0) -> Any:
    return shape.tril(m, k=k)


@implements("triu")
def _triu(m: Any, k: int = 0) -> Any:
    return shape.triu(m, k=k)


@implements("ravel")
def _ravel(a: Any, order: str = "C") -> Any:
    if order != "C":
        raise TypeError(f"np.ravel(order={order!r}) is not supported for Tensors; permute the axes first")
    return shape.reshape(a, (-1,))


@implements("copy")
def _copy(a: Any, **options: Any) -> Any:
    return shape.copy(a)


@implements("astype")
def _astype(x: Any, dtype: Any, /, **options: Any) -> Any:
    return shape.astype(x, dtype)


@implements("var")
def _var(a: Any, axis: Any = None, ddof: float = 0, correction: float | None = None, keepdims: bool = False) -> Any:
    return reduction.var(a, axis, correction=ddof if correction is None else correction, keepdims=keepdims)


@implements("std")
def _std(a: Any, axis: Any = None, ddof: float = 0, correction: float | None = None, keepdims: bool = False) -> Any:
    return reduction.std(a, axis, correction=ddof if correction is None else correction, keepdims=keepdims)


@implements("cumsum")
def _cumsum(a: Any, axis: Any = None, dtype: Any = None) -> Any:
    x = shape.reshape(a, (-1,)) if axis is None else a
    return reduction.cumulative_sum(x, axis=0 if axis is None else axis, dtype=dtype)


@implements("cumprod")
def _cumprod(a: Any, axis: Any = None, dtype: Any = None) -> Any:
    x = shape.reshape(a, (-1,)) if axis is None else a
    return reduction.cumulative_prod(x, axis=0 if axis is None else axis, dtype=dtype)


@implements("cumulative_sum")
def _cumulative_sum(x: Any, /, **options: Any) -> Any:
    return reduction.cumulative_sum(x, **options)


@implements("cumulative_prod")
def _cumulative_prod(x: Any, /, **options: Any) -> Any:
    return reduction.cumulative_prod(x, **options)


@implements("argmax")
def _argmax(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return reduction.argmax(a, axis=axis, keepdims=keepdims)


@implements("argmin")
def _argmin(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return reduction.argmin(a, axis=axis, keepdims=keepdims)


@implements("count_nonzero")
def _count_nonzero(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return reduction.count_nonzero(a, axis=axis, keepdims=keepdims)


@implements("sort")
def _sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, stable: Any = None) -> Any:
    return searching.sort(shape.reshape(a, (-1,)) if axis is None else a, axis=-1 if axis is None else axis)


@implements("argsort")
def _argsort(a: Any, axis: int = -1, kind: Any = None, order: Any = None, stable: Any = None) -> Any:
    return searching.argsort(a, axis=axis)


@implements("searchsorted")
def _searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    return searching.searchsorted(a, v, side=side, sorter=sorter)


@implements("take")
def _take(a: Any, indices: Any, axis: Any = None, mode: str = "raise") -> Any:
    return indexing.take(a, indices, axis=axis)


@implements("take_along_axis")
def _take_along_axis(arr: Any, indices: Any, axis: int = -1) -> Any:
    return indexing.take_along_axis(arr, indices, axis=axis)


@implements("lib.stride_tricks.sliding_window_view")
def _sliding_window_view(x: Any, window_shape: Any, axis: Any = None, **options: Any) -> Any:
    if options.pop("subok", False) or options.pop("writeable", False):
        raise TypeError("np.lib.stride_tricks.sliding_window_view(subok=, writeable=) is not supported for Tensors")
    return sliding_windows(x, window_shape, axes=tuple(range(x.ndim)) if axis is None else axis)


@implements("dot")
def _dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return elementwise.multiply(a, b)
    return product.tensordot(a, b, axes=((-1,), (-1 if np.ndim(b) == 1 else -2,)))


@implements("tensordot")
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    return product.tensordot(a, b, axes=axes)


@implements("diagonal")
def _diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return product.diagonal(a, offset=offset, axis1=axis1, axis2=axis2)


@implements("trace")
def _trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    return reduction.sum(product.diagonal(a, offset=offset, axis1=axis1, axis2=axis2), axis=-1)


# What only asks about a Tensor is answered without recording


@implements("shape")
def _shape(a: Any) -> Any:
    return a.shape


@implements("ndim")
def _ndim(a: Any) -> Any:
    return a.ndim


@implements("size")
def _size(a: Any, axis: Any = None) -> Any:
    return a.size if axis is None else a.shape[axis]


@implements("can_cast")
def _can_cast(from_: Any, to: Any, casting: Any = "safe") -> Any:
    return np.can_cast(from_.dtype, to, casting)


def _like(make: Any) -> Any:
    def like(x: Any, *arguments: Any, **options: Any) -> Any:
        return attach(make(value_of(x), *arguments, **options), None)

    return like


for _make in (np.zeros_like, np.ones_like, np.empty_like, np.full_like, random.uniform_like, random.normal_like):
    FUNCTIONS[_make] = _like(_make)


@implements("isclose")
def _isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    return elementwise.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


@implements("allclose")
def _allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    return elementwise.allclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


@implements("array_equal")
def _array_equal(a1: Any, a2: Any, **options: Any) -> Any:
    return np.array_equal(getattr(a1, "data", a1), getattr(a2, "data", a2), **options)


@implements("isneginf")
def _isneginf(x: Any) -> Any:
    return elementwise.equal(x, -np.inf)


@implements("isposinf")
def _isposinf(x: Any) -> Any:
    return elementwise.equal(x, np.inf)
