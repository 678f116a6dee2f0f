"""Functions that create Tensors.

All take dtype (None: `mg.get_default_dtype()` for floating-point numbers, NumPy's for integers and booleans; for the
`*_like` functions that of x), device ("cpu" or None, there is no other) and requires_grad.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.engine.borrowed import shared
from minigrad.engine.errors import describe
from minigrad.engine.node import mode
from minigrad.engine.primitive import value_of
from minigrad.engine.specialize import attach
from minigrad.ops import shape as shapes
from minigrad.tensor.convert import check_device, get_default_dtype, numbers
from minigrad.tensor.tensor import Tensor

Shape = int | tuple[int, ...]


def asarray(
    data: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """A Tensor of the data. It shares the memory of an array unless `copy` or the dtype requires a copy.

    Args:
        data: a number, a nested list, an array or a Tensor, which is returned unchanged if no copy is needed.
        dtype: as for Tensor.
        device: "cpu" or None.
        copy: True for a copy, False for an error if a copy is needed.
        requires_grad: whether gradients are to be computed with respect to it. A leaf has memory of its own, because
            the backward pass and optimizers use it: this makes a copy.

    Raises:
        ValueError: copy=False, and the data or the dtype need a copy.

    Example:
        >>> import minigrad as mg
        >>> mg.asarray([1, 2], dtype=mg.float32)
        Tensor([1., 2.], dtype=float32)
    """
    check_device(device)
    shares = hasattr(data, "__array_function__") and (dtype is None or data.dtype == np.dtype(dtype))
    if copy is False and (not shares or (requires_grad and not isinstance(data, Tensor))):
        raise ValueError(f"asarray({describe(data)}, dtype={dtype}, copy=False): this needs a copy; leave copy out")
    if isinstance(data, Tensor):
        t = data if shares and not copy else data.astype(data.dtype if dtype is None else dtype)
    elif copy or not shares:
        t = Tensor(data, dtype=dtype)
    else:
        value = numbers(data)
        t = attach(shared(value) if type(value) is np.ndarray else value, None)
    if requires_grad:
        t.requires_grad = True
    return t


def _tensor(value: Any, requires_grad: bool) -> Tensor:
    """A Tensor of a new array."""
    t: Tensor = attach(value, None)
    if requires_grad:
        t.requires_grad = True
    return t


def _of_shape(create: Callable[..., Any], shape: Shape, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    return _tensor(create(shape, _dtype(dtype, device)), requires_grad)


def _like(create: Callable[..., Any], x: Any, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    check_device(device)
    return _tensor(create(value_of(x), dtype=dtype), requires_grad)


def _dtype(dtype: Any, device: Any, *values: Any) -> np.dtype[Any]:
    """The given dtype; else the default one, or NumPy's if all values are integers or booleans."""
    check_device(device)
    if dtype is not None:
        return np.dtype(dtype)
    common: np.dtype[Any] = np.result_type(*map(value_of, values)) if values else get_default_dtype()
    return get_default_dtype() if common == np.float64 and all(map(_is_number, values)) else common


def _constant(x: Any, what: str) -> Any:
    """The value of an argument through which no gradient flows, so it must not require one."""
    if isinstance(x, Tensor) and x.node is not None and mode.get() is not None:
        raise TypeError(
            f"{what}: {describe(x)} requires grad, and the gradient would be lost. Use arithmetic instead: t * "
            "mg.ones(shape), start + t * mg.arange(n); for the value alone use t.detach()"
        )
    return value_of(x)


def _is_number(x: Any) -> bool:
    return isinstance(x, (bool, int, float)) and not isinstance(x, np.generic)


def empty(shape: Shape, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of this shape whose values are uninitialized."""
    return _of_shape(np.empty, shape, dtype, device, requires_grad)


def zeros(shape: Shape, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of zeros of this shape.

    Example:
        >>> import minigrad as mg
        >>> mg.zeros((2, 2), dtype=mg.float32)
        Tensor([[0., 0.],
               [0., 0.]], dtype=float32)
    """
    return _of_shape(np.zeros, shape, dtype, device, requires_grad)


def ones(shape: Shape, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of ones of this shape."""
    return _of_shape(np.ones, shape, dtype, device, requires_grad)


def full(
    shape: Shape, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A Tensor of this shape whose elements are one number, which decides between float, int and bool.

    Example:
        >>> import minigrad as mg
        >>> mg.full(3, 0.5)
        Tensor([0.5, 0.5, 0.5])
    """
    return _tensor(np.full(shape, _constant(fill_value, "full"), _dtype(dtype, device, fill_value)), requires_grad)


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of x's shape and dtype whose values are uninitialized."""
    return _like(np.empty_like, x, dtype, device, requires_grad)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of zeros of x's shape and dtype."""
    return _like(np.zeros_like, x, dtype, device, requires_grad)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of ones of x's shape and dtype."""
    return _like(np.ones_like, x, dtype, device, requires_grad)


def full_like(
    x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A Tensor of x's shape and dtype whose elements are one number."""
    check_device(device)
    return _tensor(np.full_like(value_of(x), _constant(fill_value, "full_like"), dtype=dtype), requires_grad)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Ones on the k-th diagonal (above the main one for k > 0) of a matrix (n_rows, n_cols), zeros elsewhere.

    Example:
        >>> import minigrad as mg
        >>> mg.eye(2, 3, k=1)
        Tensor([[0., 1., 0.],
               [0., 0., 1.]])
    """
    return _tensor(np.eye(n_rows, n_cols, k, dtype=_dtype(dtype, device)), requires_grad)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """The numbers start, start + step, ... before stop; from 0 if only one bound is given. Integers for integers.

    Example:
        >>> import minigrad as mg
        >>> mg.arange(3), mg.arange(0.5, 2)
        (Tensor([0, 1, 2]), Tensor([0.5, 1.5]))
    """
    start, stop, step = (_constant(x, "arange") for x in (start, stop, step))
    first, last = (0, start) if stop is None else (start, stop)
    return _tensor(np.arange(first, last, step, dtype=_dtype(dtype, device, first, last, step)), requires_grad)


def linspace(
    start: float,
    stop: float,
    /,
    num: int,
    *,
    dtype: Any = None,
    device: Any = None,
    endpoint: bool = True,
    requires_grad: bool = False,
) -> Tensor:
    """Num evenly spaced numbers from start to stop, the latter included if endpoint.

    Example:
        >>> import minigrad as mg
        >>> mg.linspace(0, 1, 5)
        Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    start, stop = _constant(start, "linspace"), _constant(stop, "linspace")
    return _tensor(np.linspace(start, stop, num, endpoint=endpoint, dtype=_dtype(dtype, device)), requires_grad)


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Tensor]:
    """Coordinate grids of one-dimensional arrays or Tensors. Gradients flow to the Tensors.

    Args:
        *arrays: coordinates along each axis, of shapes (N0,), (N1,), ...
        indexing: "ij" for grids of shape (N0, N1, ...), "xy" with the first two axes exchanged.

    Example:
        >>> import minigrad as mg
        >>> mg.meshgrid(mg.arange(2), mg.arange(3))[0]
        Tensor([[0, 1],
               [0, 1],
               [0, 1]])
    """
    return shapes.meshgrid(*map(asarray, arrays), indexing=indexing)


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A Tensor of another library's array, by the DLPack protocol, without a copy where possible."""
    check_device(device)
    return _tensor(shared(np.from_dlpack(x, copy=copy)), False)
