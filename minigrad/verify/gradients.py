"""check_gradients: is a gradient, the engine's or one written by hand, the derivative of its function?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.modes import enable_grad, no_grad
from minigrad.specialize import attach
from minigrad.tensor import Tensor
from minigrad.transforms import jvp, vjp
from minigrad.trees import flatten
from minigrad.verify.differences import WIDEST, slope
from minigrad.verify.gradient_report import Entry, GradientReport

Array = Any


def check_gradients(
    f: Callable[..., Any],
    *inputs: Any,
    gradient: Callable[..., Any] | None = None,
    order: int = 1,
    rtol: float = 1e-6,
    elements: int = 200,
    seed: int = 0,
) -> GradientReport:
    """Compare the gradient of f with finite differences, element by element.

    f may return an array of any shape, or several: it is checked along a random signed cotangent. (Positive cotangents,
    and a plain sum above all, hide whole terms: with `batch_norm(x).sum()` every wrong dl/dσ² passes.) The differences
    are central, extrapolated, and computed in extended precision where f allows it.

    Args:
        f: a function of Tensors, or of arrays if `gradient` is given.
        *inputs: its arguments: arrays, Tensors, numbers, or nested structures of them. Those of floating-point numbers
            are varied; float32 ones are checked in float64. Take values away from 0 and 1, where terms vanish.
        gradient: a hand-written gradient of f: a function of the cotangent and the inputs that returns the gradients
            of the floating-point inputs (a tuple if there are several).
        order: 1, or 2 to check the gradient's own derivative (second order) in the same way.
        rtol: how far an element may be off, relative to its own size and to 1e-3 of the largest of its input.
        elements: at most so many elements of each input are compared, chosen at random.
        seed: of the random cotangents and choices.

    Returns:
        A report: `.ok`, `.raise_if_wrong()`, `.to_json()`; `print(report)` shows the worst element of each input.

    Raises:
        TypeError: no input is of floating-point numbers.
        ValueError: f gives non-finite values, or other values when it is called again (random numbers).

    Example:
        >>> import minigrad as mg
        >>> import numpy as np
        >>> report = mg.verify.check_gradients(lambda x, w: mg.tanh(x @ w), np.array([[0.3, -0.7]]), np.eye(2) + 0.1)
        >>> report.ok
        True
    """
    if order not in (1, 2):
        raise ValueError(f"check_gradients(order={order!r}): must be 1 or 2")
    rng = np.random.default_rng([seed, 20260])
    problem = _Problem(f, inputs, gradient)
    if order == 2:
        problem = problem.of_gradient(rng)
    return _compare(problem, order, rtol, elements, rng)


def _compare(problem: _Problem, order: int, rtol: float, elements: int, rng: np.random.Generator) -> GradientReport:
    dtype, outputs = problem.values_and_dtype()
    weights = [signed(rng, v.shape) for v in outputs]
    engine = problem.gradient(weights)
    flat_weights = np.concatenate([w.reshape(-1) for w in weights]).astype(dtype)
    entries, described = [], []
    for k, (name, x, g) in enumerate(zip(problem.names, problem.inputs, engine, strict=True)):
        if g.shape != x.shape:
            raise ValueError(f"check_gradients: the gradient for {name} has shape {g.shape}, the input {x.shape}")
        places = list(np.ndindex(x.shape))
        if len(places) > elements:
            places = [places[i] for i in np.sort(rng.choice(len(places), elements, replace=False))]
        described.append((name, x.shape, len(places)))
        found = [
            (index, slope(problem.along(k, index, dtype), flat_weights, abs(float(x[index])), dtype))
            for index in places
        ]
        largest = max((abs(s.value) for _, s in found), default=0.0)
        for index, s in found:
            tolerance = rtol * max(abs(s.value), 1e-3 * largest, 1e-9) + 10 * s.error
            entries.append(Entry(name, index, float(g[index]), s, tolerance))
    pairing = problem.pairing(weights, engine, rng)
    notes = [
        f"{name}: {count} of {int(np.prod(shape))} elements compared"
        for name, shape, count in described
        if count < int(np.prod(shape))
    ]
    return GradientReport(entries, described, dtype, order, pairing, notes)


class _Problem:
    """A function of floating-point arrays to arrays, with its gradient, from whatever the user gave."""

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any], gradient: Callable[..., Any] | None) -> None:
        self.f, self.by_hand = f, gradient
        leaves, self.rebuild = flatten(tuple(inputs))
        self.leaves = [x.data if isinstance(x, Tensor) else x for x in leaves]
        self.moving = [k for k, x in enumerate(self.leaves) if _is_real(x)]
        if not self.moving:
            raise TypeError(
                f"check_gradients: none of the inputs ({', '.join(type(x).__name__ for x in self.leaves)}) holds "
                "floating-point numbers, so there is nothing to vary; convert them: x.astype(float)"
            )
        self.inputs = [np.array(self.leaves[k], dtype=np.float64) for k in self.moving]
        names = _names(f, inputs)
        self.names = [names[k] for k in self.moving]

    def arguments(self, values: Sequence[Any]) -> Any:
        leaves = list(self.leaves)
        for k, x in zip(self.moving, values, strict=True):
            leaves[k] = x
        return self.rebuild(leaves)

    def values(self, arrays: Sequence[Array]) -> list[Array]:
        """The value of f as a list of arrays."""
        given = arrays if self.by_hand else [attach(x, None) for x in arrays]
        with no_grad():
            out, _ = flatten(self.f(*self.arguments(given)))
        return [np.asarray(t.data if isinstance(t, Tensor) else t) for t in out]

    def values_and_dtype(self) -> tuple[Any, list[Array]]:
        """The widest dtype that f can be computed in, and the values in it; f must be finite and repeatable."""
        plain = self.values(self.inputs)
        again = self.values(self.inputs)
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(plain, again, strict=True)):
            raise ValueError(
                "check_gradients: the function gave other values when it was called again with the same inputs. If it "
                "draws random numbers, make their generator inside it from a fixed seed"
            )
        if not all(np.isfinite(v).all() for v in plain):
            raise ValueError("check_gradients: the function's value has NaN or infinite elements at these inputs")
        try:
            wide = self.values([x.astype(WIDEST) for x in self.inputs])
        except (TypeError, ValueError, np.linalg.LinAlgError):
            return np.float64, plain
        if all(v.dtype == WIDEST for v in wide) and all(
            np.allclose(a, b.astype(float), rtol=1e-6, atol=1e-9) for a, b in zip(plain, wide, strict=True)
        ):
            return WIDEST, wide
        return np.float64, plain

    def along(self, k: int, index: tuple[int, ...], dtype: Any) -> Callable[[Any], Array]:
        """The value of f, as one vector, when one element of one input is moved by t."""
        arrays = [x.astype(dtype) for x in self.inputs]

        def value(t: Any) -> Array:
            moved = arrays[k].copy()
            moved[index] += t
            values = self.values([*arrays[:k], moved, *arrays[k + 1 :]])
            return np.concatenate([v.reshape(-1) for v in values])

        return value

    def function(self, *tensors: Any) -> Any:
        return tuple(flatten(self.f(*self.arguments(tensors)))[0])

    def gradient(self, weights: Sequence[Array]) -> list[Array]:
        if self.by_hand:
            out = self.values(self.inputs)
            cotangent = weights[0] if len(out) == 1 else tuple(weights)
            given, _ = flatten(self.by_hand(cotangent, *self.arguments(self.inputs)))
            if len(given) != len(self.inputs):
                raise ValueError(
                    f"check_gradients: gradient() returned {len(given)} arrays for {len(self.inputs)} inputs"
                )
            return [np.asarray(g.data if isinstance(g, Tensor) else g, dtype=float) for g in given]
        with enable_grad():
            _, pullback = vjp(self.function, *(attach(x, None) for x in self.inputs))
            return [np.asarray(g.data, dtype=float) for g in pullback(tuple(weights))]

    def pairing(self, weights: Sequence[Array], engine: Sequence[Array], rng: np.random.Generator) -> float | None:
        """How far <weights, push(u)> is from <pull(weights), u> for a random direction u, relative to their terms."""
        if self.by_hand:
            return None
        directions = [signed(rng, x.shape) for x in self.inputs]
        with enable_grad():
            _, moved = jvp(self.function, [attach(x, None) for x in self.inputs], directions)
        forward = [w * np.asarray(getattr(v, "data", v)) for w, v in zip(weights, moved, strict=True)]
        reverse = [g * u for g, u in zip(engine, directions, strict=True)]
        size = sum(float(np.abs(part).sum()) for part in (*forward, *reverse))
        gap = sum(float(part.sum()) for part in forward) - sum(float(part.sum()) for part in reverse)
        return abs(gap) / size if size else 0.0

    def of_gradient(self, rng: np.random.Generator) -> _Problem:
        """The problem whose function is this one's gradient along a fixed cotangent."""
        if self.by_hand:
            raise ValueError("check_gradients(order=2): a hand-written gradient has no tape to differentiate again")
        weights = tuple(signed(rng, v.shape) for v in self.values(self.inputs))

        def gradient(*tensors: Any) -> Any:
            with enable_grad():
                _, pullback = vjp(self.function, *tensors)
                return pullback(weights)

        made = _Problem(gradient, self.inputs, None)
        made.names = self.names
        return made


def signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random numbers of both signs, of size ½ to 1½."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)


def _is_real(x: Any) -> bool:
    return isinstance(x, float) or getattr(getattr(x, "dtype", None), "kind", "") == "f"


def _names(f: Callable[..., Any], inputs: Sequence[Any]) -> list[str]:
    """A name for each leaf of the inputs: the parameter's, with a number if it holds several."""
    try:
        parameters = [p.name for p in inspect.signature(f).parameters.values() if p.kind is not p.VAR_POSITIONAL]
    except (TypeError, ValueError):
        parameters = []
    names = []
    for k, x in enumerate(inputs):
        name = parameters[k] if k < len(parameters) else f"input{k}"
        count = len(flatten(x)[0])
        names += [name] if count == 1 else [f"{name}.{j}" for j in range(count)]
    return names
