"""The complex step: f(x + ihu) = f(x) + ih <f', u> + O(h²), so the imaginary part is a derivative without differences.

Nothing cancels, so h may be 1e-20 and the derivative is good to the last digits (Lyness & Moler 1967; Squire & Trapp
1998). It asks that every operation be analytic: the tape is read for that, and what leaves no node on it (sign) is
seen by the array that goes through.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.verify.problem import Problem

Array = Any

STEPS = {np.float32: 1e-5, np.float64: 1e-20}  # beside 1 and beside x: the error is its square


class NotAnalytic(Exception):
    """Why the complex step does not apply."""


class ComplexStepArray(np.ndarray[Any, Any]):
    """Complex numbers that object to what NumPy computes for them without being analytic."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc in (np.absolute, np.sign, np.conjugate):
            raise NotAnalytic(f"{ufunc.__name__} is not analytic")
        if "out" in options:
            options["out"] = tuple(_bare(x) for x in options["out"])
        return _as_step_array(getattr(ufunc, method)(*(_bare(x) for x in inputs), **options))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        found = super().__array_function__(function, types, args, options)
        return type(found)(map(_as_step_array, found)) if type(found) in (tuple, list) else _as_step_array(found)


def _as_step_array(x: Any) -> Any:
    return x.view(ComplexStepArray) if isinstance(x, np.ndarray) and x.dtype.kind == "c" else x


def _bare(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, ComplexStepArray) else x


def complex_step(
    problem: Problem, directions: Sequence[Array], values: Sequence[Array], dtype: Any = None
) -> list[Array]:
    """The derivative of each value along the directions, computed in another dtype if one is given.

    Raises:
        NotAnalytic: some operation is not analytic, or does not take complex numbers.
    """
    if problem.by_hand:
        raise NotAnalytic("there is no tape that shows what the function computes")
    for node in problem.nodes():
        if node.primitive is not None and not getattr(node.primitive, "is_analytic", False):
            raise NotAnalytic(f"{node.primitive.name} is not known to be analytic")
    inputs = problem.inputs if dtype is None else [x.astype(dtype) for x in problem.inputs]
    step = _step(problem, directions)
    moved = [
        (x + 1j * (step * u).astype(x.dtype)).view(ComplexStepArray) for x, u in zip(inputs, directions, strict=True)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            found = [_bare(v) for v in problem.values(moved)]
    except (TypeError, ValueError, IndexError, np.exceptions.ComplexWarning):
        raise NotAnalytic("the function does not take complex numbers") from None
    if not all(
        v.dtype.kind == "c" and np.allclose(v.real, u, rtol=1e-5, atol=1e-8) for v, u in zip(found, values, strict=True)
    ):
        raise NotAnalytic("the function gives other values on complex numbers")
    return [(v.imag / step).astype(float) for v in found]


def _step(problem: Problem, directions: Sequence[Array]) -> float:
    """A step so short that no input is moved by more than a small part of itself, nor of 1."""
    step = STEPS.get(problem.dtype, 1e-20)
    ratios = [
        np.minimum(1.0, np.abs(x[x != 0])) / np.abs(u[x != 0]) for x, u in zip(problem.inputs, directions, strict=True)
    ]
    step *= min((float(ratio.min(initial=1.0)) for ratio in ratios), default=1.0)
    least = min((float(np.abs(u).min(initial=np.inf)) for u in directions), default=1.0)
    if step * least < 1e3 * float(np.finfo(problem.dtype).tiny):
        raise NotAnalytic("the inputs are of too different sizes for one step")
    return step
