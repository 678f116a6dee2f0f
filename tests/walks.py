"""What the test drivers do with a case: evaluate it, pull, push, and differentiate numerically."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cases import Case

from minigrad import Tensor
from minigrad.engine import tape
from minigrad.engine.node import Node

Wrap = Callable[[Any], Any]


def bare(x: Any) -> Any:
    return x


def arguments_of(case: Case, operands: Sequence[Any], wrap: Wrap = bare) -> tuple[list[Any], list[Tensor]]:
    """The arguments of a case's function, with Tensors where it is differentiated; and these Tensors."""
    wrapped = [wrap(x) if isinstance(x, np.ndarray) else x for x in operands]
    leaves = {k: Tensor(wrap(np.asarray(operands[k])), requires_grad=True) for k in case.wrt}
    return [leaves.get(k, x) for k, x in enumerate(wrapped)], list(leaves.values())


def outputs(value: Any) -> list[Any]:
    """The outputs of a function that returns one or several, as a list."""
    return list(value) if isinstance(value, tuple | list) else [value]


def nodes_of(values: Sequence[Any]) -> list[Node]:
    nodes, _ = tape.ancestors(t.node for t in values if t.node is not None)
    return nodes


def pulled(values: Sequence[Any], cotangents: Sequence[Any], inputs: Sequence[Any], record: bool = False) -> list[Any]:
    """The cotangents of the inputs; an exact zero where no gradient flows."""
    pending: dict[Node, Any] = {}
    for t, u in zip(values, cotangents, strict=True):
        if t.node is not None:
            pending[t.node] = pending[t.node] + u if t.node in pending else u
    results = tape.pull(nodes_of(values), pending, keep=[t.node for t in inputs], record=record)
    return [results[t.node] if t.node in results else np.zeros_like(t.data) for t in inputs]


def pushed(values: Sequence[Any], leaves: Sequence[Any], tangents: Sequence[Any], record: bool = False) -> list[Any]:
    """The tangents of the values."""
    tangent_of_leaf = {leaf.node: v for leaf, v in zip(leaves, tangents, strict=True)}
    results = tape.push(nodes_of(values), tangent_of_leaf, record=record)
    return [results[t.node] if t.node in results else np.zeros_like(t.data) for t in values]


def random_like(rng: np.random.Generator, x: Any) -> Any:
    """Numbers of both signs, none close to 0."""
    return np.asarray(rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.5, x.shape)).astype(x.dtype)


def pairing(u: Sequence[Any], v: Sequence[Any]) -> Any:
    """<u, v>, summed over all parts."""
    total: Any = 0.0
    for a, b in zip(u, v, strict=True):
        total = total + np.add.reduce(a * b, axis=None)
    return total


STEP = float(np.finfo(float).eps) ** (1 / 3)


def differences(function: Callable[[Any], float], x: Any) -> Any:
    """The gradient of a function of one float64 array, by central differences element by element."""
    gradient = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        step = STEP * max(1.0, abs(x[place]))
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        gradient[place] = (function(up) - function(down)) / (up[place] - down[place])
    return gradient


def close(actual: Any, expected: Any, scale: float = 1.0) -> None:
    """Assert equal shapes, and equal values up to the error of a central difference."""
    assert np.shape(actual) == np.shape(expected), f"shape {np.shape(actual)} instead of {np.shape(expected)}"
    np.testing.assert_allclose(actual, expected, rtol=2e-6 * scale, atol=2e-8 * scale)


def with_operand(operands: Sequence[Any], k: int, x: Any) -> list[Any]:
    return [x if j == k else y for j, y in enumerate(operands)]
