"""The values of the nodes of a tape: those that rules kept, and the others computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.drawing.graph.model import Statistics
from minigrad.engine.node import Node
from minigrad.engine.primitive import value_of
from minigrad.engine.tape_text import kept

Array = Any


def recover_values(nodes: Sequence[Node], known: Mapping[Node, Array]) -> dict[Node, Array]:
    """The value of each node for which one can be found; a tuple for a node with several outputs.

    A tape keeps only what its rules need. Values that a node or one of its users kept are taken from there; the others
    are computed from them with the functions of the primitives. What depends on a constant array that no rule kept
    stays unknown.

    Args:
        nodes: the nodes of a tape, in order.
        known: values that the caller has, usually those of the outputs.
    """
    values: dict[Node, Array] = dict(known)
    for node in nodes:
        if node.is_leaf:
            owner = getattr(node, "owner", lambda: None)()
            if owner is not None:
                values[node] = owner.data
            continue
        operands = zip(node.parents, _kept_operands(node), strict=True)
        values |= {parent: value for parent, value in operands if parent is not None and value is not None}
        out = _residual(node, "out")
        if out is not None:
            values[node] = out
    for node in nodes:
        if node not in values and (value := _compute(node, values)) is not None:
            values[node] = value
    return values


def _kept_operands(node: Node) -> list[Any]:
    return [None] * len(node.parents) if node.primitive.kind == "select" else kept(node)


def _residual(node: Node, name: str) -> Array | None:
    return dict(zip(node.primitive.residuals, (node.residuals or ())[:], strict=False)).get(name)


def _compute(node: Node, values: Mapping[Node, Array]) -> Array | None:
    """The value of a node from those of its operands; None if one is unknown or the function cannot run again."""
    p = node.primitive
    if p is None:
        return None
    if p.kind == "select":
        return _select(node, values)
    pairs = zip(node.parents, kept(node), strict=True)
    operands = [values.get(parent) if parent is not None else x for parent, x in pairs]
    if any(x is None and not _is_none(node, k) for k, x in enumerate(operands)):
        return None
    params = dict(zip(p.param_names, node.params, strict=True))
    try:
        with np.errstate(all="ignore"):
            value = p.function(tuple(operands), **params) if p.sequence else p.function(*operands, **params)
    except Exception:  # a custom function that can run only once, or memory that has changed since
        return None
    shape = tuple(x.shape for x in value) if p.outputs else value.shape
    return value if shape == node.shape else None


def _is_none(node: Node, k: int) -> bool:
    """Whether an operand without a value was None: a rule that uses it would have kept any other value."""
    p = node.primitive
    if node.parents[k] is not None or p.sequence:
        return False
    used = [names for names, parent in zip(p.names, node.parents, strict=False) if parent is not None]
    return any(p.operands[k] in names for names in (*used, p.joint_names))


def _select(node: Node, values: Mapping[Node, Array]) -> Array | None:
    """One of several outputs, from the value of all of them or from the residuals."""
    parent, k = node.parents[0], node.params[0]
    assert parent is not None
    return values[parent][k] if parent in values else _residual(parent, parent.primitive.outputs[k])


def statistics(value: Array | None) -> Statistics | None:
    """Norm, mean, standard deviation and extremes; None if this is not an array of real numbers."""
    if value is None or isinstance(value, (tuple, list)):
        return None
    x = np.asarray(value_of(value))
    if x.dtype.kind not in "biuf" or x.size == 0:
        return None
    x = x.astype(np.float64, copy=False)
    finite = x[np.isfinite(x)]
    nonfinite = x.size - finite.size
    if not finite.size:
        return Statistics(norm(x), np.nan, np.nan, np.nan, np.nan, nonfinite)
    with np.errstate(over="ignore"):
        mean, std = float(finite.mean()), float(finite.std())
    return Statistics(norm(x), mean, std, float(finite.min()), float(finite.max()), nonfinite)


def norm(x: Array) -> float:
    """The Euclidean norm of all elements, scaled so that it overflows only if an element does."""
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(x), initial=0.0))
        if largest == 0 or not np.isfinite(largest):
            return largest
        return largest * float(np.sqrt(np.sum((x / largest) ** 2)))
