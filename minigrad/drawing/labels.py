"""Keys and texts of vertices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from minigrad.drawing.fold import Group
from minigrad.engine.node import Node

COUNTED = 4  # operations of a folded vertex that are counted
ROOM = 70  # characters of its parameters' shapes


def keys(nodes: Iterable[Node], place: Mapping[Node, int], groups: Mapping[Node, Group]) -> dict[Node, str]:
    """The key of the vertex that each node is drawn as."""
    found = {}
    for node in nodes:
        group = groups.get(node)
        kind = "n" if group is None or group.kind == "chain" else "m"
        found[node] = f"{kind}{place[node if group is None else group.last]}"
    return found


def key_of(around_it: tuple[Any, ...]) -> str | None:
    """The key of the innermost cluster."""
    return around_it[-1].key if around_it else None


def labels(nodes: Iterable[Node], place: Mapping[Node, int]) -> dict[Node, str]:
    """How nodes are called: by the user's label or name; a leaf without one by its place, as on the printed tape."""
    label = {}
    for node in nodes:
        given = getattr(node, "label", None) or getattr(node, "name", None)
        if given or node.is_leaf:
            label[node] = given or f"%{place[node]}"
    return label


def folded_names(groups: Mapping[Node, Group]) -> dict[Node, str]:
    """What formulas call a value that comes out of a folded scope: "norm1"; "layers.2" where the name is a number."""
    found = {}
    for node, group in groups.items():
        if group.cluster is not None and group.kind == "module":
            parts = group.cluster.scope.split("/")
            found[node] = ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]
    return found


def dtype_of(node: Node) -> str:
    """The dtype of a node; of several outputs all of them, if they differ."""
    return ", ".join(dict.fromkeys(map(str, node.dtype))) if isinstance(node.dtype, tuple) else str(node.dtype)


def contents(operations: list[Node], nodes: int, parameters: int, shapes: list[tuple[str, str]]) -> tuple[str, ...]:
    """What is in a folded vertex, row by row: its operations, how much it holds, and the shapes of its parameters."""
    often = Counter(node.primitive.name for node in operations if node.primitive.kind != "select").most_common(COUNTED)
    size = f"{nodes:,} nodes" if nodes > 1 else "1 node"
    rows = [", ".join(name if n == 1 else f"{name} ×{n:,}" for name, n in often)] if often else []
    rows.append(f"{parameters:,} parameters, {size}" if parameters else size)
    told = [f"{name} {shape}" for name, shape in shapes]
    while told and sum(map(len, told)) > ROOM:
        told.pop()
    if rest := len(shapes) - len(told):
        told.append(f"{rest} more" if told else f"{rest} arrays")
    half = -(-len(told) // 2) if sum(map(len, told)) > ROOM // 2 else len(told)
    return (*rows, *filter(None, (", ".join(told[:half]), ", ".join(told[half:]))))


def operand_name(node: Node, k: int) -> str:
    """What the primitive calls an operand."""
    p = node.primitive
    if p.kind == "select":
        return ""
    return f"arrays[{k}]" if p.sequence else str(p.operands[k])
