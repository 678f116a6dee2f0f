"""Samples in exact arithmetic: random rationals as inputs, and the tape's gradients as residues.

The inputs are drawn as for the check by floats, with its signs and structure, and rounded to rationals. A root needs a
radicand that is a square modulo the prime, which half of all numbers are: what leads to the others is drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.tape import pull
from minigrad.exact import Exact, NotASquare, Redraw, draw, opaque_roots, rational
from minigrad.exact.random_rationals import SCALE
from minigrad.exact.tables import FUNCTIONS
from minigrad.verify.derivation.forward import Forward, Run
from minigrad.verify.derivation.reference import inner_nodes, nodes_of
from minigrad.verify.derivation.structure import sums_to_one
from minigrad.verify.pairs.pair import is_float_array

ATTEMPTS = 60  # draws, until all roots exist and no comparison is a tie
Draw = Callable[[np.random.Generator], dict[str, Any]]


@dataclass
class ExactSample:
    """Exact arguments of a forward function, its values there, and the tape's gradients."""

    forward: Forward
    arguments: dict[str, Any]
    cotangents: dict[str, Exact]
    run: Run
    gradients: dict[str, Exact]

    def names(self) -> dict[str, Any]:
        """The values of everything that lines may name."""
        return {**self.run.values, **{f"d{name}": g for name, g in self.gradients.items()}}

    def again(self) -> ExactSample:
        """The same arguments and cotangents, evaluated again: unknowns may have changed."""
        return _evaluated(self.forward, self.arguments, self.forward.run(self.arguments), self.cotangents)

    def terms(self, target: str, upstream: Mapping[str, Exact]) -> Exact:
        """The sum of the contributions of consumers to the cotangent of a value, for gradients of the consumers."""
        nodes = nodes_of(self.run)
        stop = dict(nodes)
        total = Exact.of(np.zeros(self.run.values[target].shape))
        for consumer, cotangent in upstream.items():
            node = self.run.tensors[consumer].node
            if node is not None:
                others = [other for name, other in stop.items() if name != consumer]
                pulled = pull(inner_nodes(self.run, [node]), {node: cotangent}, stop=others)
                total = total + pulled.get(nodes[target], 0.0)
        return total


def draw_exact(
    forward: Forward, arguments: Draw, rng: np.random.Generator, cotangents: Mapping[str, Any] | None = None
) -> ExactSample:
    """A sample at random rationals.

    Args:
        forward: the function.
        arguments: draws its arguments, as floats.
        rng: the generator.
        cotangents: of the outputs, if they are given.

    Raises:
        Redraw: no inputs were found at which all comparisons are decided.
        Inexact: the function uses an operation that exact arithmetic does not have.
    """
    drawn = arguments(rng)
    for _ in range(ATTEMPTS):
        exact = rationals(drawn)
        try:
            run = forward.run(exact)
        except NotASquare as error:
            drawn = mixed(drawn, arguments(rng), error.where)
        except Redraw:
            drawn = arguments(rng)
        else:
            return _sample(forward, exact, run, rng, cotangents)
    with opaque_roots():
        return _sample(forward, exact, forward.run(exact), rng, cotangents)


def _sample(
    forward: Forward, exact: dict[str, Any], run: Run, rng: np.random.Generator, given: Mapping[str, Any] | None
) -> ExactSample:
    shapes = {k: run.values[k].shape for k in run.outputs}
    if given is not None:
        return _evaluated(forward, exact, run, {k: Exact.of(given[k]) for k in run.outputs})
    return _evaluated(
        forward, exact, run,
        {k: Exact.of(np.ones(s)) if forward.is_unit else draw(rng, s, exponents=False) for k, s in shapes.items()},
    )  # fmt: skip


def _evaluated(forward: Forward, arguments: dict[str, Any], run: Run, cotangents: dict[str, Exact]) -> ExactSample:
    nodes = nodes_of(run)
    pending: dict[Any, Any] = {}
    for k in run.outputs:
        node = run.tensors[k].node
        if node is not None:
            pending[node] = pending[node] + cotangents[k] if node in pending else cotangents[k]
    with opaque_roots():
        pulled = pull(
            inner_nodes(run, list(pending)), dict(pending), stop=[nodes[k] for k in run.inputs], keep=nodes.values()
        )
    gradients = {k: Exact.of(pulled.get(node, np.zeros(run.values[k].shape))) for k, node in nodes.items()}
    gradients |= {k: cotangents[k] for k in run.outputs if k not in nodes or k not in run.named}
    return ExactSample(forward, arguments, cotangents, run, gradients)


def rationals(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with rationals instead of floats."""
    return {k: nearest_rationals(v) if is_float_array(v) else v for k, v in arguments.items()}


def nearest_rationals(value: Any) -> Exact:
    """Rationals with a common denominator next to floats.

    Integers are kept, also sums of 1 along an axis. An array with few different numbers, such as a mask, is kept.
    """
    value = np.asarray(value, np.float64)
    if value.size > 1 and 2 * np.unique(value).size <= value.size:
        return Exact.of(value)
    largest = float(np.max(np.abs(value), initial=0.0, where=np.isfinite(value)))
    scale = 1 << max(0, -int(np.log2(largest))) if largest > 0 else 1
    result = rational(np.rint(value * (SCALE * scale)), SCALE * scale)
    if value.size > 1 and (axis := sums_to_one(value)) != "none":
        total: Any = FUNCTIONS[np.sum](result, axis, keepdims=True)
        result = result / total
    return result


def mixed(old: Mapping[str, Any], new: Mapping[str, Any], where: Any) -> dict[str, Any]:
    """New values for what elements of a radicand depend on, judged by axes of the same size; all if there are none.

    Args:
        old: arguments.
        new: others, of the same shapes.
        where: which elements of the radicand need other values.
    """
    result, is_partial = dict(old), False
    for name, value in old.items():
        if not is_float_array(value) or value.shape != np.shape(new[name]):
            continue
        pairs: dict[int, int] = {}
        for axis, size in enumerate(where.shape):
            same = [k for k, n in enumerate(value.shape) if n == size > 1 and k not in pairs.values()]
            if same:
                pairs[axis] = same[0]
        if pairs:
            mask = where.any(axis=tuple(k for k in range(where.ndim) if k not in pairs))
            mask = np.transpose(mask, np.argsort(np.argsort([*pairs]))) if mask.ndim > 1 else mask
            places = np.moveaxis(np.broadcast_to(False, value.shape).copy(), [*pairs.values()], range(len(pairs)))
            places[mask] = True
            chosen = np.moveaxis(places, range(len(pairs)), [*pairs.values()])
            result[name], is_partial = np.where(chosen, new[name], value), True
    return result if is_partial else dict(new)
