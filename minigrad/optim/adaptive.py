"""Optimizers that divide each element by the gradients that it has seen: Adagrad, RMSprop, Adadelta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import numpy as np

from minigrad.optim.averages import Array, State, add_l2, cast_like, update_mean, update_mean_square
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.options import CommonOptions
from minigrad.optim.sgd import Lion  # noqa: F401  # its path in pickles of version 0.1.0


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011, figure 1, diagonal).

        s = s + g²
        p = p - lr / (1 + (t - 1) lr_decay) g / (√s + ε)

    s begins at initial_accumulator_value. Keras begins at 0.1 and has ε = 1e-7 inside the root.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        lr_decay: how fast the learning rate falls: lr / (1 + (t - 1) lr_decay).
        weight_decay: λ, L2: λ p is added to the gradient.
        initial_accumulator_value: the initial sum of g².
        eps: added to the root.
        **common: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10, **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        options = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay}
        accumulator = {"initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(params, {**options, **accumulator}, **common)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The sum of g²."""
        return {"s": options["initial_accumulator_value"]}

    @staticmethod
    def rule(
        p: Array, g: Array, state: State, step: Array, work: Array, *,
        lr: Array, lr_decay: float, weight_decay: float, initial_accumulator_value: float, eps: float,
    ) -> Array:  # fmt: skip
        """The change of p: the falling rate times g / (√s + ε)."""
        if weight_decay:
            g = add_l2(p, g, weight_decay, work)
        s = np.add(state["s"], np.multiply(g, g, out=work), out=state["s"])
        np.add(np.sqrt(s, out=work), eps, out=work)
        np.divide(g, work, out=work)
        return np.multiply(work, lr / cast_like(g, 1 + (step - 1) * lr_decay), out=work)


class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012, lecture 6.5); centered and with momentum as in Graves 2013, equations 38-45.

        s = α s + (1 - α) g²
        d = g / (√s + ε),   centered g / (√(s - m²) + ε) with m = α m + (1 - α) g
        p = p - lr d,       with momentum v = μ v + d, p = p - lr v

    Keras has α = 0.9 (its rho), ε = 1e-7 inside the root, and lr inside v. s - m² is a variance: negative values, which
    come from rounding, count as 0.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        alpha: the decay rate of the running average of g².
        eps: added to the root.
        weight_decay: λ, L2: λ p is added to the gradient.
        momentum: μ.
        centered: divide by the root of the variance of g instead of the mean of g².
        **common: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "momentum": momentum, "centered": centered}, **common)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running average of g², if centered that of g, and the velocity, if there is momentum."""
        names = ["s"] + ["m"] * bool(options["centered"]) + ["v"] * bool(options["momentum"])
        return dict.fromkeys(names, 0.0)

    @staticmethod
    def rule(
        p: Array, g: Array, state: State, step: Array, work: Array, *,
        lr: Array, alpha: float, eps: float, weight_decay: float, momentum: float, centered: bool,
    ) -> Array:  # fmt: skip
        """The change of p: lr d, or lr v."""
        if weight_decay:
            g = add_l2(p, g, weight_decay, work)
        s = update_mean_square(state["s"], g, alpha, work)
        if centered:
            m = update_mean(state["m"], g, alpha, work)
            s = np.subtract(s, np.multiply(m, m, out=work), out=work)
            np.maximum(s, 0, out=work)
        np.add(np.sqrt(s, out=work), eps, out=work)
        d = np.divide(g, work, out=work)
        if momentum:
            v = state["v"]
            d = np.add(np.multiply(v, momentum, out=v), d, out=v)
        return np.multiply(d, lr, out=work)


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012, algorithm 1), times lr.

        s = ρ s + (1 - ρ) g²
        d = g √(u + ε) / √(s + ε),   u = ρ u + (1 - ρ) d²
        p = p - lr d

    Keras has ρ = 0.95, ε = 1e-7 and lr = 1e-3, which is far from the paper's 1.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        rho: the decay rate of the running averages of g² and of the squared changes.
        eps: added under both roots.
        weight_decay: λ, L2: λ p is added to the gradient.
        **common: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0,
        **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}, **common)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running averages of g² and of the squared changes."""
        return {"s": 0.0, "u": 0.0}

    @staticmethod
    def rule(
        p: Array, g: Array, state: State, step: Array, work: Array, *,
        lr: Array, rho: float, eps: float, weight_decay: float,
    ) -> Array:  # fmt: skip
        """The change of p: lr d."""
        if weight_decay:
            g = add_l2(p, g, weight_decay, work)
        u = state["u"]
        s = update_mean_square(state["s"], g, rho, work)
        d = np.sqrt(np.divide(u + eps, np.add(s, eps, out=work), out=work))
        np.multiply(d, g, out=d)
        update_mean_square(u, d, rho, work)
        return np.multiply(d, lr, out=work)
