"""Gradients on a picture: the adjoint at every line, the share of every operand, and where infinities were born."""

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
Operand = tuple[Node, int]  # a line, and which of its operands


class Birth(NamedTuple):
    """What is not finite where it first appears: "NaN", "∞" or "−∞", and why."""

    kind: str
    reason: Reason


@dataclass
class Gradients:
    """What one backward pass found, in numbers."""

    adjoints: dict[Node, Statistics] = field(default_factory=dict)
    shares: dict[Operand, float] = field(default_factory=dict)  # norms
    joint: dict[tuple[str, str], float] = field(default_factory=dict)  # of all that flows between two vertices
    born: dict[Operand, Birth] = field(default_factory=dict)  # shares that are not finite though all they come from is
    notes: list[str] = field(default_factory=list)


class _Handed(dict[Node, Any]):
    """Stands where a pull adds up what is due, and keeps every share by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.shares: list[tuple[Node, Any]] = []

    def __contains__(self, line: object) -> bool:
        return False

    def __setitem__(self, line: Node, share: Any) -> None:
        self.shares.append((line, share))

    def setdefault(self, line: Node, places: Any = None) -> Any:
        """What a line that selects one of several outputs asks for."""
        self.shares.append((line, places))
        return places


def gradients(lines: Sequence[Node], due: dict[Node, Array], key: Callable[[Node], str]) -> Gradients:
    """Walk backwards once, looking at every share.

    Args:
        lines: of a tape, in order.
        due: the gradients of the outputs.
        key: of the vertex that a line is drawn as. What flows between two of them is added up before it is measured.
    """
    found = Gradients()
    if any(line.saved is None for line in lines if line.primitive is not None):
        return _of_leaves(lines, found)
    try:
        check_unchanged(lines)
    except RuntimeError as error:
        found.notes.append(f"Only the gradients of leaves are known: {error}")
        return _of_leaves(lines, found)
    arriving: dict[Node, dict[str, Array]] = {}  # at each line, by the vertex from which it comes
    with np.errstate(all="ignore"):
        for line in reversed(lines):
            v = due.pop(line, None)
            if v is None:
                continue
            if not isinstance(v, list) and (measured := statistics(v)) is not None:
                found.adjoints[line] = measured
            for source, share in arriving.pop(line, {}).items():
                pair = (key(line), source)
                found.joint[pair] = float(np.hypot(found.joint.get(pair, 0.0), norm(share)))
            if line.primitive is None:
                continue
            for k, parent, share in _shares(line, v):
                due[parent] = _sum(due[parent], share) if parent in due else share
                if isinstance(share, list):
                    found.shares[line, k] = norm(v)
                    continue
                found.shares[line, k] = norm(share)
                if key(parent) != key(line):
                    at = arriving.setdefault(parent, {})
                    at[key(line)] = at[key(line)] + share if key(line) in at else share
                if not is_finite(share) and is_finite((v, line.saved)):
                    reason, _ = backward_reason(line, v, share, line.saved or ())
                    found.born[line, k] = Birth(kind_of(share), reason)
    return found


def _shares(line: Node, v: Any) -> list[tuple[int, Node, Any]]:
    """The share of each operand, with its number."""
    handed = _Handed()
    line.primitive.pull(line, v, handed, line.saved)
    found, k = [], -1
    for parent, share in handed.shares:
        k = next(j for j in range(k + 1, len(line.parents)) if line.parents[j] is parent)
        found.append((k, parent, share))
    return found


def _sum(a: Any, b: Any) -> Any:
    """Of two shares; of a line with several outputs, for each of them."""
    if not isinstance(a, list):
        return a + b
    return [x if y is None else y if x is None else x + y for x, y in zip(a, b, strict=True)]


def _of_leaves(lines: Sequence[Node], found: Gradients) -> Gradients:
    """What backward() left at the leaves."""
    for line in lines:
        owner = getattr(line, "owner", lambda: None)() if line.is_leaf else None
        if owner is not None and owner.grad is not None and (measured := statistics(owner.grad)) is not None:
            found.adjoints[line] = measured
    return found


def kind_of(x: Array) -> str:
    """NaN, ∞ or −∞."""
    return what(x).replace("inf", "∞").replace("-", "−")


def born_values(lines: Sequence[Node], values: Mapping[Node, Array]) -> dict[Node, Birth]:
    """Lines whose value is not finite though all that it is computed from is."""
    found = {}
    for line in lines:
        value = values.get(line)
        if line.is_leaf or value is None or is_finite(value) or line.primitive.kind == "select":
            continue
        pairs = zip(line.parents, kept(line), strict=True)
        operands = tuple(values.get(parent) if parent is not None else x for parent, x in pairs)
        if all(x is not None for x in operands) and is_finite(operands):
            out = next(x for x in value if not is_finite(x)) if isinstance(value, tuple) else value
            found[line] = Birth(kind_of(out), forward_reason(line.primitive, operands, out))
    return found
