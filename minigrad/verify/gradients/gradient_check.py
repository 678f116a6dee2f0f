"""check_gradients: is a gradient, of the tape or written by hand, the derivative of its function?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.verify.gradients.comparison import GradientCheck
from minigrad.verify.gradients.gradient_report import GradientReport
from minigrad.verify.gradients.problem import Problem

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
    """Compare the gradient of f with several independent methods, and with finite differences element by element.

    f may return one or several arrays of any shape: it is checked along a random signed cotangent. (Positive
    cotangents, and above all a plain sum, hide terms: with `batch_norm(x).sum()` every wrong dl/dσ² passes.)

    Args:
        f: a function of Tensors, or of arrays if `gradient` is given; or any object with the methods
            `forward(*arrays)`, which returns an array or a tuple of arrays, and `backward(cotangent)`, which returns
            the gradients of the inputs of the last forward. So code of any framework can be checked. Gradients of
            parameters that the object stores (`dW`, `grads["W"]`) are checked too; a parameter without one is noted.
        *inputs: the arguments: arrays, Tensors, numbers, or nested structures of them. Floating-point ones are varied;
            float32 is checked in float64. Use values away from 0 and 1, where terms vanish.
        gradient: a hand-written gradient of f: a function of the cotangent and the inputs that returns the gradients
            of the floating-point inputs (a tuple if there are several). Or the second function of a pair, of the
            cotangent and a cache, if f returns the cache with its result.
        order: 1, or 2 to check the gradient's own derivative (second order) in the same way.
        modes: the methods; by default all that apply:
            "differences": compares every element with central differences, extrapolated (Richardson 1911), in extended
            precision where f allows it. It finds the wrong element; kinks are reported.
            "complex": a complex step (Squire & Trapp 1998) along a random direction, exact to the last digits, if every
            operation is analytic.
            "taylor": |f(x + hu) - f(x) - h <g, u>| falls like h² if g is the gradient, like h if it is not.
            "pairing": <w, push(u)> = <pull(w), u>: forward and reverse mode agree.
        dtype: "float32" to compute everything in float32, with suitable steps and tolerances.
        rtol: how far an element may be off, relative to its size and to 1e-3 of the largest element of its input;
            by default 1e-6, or 1e-3 in float32.
        elements: the largest number of elements of each input that are compared; they are chosen at random.
        seed: of the random cotangents, directions and choices.

    Returns:
        A report: `.ok`, `.raise_if_wrong()`, `.to_json()`; `print(report)` shows the worst element of each input.

    Raises:
        TypeError: no input holds floating-point numbers.
        ValueError: f returns non-finite values, or other values when it is called again (random numbers); or none of
            the chosen methods applies.

    Example:
        >>> import minigrad as mg
        >>> import numpy as np
        >>> report = mg.verify.check_gradients(lambda x, w: mg.tanh(x @ w), np.array([[0.3, -0.7]]), np.eye(2) + 0.1)
        >>> report.ok
        True
    """
    selected = (modes,) if isinstance(modes, str) else tuple(modes)
    kind = np.dtype(np.float64 if dtype is None else dtype).type
    if order not in (1, 2):
        raise ValueError(f"check_gradients(order={order!r}): must be 1 or 2")
    if not selected or not set(selected) <= set(MODES):
        raise ValueError(f"check_gradients(modes={modes!r}): choose among {', '.join(map(repr, MODES))}")
    if kind not in (np.float32, np.float64):
        raise ValueError(f"check_gradients(dtype={dtype!r}): must be 'float32' or 'float64'")
    rng = np.random.default_rng([seed, 20260])
    with np.errstate(all="ignore"):  # steps may leave the domain; the value at the inputs itself is checked
        problem = Problem(f, inputs, gradient, kind)
        if order == 2:
            problem = problem.of_gradient(rng)
        if rtol is None:
            rtol = 1e-3 if kind is np.float32 else 1e-6
        check = GradientCheck(problem, order, rtol, rng, widen=dtype is None)
        entries = check.differences(elements) if "differences" in selected else []
        methods = [getattr(check, mode)() for mode in MODES if mode in selected and mode != "differences"]
    if not entries and all(method.ok is None for method in methods):
        reasons = "; ".join(f"{method.name}: {method.found}" for method in methods)
        raise ValueError(f"check_gradients: no method applies ({reasons})")
    check.note_small(entries, methods)
    return GradientReport(entries, check.described, check.dtype, order, methods, check.notes)


def assert_gradients(f: Any, *inputs: Any, **options: Any) -> None:
    """Raise AssertionError with the report as its message unless `check_gradients(f, *inputs, **options)` is right.

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
