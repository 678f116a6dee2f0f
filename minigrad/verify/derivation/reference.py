"""The reference that lines are compared with: the tape's gradients at every name, and contributions of every consumer.

The gradient at a name is the pull from the outputs, read there. The contribution of consumer k to the cotangent of j is
the pull from k alone, stopping at every other name: these are the terms that a derivation adds up in one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.node import Node
from minigrad.engine.tape import ancestors, pull
from minigrad.verify.derivation.forward import Forward, Run
from minigrad.verify.gradients.finite_differences import WIDEST, Slope, slope
from minigrad.verify.gradients.problem import signed
from minigrad.verify.pairs.pair import is_float_array

Array = Any
ROUNDING = 1e-11  # relative to the largest gradient: a smaller difference is rounding


@dataclass
class Reference:
    """The gradients at all names for one cotangent, and the contributions of consumers to them."""

    run: Run
    cotangents: dict[str, Array]  # of the outputs
    gradients: dict[str, Array]  # of inputs, named values and outputs
    contributions: dict[str, dict[str, Array]]  # contributions[j][k]: of consumer k to the cotangent of j
    scale: float  # the absolute value of the largest gradient

    def is_zero(self, name: str) -> bool:
        """Whether the gradient at a name is identically 0, up to rounding."""
        return bool(np.all(np.abs(self.gradients[name]) <= ROUNDING * self.scale))

    def is_gradient(self, name: str, result: Array, rtol: float) -> bool:
        """Whether a result is the gradient at a name."""
        return agree(result, self.gradients[name], rtol, ROUNDING * self.scale)

    def label(self, name: str) -> str:
        """The label of a value for formulas and messages."""
        return self.run.labels.get(name, name)


def agree(result: Array, expected: Array, rtol: float, floor: float, largest: float | None = None) -> bool:
    """Whether two arrays have one shape and are close, relative to each element and to 1e-3 of the largest one."""
    if result.shape != expected.shape:
        return False
    if largest is None:
        largest = float(np.max(np.abs(expected), initial=0.0))
    return bool(np.all(np.abs(result - expected) <= rtol * (np.abs(expected) + 1e-3 * largest) + floor))


def reference_gradients(forward: Forward, arguments: Mapping[str, Any], cotangents: Mapping[str, Array]) -> Reference:
    """The gradients at all names of one run, by the tape."""
    run = forward.run(arguments)
    nodes = nodes_of(run)
    pending = _pending({k: cotangents[k] for k in run.outputs}, run)
    pulled = pull(
        inner_nodes(run, list(pending)), dict(pending), stop=[nodes[k] for k in run.inputs], keep=nodes.values()
    )
    gradients = {k: pulled.get(node, np.zeros_like(run.values[k])) for k, node in nodes.items()}
    gradients |= {k: np.asarray(cotangents[k]) for k in run.outputs if k not in nodes or k not in run.named}
    scale = max((float(np.max(np.abs(g), initial=0.0)) for g in gradients.values()), default=1.0) or 1.0
    terms = contributions(run, {k: gradients[k] for k in [*run.outputs, *run.named]})
    return Reference(run, dict(cotangents), gradients, terms, scale)


def contributions(run: Run, upstream: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """The contribution of each consumer to each value that it uses directly, for given gradients of the consumers."""
    nodes = nodes_of(run)
    terms: dict[str, dict[str, Array]] = {k: {} for k in [*run.inputs, *run.named]}
    for consumer in [*run.outputs, *run.named]:
        for name, term in _contributions_of(run, nodes, consumer, upstream[consumer]).items():
            if name in terms:
                terms[name][consumer] = term
    return terms


def contributions_to(reference: Reference, target: str) -> dict[str, Array]:
    """The contributions of consumers to the cotangent of one value."""
    run, nodes = reference.run, nodes_of(reference.run)
    terms = {}
    for consumer in [*run.outputs, *run.named]:
        of_consumer = _contributions_of(run, nodes, consumer, reference.gradients[consumer])
        if target in of_consumer:
            terms[consumer] = of_consumer[target]
    return terms


def _contributions_of(run: Run, nodes: Mapping[str, Node], consumer: str, upstream: Array) -> dict[str, Array]:
    """The contributions of one consumer to the values that it uses directly."""
    node = run.tensors[consumer].node
    if node is None:
        return {}
    others = {name: other for name, other in nodes.items() if name != consumer}
    pulled = pull(inner_nodes(run, [node]), {node: np.asarray(upstream)}, stop=others.values())
    return {name: pulled[other] for name, other in others.items() if other in pulled}


def contributions_through(reference: Reference, target: str, used: Sequence[str]) -> dict[str, Array]:
    """The contributions of the values whose gradients a line uses; they need not use its target directly.

    Empty if the gradient does not come through them alone.
    """
    run, node = reference.run, reference.run.tensors[target].node
    nodes = {k: run.tensors[k].node for k in used}
    terms: dict[str, Array] = {}
    for k, upper in nodes.items():
        if node is None or upper is None or upper is node:
            return {}
        stop = [node, *(other for name, other in nodes.items() if name != k and other is not None)]
        pulled = pull(inner_nodes(run, [upper]), {upper: np.asarray(reference.gradients[k])}, stop=stop)
        if node in pulled:
            terms[k] = pulled[node]
    total = sum(terms.values(), np.zeros(reference.gradients[target].shape))
    return terms if reference.is_gradient(target, np.asarray(total), 1e-9) else {}


def diagonal_contribution(
    reference: Reference, consumer: str, target: str, consumers: Sequence[str] | None = None
) -> Array | None:
    """The contribution through the diagonal of a Jacobian only: each element of the consumer to the same element.

    A derivation has it if it takes softmax, or a norm, for an elementwise function. None if the two have different
    shapes, or so many elements that one pull for each is too expensive.
    """
    upstream = reference.gradients[consumer]
    if upstream.shape != reference.gradients[target].shape or upstream.size > 100 or upstream.ndim == 0:
        return None
    run, nodes = reference.run, nodes_of(reference.run)
    node, target_node = run.tensors[consumer].node, nodes.get(target)
    if node is None or target_node is None:
        return None
    inner = inner_nodes(run, [node])
    stop = [other for name, other in nodes.items() if name != consumer]
    if consumers is not None and not {*consumers} <= {*reference.contributions[target]}:  # those of a line
        stop = [target_node, *(nodes[k] for k in consumers if k != consumer and k in nodes)]
    result = np.zeros_like(upstream)
    for index in np.ndindex(upstream.shape):
        single = np.zeros_like(upstream)
        single[index] = upstream[index]
        pulled = pull(inner, {node: single}, stop=stop)
        if target_node in pulled:
            result[index] = pulled[target_node][index]
    return result


def confirm(
    forward: Forward, arguments: Mapping[str, Any], reference: Reference, rng: np.random.Generator
) -> dict[str, Slope]:
    """Finite differences at every name, along a random direction: the value is shifted, and the function run again.

    Raises:
        ArithmeticError: they disagree with the tape at a name.
    """
    run = reference.run
    dtype = _widest(forward, arguments)
    wide = {k: v.astype(dtype) if k in run.inputs else v for k, v in arguments.items()}
    weights = np.concatenate([np.ravel(reference.cotangents[k]) for k in run.outputs]).astype(dtype)
    slopes = {}
    for name in [*run.inputs, *run.named]:
        direction = signed(rng, run.values[name].shape).astype(dtype)

        def value(step: Any, name: str = name, direction: Array = direction) -> Array:
            shifted = forward.run(wide, {name: step * direction}, record=False)
            return np.concatenate([np.ravel(np.asarray(shifted.values[k])) for k in run.outputs])

        size = float(np.max(np.abs(run.values[name]), initial=0.0))
        measured = slopes[name] = slope(value, weights, size, dtype)
        gradient = reference.gradients[name]
        by_tape = float(np.sum(gradient * direction.astype(float)))
        terms = float(np.sum(np.abs(gradient)))
        tolerance = 1e-6 * max(terms, 1e-6 * reference.scale) + 10 * measured.error
        if abs(by_tape - measured.value) > tolerance and not measured.is_kink:
            raise ArithmeticError(
                f"{forward.name}: at {name} the tape says {by_tape:.6g} and finite differences {measured.value:.6g} "
                "along the same direction. Either an operation of the forward function has a wrong rule, or it is not "
                "differentiable here: check it with mg.verify.check_gradients"
            )
    return slopes


def _widest(forward: Forward, arguments: Mapping[str, Any]) -> Any:
    """The widest dtype in which the forward function computes."""
    try:
        wide = {k: v.astype(WIDEST) if is_float_array(v) else v for k, v in arguments.items()}
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
