"""Samples: inputs of a forward function, given or drawn at random, with the reference gradients for a cotangent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.engine.primitive import value_of
from minigrad.verify.derivation.forward import OTHER_SIZES, Forward
from minigrad.verify.derivation.reference import Reference, reference_gradients
from minigrad.verify.derivation.structure import redrawn
from minigrad.verify.gradients.problem import signed

Array = Any


@dataclass
class Sample:
    """Arguments of the forward function, and the reference gradients there."""

    arguments: dict[str, Any]
    reference: Reference
    sizes: dict[str, float]  # of axes, by names for explanations

    def names(self) -> dict[str, Any]:
        """The values of everything that lines may name: values, and gradients as d<name>."""
        gradients = {f"d{name}": g for name, g in self.reference.gradients.items()}
        return {**self.reference.run.values, **gradients}


def draw_sample(
    forward: Forward,
    given: Mapping[str, Any],
    rng: np.random.Generator,
    cotangent: Any = None,
    axes: Mapping[str, int] | None = None,
) -> Sample:
    """A sample with the given inputs; the others are drawn."""
    return sample_at(forward, forward.arguments(given, rng, axes), rng, cotangent, axes)


def redraw(
    forward: Forward, sample: Sample, names: Sequence[str], rng: np.random.Generator, cotangent: Any = None
) -> Sample:
    """The sample with other values for some inputs: a line may be right for the given values only."""
    arguments = dict(sample.arguments)
    for k in names:
        arguments[k] = redrawn(arguments[k], rng)
    return sample_at(forward, arguments, rng, cotangent)


def draw_other_sizes(
    forward: Forward, rng: np.random.Generator, given: Mapping[str, Any], cotangent: Any = None
) -> Sample | None:
    """A sample with all inputs drawn, and with other axis sizes; None unless shapes are given by names of axes.

    Constants have other values too: a factor that equals one of them by chance is no reason.
    """
    if not all(isinstance(forward.shapes.get(k), str) for k in forward.inputs) or set(forward.kept) & set(given):
        return None
    axes = {axis: OTHER_SIZES[size] for axis, size in forward.axes.items()}
    constants = {k: v for k, v in given.items() if k in forward.constants}
    defaults = forward.arguments(constants, np.random.default_rng(0), axes)
    floats = {k: defaults[k] for k in forward.constants if type(defaults[k]) is float}
    others = {k: value * (0.75 if 0 < value < 1 else 1.25) for k, value in floats.items()}  # a rate stays below 1
    for changed in (others, {}):
        try:
            return draw_sample(forward, constants | changed, rng, cotangent, axes)
        except (ValueError, IndexError, TypeError, ArithmeticError):  # it requires its sizes, or its constants
            continue
    return None


def sample_at(
    forward: Forward,
    arguments: dict[str, Any],
    rng: np.random.Generator,
    cotangent: Any = None,
    axes: Mapping[str, int] | None = None,
) -> Sample:
    """The sample with these arguments. Raises ValueError if the function is random, or not finite there."""
    with np.errstate(all="ignore"):  # values that are not finite are reported
        run = forward.run(arguments, record=False)
        second_run = forward.run(arguments, record=False)
    for k in run.outputs:
        if not np.array_equal(run.values[k], second_run.values[k], equal_nan=True):
            raise ValueError(
                f"{forward.name} gave other values when it was called again with the same inputs. If it draws random "
                "numbers, make their generator inside it from a fixed seed, or give the mask as an input"
            )
        if not np.all(np.isfinite(run.values[k])):
            raise ValueError(f"{forward.name}: the result has NaN or infinite elements at these inputs")
    shapes = {k: run.values[k].shape for k in run.outputs}
    cotangents = {k: np.ones(shape) if forward.is_unit else signed(rng, shape) for k, shape in shapes.items()}
    if cotangent is not None:
        cotangents = _given_cotangents(forward, cotangent, shapes)
    reference = reference_gradients(forward, arguments, cotangents)
    return Sample(arguments, reference, forward.sizes(reference.run, axes))


def _given_cotangents(forward: Forward, cotangent: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    parts = cotangent if isinstance(cotangent, tuple) else (cotangent,)
    if len(parts) != len(shapes):
        raise ValueError(f"{forward.name} has {len(shapes)} results, and {len(parts)} cotangents were given")
    cotangents = {}
    for (k, shape), part in zip(shapes.items(), parts, strict=True):
        array = np.asarray(value_of(part), dtype=float)
        try:
            cotangents[k] = np.broadcast_to(array, shape)
        except ValueError:
            raise ValueError(f"{forward.name}: the cotangent has shape {array.shape}, the result {k} {shape}") from None
    return cotangents
