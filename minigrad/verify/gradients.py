"""check_gradients: is a gradient, the engine's or one written by hand, the derivative of its function?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.verify.complex_step import NotAnalytic, complex_step
from minigrad.verify.differences import slope
from minigrad.verify.gradient_report import Entry, GradientReport, Method
from minigrad.verify.problem import Problem, flat, signed
from minigrad.verify.taylor import taylor

Array = Any
MODES = ("differences", "complex", "taylor", "pairing")


def check_gradients(
    f: Any,
    *inputs: Any,
    gradient: Callable[..., Any] | None = None,
    order: int = 1,
    modes: str | Sequence[str] = MODES,
    dtype: Any = None,
    rtol: float | None = None,
    elements: int = 200,
    seed: int = 0,
) -> GradientReport:
    """Compare the gradient of f with what several independent methods say, differences element by element.

    f may return an array of any shape, or several: it is checked along a random signed cotangent. (Positive cotangents,
    and a plain sum above all, hide whole terms: with `batch_norm(x).sum()` every wrong dl/dσ² passes.)

    Args:
        f: a function of Tensors, or of arrays if `gradient` is given; or any object with the methods
            `forward(*arrays)`, which returns an array or a tuple of them, and `backward(cotangent)`, which returns the
            gradients of the last forward's inputs: code of any framework, through arrays.
        *inputs: its arguments: arrays, Tensors, numbers, or nested structures of them. Those of floating-point numbers
            are varied; float32 ones are checked in float64. Take values away from 0 and 1, where terms vanish.
        gradient: a hand-written gradient of f: a function of the cotangent and the inputs that returns the gradients
            of the floating-point inputs (a tuple if there are several).
        order: 1, or 2 to check the gradient's own derivative (second order) in the same way.
        modes: which methods; the default is all that apply:
            "differences": every element against central differences, extrapolated (Richardson 1911), in extended
            precision where f allows it. Finds the wrong element; kinks are reported.
            "complex": a complex step (Squire & Trapp 1998) along a random direction, to the last digits, where every
            operation is analytic.
            "taylor": |f(x + hu) - f(x) - h <g, u>| falls like h² if g is the gradient, like h if it is not.
            "pairing": <w, push(u)> = <pull(w), u>: forward and reverse mode agree.
        dtype: "float32" to compute everything in float32, with steps and tolerances that suit it.
        rtol: how far an element may be off, relative to its own size and to 1e-3 of the largest of its input; 1e-6, or
            1e-3 in float32, if not given.
        elements: at most so many elements of each input are compared, chosen at random.
        seed: of the random cotangents, directions and choices.

    Returns:
        A report: `.ok`, `.raise_if_wrong()`, `.to_json()`; `print(report)` shows the worst element of each input.

    Raises:
        TypeError: no input is of floating-point numbers.
        ValueError: f gives non-finite values, or other values when it is called again (random numbers); none of the
            chosen methods applies.

    Example:
        >>> import minigrad as mg
        >>> import numpy as np
        >>> report = mg.verify.check_gradients(lambda x, w: mg.tanh(x @ w), np.array([[0.3, -0.7]]), np.eye(2) + 0.1)
        >>> report.ok
        True
    """
    chosen = (modes,) if isinstance(modes, str) else tuple(modes)
    kind = np.dtype(np.float64 if dtype is None else dtype).type
    if order not in (1, 2):
        raise ValueError(f"check_gradients(order={order!r}): must be 1 or 2")
    if not chosen or not set(chosen) <= set(MODES):
        raise ValueError(f"check_gradients(modes={modes!r}): choose among {', '.join(map(repr, MODES))}")
    if kind not in (np.float32, np.float64):
        raise ValueError(f"check_gradients(dtype={dtype!r}): must be 'float32' or 'float64'")
    rng = np.random.default_rng([seed, 20260])
    with np.errstate(all="ignore"):  # steps may leave the domain; the value at the inputs is checked
        problem = Problem(f, inputs, gradient, kind)
        if order == 2:
            problem = problem.of_gradient(rng)
        if rtol is None:
            rtol = 1e-3 if kind is np.float32 else 1e-6
        check = _Check(problem, order, rtol, rng, widen=dtype is None)
        entries = check.differences(elements) if "differences" in chosen else []
        methods = [getattr(check, mode)() for mode in MODES if mode in chosen and mode != "differences"]
    if not entries and all(method.ok is None for method in methods):
        reasons = "; ".join(f"{method.name}: {method.found}" for method in methods)
        raise ValueError(f"check_gradients: there is nothing to compare with ({reasons})")
    return GradientReport(entries, check.described, check.dtype, order, methods, check.notes)


def assert_gradients(f: Any, *inputs: Any, **options: Any) -> None:
    """Raise AssertionError, with the report as its message, unless `check_gradients(f, *inputs, **options)` is right.

    For tests:

        def test_my_layer():
            assert_gradients(my_layer, x, weight, order=2)
            assert_gradients(forward, x, gradient=backward)      # plain NumPy, the gradient by hand
            assert_gradients(TheirLayer(), x)                    # any object with forward and backward

    Example:
        >>> import minigrad as mg
        >>> import numpy as np
        >>> mg.verify.assert_gradients(lambda x: np.exp(x), np.array([0.3, -0.7]), gradient=lambda v, x: v * np.exp(x))
    """
    check_gradients(f, *inputs, **options).raise_if_wrong()


@dataclass
class _Check:
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
        self.directions = [signed(rng, x.shape) * np.maximum(1.0, np.abs(x)) for x in problem.inputs]
        terms = [g * u for g, u in zip(self.engine, self.directions, strict=True)]
        self.along = sum(float(part.sum()) for part in terms)
        self.size = sum(float(np.abs(part).sum()) for part in terms)
        self.eps = float(np.finfo(problem.dtype).eps)
        self.floor = 40 * self.eps  # what vanishes identically is that far from 0
        self.roundoff = self._roundoff()
        self.blur = self._blur()
        self.described = [(name, x.shape) for name, x in zip(problem.names, problem.inputs, strict=True)]
        self.notes: list[str] = []
        self.has_kinks = False

    def _roundoff(self) -> list[Array]:
        """How uncertain each element of the gradients is by rounding.

        Seen by what changes when the inputs do in their last digits, and when the rules run in extended precision; the
        latter counts as rounding only where it is small beside the largest element.
        """
        inputs = self.problem.inputs
        nearby = self.problem.gradient(self.weights, [x * x.dtype.type(1 + 4 * self.eps) for x in inputs])
        wide = self.engine
        if self.dtype is not self.problem.dtype:
            with suppress(TypeError, ValueError):
                wide = self.problem.gradient(self.weights, [x.astype(self.dtype) for x in inputs])
        found = []
        for g, h, w in zip(self.engine, nearby, wide, strict=True):
            typical = 30 * np.median(np.abs(h - g)) if g.size else 0.0
            own = np.minimum(2 * np.abs(w - g), 1e-5 * np.max(np.abs(w), initial=0.0))
            found.append(np.nan_to_num(typical + own))
        return found

    def _blur(self) -> float:
        """How uncertain <gradient, directions> is by rounding, and what it is compared with."""
        rounding = sum(float((r * np.abs(u)).sum()) for r, u in zip(self.roundoff, self.directions, strict=True))
        least = self.floor * sum(float(np.abs(part).sum()) for part in (*self.directions, *self.weights))
        seen = slope(self.problem.along(self.directions, self.dtype), self.flat_weights, 1.0, self.dtype)
        return rounding + least + (0.0 if seen.is_kink else 10 * seen.error)

    def differences(self, elements: int) -> list[Entry]:
        """Every element, or so many of each input, against central differences."""
        entries = []
        for k, (name, shape) in enumerate(self.described):
            x, g = self.problem.inputs[k], self.engine[k]
            places = list(np.ndindex(shape))
            if len(places) > elements:
                self.notes.append(f"{name}: {elements} of {len(places)} elements compared")
                places = [places[i] for i in np.sort(self.rng.choice(len(places), elements, replace=False))]
            found = [(index, self._partial(k, index, abs(float(x[index])))) for index in places]
            largest = max((abs(s.value) for _, s in found), default=0.0)
            usual = float(np.median([s.error for _, s in found])) if found else 0.0
            for index, s in found:
                uncertain = 10 * s.error if s.is_kink else 10 * max(s.error, usual) + float(self.roundoff[k][index])
                tolerance = self.rtol * max(abs(s.value), 1e-3 * largest) + uncertain + self.floor
                entries.append(Entry(name, index, float(g[index]), s, tolerance))
        self.has_kinks = any(entry.is_kink for entry in entries)
        return entries

    def _partial(self, k: int, index: tuple[int, ...], scale: float) -> Any:
        directions: list[Any] = [None] * len(self.engine)
        directions[k] = np.zeros(self.engine[k].shape)
        directions[k][index] = 1
        return slope(self.problem.along(directions, self.dtype), self.flat_weights, scale, self.dtype)

    def complex(self) -> Method:
        """The complex step along a random direction."""
        name = "complex step"
        if self.order == 2:
            return Method(name, None, "it is for the function itself, not for its gradient")
        if self.has_kinks:
            return Method(name, None, "the function has a kink here")
        try:
            moved = complex_step(self.problem, self.directions, self.values)
        except NotAnalytic as reason:
            return Method(name, None, str(reason))
        return self._agreement(name, moved)

    def pairing(self) -> Method:
        """Forward mode along a random direction."""
        name = "forward mode"
        if self.problem.by_hand:
            return Method(name, None, "a gradient by hand has no tape")
        return self._agreement(name, self.problem.moved(self.directions))

    def _agreement(self, name: str, moved: Sequence[Array]) -> Method:
        """Whether <weights, moved> is <gradient, directions>."""
        terms = [w * v for w, v in zip(self.weights, moved, strict=True)]
        size = self.size + sum(float(np.abs(part).sum()) for part in terms)
        gap = abs(sum(float(part.sum()) for part in terms) - self.along)
        close = 1e-3 if self.problem.dtype is np.float32 else 1e-8
        agrees = gap <= close * size + self.blur
        relative = max(gap / size if size else gap, float(np.finfo(float).eps))
        text = f"{'agrees to' if agrees else 'differs by'} {relative:.1e} along a random direction"
        return Method(name, bool(agrees), text)

    def taylor(self) -> Method:
        """The order of Taylor's remainder along a random direction."""
        name = "Taylor remainder"
        value = self.problem.along(self.directions, self.dtype)
        slack = self.rtol * self.size + self.blur
        found = taylor(value, self.flat_weights, self.along, slack, self.dtype)
        if found.is_kink or (self.has_kinks and not found.ok):
            return Method(name, None, "the function has a kink here")
        if found.order is None:
            return Method(name, True, "none: linear along a random direction, as far as can be seen")
        wrong = "" if found.ok else ", a right gradient's with order 2"
        return Method(name, found.ok, f"falls with order {found.order:.2f} as the step is halved{wrong}")
