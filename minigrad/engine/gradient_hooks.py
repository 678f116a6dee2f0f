"""Hooks on nodes: functions that are called with the complete cotangent of a node, and may replace it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.engine.borrowed import read_only
from minigrad.engine.node import Node
from minigrad.engine.primitive import Array, value_of
from minigrad.engine.specialize import attach
from minigrad.util.locks import LOCK

hook_changes = [0]  # how often a hook was added or removed: a compiled step is valid for one count
HOOKED: weakref.WeakSet[Node] = weakref.WeakSet()  # nodes with hooks: a walk looks for them only if there are any


class Hook:
    """What `register_hook` returns: remove(), or a call of it, ends the hook."""

    __slots__ = ("_function", "_node")

    def __init__(self, node: Node, function: Callable[[Any], Any]) -> None:
        self._node = weakref.ref(node)
        self._function: Any = function

    def remove(self) -> None:
        """Stop calling the function. A second call does nothing."""
        with LOCK:
            node, function = self._node(), self._function
            self._function = None
            hook_changes[0] += 1
            hooks = getattr(node, "hooks", [])
            if function is not None and function in hooks:
                hooks.remove(function)
            if node is not None and not hooks:
                HOOKED.discard(node)

    __call__ = remove


def add_hook(node: Node, hook: Callable[[Any], Any]) -> Hook:
    """Call hook with the complete cotangent of a node. The result removes it."""
    with LOCK:
        node.hooks = [*getattr(node, "hooks", []), hook]
        HOOKED.add(node)
        hook_changes[0] += 1
    return Hook(node, hook)


def apply_hook(hook: Any, v: Array) -> Array:
    """The cotangent after a hook: the hook sees it as a Tensor, and may return a replacement.

    Others use the cotangent too, so the hook sees it as an array that cannot be written to.
    """
    is_tensor = hasattr(v, "node")
    data = read_only(v.data if is_tensor else v)
    tensor = attach(data, v.node if is_tensor else None)
    replacement = hook(tensor)
    if tensor.data is not data:
        raise RuntimeError(
            f"a hook changed the gradient of shape {v.shape} in place; return the changed one instead: lambda g: 2 * g"
        )
    if replacement is None or replacement is tensor:
        return v
    if np.shape(replacement) != v.shape:
        raise ValueError(
            f"a hook returned shape {np.shape(replacement)} for a gradient of shape {v.shape}; return one of the same "
            "shape, or None to leave it as it is"
        )
    return replacement if is_tensor else value_of(replacement)
