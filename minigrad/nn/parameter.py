"""What a layer makes its parameters with."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.nn import init as initializers
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator

Initializer = str | Callable[..., Any]


def initialized(init: Initializer, shape: tuple[int, ...], rng: Any = None, dtype: Any = None) -> Tensor:
    """A parameter of this shape.

    Args:
        init: a name in `nn.init`, or a function (shape, *, rng, dtype) that returns an array. It may leave out rng
            and dtype; the array is cast then.
        shape: of the parameter.
        rng: a Generator or a seed; the global generator if not given.
        dtype: that of new Tensors if not given.

    Raises:
        ValueError: init is not known, or returns an array of another shape.

    Example:
        >>> initialized("ones", (2, 1))
        Tensor([[1.],
                [1.]], requires_grad=True)
    """
    return Tensor(drawn(init, shape, rng, dtype), requires_grad=True)


def drawn(init: Initializer, shape: tuple[int, ...], rng: Any = None, dtype: Any = None) -> Any:
    """The array that a parameter of this shape starts with; arguments and errors are those of `initialized`."""
    function = initializers.get(init)
    dtype = np.dtype(dtype or get_default_dtype())
    value = function(shape, **_accepted(function, rng=generator(rng), dtype=dtype))
    if np.shape(value) != shape:
        raise ValueError(f"the initializer returned an array of shape {np.shape(value)} where {shape} was asked for")
    return value.astype(dtype, copy=False) if hasattr(value, "astype") else np.asarray(value, dtype)


def _accepted(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those of the options that a function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # written in C, and silent about its parameters
        return options
    if any(p.kind == p.VAR_KEYWORD for p in parameters):
        return options
    return {name: value for name, value in options.items() if name in {p.name for p in parameters}}
