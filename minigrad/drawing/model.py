"""A picture as plain data: what is drawn, before it is written as DOT, Mermaid, text or JSON.

A Graph has vertices, edges between them and clusters around them, all known by their keys. Keys are made from places on
the tape, so that the same model has the same keys in every run: `n7` is the seventh node, `c2` the second constant
array, `m7` a vertex that stands for several nodes, the last of them the seventh.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["input", "parameter", "constant", "operation", "output", "module"]
Phase = Literal["forward", "backward"]


@dataclass(slots=True)
class Statistics:
    """Of the elements of an array. Mean, deviation and extremes leave out what is not finite."""

    norm: float  # Euclidean, of all elements: NaN or infinite if one of them is
    mean: float
    std: float
    low: float
    high: float
    bad: int = 0  # how many elements are NaN or infinite


@dataclass(slots=True)
class Verdict:
    """What a verification found out about a vertex."""

    ok: bool
    told: str


@dataclass(slots=True)
class Vertex:
    """A node of the tape, a constant array, or several nodes folded into one."""

    key: str
    kind: Kind
    name: str = ""  # given by the user to a node, or to a scope
    label: str = ""  # how the name is written; leaves without a name are called by their place
    formula: str = ""  # how the value is computed: "(x − μ) / √(σ² + 1e-05)"
    operation: str = ""  # the name of the primitive
    variable: str = ""  # what the node is called on the printed tape: its name, or "%7"
    call: str = ""  # as on the printed tape: "subtract(x, mu)"
    shape: str = ""  # "(6, 3)"; of several outputs all of them
    dtype: str = ""
    place: int = 0  # on the tape, from 1; of a folded vertex that of its last node, of a constant 0
    scope: str = ""  # the path, joined by slashes
    cluster: str | None = None  # the key of the innermost cluster around it
    phase: Phase = "forward"
    gradient_of: str = ""  # in the backward pass: the key of the value, where it is drawn by itself
    hue: int | None = None  # named values have colors, the same for the same name in every layer
    nodes: int = 1  # how many nodes of the tape it stands for
    details: tuple[str, ...] = ()  # of a folded vertex: what is in it, row by row
    values: Statistics | None = None
    gradient: Statistics | None = None  # the adjoint: of the outputs' gradient with respect to this value
    finite: bool = True  # whether the value is, as far as it is known
    born: str = ""  # "NaN" or "∞" where it first appears, with the operation within a folded vertex
    verdict: Verdict | None = None


@dataclass(slots=True)
class Edge:
    """An operand: from the vertex of its value to the vertex that uses it. Gradients flow against it."""

    source: str
    target: str
    operand: str = ""  # the primitive's name for it: "x", "y", "arrays[2]"
    kind: Literal["operand", "constant", "saved"] = "operand"  # residuals: a forward value that the backward pass uses
    count: int = 1  # how many operands, where vertices are folded
    strands: tuple[str, ...] = ()  # keys of the named values that the edge leads to
    formula: str = ""  # the contribution that flows back along it: "v · (1 − y²)"
    contribution: float | None = None  # the norm of that contribution
    born: str = ""  # "NaN" or "∞" if it first appears in this contribution


@dataclass(slots=True)
class Cluster:
    """One run of a scope: the nodes recorded from when it was entered until it was left."""

    key: str
    name: str
    scope: str  # the whole path
    parent: str | None  # the key of the cluster around it
    depth: int  # from 1
    folded: bool = False  # drawn as one vertex; its own key is in `vertex`
    vertex: str = ""
    nodes: int = 0
    parameters: int = 0  # how many numbers its parameters hold
    shapes: list[tuple[str, str]] = field(default_factory=list)  # of its parameters: ("weight", "(64, 32)")
    phase: Phase = "forward"


@dataclass(slots=True)
class Graph:
    """A whole picture. Vertices stand in the order of the tape, clusters before those inside them."""

    vertices: list[Vertex]
    edges: list[Edge]
    clusters: list[Cluster]
    direction: str = "TB"
    dtype: str = "float64"  # the one that most nodes have: not repeated on every vertex
    notes: list[str] = field(default_factory=list)  # what was folded, what is not shown and why
    shown: frozenset[str] = frozenset()  # "values", "grads", "formulas", "verdicts", "backward": what was asked for

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values that JSON knows: what is not finite is written as a string."""
        plain = _plain(asdict(self))
        return {**plain, "shown": sorted(self.shown)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
