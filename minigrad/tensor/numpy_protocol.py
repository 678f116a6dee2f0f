"""NumPy's own functions on Tensors: np.exp(t), np.mean(t, axis=0), np.einsum("ij,jk", a, b).

Two tables say which function of minigrad answers which of NumPy's. What is in neither is refused, because computing
with the bare values would silently lose the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.primitive import value_of
from minigrad.engine.specialize import attach
from minigrad.ops import (
    cumulative,
    einsum,
    elementwise,
    indexing,
    padding,
    piecewise_constant,
    product,
    random,
    reduction,
    searching,
    shape,
)
from minigrad.ops.spatial.sliding_windows import sliding_windows
from minigrad.tensor import dtypes

_REDUCE: dict[Any, Any] = {
    np.add: reduction.sum,
    np.multiply: reduction.prod,
    np.maximum: reduction.max,
    np.minimum: reduction.min,
    np.logical_and: reduction.all,
    np.logical_or: reduction.any,
}
_ACCUMULATE: dict[Any, Any] = {np.add: cumulative.cumulative_sum, np.multiply: cumulative.cumulative_prod}


def _at_least(dtype: Any, x: Any) -> Any:
    """An array in this dtype, or a larger one that holds its numbers; a Python number adapts to the other operand."""
    return shape.astype(x, np.result_type(x.dtype, dtype), copy=False) if hasattr(x, "dtype") else x


_UFUNCS: dict[Any, Any] = {
    f.primitive.function: f
    for f in (*vars(elementwise).values(), *vars(piecewise_constant).values())
    if hasattr(f, "primitive") and isinstance(f.primitive.function, np.ufunc)
}
_UFUNCS |= {
    np.matmul: product.matmul,
    np.vecdot: product.vecdot,
    np.divmod: lambda x, y: (piecewise_constant.floor_divide(x, y), elementwise.remainder(x, y)),
    np.fabs: lambda x: elementwise.abs(_at_least(np.float16, x)),
    np.deg2rad: lambda x: x * (np.pi / 180),
    np.rad2deg: lambda x: x * (180 / np.pi),
    np.float_power: lambda x, y: elementwise.power(_at_least(np.float64, x), _at_least(np.float64, y)),
    np.logaddexp2: lambda x, y: elementwise.logaddexp(x * math.log(2), y * math.log(2)) / math.log(2),
}

FUNCTIONS: dict[Any, Callable[..., Any]] = {}


def function(asked: Any, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """Answer a NumPy function that met a Tensor."""
    ours = FUNCTIONS.get(asked)
    if ours is None:
        import minigrad.tensor.numpy_linalg  # noqa: F401  (linear algebra is not loaded before it is asked for)

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
        named = _by_place(asked, ours, tuple(inputs), given)
        if named != (tuple(inputs), given):
            return function(asked, *named)
        what = call(_name(asked), tuple(inputs), given)
        reason = str(error).removeprefix(f"{ours.__qualname__}() ")
        raise TypeError(f"{what}: {reason}. On Tensors it takes {', '.join(signature(ours).parameters)}.") from error


def _by_place(asked: Any, ours: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The arguments with those by place that NumPy's function names otherwise than ours: np.tile(A=t, reps=2)."""
    try:
        theirs = list(signature(asked).parameters)
    except ValueError:  # NumPy does not say
        return inputs, options
    known = {name for name, p in signature(ours).parameters.items() if p.kind is not p.POSITIONAL_ONLY}
    rest = dict(options)
    while len(inputs) < len(theirs) and theirs[len(inputs)] in rest and theirs[len(inputs)] not in known:
        inputs = (*inputs, rest.pop(theirs[len(inputs)]))
    return inputs, rest


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
            f"{name} is not defined for Tensors; use the functions of minigrad, give it a derivative with "
            f"mg.custom({asked.__name__}, rule), or take the values alone with t.numpy()"
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
    if isinstance(asked, np.ufunc):  # of NumPy, or of another library, whose name it does not know
        return f"{'np.' * (getattr(np, asked.__name__, None) is asked)}{asked.__name__}"
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
    (cumulative.cumulative_sum, "cumulative_sum"),
    (cumulative.cumulative_prod, "cumulative_prod"),
    (shape.reshape, "reshape"),
    (shape.permute_dims, "transpose", "permute_dims"),
    (shape.matrix_transpose, "matrix_transpose"),
    (shape.swapaxes, "swapaxes"),
    (shape.moveaxis, "moveaxis"),
    (shape.expand_dims, "expand_dims"),
    (shape.squeeze, "squeeze"),
    (shape.broadcast_to, "broadcast_to"),
    (shape.unstack, "unstack"),
    (shape.tile, "tile"),
    (shape.astype, "astype"),
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

# Functions whose parameters have other names, or another order
FUNCTIONS |= {
    np.clip: lambda a, a_min=None, a_max=None, min=None, max=None: elementwise.clip(
        a, a_min if min is None else min, a_max if max is None else max
    ),
    np.flip: lambda m, axis=None: shape.flip(m, axis=axis),
    np.roll: lambda a, shift, axis=None: shape.roll(a, shift, axis=axis),
    np.stack: lambda arrays, axis=0: shape.stack(arrays, axis=axis),
    np.concatenate: lambda arrays, axis=0: shape.concat(arrays, axis=axis),
    np.split: lambda ary, indices_or_sections, axis=0: shape.split(ary, indices_or_sections, axis=axis),
    np.repeat: lambda a, repeats, axis=None: shape.repeat(a, repeats, axis=axis),
    np.broadcast_arrays: lambda *arrays: tuple(shape.broadcast_arrays(*arrays)),
    np.tril: lambda m, k=0: shape.tril(m, k=k),
    np.triu: lambda m, k=0: shape.triu(m, k=k),
    np.pad: lambda array, pad_width, mode="constant", **options: padding.pad(array, pad_width, mode, **options),
    np.copy: lambda a, order="K": shape.copy(a),
    np.argmax: lambda a, axis=None, keepdims=False: reduction.argmax(a, axis=axis, keepdims=keepdims),
    np.argmin: lambda a, axis=None, keepdims=False: reduction.argmin(a, axis=axis, keepdims=keepdims),
    np.count_nonzero: lambda a, axis=None, keepdims=False: reduction.count_nonzero(a, axis=axis, keepdims=keepdims),
    np.searchsorted: lambda a, v, side="left", sorter=None: searching.searchsorted(a, v, side=side, sorter=sorter),
    np.take: lambda a, indices, axis=None: indexing.take(a, indices, axis=axis),
    np.take_along_axis: lambda arr, indices, axis=-1: indexing.take_along_axis(arr, indices, axis=axis),
    np.tensordot: lambda a, b, axes=2: product.tensordot(a, b, axes=axes),
    np.diagonal: lambda a, offset=0, axis1=0, axis2=1: product.diagonal(a, offset=offset, axis1=axis1, axis2=axis2),
    np.trace: lambda a, offset=0, axis1=0, axis2=1: reduction.sum(np.diagonal(a, offset, axis1, axis2), axis=-1),
    np.isneginf: lambda x: piecewise_constant.equal(x, -np.inf),
    np.isposinf: lambda x: piecewise_constant.equal(x, np.inf),
    # What only asks about a Tensor is answered without recording
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.can_cast: lambda from_, to, casting="safe": np.can_cast(from_.dtype, to, casting),
    np.array_equal: lambda a1, a2, equal_nan=False: np.array_equal(value_of(a1), value_of(a2), equal_nan),
}


@implements("where")
def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return searching.nonzero(condition)
    return elementwise.where(condition, x, y)


@implements("array_split")
def _array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Sections that differ in size by one at most, the larger ones first."""
    if isinstance(indices_or_sections, int):
        size, extra = divmod(ary.shape[axis], indices_or_sections)
        indices_or_sections = [k * size + min(k, extra) for k in range(1, indices_or_sections)]
    return shape.split(ary, indices_or_sections, axis=axis)


@implements("diff")
def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    return shape.diff(a, axis=axis, n=n, prepend=prepend, append=append)


@implements("meshgrid")
def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if sparse:
        raise TypeError("np.meshgrid(sparse=True) is not supported for Tensors; reshape each, as in x[:, None]")
    return shape.meshgrid(*xi, indexing=indexing)


@implements("ravel")
def _ravel(a: Any, order: str = "C") -> Any:
    if order != "C":
        raise TypeError(f"np.ravel(order={order!r}) is not supported for Tensors; permute the axes first")
    return shape.reshape(a, (-1,))


@implements("dot")
def _dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return elementwise.multiply(a, b)
    return product.tensordot(a, b, axes=((-1,), (-1 if np.ndim(b) == 1 else -2,)))


@implements("lib.stride_tricks.sliding_window_view")
def _sliding_window_view(x: Any, window_shape: Any, axis: Any = None, **options: Any) -> Any:
    if options.pop("subok", False) or options.pop("writeable", False):
        raise TypeError("np.lib.stride_tricks.sliding_window_view(subok=, writeable=) is not supported for Tensors")
    return sliding_windows(x, window_shape, axes=tuple(range(x.ndim)) if axis is None else axis)


@implements("round", "around")
def _round(a: Any, decimals: int = 0) -> Any:
    return piecewise_constant.round(a, decimals=decimals)


# Pairs that are answered alike


def _variance(ours: Any) -> Any:
    def answer(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: None = None,
        ddof: float = 0,
        keepdims: bool = False,
        *,
        correction: float | None = None,
    ) -> Any:
        a = a if dtype is None else shape.astype(a, dtype)
        return ours(a, axis, correction=ddof if correction is None else correction, keepdims=keepdims)

    return answer


def _running(ours: Any) -> Any:
    def answer(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
        return ours(np.ravel(a), axis=0, dtype=dtype) if axis is None else ours(a, axis=axis, dtype=dtype)

    return answer


def _sorting(ours: Any) -> Any:
    """Ours is stable, so it is an answer for any kind."""

    def answer(a: Any, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Any:
        return ours(np.ravel(a), axis=0) if axis is None else ours(a, axis=axis)

    return answer


def _close(ours: Any) -> Any:
    return lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: ours(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


def _like(make: Any) -> Any:
    return lambda x, *arguments, **options: attach(make(value_of(x), *arguments, **options), None)


FUNCTIONS |= {
    np.var: _variance(reduction.var),
    np.std: _variance(reduction.std),
    np.cumsum: _running(cumulative.cumulative_sum),
    np.cumprod: _running(cumulative.cumulative_prod),
    np.sort: _sorting(searching.sort),
    np.argsort: _sorting(searching.argsort),
    np.isclose: _close(piecewise_constant.isclose),
    np.allclose: _close(piecewise_constant.allclose),
}
for _make in (np.zeros_like, np.ones_like, np.empty_like, np.full_like, random.uniform_like, random.normal_like):
    FUNCTIONS[_make] = _like(_make)
