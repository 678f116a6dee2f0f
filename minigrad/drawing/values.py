"""The values of the nodes of a tape: those that were kept, and the others computed once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.drawing.model import Statistics
from minigrad.engine.node import Node
from minigrad.engine.primitive import value_of
from minigrad.engine.tape_text import kept

Array = Any


def recovered(nodes: Sequence[Node], known: Mapping[Node, Array]) -> dict[Node, Array]:
    """The value of each node as far as it can be had, a tuple for several outputs.

    A tape keeps only what its rules need. What a node or one of its users kept is there; the rest is computed from it,
    with the functions of the primitives. What depends on a constant array that nobody kept stays unknown.

    Args:
        nodes: of a tape, in order.
        known: values that the caller has: those of the outputs.
    """
    found: dict[Node, Array] = dict(known)
    for node in nodes:
        if node.is_leaf:
            owner = getattr(node, "owner", lambda: None)()
            if owner is not None:
                found[node] = owner.data
            continue
        operands = zip(node.parents, _kept(node), strict=True)
        found |= {parent: value for parent, value in operands if parent is not None and value is not None}
        own = dict(zip(node.primitive.residuals, (node.residuals or ())[:], strict=False)).get("out")
        if own is not None:
            found[node] = own
    for node in nodes:
        if node not in found and (value := _computed(node, found)) is not None:
            found[node] = value
    return found


def _kept(node: Node) -> list[Any]:
    return [None] * len(node.parents) if node.primitive.kind == "select" else kept(node)


def _computed(node: Node, found: Mapping[Node, Array]) -> Array | None:
    """The value of a node from those of its operands; None where one is unknown or the function cannot run again."""
    p = node.primitive
    if p is None:
        return None
    if p.kind == "select":
        return _selected(node, found)
    pairs = zip(node.parents, kept(node), strict=True)
    operands = [found.get(parent) if parent is not None else x for parent, x in pairs]
    if any(x is None and not _is_none(node, k) for k, x in enumerate(operands)):
        return None
    params = dict(zip(p.param_names, node.params, strict=True))
    try:
        with np.errstate(all="ignore"):
            value = p.function(tuple(operands), **params) if p.sequence else p.function(*operands, **params)
    except Exception:  # a function of the user's that can run once only, or memory that changed since
        return None
    shape = tuple(x.shape for x in value) if p.outputs else value.shape
    return value if shape == node.shape else None


def _is_none(node: Node, k: int) -> bool:
    """Whether an operand without value was None, as a rule that runs would have kept anything else."""
    p = node.primitive
    if node.parents[k] is not None or p.sequence:
        return False
    running = [names for names, parent in zip(p.names, node.parents, strict=False) if parent is not None]
    return any(p.operands[k] in names for names in (*running, p.joint_names))


def _selected(node: Node, found: Mapping[Node, Array]) -> Array | None:
    """One of several outputs: of all of them, or the one that the rule kept."""
    parent, k = node.parents[0], node.params[0]
    assert parent is not None
    if parent in found:
        return found[parent][k]
    p = parent.primitive
    kept_here = dict(zip(p.residuals, (parent.residuals or ())[:], strict=False))
    return kept_here.get(p.outputs[k])


def statistics(value: Array | None) -> Statistics | None:
    """Norm, mean, deviation and extremes of an array; None of what is no array of real numbers."""
    if value is None or isinstance(value, (tuple, list)):
        return None
    x = np.asarray(value_of(value))
    if x.dtype.kind not in "biuf" or x.size == 0:
        return None
    x = x.astype(np.float64, copy=False)
    finite = x[np.isfinite(x)]
    bad = x.size - finite.size
    if not finite.size:
        return Statistics(norm(x), np.nan, np.nan, np.nan, np.nan, bad)
    with np.errstate(over="ignore"):
        mean, std = float(finite.mean()), float(finite.std())
    return Statistics(norm(x), mean, std, float(finite.min()), float(finite.max()), bad)


def norm(x: Array) -> float:
    """The Euclidean norm of all elements; scaled, so that it overflows only if an element does."""
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(x), initial=0.0))
        if largest == 0 or not np.isfinite(largest):
            return largest
        return largest * float(np.sqrt(np.sum((x / largest) ** 2)))
