"""Modules and parameters that a module holds in plain containers, where nothing finds them."""

from __future__ import annotations

import dataclasses
import types
import warnings
import weakref
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from minigrad.tensor.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.nn.module import Module

LOOKED_AT = 10_000  # elements of containers; a data set in an attribute is not searched to its end
PLAIN = (type(None), bool, int, float, str, bytes, type)


_searched: weakref.WeakSet[Module] = weakref.WeakSet()  # not noted in the modules, whose attributes are the user's


def warn_of_unfound(model: Module) -> None:
    """Warn once of what a model holds in lists, tuples, sets, dictionaries and records, and does not find there."""
    if model in _searched:
        return
    modules = dict.fromkeys(module for _, module in model.named_modules())
    parameters = {id(value) for module in modules for value in map(vars(module).get, module._parameters)}
    for module in modules:
        if module in _searched:
            continue
        _searched.add(module)
        for name, value in vars(module).items():
            held = {id(x): (path, x) for path, x in _held(value, name, 0, [0])}.values()
            lost = [(path, x) for path, x in held if id(x) not in parameters and x not in modules]
            if lost:
                _warn(module, name, value, lost)


def _warn(module: Module, name: str, value: Any, lost: list[tuple[str, Any]]) -> None:
    some = ", ".join(f"{path}: {type(x).__name__}" for path, x in lost[:3]) + (", ..." if len(lost) > 3 else "")
    hint = "nn.ModuleDict(...)" if isinstance(value, dict) else "nn.ModuleList([...])"
    if any(isinstance(x, Tensor) for _, x in lost):
        hint = "attributes of their own (setattr(self, name, parameter))"
    elif not isinstance(value, (list, tuple, dict)):
        hint = "attributes of their own, nn.ModuleList([...]) or nn.ModuleDict(...)"
    warnings.warn(
        f"{type(module).__name__}.{name} is a {type(value).__name__} that holds {len(lost)} modules or parameters "
        f"({some}). They are not found there: parameters(), state_dict(), train() and eval() pass over them, so they "
        f"are neither trained nor saved. Hold them in {hint}",
        stacklevel=5,
    )


def _held(x: Any, path: str, depth: int, seen: list[int]) -> Iterator[tuple[str, Any]]:
    """Modules with parameters, and parameters, inside a container."""
    seen[0] += 1
    if isinstance(x, PLAIN) or depth > 8 or seen[0] > LOOKED_AT:
        return
    if depth and isinstance(x, Tensor):
        if x.requires_grad and x.is_leaf:
            yield path, x
    elif depth and hasattr(x, "named_modules"):
        if any(map(_has_state, x.modules())):
            yield path, x
    elif isinstance(x, dict):
        for key, value in list(x.items()):
            yield from _held(value, f"{path}[{key!r}]", depth + 1, seen)
    elif isinstance(x, (list, tuple, set, frozenset, deque)):
        for k, value in enumerate(list(x)):
            yield from _held(value, f"{path}[{k}]", depth + 1, seen)
    elif isinstance(x, types.SimpleNamespace) or (dataclasses.is_dataclass(x) and not isinstance(x, type)):
        for key, value in list(getattr(x, "__dict__", {}).items()):
            yield from _held(value, f"{path}.{key}", depth + 1, seen)


def _has_state(module: Module) -> bool:
    """Whether it matters that a module is not found."""
    code = getattr(type(module).forward, "__code__", None)
    return bool(module._parameters or module._buffers) or code is None or "training" in code.co_names
