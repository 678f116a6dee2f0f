"""Constant arrays among the operands of a tape."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minigrad.drawing.fold import Group
from minigrad.engine.borrowed import SMALL
from minigrad.engine.node import Node
from minigrad.engine.tape_text import kept


def constant_arrays(nodes: Iterable[Node], groups: Mapping[Node, Group]) -> dict[int, tuple[str, Any]]:
    """The constant arrays that were kept for the rules, each once, with a name by the order of their use.

    One that is used within a folded vertex only is part of it, unless nothing else enters there: then it is the data.
    """
    entered = {
        id(groups[node])
        for node in nodes
        if node in groups
        and any(parent is not None and groups.get(parent) is not groups[node] for parent in node.parents)
    }
    found: dict[int, tuple[str, Any]] = {}
    for node in nodes:
        group = groups.get(node)
        if group is not None and group.kind != "chain" and id(group) in entered:
            continue
        values = constants_of(node)
        for value in values:
            found.setdefault(id(value), (f"c{len(found) + 1}", value))
        if values and group is not None:
            entered.add(id(group))
    return found


def constants_of(node: Node) -> list[Any]:
    """The constant operands of a node that are arrays, as far as they were kept."""
    if node.is_leaf or node.primitive.kind == "select":
        return []
    pairs = zip(node.parents, kept(node), strict=True)
    return [same(value) for parent, value in pairs if parent is None and getattr(value, "shape", ()) != ()]


# By content, for as long as somebody has it.
_known: weakref.WeakValueDictionary[tuple[Any, ...], Any] = weakref.WeakValueDictionary()


def same(value: Any) -> Any:
    """One array for all small ones that are equal: each node has its own copy (borrowed.py)."""
    if type(value) is not np.ndarray or value.nbytes > SMALL:
        return value
    return _known.setdefault((value.shape, value.dtype.str, value.tobytes()), value)
