"""Whether a recorded value is a multiple of another.

The gradient of a norm is v x / norm, which is NaN at the origin. But the gradient of norm ** 2 is smooth there: v is
2 norm, and the norm cancels. While derivatives are recorded, the tape shows that v is such a multiple.
"""

from __future__ import annotations

from typing import Any

from minigrad.engine.node import Node
from minigrad.engine.specialize import attach

DEPTH = 16  # how many nested operations are searched


def cofactor(v: Any, of: Any) -> Any:
    """k with v = k · of, read from how v was recorded; None if the tape does not say that v is a multiple.

    Args:
        v: a Tensor; for an array, nothing is known.
        of: a Tensor of v's shape.
    """
    node, target = getattr(v, "node", None), getattr(of, "node", None)
    if node is None or target is None or node.shape != target.shape or node.serial < target.serial:
        return None
    return _cofactor(node, target, DEPTH)


def _cofactor(node: Node | None, target: Node, depth: int) -> Any:
    if node is target:
        return 1.0
    if node is None or node.primitive is None or node.residuals is None or not depth or node.serial < target.serial:
        return None
    name, parents = node.primitive.name, node.parents
    if name not in ("multiply", "divide", "negative", "positive", "square", "add", "subtract"):
        return None
    factors: list[Any] = [None if p is None else _cofactor(p, target, depth - 1) for p in parents]
    if name in ("add", "subtract"):
        if factors[0] is None or factors[1] is None or any(p is not None and p.shape != node.shape for p in parents):
            return None
        return factors[0] + factors[1] if name == "add" else factors[0] - factors[1]
    k = next((k for k, factor in enumerate(factors) if factor is not None), None)
    if k is None or (name == "divide" and k == 1):
        return None
    if name in ("negative", "positive"):
        return -factors[k] if name == "negative" else factors[k]
    if name == "square":
        return factors[k] * _operand(node, 0)
    return factors[k] * _operand(node, 1 - k) if name == "multiply" else factors[k] / _operand(node, 1)


def _operand(node: Node, k: int) -> Any:
    """An operand of a node: a Tensor, or a constant."""
    primitive = node.primitive
    assert node.residuals is not None
    value = node.residuals[primitive.residuals.index(primitive.operands[k])]
    parent = node.parents[k]
    return value if parent is None else attach(value, parent)
