"""Constant arrays among the operands of a tape."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minigrad.drawing.graph.folding import Group
from minigrad.engine.borrowed import SMALL
from minigrad.engine.node import Node
from minigrad.engine.tape_text import kept


def constant_arrays(nodes: Iterable[Node], groups: Mapping[Node, Group]) -> dict[int, tuple[str, Any]]:
    """The constant arrays that the rules keep, each with a name: c1, c2, ... in the order of their use; by their id.

    An array that is used only inside a folded vertex is not listed, unless nothing else enters that vertex: then it is
    the data.
    """
    entered = {
        id(groups[node])
        for node in nodes
        if node in groups
        and any(parent is not None and groups.get(parent) is not groups[node] for parent in node.parents)
    }
    arrays: dict[int, tuple[str, Any]] = {}
    for node in nodes:
        group = groups.get(node)
        if group is not None and group.kind != "chain" and id(group) in entered:
            continue
        operands = constant_operands(node)
        for value in operands:
            arrays.setdefault(id(value), (f"c{len(arrays) + 1}", value))
        if operands and group is not None:
            entered.add(id(group))
    return arrays


def constant_operands(node: Node) -> list[Any]:
    """The constant operands of a node that are arrays, as far as the rules keep them."""
    if node.is_leaf or node.primitive.kind == "select":
        return []
    pairs = zip(node.parents, kept(node), strict=True)
    return [shared(value) for parent, value in pairs if parent is None and getattr(value, "shape", ()) != ()]


# Small arrays by their content, for as long as one of them is alive.
_small: weakref.WeakValueDictionary[tuple[Any, ...], Any] = weakref.WeakValueDictionary()


def shared(value: Any) -> Any:
    """One array for all small arrays that are equal, as each node keeps its own copy (engine/borrowed.py)."""
    if type(value) is not np.ndarray or value.nbytes > SMALL:
        return value
    return _small.setdefault((value.shape, value.dtype.str, value.tobytes()), value)
