"""The complex step: f(x + ihu) = f(x) + ih <f', u> + O(h²), so the imaginary part is a derivative without differences.

Nothing cancels, so h may be 1e-20 and the derivative is good to the last digits (Lyness & Moler 1967; Squire & Trapp
1998). It asks that every operation be analytic: the tape is read for that, and what leaves no line on it (sign) is
heard by the array that goes through.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.primitive import REGISTRY
from minigrad.verify.problem import Problem

Array = Any

ANALYTIC = frozenset({
    "add", "subtract", "multiply", "divide", "negative", "positive", "reciprocal", "square", "power", "sqrt",
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sigmoid", "silu", "softplus", "where",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "sum", "mean", "prod", "cumulative_sum", "cumulative_prod", "logsumexp",
    "matmul", "contract", "einsum_diagonal", "cross", "det", "inv", "solve",
    "broadcast_to", "concat", "copy", "flip", "input", "matrix_transpose", "pad", "permute_dims", "reshape", "roll",
    "stack", "tril", "triu", "getitem", "set_index", "scatter_add",
    "sliding_windows", "overlap_add", "window_gather", "window_scatter",
    "avg_pool", "avg_unpool", "convolve", "convolve_input", "convolve_kernel",
})  # fmt: skip
STEP = 1e-20


class NotAnalytic(Exception):
    """Why the complex step does not apply."""


class Heard(np.ndarray[Any, Any]):
    """Complex numbers that object to what NumPy computes for them without being analytic."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc in (np.absolute, np.sign, np.conjugate):
            raise NotAnalytic(f"{ufunc.__name__} is not analytic")
        if "out" in options:
            options["out"] = tuple(_bare(x) for x in options["out"])
        return _heard(getattr(ufunc, method)(*(_bare(x) for x in inputs), **options))

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        found = super().__array_function__(function, types, args, options)
        return type(found)(map(_heard, found)) if type(found) in (tuple, list) else _heard(found)


def _heard(x: Any) -> Any:
    return x.view(Heard) if isinstance(x, np.ndarray) and x.dtype.kind == "c" else x


def _bare(x: Any) -> Any:
    return x.view(np.ndarray) if isinstance(x, Heard) else x


def complex_step(problem: Problem, directions: Sequence[Array], values: Sequence[Array]) -> list[Array]:
    """The derivative of each value along the directions.

    Raises:
        NotAnalytic: some operation is not analytic, or does not take complex numbers.
    """
    if problem.by_hand:
        raise NotAnalytic("there is no tape that shows what the function computes")
    for line in problem.lines():
        if line.primitive is not None and not (
            line.primitive.name in ANALYTIC and REGISTRY.get(line.primitive.name) is line.primitive
        ):
            raise NotAnalytic(f"{line.primitive.name} is not known to be analytic")
    moved = [(x + 1j * STEP * u).view(Heard) for x, u in zip(problem.inputs, directions, strict=True)]
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
    return [v.imag / STEP for v in found]
