"""The gradient's own graph: the backward pass, recorded as create_graph does it."""

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


def seeds(outputs: Sequence[Node], given: Any) -> tuple[dict[Node, Any], list[str]]:
    """The gradients that the walk starts from: as given, 1 for a number, else ±1 at random, the same in every run."""
    if given is True:
        rng = np.random.default_rng(0)
        pending = {node: rng.choice([-1.0, 1.0] if node.shape else [1.0], node.shape) for node in outputs}
        pending = {node: np.asarray(v, node.dtype) for node, v in pending.items()}
        random = any(node.shape != () for node in outputs)
        return pending, ["The gradient of the output is ±1 at random; grads=v starts from v."] if random else []
    several = [given] if len(outputs) == 1 else given
    if not isinstance(several, (tuple, list)) or len(several) != len(outputs):
        raise ValueError(f"draw: grads for {len(outputs)} outputs must be a list of as many arrays, in their order")
    pending = {}
    for node, one in zip(outputs, several, strict=True):
        v = np.asarray(value_of(one), node.dtype)
        if v.shape != node.shape:
            raise ValueError(f"draw: grads of shape {v.shape} for an output of shape {node.shape}; they must be equal")
        pending[node] = pending[node] + v if node in pending else v
    return pending, []


@dataclass
class Backward:
    """Which nodes belong to the backward pass, and to what."""

    origin: dict[Node, Node] = field(default_factory=dict)  # of each: the node whose rule recorded it
    gradient_of: dict[Node, Node] = field(default_factory=dict)  # of some: the value that it is the gradient of
    seeds: dict[Node, Any] = field(default_factory=dict)  # the gradients of the outputs


def differentiated(tape: Tape, grads: Any) -> tuple[Tape, Backward]:
    """A tape and its backward pass as one tape, whose outputs are the outputs and the gradients of the leaves.

    Args:
        tape: of the forward pass.
        grads: the gradients of the outputs, or True.

    Raises:
        RuntimeError: values that a rule needs were released by an earlier backward pass.
    """
    made = Backward()
    given, _ = seeds(tape.outputs, grads)
    pending: dict[Node, Any] = {}
    starts: list[tuple[int, Node]] = []  # from which serial number on nodes belong to which node's rule
    ends: list[Any] = []
    place = {node: k for k, node in enumerate(tape.nodes, 1)}
    token = mode.set("")
    try:
        for node, v in given.items():
            seed = leaf(v)
            pending[node] = attach(v, seed)
            made.seeds[seed], made.origin[seed] = v, node
        for node in reversed(tape.nodes):
            v = pending.pop(node, None)
            if v is None:
                continue
            if not isinstance(v, list):
                _called(v.node, node, place[node], made)
            if node.primitive is None:
                ends.append(v)
                continue
            if node.residuals is None:
                raise released(node)
            starts.append((next_serial(), node))
            node.primitive.pull(node, v, pending, recorded(node, node.residuals))
    finally:
        mode.reset(token)
    whole = Tape(*(attach(None, node) for node in tape.outputs), *ends)
    first = starts[0][0] if starts else next_serial()
    numbers = [number for number, _ in starts]
    for node in whole.nodes:
        if node.serial > first and not _selects_forward(node, first):
            made.origin[node] = starts[bisect(numbers, node.serial) - 1][1]
    return whole, made


def _selects_forward(node: Node, first: int) -> bool:
    """Whether the node stands for an output of the forward pass that a rule kept."""
    parent = node.parents[0] if node.primitive is not None and node.primitive.kind == "select" else None
    return parent is not None and parent.serial < first


def _called(gradient: Node, value: Node, place: int, made: Backward) -> None:
    """Name the gradient of a leaf, an output or a named value; what is that of several bears the names of all."""
    name = getattr(value, "name", None)
    label = getattr(value, "label", None) or name or (f"%{place}" if value.is_leaf else None)
    starts = gradient in made.seeds
    if starts and label is None and made.origin[gradient] is value:
        label = "out"
    if label is None:
        return
    given = getattr(gradient, "label", None)
    gradient.name = getattr(gradient, "name", None) or f"d{name or label}"
    gradient.label = f"{given} = dl/d{label}" if given else f"dl/d{label}"
    if starts and not given and value.shape == () and made.seeds[gradient] == 1:
        gradient.label += " = 1"
    made.gradient_of.setdefault(gradient, value)


def phases(tape: Tape, backward: Backward | None) -> Mapping[Node, tuple[str, ...]]:
    """The path of each node: its scope, within "forward" or "backward" if there are both."""
    if backward is None:
        return {node: _path(node) for node in tape.nodes}
    return {
        node: ("backward", *_path(backward.origin[node])) if node in backward.origin else ("forward", *_path(node))
        for node in tape.nodes
    }


def _path(node: Node) -> tuple[str, ...]:
    return tuple(node.scope.split("/")) if node.scope else ()
