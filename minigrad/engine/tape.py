"""The tape and the two walks along it: pull (reverse mode) and push (forward mode).

A tape is a view: the nodes that some outputs need, in the order in which they were recorded. Both walks work on arrays
or on Tensors. On Tensors the operations of the rules are recorded too, which gives derivatives of derivatives.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from minigrad.engine import tracing
from minigrad.engine.errors import derivative_failed, describe
from minigrad.engine.gradient_hooks import HOOKED, apply_hook
from minigrad.engine.mutation import check_unchanged
from minigrad.engine.node import Node, leaf, mode
from minigrad.engine.pairwise import HALF, narrow
from minigrad.engine.primitive import Array, value_of
from minigrad.engine.specialize import attach, select
from minigrad.engine.tape_text import listing
from minigrad.util.locks import LOCK

_trace = tracing.active.get
_hooked: Any = HOOKED  # whose attribute `data` mypy does not know


def ancestors(outputs: Iterable[Node], since: int = 0) -> tuple[list[Node], bool]:
    """The nodes that the outputs need, oldest first, and whether some of them are older than `since`.

    Nodes older than that are left out: what was recorded before an input existed cannot depend on it.
    """
    nodes: list[Any] = list({node for node in outputs if node.serial >= since})
    seen = {None, *nodes}  # None stands for a constant
    older = False
    for node in nodes:  # the list grows meanwhile
        for parent in node.parents:
            if parent not in seen:
                if parent.serial < since:
                    older = True
                else:
                    seen.add(parent)
                    nodes.append(parent)
    nodes.reverse()  # nearly from old to young already, and sorting what is nearly in order is quick
    nodes.sort(key=_serial)
    return nodes, older


_serial = attrgetter("serial")


def pull(
    nodes: Sequence[Node],
    pending: dict[Node, Array],
    *,
    stop: Iterable[Node] = (),
    keep: Iterable[Node] = (),
    record: bool = False,
    retain: bool = True,
) -> dict[Node, Array]:
    """Reverse mode: from the cotangents of outputs to those of leaves, and of the nodes in `stop` and `keep`.

    The rules of a node turn its cotangent into contributions to the cotangents of its parents, which are added up in
    `pending`. All uses of a node come after it on the tape, so on the way back its sum is complete when the walk
    reaches it. The walk does not go beyond nodes in `stop`.

    Args:
        nodes: the tape, oldest first.
        pending: the cotangents of the outputs. The walk uses it up.
        stop: nodes at which the walk ends.
        keep: other nodes whose cotangents are wanted.
        record: the cotangents are Tensors, and so are the values that the rules see.
        retain: whether nodes keep their residuals.
    """
    check_unchanged(nodes)
    cotangents: dict[Node, Array] = {}  # the result
    stop, keep = frozenset(stop), frozenset(keep)
    special = stop | keep  # and nodes with hooks
    if _hooked.data:  # whether there are any: this costs a tenth of len()
        with LOCK:
            special |= {node for node in HOOKED if node in pending or node.serial >= nodes[0].serial}
    walk: Iterable[Node] = reversed(nodes) if _trace() is None else tracing.announced(reversed(nodes))
    try:
        for node in walk:
            v = pending.pop(node, None)
            if v is None:
                continue
            if node.dtype is HALF and v.dtype is not HALF:
                v = narrow(v)
            if special and node in special:
                for hook in tuple(getattr(node, "hooks", ())):
                    v = apply_hook(hook, v)
                if node in keep or node in stop:
                    cotangents[node] = v
                if node in stop:
                    continue
            if node.primitive is None:
                cotangents[node] = v
                continue
            residuals = node.residuals
            if residuals is None:
                raise released(node)
            node.primitive.pull(node, v, pending, recorded(node, residuals) if record else residuals)
            if not retain:
                node.residuals = None
    except np.linalg.LinAlgError as error:
        raise derivative_failed(error, node, "the backward pass of") from error
    return cotangents


def push(nodes: Sequence[Node], tangents: Mapping[Node, Array], *, record: bool = False) -> dict[Node, Array]:
    """Forward mode: from the tangents of some nodes to those of all that depend on them."""
    check_unchanged(nodes)
    known = dict(tangents)
    walk: Iterable[Node] = nodes if _trace() is None else tracing.announced(nodes)
    try:
        for node in walk:
            if node in known or node.primitive is None:
                continue
            tangents_in = [known.get(parent) if parent is not None else None for parent in node.parents]
            if all(v is None for v in tangents_in):
                continue
            if node.residuals is None:
                raise released(node)
            residuals = recorded(node, node.residuals) if record else node.residuals
            tangent_out = node.primitive.push(node, tangents_in, residuals)
            if tangent_out is None:
                tangent_out = _pull_of_pull(node, tangents_in, residuals, record)
            known[node] = tangent_out
    except np.linalg.LinAlgError as error:
        raise derivative_failed(error, node, "forward mode through") from error
    return known


def _pull_of_pull(node: Node, tangents: Sequence[Array | None], residuals: tuple[Any, ...], record: bool) -> Array:
    """Forward mode from a pull alone.

    pull(v) is linear in v, so its transpose, which is its own pull, takes the tangents of the parents to the tangent
    of the value. It is recorded at v = 0; the point does not matter.
    """
    like = next(v for v in tangents if v is not None)
    several = isinstance(node.shape, tuple) and bool(node.primitive.outputs)
    shapes, dtypes = (node.shape, node.dtype) if several else ((node.shape,), (node.dtype,))
    token = mode.set("")
    try:
        zeros = [np.zeros_like(value_of(like), shape=s, dtype=d) for s, d in zip(shapes, dtypes, strict=True)]
        variables = [leaf(zero) for zero in zeros]
        v = [attach(zero, variable) for zero, variable in zip(zeros, variables, strict=True)]
        contributions: dict[Node, Any] = {}
        node.primitive.pull(node, tuple(v) if several else v[0], contributions, residuals)
        pending: dict[Node, Array] = {}
        for parent, tangent in dict(zip(node.parents, tangents, strict=True)).items():
            contribution: Any = contributions.get(parent) if parent is not None else None
            if tangent is not None and getattr(contribution, "node", None) is not None:
                pending[contribution.node] = (
                    pending[contribution.node] + tangent if contribution.node in pending else tangent
                )
        nodes, _ = ancestors(pending, variables[0].serial)
        pending = {node: tangent for node, tangent in pending.items() if node.serial >= variables[0].serial}
        tangent_out = pull(nodes, pending, stop=variables, record=record) if pending else {}
    finally:
        mode.reset(token)
    values = [tangent_out.get(variable, zero) for variable, zero in zip(variables, zeros, strict=True)]
    return tuple(values) if several else values[0]


def recorded(node: Node, residuals: tuple[Any, ...]) -> tuple[Any, ...]:
    """The residuals as Tensors on the tape, for rules whose operations are recorded."""
    primitive, parents = node.primitive, node.parents
    values: list[Any] = []
    for name, value in zip(primitive.residuals, residuals, strict=True):
        if name == "arrays":
            values.append([x if p is None else attach(x, p) for x, p in zip(value, parents, strict=False)])
        elif name in primitive.operands:
            parent = parents[primitive.operands.index(name)]
            values.append(value if parent is None or value is None else attach(value, parent))
        elif name in primitive.outputs:
            values.append(attach(value, select(node, primitive.outputs.index(name))))
        else:
            values.append(value if value is None else attach(value, node))
    return tuple(values)


def released(node: Node) -> RuntimeError:
    """The error for a node whose residuals are gone."""
    return RuntimeError(
        f"{node.primitive.name} (node {node.serial}, shape {node.shape}) no longer has the values that its derivative "
        "needs: they were released by the first backward pass. If you need a second one, call "
        "backward(retain_graph=True) in the first; if you did not mean to, compute the loss again in every step."
    )


def listed(outputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Outputs as a tuple, whether they were given one by one or in one list."""
    return tuple(outputs[0]) if len(outputs) == 1 and type(outputs[0]) in (list, tuple) else outputs


class Tape(Sequence[Node]):
    """The nodes that the outputs need, in the order in which they were recorded.

    Args:
        *outputs: Tensors, or one list of them.

    `print(tape)` shows it as a Wengert list (Wengert 1964): one line for each node, with the user's names, shapes and
    dtypes. Iteration, indexing and `len` are those of a sequence of nodes.

    Example:
        >>> import minigrad as mg
        >>> x = mg.Tensor([1.0, 2.0], requires_grad=True).named("x")
        >>> print(mg.Tape((x * x).sum()))
        1  x   leaf            (2,)  float64
        2  %2  multiply(x, x)  (2,)  float64
        3  %3  sum(%2)         ()    float64
    """

    def __init__(self, *outputs: Any) -> None:
        outputs = listed(outputs)
        for t in outputs:
            if getattr(t, "node", None) is None:
                raise ValueError(
                    f"Tape: {describe(t)} ({type(t).__name__}) was not computed from a Tensor with requires_grad=True. "
                    "Give the result of a computation with such a Tensor, outside no_grad"
                )
        self.outputs: tuple[Node, ...] = tuple(t.node for t in outputs)
        self.nodes, _ = ancestors(self.outputs)

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, k: Any) -> Any:
        return self.nodes[k]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __str__(self) -> str:
        return listing(self.nodes)

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} nodes, {sum(node.is_leaf for node in self.nodes)} of them leaves>"

    @property
    def lines(self) -> list[Node]:
        """The old name of `nodes`."""
        warnings.warn("Tape.lines is called Tape.nodes since version 0.2", DeprecationWarning, stacklevel=2)
        return self.nodes

    @property
    def leaves(self) -> list[Node]:
        """The nodes that no operation made."""
        return [node for node in self.nodes if node.is_leaf]

    def check(self) -> None:
        """Verify what every walk relies on. Raises AssertionError, naming the node."""
        present = set()
        for node in self.nodes:
            for parent in node.parents:
                assert parent is None or parent.serial < node.serial, f"{node} was recorded before its parent {parent}"
                assert parent is None or parent in present, f"{parent}, a parent of {node}, is not on the tape"
            if node.primitive is not None and node.residuals is not None:
                assert len(node.residuals) == len(node.primitive.residuals), (
                    f"{node} has {len(node.residuals)} residuals"
                )
                assert len(node.params) == len(node.primitive.param_names), f"{node} has {len(node.params)} parameters"
            present.add(node)
