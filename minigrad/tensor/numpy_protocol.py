"""NumPy's own functions on Tensors: np.exp(t), np.mean(t, axis=0), np.einsum("ij,jk", a, b).

Two tables say which function of minigrad implements which of NumPy's. What is in neither is refused, because the result
of a computation on the bare values would silently lose the gradient.
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
)  # fmt: skip
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


def function(f: Any, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """The result of a NumPy function that was called with a Tensor."""
    if f not in FUNCTIONS:
        from minigrad.tensor import numpy_linalg  # linear algebra is imported when it is first used

        FUNCTIONS.update(numpy_linalg.FUNCTIONS)
    ours = FUNCTIONS.get(f)
    if ours is None:
        raise TypeError(
            f"NumPy's {_name(f)} is not defined for Tensors, and on the bare values the gradient would be lost. "
            "Use the functions of minigrad, or t.numpy() for the values alone."
        )
    _refuse_out(_name(f), inputs, options)
    given = {k: v for k, v in options.items() if v is not np._NoValue}
    try:
        return ours(*inputs, **given)
    except TypeError as error:
        if "argument" not in str(error) or hasattr(error, "minigrad_call"):
            raise
        positional = _by_position(f, ours, tuple(inputs), given)
        if positional != (tuple(inputs), given):
            return function(f, *positional)
        shown = call(_name(f), tuple(inputs), given)
        reason = str(error).removeprefix(f"{ours.__qualname__}() ")
        raise TypeError(f"{shown}: {reason}. On Tensors it takes {', '.join(signature(ours).parameters)}.") from error


def _by_position(f: Any, ours: Any, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """The arguments, with those by position that have another name in our function: np.tile(A=t, reps=2)."""
    try:
        names = list(signature(f).parameters)
    except ValueError:  # NumPy's function has no signature
        return inputs, options
    ours_by_name = {name for name, p in signature(ours).parameters.items() if p.kind is not p.POSITIONAL_ONLY}
    rest = dict(options)
    while len(inputs) < len(names) and names[len(inputs)] in rest and names[len(inputs)] not in ours_by_name:
        inputs = (*inputs, rest.pop(names[len(inputs)]))
    return inputs, rest


def ufunc(f: Any, method: str, inputs: Sequence[Any], options: dict[str, Any]) -> Any:
    """The result of a NumPy ufunc, or of one of its methods, that was called with a Tensor."""
    _refuse_out(_name(f), inputs, options)
    if method == "reduce" and f in _REDUCE:
        options.setdefault("axis", 0)
        return _REDUCE[f](inputs[0], **options)
    if method == "accumulate" and f in _ACCUMULATE:
        return _ACCUMULATE[f](inputs[0], axis=options.pop("axis", 0), **options)
    ours = _UFUNCS.get(f)
    if ours is None or method not in ("__call__", "outer"):
        name = _name(f) + ("" if method == "__call__" else f".{method}")
        raise TypeError(
            f"{name} is not defined for Tensors; use the functions of minigrad, give it a derivative with "
            f"mg.custom({f.__name__}, rule), or take the values alone with t.numpy()"
        )
    if options:
        unsupported = ", ".join(f"{k}=..." for k in options)
        raise TypeError(
            f"{_name(f)}({unsupported}) is not supported for Tensors; use mg.where, or t.astype(dtype) before it"
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


def _name(f: Any) -> str:
    if isinstance(f, np.ufunc):  # of NumPy, or of another library, which a ufunc does not say
        return f"{'np.' * (getattr(np, f.__name__, None) is f)}{f.__name__}"
    module = getattr(f, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{f.__name__}"


# NumPy's functions whose parameters differ from ours


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        return searching.nonzero(condition)
    return elementwise.where(condition, x, y)


def _array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Sections that differ in size by one at most, the larger ones first."""
    if isinstance(indices_or_sections, int):
        size, extra = divmod(ary.shape[axis], indices_or_sections)
        indices_or_sections = [k * size + min(k, extra) for k in range(1, indices_or_sections)]
    return shape.split(ary, indices_or_sections, axis=axis)


def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    return shape.diff(a, axis=axis, n=n, prepend=prepend, append=append)


def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if sparse:
        raise TypeError("np.meshgrid(sparse=True) is not supported for Tensors; reshape each, as in x[:, None]")
    return shape.meshgrid(*xi, indexing=indexing)


def _ravel(a: Any, order: str = "C") -> Any:
    if order != "C":
        raise TypeError(f"np.ravel(order={order!r}) is not supported for Tensors; permute the axes first")
    return shape.reshape(a, (-1,))


def _dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return elementwise.multiply(a, b)
    return product.tensordot(a, b, axes=((-1,), (-1 if np.ndim(b) == 1 else -2,)))


def _sliding_window_view(x: Any, window_shape: Any, axis: Any = None, **options: Any) -> Any:
    if options.pop("subok", False) or options.pop("writeable", False):
        raise TypeError("np.lib.stride_tricks.sliding_window_view(subok=, writeable=) is not supported for Tensors")
    return sliding_windows(x, window_shape, axes=tuple(range(x.ndim)) if axis is None else axis)


def _variance(ours: Any) -> Any:
    def variance(
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

    return variance


def _running(ours: Any) -> Any:
    def running(a: Any, axis: int | None = None, dtype: Any = None) -> Any:
        return ours(np.ravel(a), axis=0, dtype=dtype) if axis is None else ours(a, axis=axis, dtype=dtype)

    return running


def _sorting(ours: Any) -> Any:
    """Our functions are stable, which is right for any kind."""

    def sorting(a: Any, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Any:
        return ours(np.ravel(a), axis=0) if axis is None else ours(a, axis=axis)

    return sorting


def _close(ours: Any) -> Any:
    return lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: ours(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


def _like(make: Any) -> Any:
    return lambda x, *arguments, **options: attach(make(value_of(x), *arguments, **options), None)


# Names of functions that have the same parameters as NumPy's
_SAME: dict[Any, str] = {
    reduction: "sum prod mean max min all any",
    cumulative: "cumulative_sum cumulative_prod",
    shape: "reshape permute_dims matrix_transpose swapaxes moveaxis expand_dims squeeze broadcast_to unstack "
    "astype tile",
    einsum: "einsum",
    product: "outer",
    searching: "unique_values unique_counts unique_inverse unique_all nonzero isin",
    dtypes: "result_type",
}
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    **{getattr(np, name): getattr(module, name) for module, names in _SAME.items() for name in names.split()},
    np.amax: reduction.max,
    np.amin: reduction.min,
    np.transpose: shape.permute_dims,
    # The parameters have other names, or another order
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
    np.where: _where,
    np.array_split: _array_split,
    np.diff: _diff,
    np.meshgrid: _meshgrid,
    np.ravel: _ravel,
    np.dot: _dot,
    np.lib.stride_tricks.sliding_window_view: _sliding_window_view,
    **{f: lambda a, decimals=0: piecewise_constant.round(a, decimals=decimals) for f in (np.round, np.around)},
    np.var: _variance(reduction.var),
    np.std: _variance(reduction.std),
    np.cumsum: _running(cumulative.cumulative_sum),
    np.cumprod: _running(cumulative.cumulative_prod),
    np.sort: _sorting(searching.sort),
    np.argsort: _sorting(searching.argsort),
    np.isclose: _close(piecewise_constant.isclose),
    np.allclose: _close(piecewise_constant.allclose),
    # They ask about a Tensor, or use only its shape and dtype, so nothing is recorded
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: a.size if axis is None else a.shape[axis],
    np.can_cast: lambda from_, to, casting="safe": np.can_cast(from_.dtype, to, casting),
    np.array_equal: lambda a1, a2, equal_nan=False: np.array_equal(value_of(a1), value_of(a2), equal_nan),
    **{f: _like(f) for f in (np.zeros_like, np.ones_like, np.empty_like, np.full_like)},
    **{f: _like(f) for f in (random.uniform_like, random.normal_like)},
}
