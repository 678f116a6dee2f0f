"""Draws: one set of inputs each, with the truth for a random cotangent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.tensor.tensor import Tensor
from minigrad.verify.forward import OTHER_SIZES, Forward, away
from minigrad.verify.problem import signed
from minigrad.verify.truth import Truth, truth

Array = Any


@dataclass
class Draw:
    """The arguments of the forward function, and what is true there."""

    arguments: dict[str, Any]
    truth: Truth
    sizes: dict[str, float]  # of axes, by the names that explain them

    def names(self) -> dict[str, Any]:
        """What the parameters of lines may name: values, and gradients as d<name>."""
        return {**self.truth.run.values, **{f"d{name}": g for name, g in self.truth.gradients.items()}}


def draw(
    forward: Forward,
    given: Mapping[str, Any],
    rng: np.random.Generator,
    cotangent: Any = None,
    axes: Mapping[str, int] | None = None,
) -> Draw:
    """Inputs as they are given, the others drawn."""
    return at(forward, forward.arguments(given, rng, axes), rng, cotangent, axes)


def redraw(
    forward: Forward, before: Draw, names: Sequence[str], rng: np.random.Generator, cotangent: Any = None
) -> Draw:
    """The same with other values for some inputs: a line may be right for those values alone."""
    arguments = dict(before.arguments)
    for k in names:
        fresh = away(rng, arguments[k].shape)
        arguments[k] = np.abs(fresh) if np.all(arguments[k] > 0) else fresh
    return at(forward, arguments, rng, cotangent)


def elsewhere(forward: Forward, rng: np.random.Generator) -> Draw | None:
    """All inputs drawn, with other sizes than the first draw's, if their shapes are given by names."""
    if not all(isinstance(forward.shapes.get(k), str) for k in forward.inputs):
        return None
    axes = {axis: OTHER_SIZES[size] for axis, size in forward.axes.items()}
    try:
        return draw(forward, {}, rng, axes=axes)
    except (ValueError, IndexError, TypeError):  # the function wants just these sizes
        return None


def at(
    forward: Forward,
    arguments: dict[str, Any],
    rng: np.random.Generator,
    cotangent: Any = None,
    axes: Mapping[str, int] | None = None,
) -> Draw:
    """The draw with these arguments. Raises ValueError if the function is random, or not finite there."""
    with np.errstate(all="ignore"):  # what is not finite is reported
        run = forward.run(arguments, record=False)
        again = forward.run(arguments, record=False)
    for k in run.outputs:
        if not np.array_equal(run.values[k], again.values[k], equal_nan=True):
            raise ValueError(
                f"{forward.name} gave other values when it was called again with the same inputs. If it draws random "
                "numbers, make their generator inside it from a fixed seed, or give the mask as an input"
            )
        if not np.all(np.isfinite(run.values[k])):
            raise ValueError(f"{forward.name}: the result has NaN or infinite elements at these inputs")
    shapes = {k: run.values[k].shape for k in run.outputs}
    cotangents = {k: np.ones(shape) if forward.is_unit else signed(rng, shape) for k, shape in shapes.items()}
    if cotangent is not None:
        cotangents = _given(forward, cotangent, shapes)
    found = truth(forward, arguments, cotangents)
    return Draw(arguments, found, forward.sizes(found.run, axes))


def _given(forward: Forward, cotangent: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    parts = cotangent if isinstance(cotangent, tuple) else (cotangent,)
    if len(parts) != len(shapes):
        raise ValueError(f"{forward.name} has {len(shapes)} results, and {len(parts)} cotangents were given")
    found = {}
    for (k, shape), part in zip(shapes.items(), parts, strict=True):
        array = np.asarray(part.data if isinstance(part, Tensor) else part, dtype=float)
        try:
            found[k] = np.broadcast_to(array, shape)
        except ValueError:
            raise ValueError(f"{forward.name}: the cotangent has shape {array.shape}, the result {k} {shape}") from None
    return found
