"""The two ends of a backward pass: the cotangent to start from; at the leaves, cotangents become gradients of Tensors.

Backward passes of several threads may end at the same leaf; a lock prevents that one overwrites the other's sum.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from minigrad.engine import specialize
from minigrad.engine.errors import complex_refused
from minigrad.engine.node import Node
from minigrad.util.locks import LOCK

Tensor = Any  # the class imports this file


def first_cotangent(t: Tensor, gradient: Any, create_graph: bool) -> Tensor:
    """The cotangent that `t.backward` starts from, checked: the given gradient, or 1."""
    if gradient is None:
        if t.data.size != 1:
            raise ValueError(
                f"backward on a Tensor of shape {t.shape} needs a gradient of that shape; for the gradient of a "
                "single number reduce it first, for example loss.mean().backward()"
            )
        # A NumPy scalar stays one: its operators cost a tenth of those of an array without axes.
        one = type(t.data)(1) if issubclass(type(t.data), np.generic) else np.ones_like(t.data)
        return specialize.attach(one, None)
    if type(gradient) is np.ndarray and gradient.dtype == t.dtype and not create_graph:
        cotangent = specialize.attach(gradient, None)  # without a copy: no node keeps it, and leaves copy it
    else:
        cotangent = gradient if hasattr(gradient, "node") else type(t)(gradient)
    if cotangent.dtype.kind == "c":
        raise TypeError(f"backward: gradient of dtype {cotangent.dtype}; gradients are real numbers")
    if cotangent is not gradient and cotangent.dtype != t.dtype:
        cotangent = cotangent.astype(t.dtype)
    if cotangent.shape != t.shape:
        raise ValueError(f"backward: gradient of shape {cotangent.shape} for a Tensor of shape {t.shape}")
    return cotangent


def store(cotangents: dict[Node, Any]) -> None:
    """Add the cotangents of leaves to their gradients. An array without other references becomes the gradient."""
    with LOCK:
        while cotangents:
            node, v, references = _popped(cotangents)
            owner = node.owner() if hasattr(node, "owner") else None
            if owner is None:
                continue
            is_number = issubclass(type(v), np.generic)
            is_free = is_number or (references == ALONE and type(v) is np.ndarray and v.base is None)
            if is_free and owner.grad is None and v.dtype == _dtype(owner, v) and v.shape == node.shape:
                owner._grad = specialize.attach(np.asarray(v) if is_number else v, None)
            else:
                _add(owner, v)


def _popped(cotangents: dict[Any, Any]) -> tuple[Any, Any, int]:
    """A node and its cotangent, removed from the dictionary, and the number of references to the cotangent."""
    node, v = cotangents.popitem()
    return node, v, sys.getrefcount(v)


ALONE = _popped({None: np.empty(0)})[2]  # the number if there are no other references


def accumulate(owner: Tensor, v: Any) -> None:
    """Add v to the gradient of a Tensor, in its dtype.

    The sum, or a copy of v, is stored: v itself may also be the gradient of another leaf, or the caller's array.
    """
    with LOCK:
        _add(owner, v)


def _add(owner: Tensor, v: Any) -> None:
    if v.dtype.kind == "c":
        raise complex_refused(f"the gradient of a Tensor of shape {owner.shape} is {v.dtype}")
    present, dtype = owner.grad, _dtype(owner, v)
    total: Any
    if hasattr(v, "node"):
        total = v.astype(dtype) if v.dtype != dtype else v
        total = total if present is None else present + total
        owner._grad = specialize.attach(np.copy(total.data), total.node)
    else:
        total = np.copy(v) if present is None else present.data + v
        if total.shape != owner.shape or total.dtype != dtype:
            total = np.broadcast_to(total, owner.shape).astype(dtype)
        owner._grad = specialize.attach(total, None)


def _dtype(owner: Tensor, v: Any) -> Any:
    """The dtype of a gradient: the present one of the Tensor, which changes if `t.data` is assigned."""
    dtype = owner.data.dtype
    return dtype if dtype.kind == "f" else v.dtype
