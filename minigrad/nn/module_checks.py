"""Checks of modules: of arguments, inputs, states to load, and parameters in plain containers."""

from __future__ import annotations

import dataclasses
import types
import warnings
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from minigrad.engine.errors import describe, refuse_mask
from minigrad.engine.primitive import value_of
from minigrad.tensor.tensor import Tensor


def check_integers(layer: str, **arguments: Any) -> None:
    """Raise a TypeError for an argument that is not an integer."""
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            hint = f"; write int({value!r})" if isinstance(value, float) and value.is_integer() else ""
            raise TypeError(f"{layer}({name}={value!r}): must be an integer{hint}")


def check_sizes(layer: str, **sizes: Any) -> None:
    """Raise a TypeError or a ValueError for a size that is not a positive integer."""
    check_integers(layer, **sizes)
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{layer}({name}={size}): must be at least 1")


def check_dropout(layer: str, dropout: float) -> None:
    """Raise a ValueError if `dropout` is not a probability."""
    if not 0 <= dropout <= 1:
        raise ValueError(f"{layer}(dropout={dropout}): the probability of dropping an element must be in [0, 1]")


def check_state(module: str, arrays: Mapping[str, Any], state: Any, strict: bool) -> None:
    """Raise a ValueError, with all problems, if a state does not fit the parameters and buffers of a module."""
    if not isinstance(state, Mapping):
        raise ValueError(
            f"load_state_dict: expected a dictionary, as state_dict() returns it, got a {type(state).__name__}"
        )
    for name, value in state.items():
        refuse_mask(value, f"load_state_dict: {name}")
    values = {name: value_of(value) for name, value in state.items()}
    values = {n: x if isinstance(x, (np.ndarray, np.generic)) else np.asarray(x) for n, x in values.items()}
    problems = [
        f"{name}: expected shape {arrays[name].shape}, got {value.shape}"
        for name, value in values.items()
        if name in arrays and value.shape != arrays[name].shape
    ]
    problems += [
        f"{name}: expected dtype {arrays[name].dtype}, got {value.dtype}"
        for name, value in values.items()
        if name in arrays and not np.can_cast(value.dtype, arrays[name].dtype, "same_kind")
    ]
    if strict:
        problems += [f"missing: {name} {value.shape}" for name, value in arrays.items() if name not in values]
        problems += [f"unexpected: {name} {value.shape}" for name, value in values.items() if name not in arrays]
    if problems:
        lines = "\n  ".join(problems)
        hint = "\nstrict=False ignores missing and unexpected names." if strict else ""
        raise ValueError(f"load_state_dict: the state does not fit this {module}:\n  {lines}{hint}")


def explain_input(module: Any, inputs: tuple[Any, ...], error: AttributeError) -> None:
    """Raise a clearer TypeError if a module failed because an input lacks an attribute of arrays."""
    if error.name in ("shape", "ndim", "dtype", "size") and any(x is error.obj for x in inputs):
        x = error.obj
        hint = "; np.array(x) makes an array" if isinstance(x, (list, tuple, int, float)) else ""
        raise TypeError(
            f"{type(module).__name__}: expected Tensors or arrays, got {describe(x)} ({type(x).__name__}){hint}"
        ) from error


MAX_ELEMENTS = 10_000  # of containers that are searched; a data set in an attribute is not searched to its end
PLAIN = (type(None), bool, int, float, str, bytes, type)

_searched: weakref.WeakSet[Any] = weakref.WeakSet()  # modules; a mark in them would be among the user's attributes


def warn_of_unregistered(model: Any) -> None:
    """Warn once of modules and parameters in lists, tuples, sets, dictionaries and records of a model."""
    if model in _searched:
        return
    modules = dict.fromkeys(module for _, module in model.named_modules())
    parameters = {id(value) for module in modules for value in map(vars(module).get, module._parameters)}
    for module in modules:
        if module in _searched:
            continue
        _searched.add(module)
        for name, value in vars(module).items():
            contents = {id(x): (path, x) for path, x in _contents(value, name, 0, [0])}.values()
            unregistered = [(path, x) for path, x in contents if id(x) not in parameters and x not in modules]
            if unregistered:
                _warn(module, name, value, unregistered)


def _warn(module: Any, name: str, container: Any, unregistered: list[tuple[str, Any]]) -> None:
    listed = ", ".join(f"{path}: {type(x).__name__}" for path, x in unregistered[:3])
    listed += ", ..." if len(unregistered) > 3 else ""
    hint = "nn.ModuleDict(...)" if isinstance(container, dict) else "nn.ModuleList([...])"
    if any(isinstance(x, Tensor) for _, x in unregistered):
        hint = "attributes of their own (setattr(self, name, parameter))"
    elif not isinstance(container, (list, tuple, dict)):
        hint = "attributes of their own, nn.ModuleList([...]) or nn.ModuleDict(...)"
    warnings.warn(
        f"{type(module).__name__}.{name} is a {type(container).__name__} with {len(unregistered)} modules or "
        f"parameters ({listed}). They are not found there: parameters(), state_dict(), train() and eval() skip them, "
        f"so they are neither trained nor saved. Put them into {hint}",
        stacklevel=5,
    )


def _contents(x: Any, path: str, depth: int, count: list[int]) -> Iterator[tuple[str, Any]]:
    """Yield modules with parameters, and parameters, inside a container; `count` is the number of searched elements."""
    count[0] += 1
    if isinstance(x, PLAIN) or depth > 8 or count[0] > MAX_ELEMENTS:
        return
    if depth and isinstance(x, Tensor):
        if x.requires_grad and x.is_leaf:
            yield path, x
    elif depth and hasattr(x, "named_modules"):
        if any(map(_has_state, x.modules())):
            yield path, x
    elif isinstance(x, dict):
        for key, value in list(x.items()):
            yield from _contents(value, f"{path}[{key!r}]", depth + 1, count)
    elif isinstance(x, (list, tuple, set, frozenset, deque)):
        for k, value in enumerate(list(x)):
            yield from _contents(value, f"{path}[{k}]", depth + 1, count)
    elif isinstance(x, types.SimpleNamespace) or (dataclasses.is_dataclass(x) and not isinstance(x, type)):
        for key, value in list(getattr(x, "__dict__", {}).items()):
            yield from _contents(value, f"{path}.{key}", depth + 1, count)


def _has_state(module: Any) -> bool:
    """Whether a module has parameters or buffers, or behaves differently in training."""
    code = getattr(type(module).forward, "__code__", None)
    return bool(module._parameters or module._buffers) or code is None or "training" in code.co_names
