"""What a module refuses: to lose a parameter, and to load a state that does not fit."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.engine.errors import describe, refuse_mask
from minigrad.engine.primitive import value_of
from minigrad.tensor.replaced import note_replaced
from minigrad.tensor.tensor import Tensor

_parameters: dict[int, weakref.ref[Tensor]] = {}  # all Tensors that were a parameter of a module, by id


def note_parameter(p: Tensor) -> None:
    """Remember that this Tensor is a parameter, also when it is frozen later."""
    key = id(p)
    _parameters[key] = weakref.ref(p, lambda _: _parameters.pop(key, None))


def assigned(module: Any, name: str, before: Any, value: Any) -> Any:
    """What an attribute that is a parameter or a module becomes, so that no parameter is lost in silence.

    An array or a constant Tensor of a parameter's shape is taken as the value of a new parameter. A frozen parameter of
    another module stays what it is. Optimizers that were made before learn that a parameter was replaced.

    Args:
        module: the one whose attribute is assigned.
        name: of the attribute.
        before: the Tensor or module that it is.
        value: what is assigned.

    Raises:
        TypeError: the value can be no parameter.
        ValueError: an array or a constant Tensor has another shape.
    """
    if hasattr(before, "modules"):
        for _, p in before._named("_parameters") if hasattr(value, "modules") else ():
            note_replaced(p, module, name)
    elif name in module._parameters and value is not None:
        if before.requires_grad and not hasattr(value, "modules"):
            value = _as_parameter(f"{type(module).__name__}.{name}", before, value)
        elif not isinstance(value, Tensor) and not hasattr(value, "modules"):
            raise _no_parameter(f"{type(module).__name__}.{name}", value)
        note_replaced(before, module, name)
    return value


def _as_parameter(where: str, before: Tensor, value: Any) -> Tensor:
    """A Tensor that can take the place of a parameter."""
    if isinstance(value, Tensor):
        known = _parameters.get(id(value))
        if value.requires_grad or (known is not None and known() is value) or type(value.data) is not np.ndarray:
            return value
    elif not isinstance(value, (np.ndarray, np.number)):
        raise _no_parameter(where, value)
    data = value_of(value)
    if data.dtype.kind not in "biuf":
        raise _no_parameter(where, value)
    if data.shape != before.shape:
        raise ValueError(
            f"{where} is a parameter of shape {before.shape}, and the new value has shape {data.shape}. For a "
            "parameter of another shape assign mg.Tensor(values, requires_grad=True)"
        )
    keeps = isinstance(value, Tensor) and data.dtype.kind == "f"
    return Tensor(data, requires_grad=True, dtype=data.dtype if keeps else before.dtype)


def _no_parameter(where: str, value: Any) -> TypeError:
    kind = f"a Tensor of dtype {value.dtype}" if isinstance(value, Tensor) else f"{type(value).__name__} {value!r:.40}"
    return TypeError(
        f"{where} is a parameter, and {kind} cannot be one. For new values write into it: with mg.no_grad(): "
        f"p[...] = values; for another parameter assign mg.Tensor(values, requires_grad=True); to freeze it, "
        f"p.requires_grad = False; to have none, assign None"
    )


def check_state(kind: str, ours: Mapping[str, Any], state: Any, strict: bool) -> None:
    """Refuse a state that does not fit.

    Args:
        kind: the class of the module.
        ours: its arrays by name.
        state: the given ones.
        strict: whether names that are missing or unexpected are an error.

    Raises:
        ValueError: it lists all problems.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"load_state_dict: a {type(state).__name__} is no state; give what state_dict() returned")
    for name, value in state.items():
        refuse_mask(value, f"load_state_dict: {name}")
    given = {name: value_of(value) for name, value in state.items()}
    given = {n: x if isinstance(x, (np.ndarray, np.generic)) else np.asarray(x) for n, x in given.items()}
    problems = [
        f"{name}: {value.shape} given, {ours[name].shape} wanted"
        for name, value in given.items()
        if name in ours and value.shape != ours[name].shape
    ]
    problems += [
        f"{name}: dtype {value.dtype} given, {ours[name].dtype} wanted"
        for name, value in given.items()
        if name in ours and not np.can_cast(value.dtype, ours[name].dtype, "same_kind")
    ]
    if strict:
        problems += [f"missing: {name} {value.shape}" for name, value in ours.items() if name not in given]
        problems += [f"unexpected: {name} {value.shape}" for name, value in given.items() if name not in ours]
    if problems:
        listed = "\n  ".join(problems)
        hint = "\nstrict=False ignores missing and unexpected names." if strict else ""
        raise ValueError(f"load_state_dict: the state does not fit this {kind}:\n  {listed}{hint}")


def explain_input(module: Any, inputs: tuple[Any, ...], error: AttributeError) -> None:
    """Say that an input is no array, where a module failed because it has not what arrays have.

    Raises:
        TypeError: it is so.
    """
    if error.name in ("shape", "ndim", "dtype", "size") and any(x is error.obj for x in inputs):
        x = error.obj
        hint = "; np.array(x) makes an array" if isinstance(x, (list, tuple, int, float)) else ""
        raise TypeError(
            f"{type(module).__name__}: an input is {describe(x)} ({type(x).__name__}); modules take Tensors and "
            f"arrays{hint}"
        ) from error


def check_whole(what: str, **sizes: Any) -> None:
    """Refuse a size that is no whole number.

    Raises:
        TypeError: one of them.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            hint = f"; write int({size!r})" if isinstance(size, float) and size.is_integer() else ""
            raise TypeError(f"{what}({name}={size!r}): must be a whole number{hint}")
