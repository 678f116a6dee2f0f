"""Parameters: how layers create them, and what an assignment to one does."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.nn import init as initializers
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.replaced import note_replaced
from minigrad.tensor.tensor import Tensor
from minigrad.util.rng import generator

Initializer = str | Callable[..., Any]

_parameters: dict[int, weakref.ref[Tensor]] = {}  # all Tensors that were a parameter of a module, by id


def new_parameter(init: Initializer, shape: tuple[int, ...], rng: Any = None, dtype: Any = None) -> Tensor:
    """A parameter of this shape.

    Args:
        init: a name in `nn.init`, or a function (shape, *, rng, dtype) that returns an array. It may leave out rng
            and dtype; the array is cast then.
        shape: of the parameter.
        rng: a Generator or a seed; the global generator if not given.
        dtype: the default dtype if not given.

    Raises:
        ValueError: init is not known, or returns an array of another shape.

    Example:
        >>> new_parameter("ones", (2, 1))
        Tensor([[1.],
                [1.]], requires_grad=True)
    """
    return Tensor(initial_values(init, shape, rng, dtype), requires_grad=True)


def initial_values(init: Initializer, shape: tuple[int, ...], rng: Any = None, dtype: Any = None) -> Any:
    """The array that a parameter of this shape starts with; arguments and errors are those of `new_parameter`."""
    function = initializers.get(init)
    dtype = np.dtype(dtype or get_default_dtype())
    values = function(shape, **_supported(function, rng=generator(rng), dtype=dtype))
    if np.shape(values) != shape:
        raise ValueError(f"the initializer must return an array of shape {shape}, and returned {np.shape(values)}")
    return values.astype(dtype, copy=False) if hasattr(values, "astype") else np.asarray(values, dtype)


def _supported(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those of the options that a function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # written in C, without a signature
        return options
    if any(p.kind == p.VAR_KEYWORD for p in parameters):
        return options
    return {name: value for name, value in options.items() if name in {p.name for p in parameters}}


def note_parameter(p: Tensor) -> None:
    """Remember that this Tensor is a parameter, also when it is frozen later."""
    key = id(p)
    _parameters[key] = weakref.ref(p, lambda _: _parameters.pop(key, None))


def assigned_value(module: Any, name: str, old: Any, value: Any) -> Any:
    """The new value of an attribute that is a parameter or a module; no parameter is lost silently.

    An array or a constant Tensor of the parameter's shape becomes a new parameter. A frozen parameter of another module
    is assigned as it is. Optimizers that hold the old parameter learn that it was replaced.

    Args:
        module: whose attribute is assigned.
        name: of the attribute.
        old: the Tensor or module that the attribute is.
        value: what is assigned.

    Raises:
        TypeError: the value cannot be a parameter.
        ValueError: an array or a constant Tensor has another shape.
    """
    if hasattr(old, "modules"):
        for _, p in old._named("_parameters") if hasattr(value, "modules") else ():
            note_replaced(p, module, name)
    elif name in module._parameters and value is not None:
        if old.requires_grad and not hasattr(value, "modules"):
            value = _as_parameter(f"{type(module).__name__}.{name}", old, value)
        elif not isinstance(value, Tensor) and not hasattr(value, "modules"):
            raise _not_a_parameter(f"{type(module).__name__}.{name}", value)
        note_replaced(old, module, name)
    return value


def _as_parameter(attribute: str, old: Tensor, value: Any) -> Tensor:
    """The value as a Tensor that can replace a parameter."""
    if isinstance(value, Tensor):
        known = _parameters.get(id(value))
        if value.requires_grad or (known is not None and known() is value) or type(value.data) is not np.ndarray:
            return value
    elif not isinstance(value, (np.ndarray, np.number)):
        raise _not_a_parameter(attribute, value)
    data = value_of(value)
    if data.dtype.kind not in "biuf":
        raise _not_a_parameter(attribute, value)
    if data.shape != old.shape:
        raise ValueError(
            f"{attribute} is a parameter of shape {old.shape}, and the new value has shape {data.shape}. For a "
            "parameter of another shape assign mg.Tensor(values, requires_grad=True)"
        )
    keeps_dtype = isinstance(value, Tensor) and data.dtype.kind == "f"
    return Tensor(data, requires_grad=True, dtype=data.dtype if keeps_dtype else old.dtype)


def _not_a_parameter(attribute: str, value: Any) -> TypeError:
    kind = f"a Tensor of dtype {value.dtype}" if isinstance(value, Tensor) else f"{type(value).__name__} {value!r:.40}"
    return TypeError(
        f"{attribute} is a parameter, and {kind} cannot be one. To change its values, write into it: with "
        "mg.no_grad(): p[...] = values; for another parameter assign mg.Tensor(values, requires_grad=True); to freeze "
        "it, p.requires_grad = False; to remove it, assign None"
    )
