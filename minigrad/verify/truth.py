"""What is true of the gradients in a forward function: at every name, and from every consumer of it.

One walk serves all. The gradient at a name is the pull from the outputs, read there. The contribution of consumer k
to the cotangent of j is the pull from k alone, stopping at every other name: the terms that a derivation adds up on
one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors, pull
from minigrad.verify.differences import WIDEST, Slope, slope
from minigrad.verify.forward import Forward, Run
from minigrad.verify.problem import signed

Array = Any


@dataclass
class Truth:
    """Gradients by name for one cotangent, and the contributions they are made of."""

    run: Run
    cotangents: dict[str, Array]  # of the outputs
    gradients: dict[str, Array]  # of inputs, named values and outputs
    contributions: dict[str, dict[str, Array]]  # contributions[j][k]: what consumer k hands to j
    scale: float  # the size of the largest gradient: what is 1e-11 of it is rounding

    def is_zero(self, name: str) -> bool:
        """Whether a gradient vanishes identically, up to rounding."""
        return bool(np.all(np.abs(self.gradients[name]) <= 1e-11 * self.scale))


def truth(forward: Forward, arguments: Mapping[str, Any], cotangents: Mapping[str, Array]) -> Truth:
    """The gradients at all names of one run, by the tape."""
    run = forward.run(arguments)
    nodes = nodes_of(run)
    pending = _pending({k: cotangents[k] for k in run.outputs}, run)
    found = pull(
        inner_nodes(run, list(pending)), dict(pending), stop=[nodes[k] for k in run.inputs], keep=nodes.values()
    )
    gradients = {k: found.get(node, np.zeros_like(run.values[k])) for k, node in nodes.items()}
    gradients |= {k: np.asarray(cotangents[k]) for k in run.outputs if k not in nodes or k not in run.named}
    scale = max((float(np.max(np.abs(g), initial=0.0)) for g in gradients.values()), default=1.0) or 1.0
    made = Truth(run, dict(cotangents), gradients, {}, scale)
    made.contributions = contributions(made, {k: gradients[k] for k in [*run.outputs, *run.named]})
    return made


def contributions(t: Truth, upstream: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """What each consumer hands to each value that it uses directly, for given gradients of the consumers."""
    run, nodes = t.run, nodes_of(t.run)
    found: dict[str, dict[str, Array]] = {k: {} for k in [*run.inputs, *run.named]}
    for consumer in [*run.outputs, *run.named]:
        node = run.tensors[consumer].node
        if node is None:
            continue
        others = {name: other for name, other in nodes.items() if name != consumer}
        handed = pull(inner_nodes(run, [node]), {node: np.asarray(upstream[consumer])}, stop=others.values())
        for name, other in others.items():
            if other in handed and name in found:
                found[name][consumer] = handed[other]
    return found


def diagonal(t: Truth, consumer: str, target: str) -> Array | None:
    """The contribution that comes from the diagonal of a Jacobian alone, each element of the consumer to its own place.

    It is what a derivation has that takes softmax, or a norm, for a function of single elements. None if the two have
    different shapes, or more elements than are worth one pull each.
    """
    upstream = t.gradients[consumer]
    if upstream.shape != t.gradients[target].shape or upstream.size > 100 or upstream.ndim == 0:
        return None
    run, nodes = t.run, nodes_of(t.run)
    node, place = run.tensors[consumer].node, nodes.get(target)
    if node is None or place is None:
        return None
    inner = inner_nodes(run, [node])
    stop = [other for name, other in nodes.items() if name != consumer]
    found = np.zeros_like(upstream)
    for at in np.ndindex(upstream.shape):
        single = np.zeros_like(upstream)
        single[at] = upstream[at]
        handed = pull(inner, {node: single}, stop=stop)
        if place in handed:
            found[at] = handed[place][at]
    return found


def confirm(forward: Forward, arguments: Mapping[str, Any], t: Truth, rng: np.random.Generator) -> dict[str, Slope]:
    """Finite differences at every name, along a random direction: the value itself is moved and the function re-run."""
    dtype = _widest(forward, arguments)
    wide = {k: v.astype(dtype) if k in t.run.inputs else v for k, v in arguments.items()}
    weights = np.concatenate([np.ravel(t.cotangents[k]) for k in t.run.outputs]).astype(dtype)
    slopes = {}
    for name in [*t.run.inputs, *t.run.named]:
        direction = signed(rng, t.run.values[name].shape).astype(dtype)

        def value(step: Any, name: str = name, direction: Array = direction) -> Array:
            moved = forward.run(wide, {name: step * direction}, record=False)
            return np.concatenate([np.ravel(np.asarray(moved.values[k])) for k in t.run.outputs])

        size = float(np.max(np.abs(t.run.values[name]), initial=0.0))
        found = slope(value, weights, size, dtype)
        slopes[name] = found
        along = float(np.sum(t.gradients[name] * direction.astype(float)))
        terms = float(np.sum(np.abs(t.gradients[name])))
        if abs(along - found.value) > 1e-6 * max(terms, 1e-6 * t.scale) + 10 * found.error and not found.is_kink:
            raise ArithmeticError(
                f"{forward.name}: at {name} the tape says {along:.6g} and finite differences {found.value:.6g} along "
                "the same direction. Either an operation of the forward function has a wrong rule, or it is not "
                "differentiable here: check it with mg.verify.check_gradients"
            )
    return slopes


def _widest(forward: Forward, arguments: Mapping[str, Any]) -> Any:
    try:
        wide = {k: v.astype(WIDEST) if getattr(getattr(v, "dtype", None), "kind", "") == "f" else v
                for k, v in arguments.items()}  # fmt: skip
        run = forward.run(wide, record=False)
    except (TypeError, np.linalg.LinAlgError):
        return np.float64
    return WIDEST if all(run.values[k].dtype == WIDEST for k in run.outputs) else np.float64


def nodes_of(run: Run) -> dict[str, Node]:
    """The node of each input and named value."""
    return {k: node for k in [*run.inputs, *run.named] if (node := run.tensors[k].node) is not None}


def _pending(cotangents: Mapping[str, Array], run: Run) -> dict[Node, Array]:
    pending: dict[Node, Array] = {}
    for k, v in cotangents.items():
        node = run.tensors[k].node
        if node is not None:
            pending[node] = pending[node] + v if node in pending else np.asarray(v)
    return pending


def inner_nodes(run: Run, outputs: Sequence[Node]) -> list[Node]:
    """The nodes from the inputs to these outputs."""
    first = min((t.node.serial for t in run.tensors.values() if t.node is not None), default=0)
    return ancestors(outputs, first)[0]
