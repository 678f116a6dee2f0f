"""Gradients on a picture: the cotangent of every node, the contribution to every operand, where infinities arise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minigrad.diagnostics.causes import Reason
from minigrad.diagnostics.reasons import backward_reason, forward_reason, is_finite, what
from minigrad.drawing.model import Statistics
from minigrad.drawing.values import norm, statistics
from minigrad.engine.mutation import check_unchanged
from minigrad.engine.node import Node
from minigrad.engine.tape_text import kept

Array = Any
Operand = tuple[Node, int]  # a node, and which of its operands


class Birth(NamedTuple):
    """What is not finite where it first appears: "NaN", "∞" or "−∞", and why."""

    kind: str
    reason: Reason


@dataclass
class Gradients:
    """What one backward pass found, in numbers."""

    adjoints: dict[Node, Statistics] = field(default_factory=dict)
    contributions: dict[Operand, float] = field(default_factory=dict)  # norms
    joint: dict[tuple[str, str], float] = field(default_factory=dict)  # of all that flows between two vertices
    born: dict[Operand, Birth] = field(
        default_factory=dict
    )  # contributions that are not finite though all they come from is
    notes: list[str] = field(default_factory=list)


class _Handed(dict[Node, Any]):
    """Stands where a pull adds up what is pending, and keeps every contribution by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.contributions: list[tuple[Node, Any]] = []

    def __contains__(self, node: object) -> bool:
        return False

    def __setitem__(self, node: Node, contribution: Any) -> None:
        self.contributions.append((node, contribution))

    def setdefault(self, node: Node, places: Any = None) -> Any:
        """What a node that selects one of several outputs asks for."""
        self.contributions.append((node, places))
        return places


def gradients(nodes: Sequence[Node], pending: dict[Node, Array], key: Callable[[Node], str]) -> Gradients:
    """Walk backwards once, looking at every contribution.

    Args:
        nodes: of a tape, in order.
        pending: the gradients of the outputs.
        key: of the vertex that a node is drawn as. What flows between two of them is added up before it is measured.
    """
    found = Gradients()
    if any(node.residuals is None for node in nodes if node.primitive is not None):
        return _of_leaves(nodes, found)
    try:
        check_unchanged(nodes)
    except RuntimeError as error:
        found.notes.append(f"Only the gradients of leaves are known: {error}")
        return _of_leaves(nodes, found)
    arriving: dict[Node, dict[str, Array]] = {}  # at each node, by the vertex from which it comes
    with np.errstate(all="ignore"):
        for node in reversed(nodes):
            v = pending.pop(node, None)
            if v is None:
                continue
            if not isinstance(v, list) and (measured := statistics(v)) is not None:
                found.adjoints[node] = measured
            for source, contribution in arriving.pop(node, {}).items():
                pair = (key(node), source)
                found.joint[pair] = float(np.hypot(found.joint.get(pair, 0.0), norm(contribution)))
            if node.primitive is None:
                continue
            for k, parent, contribution in _contributions(node, v):
                pending[parent] = _sum(pending[parent], contribution) if parent in pending else contribution
                if isinstance(contribution, list):
                    found.contributions[node, k] = norm(v)
                    continue
                found.contributions[node, k] = norm(contribution)
                if key(parent) != key(node):
                    at = arriving.setdefault(parent, {})
                    at[key(node)] = at[key(node)] + contribution if key(node) in at else contribution
                if not is_finite(contribution) and is_finite((v, node.residuals)):
                    reason, _ = backward_reason(node, v, contribution, node.residuals or ())
                    found.born[node, k] = Birth(kind_of(contribution), reason)
    return found


def _contributions(node: Node, v: Any) -> list[tuple[int, Node, Any]]:
    """The contribution of each operand, with its number."""
    handed = _Handed()
    node.primitive.pull(node, v, handed, node.residuals)
    found, k = [], -1
    for parent, contribution in handed.contributions:
        k = next(j for j in range(k + 1, len(node.parents)) if node.parents[j] is parent)
        found.append((k, parent, contribution))
    return found


def _sum(a: Any, b: Any) -> Any:
    """Of two contributions; of a node with several outputs, for each of them."""
    if not isinstance(a, list):
        return a + b
    return [x if y is None else y if x is None else x + y for x, y in zip(a, b, strict=True)]


def _of_leaves(nodes: Sequence[Node], found: Gradients) -> Gradients:
    """What backward() left at the leaves."""
    for node in nodes:
        owner = getattr(node, "owner", lambda: None)() if node.is_leaf else None
        if owner is not None and owner.grad is not None and (measured := statistics(owner.grad)) is not None:
            found.adjoints[node] = measured
    return found


def kind_of(x: Array) -> str:
    """NaN, ∞ or −∞."""
    return what(x).replace("inf", "∞").replace("-", "−")


def born_values(nodes: Sequence[Node], values: Mapping[Node, Array]) -> dict[Node, Birth]:
    """Lines whose value is not finite though all that it is computed from is."""
    found = {}
    for node in nodes:
        value = values.get(node)
        if node.is_leaf or value is None or is_finite(value) or node.primitive.kind == "select":
            continue
        pairs = zip(node.parents, kept(node), strict=True)
        operands = tuple(values.get(parent) if parent is not None else x for parent, x in pairs)
        if all(x is not None for x in operands) and is_finite(operands):
            out = next(x for x in value if not is_finite(x)) if isinstance(value, tuple) else value
            found[node] = Birth(kind_of(out), forward_reason(node.primitive, operands, out))
    return found
