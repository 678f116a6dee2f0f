"""Numbers on a picture: values, gradients and contributions of nodes, and where NaN and infinities arise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from minigrad.diagnostics.anomaly.causes import Reason
from minigrad.diagnostics.anomaly.explain import backward_reason, forward_reason, is_finite, worst_kind
from minigrad.drawing.graph.model import Statistics
from minigrad.engine.mutation import check_unchanged
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
