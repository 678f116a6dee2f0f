"""The function and the gradient that check_gradients compares, in one form for all kinds of arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.engine.modes import enable_grad, no_grad
from minigrad.engine.node import Node, leaf
from minigrad.engine.primitive import value_of
from minigrad.engine.specialize import attach
from minigrad.engine.tape import ancestors
from minigrad.tensor.tensor import Tensor
from minigrad.tensor.transforms import jvp, vjp
from minigrad.util.pytree import flatten, leaves_like
from minigrad.verify.gradients.finite_differences import WIDEST
from minigrad.verify.pairs.adapted import adapted
from minigrad.verify.pairs.pair import is_float_array

Array = Any


class Problem:
    """A function of floating-point arrays to arrays, with its gradient.

    Args:
        f: a function of Tensors; of arrays if `gradient` is given; or an object with the methods forward and backward.
        inputs: the arguments of f. Those of floating-point numbers are varied, as arrays of the given dtype.
        gradient: a function of the cotangent and the inputs that returns the gradients; None to use the tape.
    """

    def __init__(
        self, f: Any, inputs: Sequence[Any], gradient: Callable[..., Any] | None, dtype: Any = np.float64
    ) -> None:
        names = _names(f.forward if gradient is None and hasattr(f, "forward") else f, inputs)
        pair = adapted(f, gradient, inputs)
        if pair is not None:
            f, gradient, inputs = pair.forward, pair.gradient, (*inputs, *pair.parameters.values())
            names = [*names, *pair.parameters]
        self.f, self.by_hand, self.dtype = f, gradient, dtype
        self.unchecked = [] if pair is None else pair.unchecked
        leaves, self.rebuild = flatten(tuple(inputs))
        self.leaves = [x.data if isinstance(x, Tensor) else x for x in leaves]
        self.varied = [k for k, x in enumerate(self.leaves) if isinstance(x, float) or is_float_array(x)]
        if not self.varied:
            raise TypeError(
                f"check_gradients: none of the inputs ({', '.join(type(x).__name__ for x in self.leaves)}) holds "
                "floating-point numbers, so there is nothing to vary; convert them: x.astype(float)"
            )
        self.inputs = [np.array(self.leaves[k], dtype=dtype) for k in self.varied]
        self.names = [names[k] for k in self.varied]

    def arguments(self, values: Sequence[Any]) -> Any:
        """The arguments of f with these values of the varied inputs."""
        leaves = list(self.leaves)
        for k, x in zip(self.varied, values, strict=True):
            leaves[k] = x
        return self.rebuild(leaves)

    def values(self, arrays: Sequence[Array]) -> list[Array]:
        """The value of f as a list of arrays."""
        inputs = arrays if self.by_hand else [attach(x, None) for x in arrays]
        with no_grad():
            out, _ = flatten(self.f(*self.arguments(inputs)))
        return [np.asarray(value_of(t)) for t in out]

    def checked_values(self) -> list[Array]:
        """The value of f. Raises ValueError if it is not finite, or another one at a second call."""
        values = self.values(self.inputs)
        second = self.values(self.inputs)
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(values, second, strict=True)):
            raise ValueError(
                "check_gradients: the function gave other values when it was called again with the same inputs. If it "
                "draws random numbers, make their generator inside it from a fixed seed"
            )
        if not all(np.isfinite(v).all() for v in values):
            raise ValueError("check_gradients: the function's value has NaN or infinite elements at these inputs")
        return values

    def widest(self, values: Sequence[Array]) -> Any:
        """The widest dtype in which f returns the same values: extended precision or float64."""
        try:
            wide = self.values([x.astype(WIDEST) for x in self.inputs])
        except (TypeError, ValueError, np.linalg.LinAlgError):
            return np.float64
        same = all(
            v.dtype == WIDEST and np.allclose(u, v.astype(float), rtol=1e-6, atol=1e-9)
            for u, v in zip(values, wide, strict=True)
        )
        return WIDEST if same else np.float64

    def along(self, directions: Sequence[Array | None], dtype: Any) -> Callable[[Any], Array]:
        """A function of t: f as one vector, with the inputs moved by t times their directions; None: not moved."""
        arrays = [x.astype(dtype) for x in self.inputs]
        steps = [None if u is None else u.astype(dtype) for u in directions]

        def value(t: Any) -> Array:
            shifted = [x if u is None else x + t * u for x, u in zip(arrays, steps, strict=True)]
            return flat(self.values(shifted))

        return value

    def function(self, *tensors: Any) -> Any:
        """f as a function of the varied inputs that returns a tuple."""
        return tuple(flatten(self.f(*self.arguments(tensors)))[0])

    def _gradients_in_order(self, gradients: Any) -> list[Any]:
        """The result of the hand-written gradient as a list; gradients of a dict of inputs are found by its keys."""
        like = self.rebuild(self.leaves)
        if len(self.varied) == len(self.leaves) and any(isinstance(x, dict) for x in like):
            gradients = gradients if len(like) > 1 else (gradients,) if isinstance(gradients, dict) else gradients
            return leaves_like(gradients, like, "check_gradients: the gradient")
        return flatten(gradients)[0]

    def gradient(self, weights: Sequence[Array], inputs: Sequence[Array] | None = None) -> list[Array]:
        """The gradients of <weights, f> by the tape or by the hand-written gradient, as float64."""
        inputs = self.inputs if inputs is None else inputs
        weights = [w.astype(inputs[0].dtype) for w in weights]
        if self.by_hand:
            cotangent = weights[0] if len(weights) == 1 else tuple(weights)
            gradients = self._gradients_in_order(self.by_hand(cotangent, *self.arguments(inputs)))
            if len(gradients) != len(inputs):
                raise ValueError(
                    f"check_gradients: the gradient returned {len(gradients)} arrays for the {len(inputs)} "
                    f"floating-point inputs {', '.join(self.names)}"
                )
        else:
            with enable_grad():
                _, pullback = vjp(self.function, *(attach(x, None) for x in inputs))
                gradients = list(pullback(tuple(weights)))
        arrays = [np.asarray(value_of(g), dtype=float) for g in gradients]
        for name, x, g in zip(self.names, inputs, arrays, strict=True):
            if g.shape != x.shape:
                raise ValueError(f"check_gradients: the gradient for {name} has shape {g.shape}, the input {x.shape}")
        return arrays

    def tangents(self, directions: Sequence[Array], dtype: Any = None) -> list[Array]:
        """The tangents of the values by forward mode, computed in another dtype if one is given."""
        inputs = self.inputs if dtype is None else [x.astype(dtype) for x in self.inputs]
        with enable_grad():
            _, tangents = jvp(self.function, [attach(x, None) for x in inputs], directions)
        return [np.asarray(value_of(v), dtype=float) for v in tangents]

    def nodes(self) -> list[Node]:
        """The tape between the inputs and the values."""
        with enable_grad():
            variables = [attach(x, leaf(x)) for x in self.inputs]
            outputs = [t.node for t in self.function(*variables) if isinstance(t, Tensor)]
        return ancestors([node for node in outputs if node is not None], variables[0].node.serial)[0]

    def of_gradient(self, rng: np.random.Generator) -> Problem:
        """The problem whose function is this one's gradient along a fixed cotangent."""
        if self.by_hand:
            raise ValueError("check_gradients(order=2): a hand-written gradient has no tape to differentiate again")
        weights = tuple(signed(rng, v.shape) for v in self.values(self.inputs))

        def gradient(*tensors: Any) -> Any:
            with enable_grad():
                _, pullback = vjp(self.function, *tensors)
                return pullback(weights)

        problem = Problem(gradient, self.inputs, None, self.dtype)
        problem.names = self.names
        return problem


def signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random numbers of both signs, of size ½ to 1½."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)


def flat(values: Sequence[Array]) -> Array:
    """All values as one vector."""
    return np.concatenate([v.reshape(-1) for v in values])


def _names(f: Callable[..., Any], inputs: Sequence[Any]) -> list[str]:
    """A name for each leaf of the inputs: that of the parameter, with a number if it has several leaves."""
    try:
        f = getattr(f, "forward", f)  # a module, whose call has no names of its own
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = [p.name for p in inspect.signature(f).parameters.values() if p.kind in positional]
    except (TypeError, ValueError):
        parameters = []
    names = []
    for k, x in enumerate(inputs):
        name = parameters[k] if k < len(parameters) else f"input{k}"
        count = len(flatten(x)[0])
        names += [name] if count == 1 else [f"{name}.{j}" for j in range(count)]
    return names
