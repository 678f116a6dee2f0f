"""The methods that judge a gradient: differences, the complex step, Taylor's remainder, forward mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.verify.complex_step import NotAnalytic, complex_step
from minigrad.verify.differences import Slope, is_ordinary, slope, sure_slope
from minigrad.verify.gradient_report import EXACT, Entry, Method
from minigrad.verify.problem import Problem, flat, signed
from minigrad.verify.taylor import taylor

Array = Any


@dataclass
class Check:
    """The gradient in question at one point, along one cotangent, and the methods that judge it."""

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
        self.directions = [signed(rng, x.shape) * moves(x) for x in problem.inputs]
        self.eps = float(np.finfo(problem.dtype).eps)
        self.height = max((float(np.abs(v).max(initial=0.0)) for v in self.values), default=0.0)
        self.close = 1e-3 if problem.dtype is np.float32 else 1e-8
        self.largest = max((float(np.abs(x).max(initial=0.0)) for x in problem.inputs), default=0.0)
        self.is_ordinary = is_ordinary(self.largest)
        self.floor = 40 * self.eps  # how far from 0 what vanishes identically is: some units of 1, which cancels
        if not self.is_ordinary:  # then of the slope that a function of this size has
            self.floor *= min(1.0, self.height / self.largest)
        self.roundoff = self._roundoff()
        self.described = [(name, x.shape) for name, x in zip(problem.names, problem.inputs, strict=True)]
        self.names = {name: k for k, name in enumerate(problem.names)}
        self.notes: list[str] = []
        self.has_kinks = False

    def _roundoff(self) -> list[Array]:
        """How uncertain each element of the gradients is by rounding.

        Seen by what changes when the inputs do in their last digits, and when the rules run in extended precision. Both
        count as rounding only where they are small beside the largest element, or beside 1, where the gradient
        vanishes: where x is large, its last digits alone make another point of it.
        """
        inputs = self.problem.inputs
        nearby = self.problem.gradient(self.weights, [x * x.dtype.type(1 + 4 * self.eps) for x in inputs])
        wide = self.engine
        if self.dtype is not self.problem.dtype:
            with suppress(TypeError, ValueError):
                wide = self.problem.gradient(self.weights, [x.astype(self.dtype) for x in inputs])
        found = []
        least = 4 * float(np.finfo(self.problem.dtype).smallest_subnormal)
        for g, h, w in zip(self.engine, nearby, wide, strict=True):
            typical = 30 * np.median(np.abs(h - g)) if g.size else 0.0
            largest = np.max(np.abs(w), initial=0.0)
            if not self.is_ordinary:
                typical = min(typical, max((1e-2 if self.problem.dtype is np.float32 else 1e-5) * largest, self.floor))
            own = np.minimum(2 * np.abs(w - g), max(1e-5 * largest, 40 * self.eps))
            found.append(np.nan_to_num(typical + own + least))
        return found

    def differences(self, elements: int) -> list[Entry]:
        """Every element, or so many of each input, against central differences."""
        entries = []
        for k, (name, shape) in enumerate(self.described):
            places = list(np.ndindex(shape))
            if len(places) > elements:
                self.notes.append(f"{name}: {elements} of {len(places)} elements compared")
                places = [places[i] for i in np.sort(self.rng.choice(len(places), elements, replace=False))]
            found = [(index, self._partial(k, index, slope)) for index in places]
            made = self._entries(k, found)
            doubtful = [not entry.ok or entry.is_undecided for entry in made]
            if any(doubtful):  # nobody is accused, and nothing is left open, before all steps have been tried
                found = [
                    (index, self._partial(k, index, sure_slope) if again else first)
                    for (index, first), again in zip(found, doubtful, strict=True)
                ]
                made = self._entries(k, found)
            entries += made
        self.has_kinks = any(entry.is_kink for entry in entries)
        return entries

    def note_small(self, entries: Sequence[Entry], methods: Sequence[Method]) -> None:
        """Say what a right verdict says nothing about: slopes so small that differences see 0 in their place."""
        if any(method.ok and method.name in EXACT for method in methods):
            return
        small = [e for e in entries if e.is_small and abs(e.engine) > self.roundoff[self.names[e.name]][e.index]]
        if small:
            worst = max(small, key=lambda e: e.tolerance)
            self.notes.append(
                f"{worst.place}: {worst.engine:.3g} is less than differences can tell from 0 here, "
                f"{worst.tolerance:.1e}" + (f", and so are {len(small) - 1} more" if len(small) > 1 else "")
            )

    def _entries(self, k: int, found: Sequence[tuple[tuple[int, ...], Slope]]) -> list[Entry]:
        """The elements of one input with their tolerances."""
        g = self.engine[k]
        largest = max((abs(s.value) for _, s in found if self._is_sharp(s)), default=0.0)
        usual = float(np.median([s.error for _, s in found])) if found else 0.0
        entries = []
        for index, s in found:
            engine, rounding = float(g[index]), float(self.roundoff[k][index])
            uncertain = 10 * s.error if s.is_kink else 10 * max(s.error, min(usual, 1e-2 * abs(s.value))) + rounding
            tolerance = self.rtol * max(abs(s.value), 1e-3 * largest) + uncertain + self.floor
            seen = max(abs(engine), abs(s.value), largest)
            nothing = self.rtol * self.floor / (40 * self.eps) * (max(1.0, self.height) if self.is_ordinary else 1.0)
            if abs(engine) <= rounding:
                nothing = max(nothing, rounding)
            is_vague = s.is_vague(self.coarse / 10) or not 10 * s.error <= self.coarse * seen
            is_undecided = not s.is_kink and is_vague and not 10 * s.error <= nothing
            entries.append(Entry(self.described[k][0], index, engine, s, tolerance, is_undecided))
        return entries

    @property
    def coarse(self) -> float:
        """From which uncertainty on, beside the largest slope, differences decide nothing."""
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
            return Method(name, None, "it is for the function itself, not for its gradient")
        if self.has_kinks:
            return Method(name, None, "the function has a kink here")
        if self.problem.dtype is np.float32 and not self.is_ordinary:
            return Method(name, None, "products with so short a step leave the range of float32")
        along = self._along(self._units)
        try:
            moved = complex_step(self.problem, along.directions, self.values)
        except NotAnalytic as reason:
            return Method(name, None, str(reason))
        return self._agreement(
            name, along, moved, lambda wide: complex_step(self.problem, along.directions, self.values, wide)
        )

    def pairing(self) -> Method:
        """Forward mode along a random direction."""
        name = "forward mode"
        if self.problem.by_hand:
            return Method(name, None, "a gradient by hand has no tape")
        along = self._along(self._units)
        moved = self.problem.moved(along.directions)
        return self._agreement(name, along, moved, lambda wide: self.problem.moved(along.directions, wide))

    @property
    def _units(self) -> list[Array]:
        """The directions, not longer or shorter than 1: what is linear in them shall not leave the dtype's range."""
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
        self, name: str, along: Along, moved: Sequence[Array], again: Callable[[Any], Sequence[Array]]
    ) -> Method:
        """Whether <weights, moved> is <gradient, directions>; `again` computes what is moved in another dtype."""
        terms = [w * v for w, v in zip(self.weights, moved, strict=True)]
        size = along.size + sum(float(np.abs(part).sum()) for part in terms)
        gap = abs(sum(float(part.sum()) for part in terms) - along.slope)
        agrees = gap <= self.close * size + along.rounding
        if not agrees and gap <= self.close * size + along.rounding + along.cancels:
            # What vanishes by cancellation, or a fault in what is tiny? Extended precision tells how much is rounding.
            agrees = self.is_ordinary or gap <= self.close * size + along.rounding + self._noise(along, moved, again)
        relative = max(gap / size if size else gap, float(np.finfo(float).eps))
        text = f"{'agrees to' if agrees else 'differs by'} {relative:.1e} along a random direction"
        return Method(name, bool(agrees), text)

    def _noise(self, along: Along, moved: Sequence[Array], again: Callable[[Any], Sequence[Array]]) -> float:
        """By how much rounding moves what vanishes otherwise."""
        if (
            self.dtype is not self.problem.dtype and self.largest < 1
        ):  # beyond 1 extended precision cancels, too: softmax
            with suppress(TypeError, ValueError, NotAnalytic):
                wide = again(self.dtype)
                return 2 * sum(
                    float(np.abs(w * (a - b)).sum()) for w, a, b in zip(self.weights, wide, moved, strict=True)
                )
        return along.cancels * self.floor / (40 * self.eps)

    def taylor(self) -> Method:
        """The order of Taylor's remainder along a random direction."""
        name = "Taylor remainder"
        along = self._along(self.directions)
        value = self.problem.along(self.directions, self.dtype)
        seen = slope(value, self.flat_weights, 1.0, self.dtype)
        slack = self.rtol * along.size + along.rounding + along.cancels * self.floor / (40 * self.eps)
        slack += 0.0 if seen.is_kink else 10 * seen.error
        found = taylor(value, self.flat_weights, along.slope, slack, self.dtype)
        if found.is_kink or (self.has_kinks and not found.ok):
            return Method(name, None, "the function has a kink here")
        if not (found.ok or self.is_ordinary):
            sure = sure_slope(value, self.flat_weights, 1.0, self.dtype)
            if not self._is_sharp(sure) or abs(sure.value - along.slope) <= slack + 10 * sure.error:
                return Method(name, None, "the function varies within the shortest step")
        if found.order is None:
            return Method(name, True, "none: linear along a random direction, as far as can be seen")
        wrong = "" if found.ok else ", a right gradient's with order 2"
        return Method(name, found.ok, f"falls with order {found.order:.2f} as the step is halved{wrong}")


@dataclass
class Along:
    """The gradient along a direction: its slope, and what that is compared with."""

    directions: list[Array]
    slope: float
    size: float  # of the terms
    rounding: float
    cancels: float  # units of what cancels where the slope vanishes


def moves(x: Array) -> Array:
    """How far each element is moved: in proportion to itself, those near 0 as far as others.

    Where all are tiny a step of 1 would leave the domain of sqrt, and make x² another function.
    """
    size = np.abs(x)
    largest = float(size.max(initial=0.0))
    return np.maximum(1.0 if is_ordinary(largest) else min(1.0, largest), size)
