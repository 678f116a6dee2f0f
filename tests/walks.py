"""What the drivers do with a case: evaluate it, pull, push, and differentiate numerically."""

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


def given(case: Case, operands: Sequence[Any], wrap: Wrap = bare) -> tuple[list[Any], list[Tensor]]:
    """The operands as the function gets them, Tensors where it is differentiated; and these Tensors."""
    wrapped = [wrap(x) if isinstance(x, np.ndarray) else x for x in operands]
    leaves = {k: Tensor(wrap(np.asarray(operands[k])), requires_grad=True) for k in case.wrt}
    return [leaves.get(k, x) for k, x in enumerate(wrapped)], list(leaves.values())


def outputs(value: Any) -> list[Any]:
    """The values of a function that returns one or several."""
    return list(value) if isinstance(value, tuple | list) else [value]


def lines_of(values: Sequence[Any]) -> list[Node]:
    lines, _ = tape.ancestors(t.node for t in values if t.node is not None)
    return lines


def pulled(values: Sequence[Any], cotangents: Sequence[Any], wanted: Sequence[Any], record: bool = False) -> list[Any]:
    """The cotangents of the wanted Tensors; an exact zero where nothing flowed."""
    due: dict[Node, Any] = {}
    for t, u in zip(values, cotangents, strict=True):
        if t.node is not None:
            due[t.node] = due[t.node] + u if t.node in due else u
    found = tape.pull(lines_of(values), due, keep=[t.node for t in wanted], record=record)
    return [found[t.node] if t.node in found else np.zeros_like(t.data) for t in wanted]


def pushed(values: Sequence[Any], leaves: Sequence[Any], tangents: Sequence[Any], record: bool = False) -> list[Any]:
    """The tangents of the values."""
    start = {leaf.node: v for leaf, v in zip(leaves, tangents, strict=True)}
    found = tape.push(lines_of(values), start, record=record)
    return [found[t.node] if t.node in found else np.zeros_like(t.data) for t in values]


def random_like(rng: np.random.Generator, x: Any) -> Any:
    """Signed numbers, of a size that no product of two is lost."""
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
    """Equal shapes, and equal values but for the error of a central difference."""
    assert np.shape(actual) == np.shape(expected), f"shape {np.shape(actual)} instead of {np.shape(expected)}"
    np.testing.assert_allclose(actual, expected, rtol=2e-6 * scale, atol=2e-8 * scale)


def with_operand(operands: Sequence[Any], k: int, x: Any) -> list[Any]:
    return [x if j == k else y for j, y in enumerate(operands)]
