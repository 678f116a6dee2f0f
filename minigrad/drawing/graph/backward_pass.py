"""The backward pass as a tape of its own, recorded as create_graph records it."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.engine.node import Node, leaf, mode, next_serial
from minigrad.engine.primitive import value_of
from minigrad.engine.specialize import attach
from minigrad.engine.tape import Tape, recorded, released


def seeds(outputs: Sequence[Node], grads: Any) -> tuple[dict[Node, Any], list[str]]:
    """The gradients from which the walk starts, and a note if they were chosen at random.

    Args:
        outputs: of a tape.
        grads: the gradients of the outputs. True stands for 1 if the output is a number, otherwise for ±1 at random,
            the same in every run.
    """
    if grads is True:
        rng = np.random.default_rng(0)
        signs = {node: rng.choice([-1.0, 1.0] if node.shape else [1.0], node.shape) for node in outputs}
        is_random = any(node.shape != () for node in outputs)
        notes = ["The gradient of the output is ±1 at random; grads=v starts from v."] if is_random else []
        return {node: np.asarray(v, node.dtype) for node, v in signs.items()}, notes
    arrays = [grads] if len(outputs) == 1 else grads
    if not isinstance(arrays, (tuple, list)) or len(arrays) != len(outputs):
        raise ValueError(f"draw: grads for {len(outputs)} outputs must be a list of as many arrays, in their order")
    pending: dict[Node, Any] = {}
    for node, array in zip(outputs, arrays, strict=True):
        v = np.asarray(value_of(array), node.dtype)
        if v.shape != node.shape:
            raise ValueError(f"draw: grads of shape {v.shape} for an output of shape {node.shape}; they must be equal")
        pending[node] = pending[node] + v if node in pending else v
    return pending, []


@dataclass
class Backward:
    """The nodes of the backward pass, and how they belong to the forward pass."""

    origin: dict[Node, Node] = field(default_factory=dict)  # the node whose rule recorded each of them
    gradient_of: dict[Node, Node] = field(default_factory=dict)  # the value of which some of them are the gradient
    seeds: dict[Node, Any] = field(default_factory=dict)  # the gradients of the outputs


def differentiated(tape: Tape, grads: Any) -> tuple[Tape, Backward]:
    """A tape and its backward pass as one tape, whose outputs are the outputs and the gradients of the leaves.

    Args:
        tape: of the forward pass.
        grads: the gradients of the outputs, or True.

    Raises:
        RuntimeError: an earlier backward pass released values that a rule needs.
    """
    backward = Backward()
    starts: list[tuple[int, Node]] = []  # the first serial number that each node's rule may have used
    leaf_gradients: list[Any] = []
    place = {node: k for k, node in enumerate(tape.nodes, 1)}
    token = mode.set("")
    try:
        pending = _seed_nodes(tape, grads, backward)
        for node in reversed(tape.nodes):
            v = pending.pop(node, None)
            if v is None:
                continue
            if not isinstance(v, list):
                _name_gradient(v.node, node, place[node], backward)
            if node.primitive is None:
                leaf_gradients.append(v)
                continue
            if node.residuals is None:
                raise released(node)
            starts.append((next_serial(), node))
            node.primitive.pull(node, v, pending, recorded(node, node.residuals))
    finally:
        mode.reset(token)
    joint = Tape(*(attach(None, node) for node in tape.outputs), *leaf_gradients)
    first = starts[0][0] if starts else next_serial()
    serials = [serial for serial, _ in starts]
    for node in joint.nodes:
        if node.serial > first and not _selects_forward(node, first):
            backward.origin[node] = starts[bisect(serials, node.serial) - 1][1]
    return joint, backward


def _seed_nodes(tape: Tape, grads: Any, backward: Backward) -> dict[Node, Any]:
    """The gradients of the outputs as Tensors with leaves of their own."""
    pending = {}
    for node, v in seeds(tape.outputs, grads)[0].items():
        seed = leaf(v)
        pending[node] = attach(v, seed)
        backward.seeds[seed], backward.origin[seed] = v, node
    return pending


def _selects_forward(node: Node, first: int) -> bool:
    """Whether a node selects an output of the forward pass that a rule kept."""
    parent = node.parents[0] if node.primitive is not None and node.primitive.kind == "select" else None
    return parent is not None and parent.serial < first


def _name_gradient(gradient: Node, value: Node, place: int, backward: Backward) -> None:
    """Name the gradient of a leaf, an output or a named value. The gradient of several values has all their names."""
    name = getattr(value, "name", None)
    label = getattr(value, "label", None) or name or (f"%{place}" if value.is_leaf else None)
    is_seed = gradient in backward.seeds
    if is_seed and label is None and backward.origin[gradient] is value:
        label = "out"
    if label is None:
        return
    before = getattr(gradient, "label", None)
    gradient.name = getattr(gradient, "name", None) or f"d{name or label}"
    gradient.label = f"{before} = dl/d{label}" if before else f"dl/d{label}"
    if is_seed and not before and value.shape == () and backward.seeds[gradient] == 1:
        gradient.label += " = 1"
    backward.gradient_of.setdefault(gradient, value)


def scope_paths(tape: Tape, backward: Backward | None) -> Mapping[Node, tuple[str, ...]]:
    """The scopes around each node, inside "forward" or "backward" if both passes are shown."""
    if backward is None:
        return {node: _scopes(node) for node in tape.nodes}
    return {
        node: ("backward", *_scopes(backward.origin[node])) if node in backward.origin else ("forward", *_scopes(node))
        for node in tape.nodes
    }


def _scopes(node: Node) -> tuple[str, ...]:
    return tuple(node.scope.split("/")) if node.scope else ()
