"""Gradients on a picture: of every node, of every operand, and where NaN and infinities arise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minigrad.diagnostics.anomaly.causes import Reason
from minigrad.diagnostics.anomaly.explain import backward_reason, forward_reason, is_finite, worst_kind
from minigrad.drawing.graph.model import Statistics
from minigrad.drawing.graph.node_values import norm, statistics
from minigrad.engine.mutation import check_unchanged
from minigrad.engine.node import Node
from minigrad.engine.tape_text import kept

Array = Any
Operand = tuple[Node, int]  # a node, and the number of one of its operands


class Origin(NamedTuple):
    """Where a NaN or an infinity first appears: its kind ("NaN", "∞" or "−∞") and the reason."""

    kind: str
    reason: Reason


@dataclass
class Gradients:
    """The results of one backward pass, in numbers."""

    of_nodes: dict[Node, Statistics] = field(default_factory=dict)
    contributions: dict[Operand, float] = field(default_factory=dict)  # norms
    between: dict[tuple[str, str], float] = field(default_factory=dict)  # norms of the sums between two vertices
    # Contributions that are not finite although everything from which they are computed is.
    origins: dict[Operand, Origin] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _Contributions(dict[Node, Any]):
    """Given to a pull as its pending cotangents, this lists every contribution instead of adding them up."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[tuple[Node, Any]] = []

    def __contains__(self, node: object) -> bool:
        return False

    def __setitem__(self, node: Node, contribution: Any) -> None:
        self.pairs.append((node, contribution))

    def setdefault(self, node: Node, default: Any = None) -> Any:
        """The cotangents of a node with several outputs, as a node that selects one of them asks for them."""
        self.pairs.append((node, default))
        return default


def node_gradients(nodes: Sequence[Node], pending: dict[Node, Array], key: Callable[[Node], str]) -> Gradients:
    """The gradients and contributions of one walk backwards.

    Args:
        nodes: the nodes of a tape, in order.
        pending: the gradients of the outputs.
        key: gives the key of the vertex that a node is drawn as. All contributions between two vertices are added up
            before they are measured.
    """
    result = Gradients()
    if any(node.residuals is None for node in nodes if node.primitive is not None):
        return _of_leaves(nodes, result)
    try:
        check_unchanged(nodes)
    except RuntimeError as error:
        result.notes.append(f"Only the gradients of leaves are known: {error}")
        return _of_leaves(nodes, result)
    arriving: dict[Node, dict[str, Array]] = {}  # at each node, by the key of the vertex from which it comes
    with np.errstate(all="ignore"):
        for node in reversed(nodes):
            v = pending.pop(node, None)
            if v is None:
                continue
            if not isinstance(v, list) and (measured := statistics(v)) is not None:
                result.of_nodes[node] = measured
            for source, contribution in arriving.pop(node, {}).items():
                pair = (key(node), source)
                result.between[pair] = float(np.hypot(result.between.get(pair, 0.0), norm(contribution)))
            if node.primitive is not None:
                _pull_node(node, v, pending, arriving, key, result)
    return result


def _pull_node(
    node: Node,
    v: Any,
    pending: dict[Node, Array],
    arriving: dict[Node, dict[str, Array]],
    key: Callable[[Node], str],
    result: Gradients,
) -> None:
    """Measure the contributions of one node, and add them to the pending cotangents of its operands."""
    for k, parent, contribution in _contributions(node, v):
        pending[parent] = _sum(pending[parent], contribution) if parent in pending else contribution
        if isinstance(contribution, list):
            result.contributions[node, k] = norm(v)
            continue
        result.contributions[node, k] = norm(contribution)
        if key(parent) != key(node):
            by_source = arriving.setdefault(parent, {})
            before = by_source.get(key(node))
            by_source[key(node)] = contribution if before is None else before + contribution
        if not is_finite(contribution) and is_finite((v, node.residuals)):
            reason, _ = backward_reason(node, v, contribution, node.residuals or ())
            result.origins[node, k] = Origin(_symbol(contribution), reason)


def _contributions(node: Node, v: Any) -> list[tuple[int, Node, Any]]:
    """The contribution to each operand, with the operand's number and node."""
    contributions = _Contributions()
    node.primitive.pull(node, v, contributions, node.residuals)
    numbered, k = [], -1
    for parent, contribution in contributions.pairs:
        k = next(j for j in range(k + 1, len(node.parents)) if node.parents[j] is parent)
        numbered.append((k, parent, contribution))
    return numbered


def _sum(a: Any, b: Any) -> Any:
    """The sum of two contributions; for a node with several outputs, output by output."""
    if not isinstance(a, list):
        return a + b
    return [x if y is None else y if x is None else x + y for x, y in zip(a, b, strict=True)]


def _of_leaves(nodes: Sequence[Node], result: Gradients) -> Gradients:
    """The gradients that backward() has stored in the leaves."""
    for node in nodes:
        owner = getattr(node, "owner", lambda: None)() if node.is_leaf else None
        if owner is not None and owner.grad is not None and (measured := statistics(owner.grad)) is not None:
            result.of_nodes[node] = measured
    return result


def _symbol(x: Array) -> str:
    """NaN, ∞ or −∞."""
    return worst_kind(x).replace("inf", "∞").replace("-", "−")


def value_origins(nodes: Sequence[Node], values: Mapping[Node, Array]) -> dict[Node, Origin]:
    """The nodes whose value is not finite although all of their operands are."""
    origins = {}
    for node in nodes:
        value = values.get(node)
        if node.is_leaf or value is None or is_finite(value) or node.primitive.kind == "select":
            continue
        pairs = zip(node.parents, kept(node), strict=True)
        operands = tuple(values.get(parent) if parent is not None else x for parent, x in pairs)
        if all(x is not None for x in operands) and is_finite(operands):
            out = next(x for x in value if not is_finite(x)) if isinstance(value, tuple) else value
            origins[node] = Origin(_symbol(out), forward_reason(node.primitive, operands, out))
    return origins
