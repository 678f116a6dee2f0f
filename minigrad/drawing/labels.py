"""Keys and texts of vertices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from minigrad.drawing.fold import Group
from minigrad.engine.node import Node

COUNTED = 4  # operations of a folded vertex that are counted
ROOM = 70  # characters of its parameters' shapes


def keys(lines: Iterable[Node], place: Mapping[Node, int], groups: Mapping[Node, Group]) -> dict[Node, str]:
    """The key of the vertex that each line is drawn as."""
    found = {}
    for line in lines:
        group = groups.get(line)
        kind = "n" if group is None or group.kind == "chain" else "m"
        found[line] = f"{kind}{place[line if group is None else group.last]}"
    return found


def key_of(around_it: tuple[Any, ...]) -> str | None:
    """The key of the innermost cluster."""
    return around_it[-1].key if around_it else None


def labels(lines: Iterable[Node], place: Mapping[Node, int]) -> dict[Node, str]:
    """How lines are called: by the user's label or name; a leaf without one by its place, as on the printed tape."""
    label = {}
    for line in lines:
        given = getattr(line, "label", None) or getattr(line, "name", None)
        if given or line.is_leaf:
            label[line] = given or f"%{place[line]}"
    return label


def folded_names(groups: Mapping[Node, Group]) -> dict[Node, str]:
    """What formulas call a value that comes out of a folded scope: "norm1"; "layers.2" where the name is a number."""
    found = {}
    for line, group in groups.items():
        if group.cluster is not None and group.kind == "module":
            parts = group.cluster.scope.split("/")
            found[line] = ".".join(parts[-2:]) if parts[-1].isdigit() else parts[-1]
    return found


def dtype_of(line: Node) -> str:
    """The dtype of a line; of several outputs all of them, if they differ."""
    return ", ".join(dict.fromkeys(map(str, line.dtype))) if isinstance(line.dtype, tuple) else str(line.dtype)


def contents(operations: list[Node], lines: int, parameters: int, shapes: list[tuple[str, str]]) -> tuple[str, ...]:
    """What is in a folded vertex, row by row: its operations, how much it holds, and the shapes of its parameters."""
    often = Counter(line.primitive.name for line in operations if line.primitive.kind != "select").most_common(COUNTED)
    size = f"{lines:,} lines" if lines > 1 else "1 line"
    rows = [", ".join(name if n == 1 else f"{name} ×{n:,}" for name, n in often)] if often else []
    rows.append(f"{parameters:,} parameters, {size}" if parameters else size)
    told = [f"{name} {shape}" for name, shape in shapes]
    while told and sum(map(len, told)) > ROOM:
        told.pop()
    if rest := len(shapes) - len(told):
        told.append(f"{rest} more" if told else f"{rest} arrays")
    half = -(-len(told) // 2) if sum(map(len, told)) > ROOM // 2 else len(told)
    return (*rows, *filter(None, (", ".join(told[:half]), ", ".join(told[half:]))))


def operand_name(line: Node, k: int) -> str:
    """What the primitive calls an operand."""
    p = line.primitive
    if p.kind == "select":
        return ""
    return f"arrays[{k}]" if p.sequence else str(p.operands[k])
