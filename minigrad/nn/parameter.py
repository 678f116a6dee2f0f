"""What a layer makes its parameters with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.nn import init as initializers
from minigrad.rng import generator
from minigrad.tensor import Tensor
from minigrad.values import get_default_dtype

Initializer = str | Callable[..., Any]


def initialized(init: Initializer, shape: tuple[int, ...], rng: Any = None, dtype: Any = None) -> Tensor:
    """A parameter of this shape.

    Args:
        init: a name in `nn.init`, or a function (shape, *, rng, dtype) that returns an array.
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
    value = initializers.get(init)(shape, rng=generator(rng), dtype=np.dtype(dtype or get_default_dtype()))
    if np.shape(value) != shape:
        raise ValueError(f"the initializer returned an array of shape {np.shape(value)} where {shape} was asked for")
    return value
