"""What arrives at leaves: cotangents become the gradients of Tensors.

Backward passes of several threads may end at the same leaf: what one adds, no other overwrites.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine import specialize
from minigrad.engine.errors import complex_refused
from minigrad.engine.node import Node
from minigrad.util.locks import LOCK

if TYPE_CHECKING:
    from minigrad.tensor.tensor import Tensor


def store(found: dict[Node, Any]) -> None:
    """Add the cotangents of leaves to their gradients. An array that nobody else has becomes the gradient itself."""
    with LOCK:
        while found:
            node, v, holders = _popped(found)
            owner = node.owner() if hasattr(node, "owner") else None
            if owner is None:
                continue
            is_number = issubclass(type(v), np.generic)
            is_free = is_number or (holders == ALONE and type(v) is np.ndarray and v.base is None)
            if is_free and owner.grad is None and v.dtype == _dtype(owner, v) and v.shape == node.shape:
                owner._grad = specialize.attach(np.asarray(v) if is_number else v, None)
            else:
                _add(owner, v)


def _popped(found: dict[Any, Any]) -> tuple[Any, Any, int]:
    """One of the items, taken out, and how many references there are to its value."""
    node, v = found.popitem()
    return node, v, sys.getrefcount(v)


ALONE = _popped({None: np.empty(0)})[2]  # the count of a value that nobody else knows


def accumulate(owner: Tensor, v: Any) -> None:
    """Add v to the gradient of a Tensor, in its dtype.

    The sum, or a copy of v, is stored: v itself may be another leaf's gradient too, or the caller's own array.
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
    """The dtype of a gradient: that of the Tensor, which is another one than before if `t.data` was assigned."""
    dtype = owner.data.dtype
    return dtype if dtype.kind == "f" else v.dtype
