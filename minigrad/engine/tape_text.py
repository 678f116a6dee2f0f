"""The tape as text: a Wengert list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from minigrad.engine.node import Node


def names(nodes: Sequence[Node]) -> dict[Node, str]:
    """How each node is referred to: by its user's name, with the scope or the place if that is not unique, else %k."""
    given = {node: getattr(node, "name", None) for node in nodes}
    scoped = {node: f"{node.scope}/{name}" if node.scope and name else name for node, name in given.items()}
    plain, full = Counter(given.values()), Counter(scoped.values())
    shown = {}
    for k, node in enumerate(nodes, 1):
        name, scope = given[node], scoped[node]
        if name is None or scope is None:
            shown[node] = f"%{k}"
        else:
            shown[node] = name if plain[name] == 1 else scope if full[scope] == 1 else f"{scope}#{k}"
    return shown


def expression(node: Node, shown: dict[Node, str]) -> str:
    """The operation of a node with its operands and parameters, as it would be called."""
    if node.primitive is None:
        return "leaf"
    primitive = node.primitive
    if primitive.kind == "select":
        parent = node.parents[0]
        assert parent is not None
        return f"{shown.get(parent, '?')}.{parent.primitive.outputs[node.params[0]]}"
    operands = [
        shown.get(parent, "?") if parent is not None else constant(value)
        for parent, value in zip(node.parents, kept(node), strict=True)
    ]
    return f"{primitive.name}({', '.join(operands + params_text(node))})"


def kept(node: Node) -> list[Any]:
    """The value of each operand: Python numbers, and what was kept for the rules and not released; else None."""
    primitive = node.primitive
    values = dict(zip(primitive.residuals, (node.residuals or ())[:], strict=False))
    if primitive.sequence:
        arrays = list(values.get("arrays") or ())
        return arrays + [None] * (len(node.parents) - len(arrays))  # a checkpoint's closure gives parents only
    numbers = getattr(node, "numbers", (None,) * len(primitive.operands))
    return [
        values.get(name) if number is None else number for name, number in zip(primitive.operands, numbers, strict=True)
    ]


def params_text(node: Node) -> list[str]:
    """The parameters that differ from their defaults, as they would be written."""
    defaults = {name: p.default for name, p in node.primitive.signature.parameters.items()}
    return [
        f"{name}={brief(value)}"
        for name, value in zip(node.primitive.param_names, node.params, strict=True)
        if not _same(value, defaults[name])
    ]


def _same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, (int, float, str)) and value == default)


def constant(value: Any) -> str:
    """A constant operand: its value if it is one number that was kept, its shape if an array, · if it was not kept."""
    if value is None:
        return "·"
    if getattr(value, "shape", ()) == ():
        return f"{float(value):.6g}"
    return "const" + "×".join(map(str, value.shape))


def brief(value: Any) -> str:
    """A parameter in few characters; index arrays by their shape, slices as they are written."""
    if isinstance(value, tuple):
        inside = ", ".join(brief(part) for part in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, slice):
        parts = ["" if p is None else str(p) for p in (value.start, value.stop, value.step)]
        return ":".join(parts if parts[2] else parts[:2])
    if value is Ellipsis:
        return "..."
    shape = getattr(value, "shape", None)
    return f"<{value.dtype}{list(shape)}>" if shape else str(value)


def each(node: Node, what: Any) -> str:
    """The shape or dtype of a node; of all its outputs if there are several."""
    several = node.primitive is not None and node.primitive.outputs
    return ", ".join(map(str, what)) if several else str(what)


def listing(nodes: Sequence[Node]) -> str:
    """One line of text for each node of the tape, in columns."""
    shown = names(nodes)
    rows = [
        (str(k), shown[node], expression(node, shown), each(node, node.shape), each(node, node.dtype))
        for k, node in enumerate(nodes, 1)
    ]
    widths = [max(len(row[c]) for row in rows) for c in range(4)] if rows else []
    return "\n".join(
        f"{k:>{widths[0]}}  {name:<{widths[1]}}  {what:<{widths[2]}}  {shape:<{widths[3]}}  {dtype}"
        for k, name, what, shape, dtype in rows
    )
