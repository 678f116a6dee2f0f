"""A picture as plain data, before it is written as DOT, Mermaid, text or JSON.

A Graph has vertices, edges between them and clusters around them. Each has a key, which depends only on places on the
tape, so the same model has the same keys in every run: `n7` is the seventh node, `c2` the second constant array, `m7` a
vertex that stands for several nodes, the last of which is the seventh.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["input", "parameter", "constant", "operation", "output", "module"]
Phase = Literal["forward", "backward"]


def _renamed(old: str, new: str) -> Any:
    """A field by the name that it had in version 0.1."""

    def read(self: Any) -> Any:
        warnings.warn(f"{type(self).__name__}.{old} is .{new} now", DeprecationWarning, stacklevel=2)
        return getattr(self, new)

    return property(read)


@dataclass(slots=True)
class Statistics:
    """Statistics of the elements of an array. Mean, deviation and extremes leave out elements that are not finite."""

    norm: float  # Euclidean, of all elements: NaN or infinite if one of them is
    mean: float
    std: float
    low: float
    high: float
    nonfinite: int = 0  # how many elements are NaN or infinite

    bad = _renamed("bad", "nonfinite")


@dataclass(slots=True)
class Verdict:
    """The result of a verification, for one vertex."""

    ok: bool
    message: str

    told = _renamed("told", "message")


@dataclass(slots=True)
class Vertex:
    """A node of the tape, a constant array, or several nodes folded into one."""

    key: str
    kind: Kind
    name: str = ""  # the user's name for a node or a scope
    label: str = ""  # how the name is written; leaves without a name are labeled by their place
    formula: str = ""  # how the value is computed: "(x − μ) / √(σ² + 1e-05)"
    operation: str = ""  # the name of the primitive
    variable: str = ""  # the node's name on the printed tape, or "%7"
    call: str = ""  # as on the printed tape: "subtract(x, mu)"
    shape: str = ""  # "(6, 3)"; with several outputs, all of their shapes
    dtype: str = ""
    place: int = 0  # on the tape, from 1; of a folded vertex, the place of its last node; 0 for constants
    scope: str = ""  # the path, joined by slashes
    cluster: str | None = None  # the key of the innermost cluster around it
    phase: Phase = "forward"
    gradient_of: str = ""  # in the backward pass: the key of the value, if that has a vertex of its own
    color: int | None = None  # the number of a named value's color; the same name has the same color in every layer
    nodes: int = 1  # how many nodes of the tape it stands for
    details: tuple[str, ...] = ()  # the contents of a folded vertex, row by row
    values: Statistics | None = None
    gradient: Statistics | None = None  # the gradient with respect to this value
    finite: bool = True  # whether all elements of the value are finite, as far as it is known
    arises: str = ""  # "NaN" or "∞" where it first appears; in a folded vertex, with the operation
    verdict: Verdict | None = None

    hue, born = _renamed("hue", "color"), _renamed("born", "arises")


@dataclass(slots=True)
class Edge:
    """An operand: from the vertex of its value to the vertex that uses it. Gradients flow against the edge."""

    source: str
    target: str
    operand: str = ""  # the primitive's name for it: "x", "y", "arrays[2]"
    kind: Literal["operand", "constant", "saved"] = "operand"  # "saved": a forward value that the backward pass uses
    count: int = 1  # how many operands it stands for, if vertices are folded
    leads_to: tuple[str, ...] = ()  # keys of the named values that are reached through it
    formula: str = ""  # the contribution that flows back along it: "v · (1 − y²)"
    contribution: float | None = None  # the norm of that contribution
    arises: str = ""  # "NaN" or "∞" if it first appears in this contribution

    strands, born = _renamed("strands", "leads_to"), _renamed("born", "arises")


@dataclass(slots=True)
class Cluster:
    """One run of a scope: the nodes recorded between entering and leaving it."""

    key: str
    name: str
    scope: str  # the full path
    parent: str | None  # the key of the cluster around it
    depth: int  # from 1
    folded: bool = False  # drawn as one vertex, whose key is in `vertex`
    vertex: str = ""
    nodes: int = 0
    parameters: int = 0  # the number of elements of its parameters
    shapes: list[tuple[str, str]] = field(default_factory=list)  # of its parameters: ("weight", "(64, 32)")
    phase: Phase = "forward"


@dataclass(slots=True)
class Graph:
    """A picture. Vertices are in the order of the tape; a cluster comes before the clusters inside it."""

    vertices: list[Vertex]
    edges: list[Edge]
    clusters: list[Cluster]
    direction: str = "TB"
    dtype: str = "float64"  # the most frequent one, which vertices do not repeat
    notes: list[str] = field(default_factory=list)  # what was folded, what is not shown and why
    shown: frozenset[str] = (
        frozenset()
    )  # the options that are on: "values", "grads", "formulas", "verdicts", "backward"

    def to_dict(self) -> dict[str, Any]:
        """The content in plain Python values that JSON knows; numbers that are not finite become strings."""
        plain = _plain(asdict(self))
        return {**plain, "shown": sorted(self.shown)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
