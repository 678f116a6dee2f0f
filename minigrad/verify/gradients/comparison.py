"""The methods that a gradient is compared with: differences, the complex step, Taylor's remainder, forward mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.verify.gradients.complex_step import NotAnalytic, complex_step
from minigrad.verify.gradients.finite_differences import Slope, is_ordinary, slope, slope_by_all_steps
from minigrad.verify.gradients.gradient_report import EXACT, Entry, Method
from minigrad.verify.gradients.problem import Problem, flat, signed
from minigrad.verify.gradients.taylor import taylor

Array = Any


@dataclass
class GradientCheck:
    """The gradient at one point, for one cotangent, and the methods that it is compared with."""

    problem: Problem
    order: int
    rtol: float
    rng: np.random.Generator
    widen: bool

    def __post_init__(self) -> None:
        problem, rng = self.problem, self.rng
        self.values = problem.checked_values()
        self.dtype = problem.widest(self.values) if self.widen else problem.dtype
        self.weights = [signed(rng, v.shape) for v in self.values]
        self.flat_weights = flat(self.weights).astype(self.dtype)
        self.engine = problem.gradient(self.weights)
        self.directions = [signed(rng, x.shape) * step_sizes(x) for x in problem.inputs]
        self.eps = float(np.finfo(problem.dtype).eps)
        self.height = max((float(np.abs(v).max(initial=0.0)) for v in self.values), default=0.0)
        self.close = 1e-3 if problem.dtype is np.float32 else 1e-8
        self.largest = max((float(np.abs(x).max(initial=0.0)) for x in problem.inputs), default=0.0)
        self.is_ordinary = is_ordinary(self.largest)
        self.floor = 40 * self.eps  # the rounding error of a derivative that is identically 0: terms of size 1 cancel
        if not self.is_ordinary:  # terms of the slope that a function of this size has
            self.floor *= min(1.0, self.height / self.largest)
        self.roundoff = self._roundoff()
        self.described = [(name, x.shape) for name, x in zip(problem.names, problem.inputs, strict=True)]
        self.names = {name: k for k, name in enumerate(problem.names)}
        self.notes: list[str] = []
        if problem.unchecked:
            self.notes.append(f"unchecked, as no gradient is stored for it: {', '.join(problem.unchecked)}")
        self.has_kinks = False

    def _roundoff(self) -> list[Array]:
        """The uncertainty of each element of the gradients because of rounding.

        It is measured by the change of the gradients if the inputs change in their last digits, and if the rules run in
        extended precision. A change counts as rounding only if it is small compared with the largest element, or with
        1 if the gradient vanishes: for large x, the last digits alone make another point.
        """
        inputs = self.problem.inputs
        nearby = self.problem.gradient(self.weights, [x * x.dtype.type(1 + 4 * self.eps) for x in inputs])
        wide = self.engine
        if self.dtype is not self.problem.dtype:
            with suppress(TypeError, ValueError):
                wide = self.problem.gradient(self.weights, [x.astype(self.dtype) for x in inputs])
        uncertainties = []
        smallest = 4 * float(np.finfo(self.problem.dtype).smallest_subnormal)
        for g, h, w in zip(self.engine, nearby, wide, strict=True):
            typical = 30 * np.median(np.abs(h - g)) if g.size else 0.0
            largest = np.max(np.abs(w), initial=0.0)
            if not self.is_ordinary:
                typical = min(typical, max((1e-2 if self.problem.dtype is np.float32 else 1e-5) * largest, self.floor))
            own = np.minimum(2 * np.abs(w - g), max(1e-5 * largest, 40 * self.eps))
            uncertainties.append(np.nan_to_num(typical + own + smallest))
        return uncertainties

    def differences(self, elements: int) -> list[Entry]:
        """Compare every element, or at most `elements` of each input, with central differences."""
        entries = []
        for k, (name, shape) in enumerate(self.described):
            indices = list(np.ndindex(shape))
            if len(indices) > elements:
                self.notes.append(f"{name}: {elements} of {len(indices)} elements compared")
                indices = [indices[i] for i in np.sort(self.rng.choice(len(indices), elements, replace=False))]
            slopes = [(index, self._partial(k, index, slope)) for index in indices]
            of_input = self._entries(k, slopes)
            is_doubtful = [not entry.ok or entry.is_undecided for entry in of_input]
            if any(is_doubtful):  # all steps are tried before an element is reported as wrong or undecided
                slopes = [
                    (index, self._partial(k, index, slope_by_all_steps) if doubtful else first)
                    for (index, first), doubtful in zip(slopes, is_doubtful, strict=True)
                ]
                of_input = self._entries(k, slopes)
            entries += of_input
        self.has_kinks = any(entry.is_kink for entry in entries)
        return entries

    def note_small(self, entries: Sequence[Entry], methods: Sequence[Method]) -> None:
        """Add a note on slopes that a right verdict does not confirm: too small for differences to tell them from 0."""
        if any(method.ok and method.name in EXACT for method in methods):
            return
        small = [e for e in entries if e.is_small and abs(e.engine) > self.roundoff[self.names[e.name]][e.index]]
        if small:
            worst = max(small, key=lambda e: e.tolerance)
            self.notes.append(
                f"{worst.place}: {worst.engine:.3g} is less than differences can tell from 0 here, "
                f"{worst.tolerance:.1e}" + (f", and so are {len(small) - 1} more" if len(small) > 1 else "")
            )

    def _entries(self, k: int, slopes: Sequence[tuple[tuple[int, ...], Slope]]) -> list[Entry]:
        """The entries for some elements of one input, with tolerances."""
        g = self.engine[k]
        largest = max((abs(s.value) for _, s in slopes if self._is_sharp(s)), default=0.0)
        usual = float(np.median([s.error for _, s in slopes])) if slopes else 0.0
        entries = []
        for index, s in slopes:
            engine, rounding = float(g[index]), float(self.roundoff[k][index])
            uncertain = 10 * s.error if s.is_kink else 10 * max(s.error, min(usual, 1e-2 * abs(s.value))) + rounding
            tolerance = self.rtol * max(abs(s.value), 1e-3 * largest) + uncertain + self.floor
            scale = max(abs(engine), abs(s.value), largest)
            negligible = self.rtol * self.floor / (40 * self.eps) * (max(1.0, self.height) if self.is_ordinary else 1.0)
            if abs(engine) <= rounding:
                negligible = max(negligible, rounding)
            is_vague = s.is_vague(self.coarse / 10) or not 10 * s.error <= self.coarse * scale
            is_undecided = not s.is_kink and is_vague and not 10 * s.error <= negligible
            entries.append(Entry(self.described[k][0], index, engine, s, tolerance, is_undecided))
        return entries

    @property
    def coarse(self) -> float:
        """The uncertainty, relative to the largest slope, from which on differences decide nothing."""
        return 0.1 if self.problem.dtype is np.float32 else 1e-2

    def _is_sharp(self, s: Slope) -> bool:
        return 10 * s.error <= self.coarse * abs(s.value)

    def _partial(self, k: int, index: tuple[int, ...], method: Callable[..., Slope]) -> Slope:
        directions: list[Any] = [None] * len(self.engine)
        directions[k] = np.zeros(self.engine[k].shape)
        directions[k][index] = 1
        scale = abs(float(self.problem.inputs[k][index]))
        return method(self.problem.along(directions, self.dtype), self.flat_weights, scale, self.dtype)

    def complex(self) -> Method:
        """The complex step along a random direction."""
        name = "complex step"
        if self.order == 2:
            return Method(name, None, "it applies to the function itself, not to its gradient")
        if self.has_kinks:
            return Method(name, None, "the function has a kink here")
        if self.problem.dtype is np.float32 and not self.is_ordinary:
            return Method(name, None, "products with such a short step leave the range of float32")
        along = self._along(self._units)
        try:
            tangents = complex_step(self.problem, along.directions, self.values)
        except NotAnalytic as reason:
            return Method(name, None, str(reason))
        return self._agreement(
            name, along, tangents, lambda wide: complex_step(self.problem, along.directions, self.values, wide)
        )

    def pairing(self) -> Method:
        """Forward mode along a random direction."""
        name = "forward mode"
        if self.problem.by_hand:
            return Method(name, None, "a gradient by hand has no tape")
        along = self._along(self._units)
        tangents = self.problem.tangents(along.directions)
        return self._agreement(name, along, tangents, lambda wide: self.problem.tangents(along.directions, wide))

    @property
    def _units(self) -> list[Array]:
        """The directions with lengths of about 1, so that terms linear in them do not leave the dtype's range."""
        length = max((float(np.abs(u).max(initial=0.0)) for u in self.directions), default=1.0)
        return self.directions if self.is_ordinary else [u / length for u in self.directions]

    def _along(self, directions: list[Array]) -> Along:
        terms = [g * u for g, u in zip(self.engine, directions, strict=True)]
        return Along(
            directions,
            slope=sum(float(part.sum()) for part in terms),
            size=sum(float(np.abs(part).sum()) for part in terms),
            rounding=sum(float((r * np.abs(u)).sum()) for r, u in zip(self.roundoff, directions, strict=True)),
            cancels=40 * self.eps * sum(float(np.abs(part).sum()) for part in (*directions, *self.weights)),
        )

    def _agreement(
        self, name: str, along: Along, tangents: Sequence[Array], recompute: Callable[[Any], Sequence[Array]]
    ) -> Method:
        """Whether <weights, tangents> is <gradient, directions>. `recompute` returns the tangents in another dtype."""
        terms = [w * v for w, v in zip(self.weights, tangents, strict=True)]
        size = along.size + sum(float(np.abs(part).sum()) for part in terms)
        gap = abs(sum(float(part.sum()) for part in terms) - along.slope)
        agrees = gap <= self.close * size + along.rounding
        if not agrees and gap <= self.close * size + along.rounding + along.cancels:
            # Either terms cancel, or a tiny derivative is wrong. Extended precision shows how much is rounding.
            agrees = self.is_ordinary or gap <= self.close * size + along.rounding + self._noise(
                along, tangents, recompute
            )
        relative = max(gap / size if size else gap, float(np.finfo(float).eps))
        text = f"{'agrees to' if agrees else 'differs by'} {relative:.1e} along a random direction"
        return Method(name, bool(agrees), text)

    def _noise(self, along: Along, tangents: Sequence[Array], recompute: Callable[[Any], Sequence[Array]]) -> float:
        """The rounding error of a derivative whose terms cancel."""
        # For larger values extended precision cancels too: softmax.
        if self.dtype is not self.problem.dtype and self.largest < 1:
            with suppress(TypeError, ValueError, NotAnalytic):
                wide = recompute(self.dtype)
                return 2 * sum(
                    float(np.abs(w * (a - b)).sum()) for w, a, b in zip(self.weights, wide, tangents, strict=True)
                )
        return along.cancels * self.floor / (40 * self.eps)

    def taylor(self) -> Method:
        """The order of Taylor's remainder along a random direction."""
        name = "Taylor remainder"
        along = self._along(self.directions)
        value = self.problem.along(self.directions, self.dtype)
        measured = slope(value, self.flat_weights, 1.0, self.dtype)
        slack = self.rtol * along.size + along.rounding + along.cancels * self.floor / (40 * self.eps)
        slack += 0.0 if measured.is_kink else 10 * measured.error
        remainder = taylor(value, self.flat_weights, along.slope, slack, self.dtype)
        if remainder.is_kink or (self.has_kinks and not remainder.ok):
            return Method(name, None, "the function has a kink here")
        if not (remainder.ok or self.is_ordinary):
            sure = slope_by_all_steps(value, self.flat_weights, 1.0, self.dtype)
            if not self._is_sharp(sure) or abs(sure.value - along.slope) <= slack + 10 * sure.error:
                return Method(name, None, "the function varies within the shortest step")
        if remainder.order is None:
            return Method(name, True, "none: the function is linear along a random direction, up to rounding")
        wrong = "" if remainder.ok else ", a right gradient's with order 2"
        return Method(name, remainder.ok, f"falls with order {remainder.order:.2f} as the step is halved{wrong}")


@dataclass
class Along:
    """The slope along a direction by the gradient, and the quantities that it is compared with."""

    directions: list[Array]
    slope: float
    size: float  # of the terms
    rounding: float
    cancels: float  # the rounding error of terms that cancel where the slope vanishes


def step_sizes(x: Array) -> Array:
    """How far each element is moved: in proportion to itself, and at least by 1.

    If all elements are tiny, the least is the largest of them: a step of 1 would leave the domain of sqrt.
    """
    size = np.abs(x)
    largest = float(size.max(initial=0.0))
    return np.maximum(1.0 if is_ordinary(largest) else min(1.0, largest), size)
