"""The tape as text: a Wengert list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from minigrad.engine.node import Node
from minigrad.util.report import table


def names(nodes: Sequence[Node]) -> dict[Node, str]:
    """The name of each node: the user's, with the scope or the line if that is not unique; else %k."""
    plain = {node: getattr(node, "name", None) for node in nodes}
    scoped = {node: f"{node.scope}/{name}" if node.scope and name else name for node, name in plain.items()}
    plain_count, scoped_count = Counter(plain.values()), Counter(scoped.values())
    shown = {}
    for k, node in enumerate(nodes, 1):
        name, long_name = plain[node], scoped[node]
        if name is None or long_name is None:
            shown[node] = f"%{k}"
        elif plain_count[name] == 1:
            shown[node] = name
        else:
            shown[node] = long_name if scoped_count[long_name] == 1 else f"{long_name}#{k}"
    return shown


def expression(node: Node, shown: dict[Node, str]) -> str:
    """The operation of a node with its operands and parameters, as a call."""
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
    """The value of each operand, if it is a Python number or a residual that was not released; else None."""
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
    """The parameters that differ from their defaults, as keyword arguments."""
    defaults = {name: p.default for name, p in node.primitive.signature.parameters.items()}
    return [
        f"{name}={brief(value)}"
        for name, value in zip(node.primitive.param_names, node.params, strict=True)
        if not _same(value, defaults[name])
    ]


def _same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, (int, float, str)) and value == default)


def constant(value: Any) -> str:
    """A constant operand: the value of a number, the shape of an array, · if it was not kept."""
    if value is None:
        return "·"
    if getattr(value, "shape", ()) == ():
        return f"{float(value):.6g}"
    return "const" + "×".join(map(str, value.shape))


def brief(value: Any) -> str:
    """A parameter in a few characters: the dtype and shape of an index array, the text of a slice."""
    if isinstance(value, tuple):
        items = ", ".join(brief(item) for item in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    if isinstance(value, slice):
        parts = ["" if p is None else str(p) for p in (value.start, value.stop, value.step)]
        return ":".join(parts if parts[2] else parts[:2])
    if value is Ellipsis:
        return "..."
    shape = getattr(value, "shape", None)
    return f"<{value.dtype}{list(shape)}>" if shape else str(value)


def each(node: Node, value: Any) -> str:
    """The text of a node's shape or dtype; those of all outputs if there are several."""
    several = node.primitive is not None and node.primitive.outputs
    return ", ".join(map(str, value)) if several else str(value)


def listing(nodes: Sequence[Node]) -> str:
    """The tape as text: a line for each node, in columns."""
    shown = names(nodes)
    width = len(str(len(nodes)))
    rows = [
        (str(k).rjust(width), shown[node], expression(node, shown), each(node, node.shape), each(node, node.dtype))
        for k, node in enumerate(nodes, 1)
    ]
    return "\n".join(table(rows, indent=""))
