"""A warning for modules and parameters in plain containers, where `parameters()` does not find them."""

from __future__ import annotations

import dataclasses
import types
import warnings
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

from minigrad.tensor.tensor import Tensor

MAX_ELEMENTS = 10_000  # of containers that are searched; a data set in an attribute is not searched to its end
PLAIN = (type(None), bool, int, float, str, bytes, type)

_searched: weakref.WeakSet[Any] = weakref.WeakSet()  # modules; a mark in them would be among the user's attributes


def warn_of_unregistered(model: Any) -> None:
    """Warn once of modules and parameters in lists, tuples, sets, dictionaries and records of a model.

    Args:
        model: a Module.
    """
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
