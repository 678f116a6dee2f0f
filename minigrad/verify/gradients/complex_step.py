"""The complex step: f(x + ihu) = f(x) + ih <f', u> + O(h²), so the imaginary part is a derivative without differences.

Nothing cancels, so h may be 1e-20 and the derivative is exact to the last digits (Lyness & Moler 1967; Squire & Trapp
1998). Every operation must be analytic: those on the tape are looked up, and those without a node (sign) are refused by
the complex array.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.util.duck_array import NumPyCalls, map_arrays
from minigrad.verify.gradients.problem import Problem

Array = Any

STEPS = {np.float32: 1e-5, np.float64: 1e-20}  # relative to 1 and to x; the error is the square of the step


class NotAnalytic(Exception):
    """The complex step does not apply. The message says why."""


class ComplexStepArray(NumPyCalls, np.ndarray[Any, Any]):
    """A complex array that refuses the functions that NumPy has for complex numbers but that are not analytic."""

    def mg_compute(self, function: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of NumPy's function.

        Raises:
            NotAnalytic: the function is not analytic.
        """
        if function in (np.absolute, np.sign, np.conjugate):
            raise NotAnalytic(f"{function.__name__} is not analytic")
        if isinstance(function, np.ufunc):
            result = getattr(function, method)(*_plain(args), **_plain(kwargs))
        else:  # NumPy's own code, whose ufuncs come back here
            result = np.ndarray.__array_function__(self, function, (ComplexStepArray,), args, kwargs)
        return map_arrays(_as_step_array, np.ndarray, result)


def _as_step_array(x: Any) -> Any:
    return x.view(ComplexStepArray) if x.dtype.kind == "c" else x


def _plain(x: Any) -> Any:
    return map_arrays(lambda array: array.view(np.ndarray), ComplexStepArray, x)


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
    shifted = [
        (x + 1j * (step * u).astype(x.dtype)).view(ComplexStepArray) for x, u in zip(inputs, directions, strict=True)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            results = _plain(problem.values(shifted))
    except (TypeError, ValueError, IndexError, np.exceptions.ComplexWarning):
        raise NotAnalytic("the function does not take complex numbers") from None
    if not all(
        v.dtype.kind == "c" and np.allclose(v.real, u, rtol=1e-5, atol=1e-8)
        for v, u in zip(results, values, strict=True)
    ):
        raise NotAnalytic("the function gives other values on complex numbers")
    return [(v.imag / step).astype(float) for v in results]


def _step(problem: Problem, directions: Sequence[Array]) -> float:
    """A step that moves no input by more than a small fraction of itself, or of 1."""
    step = STEPS.get(problem.dtype, 1e-20)
    ratios = [
        np.minimum(1.0, np.abs(x[x != 0])) / np.abs(u[x != 0]) for x, u in zip(problem.inputs, directions, strict=True)
    ]
    step *= min((float(ratio.min(initial=1.0)) for ratio in ratios), default=1.0)
    smallest = min((float(np.abs(u).min(initial=np.inf)) for u in directions), default=1.0)
    if step * smallest < 1e3 * float(np.finfo(problem.dtype).tiny):
        raise NotAnalytic("the sizes of the inputs differ too much for one step")
    return step
