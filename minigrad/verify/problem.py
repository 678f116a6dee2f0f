"""What check_gradients checks: a function of arrays and its gradient, from whatever the user gave."""

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
from minigrad.verify.differences import WIDEST

Array = Any


class Problem:
    """A function of floating-point arrays to arrays, with its gradient.

    Args:
        f: a function of Tensors; of arrays if `gradient` is given; or an object with the methods forward and backward.
        inputs: its arguments. Those of floating-point numbers are varied, as arrays of the given dtype.
        gradient: of the cotangent and the inputs, to the gradients; None if the tape is to give them.
    """

    def __init__(
        self, f: Any, inputs: Sequence[Any], gradient: Callable[..., Any] | None, dtype: Any = np.float64
    ) -> None:
        if gradient is None and all(callable(getattr(f, method, None)) for method in ("forward", "backward")):
            f, gradient = f.forward, _forward_and_backward(f)
        self.f, self.by_hand, self.dtype = f, gradient, dtype
        leaves, self.rebuild = flatten(tuple(inputs))
        self.leaves = [x.data if isinstance(x, Tensor) else x for x in leaves]
        self.moving = [k for k, x in enumerate(self.leaves) if _is_real(x)]
        if not self.moving:
            raise TypeError(
                f"check_gradients: none of the inputs ({', '.join(type(x).__name__ for x in self.leaves)}) holds "
                "floating-point numbers, so there is nothing to vary; convert them: x.astype(float)"
            )
        self.inputs = [np.array(self.leaves[k], dtype=dtype) for k in self.moving]
        names = _names(f, inputs)
        self.names = [names[k] for k in self.moving]

    def arguments(self, values: Sequence[Any]) -> Any:
        """The arguments of f with these values for the inputs that vary."""
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

    def checked_values(self) -> list[Array]:
        """The value of f, which must be finite and the same at a second call."""
        plain = self.values(self.inputs)
        again = self.values(self.inputs)
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(plain, again, strict=True)):
            raise ValueError(
                "check_gradients: the function gave other values when it was called again with the same inputs. If it "
                "draws random numbers, make their generator inside it from a fixed seed"
            )
        if not all(np.isfinite(v).all() for v in plain):
            raise ValueError("check_gradients: the function's value has NaN or infinite elements at these inputs")
        return plain

    def widest(self, plain: Sequence[Array]) -> Any:
        """The widest dtype that f computes in: extended precision, if it then gives the same values."""
        try:
            wide = self.values([x.astype(WIDEST) for x in self.inputs])
        except (TypeError, ValueError, np.linalg.LinAlgError):
            return np.float64
        same = all(
            v.dtype == WIDEST and np.allclose(u, v.astype(float), rtol=1e-6, atol=1e-9)
            for u, v in zip(plain, wide, strict=True)
        )
        return WIDEST if same else np.float64

    def along(self, directions: Sequence[Array | None], dtype: Any) -> Callable[[Any], Array]:
        """The value of f, as one vector, when each input is moved by t times its direction (None: it stays)."""
        arrays = [x.astype(dtype) for x in self.inputs]
        moves = [None if u is None else u.astype(dtype) for u in directions]

        def value(t: Any) -> Array:
            moved = [x if u is None else x + t * u for x, u in zip(arrays, moves, strict=True)]
            return flat(self.values(moved))

        return value

    def function(self, *tensors: Any) -> Any:
        """f as a function of the inputs that vary, to a tuple."""
        return tuple(flatten(self.f(*self.arguments(tensors)))[0])

    def _in_order(self, gradients: Any) -> list[Any]:
        """What the hand-written gradient returned as a list; those of a dict of inputs go by its keys."""
        like = self.rebuild(self.leaves)
        if len(self.moving) == len(self.leaves) and any(isinstance(x, dict) for x in like):
            gradients = gradients if len(like) > 1 else (gradients,) if isinstance(gradients, dict) else gradients
            return leaves_like(gradients, like, "check_gradients: the gradient")
        return flatten(gradients)[0]

    def gradient(self, weights: Sequence[Array], inputs: Sequence[Array] | None = None) -> list[Array]:
        """The gradients of <weights, f>, in float64, as the tape or the hand-written gradient gives them."""
        inputs = self.inputs if inputs is None else inputs
        weights = [w.astype(inputs[0].dtype) for w in weights]
        if self.by_hand:
            cotangent = weights[0] if len(weights) == 1 else tuple(weights)
            given = self._in_order(self.by_hand(cotangent, *self.arguments(inputs)))
            if len(given) != len(inputs):
                raise ValueError(
                    f"check_gradients: the gradient returned {len(given)} arrays for the {len(inputs)} floating-point "
                    f"inputs {', '.join(self.names)}"
                )
        else:
            with enable_grad():
                _, pullback = vjp(self.function, *(attach(x, None) for x in inputs))
                given = list(pullback(tuple(weights)))
        found = [np.asarray(g.data if isinstance(g, Tensor) else g, dtype=float) for g in given]
        for name, x, g in zip(self.names, inputs, found, strict=True):
            if g.shape != x.shape:
                raise ValueError(f"check_gradients: the gradient for {name} has shape {g.shape}, the input {x.shape}")
        return found

    def moved(self, directions: Sequence[Array], dtype: Any = None) -> list[Array]:
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

        made = Problem(gradient, self.inputs, None, self.dtype)
        made.names = self.names
        return made


def signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Random numbers of both signs, of size ½ to 1½."""
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape)


def flat(values: Sequence[Array]) -> Array:
    """All values as one vector."""
    return np.concatenate([v.reshape(-1) for v in values])


def _forward_and_backward(made: Any) -> Callable[..., Any]:
    def gradient(cotangent: Any, *inputs: Any) -> Any:
        made.forward(*inputs)  # backward goes by what the last forward left behind
        return made.backward(cotangent)

    return gradient


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
