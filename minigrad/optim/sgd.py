"""Steps along the gradient or its running average: SGD with momentum, and Lion, which takes the sign."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import numpy as np

from minigrad.optim.averages import Array, State, add_l2, update_mean
from minigrad.optim.flat import Flat
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.options import CommonOptions


class SGD(Optimizer):
    """Gradient descent with momentum (Polyak 1964), in the form of Sutskever et al. 2013 as PyTorch writes it.

        v = μ v + (1 - dampening) g,   v = g in the first step
        p = p - lr v,   with Nesterov p - lr (g + μ v)

    Keras has v = μ v - lr g, which is the same only while lr is constant. The batch decides whether the descent is
    stochastic.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        momentum: μ.
        dampening: the fraction of the gradient that the momentum leaves out.
        nesterov: look ahead (Nesterov 1983). Needs momentum, and no dampening.
        weight_decay: λ, L2: λ p is added to the gradient.
        **common: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.

    Example:
        >>> from minigrad.tensor.tensor import Tensor
        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = SGD([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()
        [0.0, 0.0]
    """

    computed_state = frozenset({"begun"})

    def __init__(
        self, params: Iterable[Any], lr: float, momentum: float = 0.0, dampening: float = 0.0, nesterov: bool = False,
        weight_decay: float = 0.0, **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        momenta = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(params, {"lr": lr, **momenta, "weight_decay": weight_decay}, **common)

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that do not go together."""
        super().check(options)
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ValueError("optim.SGD(nesterov=True) needs momentum > 0 and dampening = 0")

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The velocity, if there is momentum; with dampening, whether it has taken up a gradient: 0 or 1."""
        if not options["momentum"]:
            return {}
        return {"begun": _has_velocity, "v": 0.0} if options["dampening"] else {"v": 0.0}

    @staticmethod
    def rule(
        p: Array, g: Array, state: State, step: Array, work: Array, *,
        lr: Array, momentum: float, dampening: float, nesterov: bool, weight_decay: float,
    ) -> Array:  # fmt: skip
        """The change of p: lr v, or lr (g + μ v)."""
        if weight_decay:
            g = add_l2(p, g, weight_decay, work)
        if not momentum:
            return np.multiply(g, lr, out=work)
        v = state["v"]
        np.multiply(v, momentum, out=v)
        if dampening:
            begun = state["begun"]  # 0 in the first step, then 1
            np.add(v, np.multiply(np.subtract(1, begun * dampening, out=work), g, out=work), out=v)
            np.maximum(begun, 1, out=begun)
        else:
            np.add(v, g, out=v)
        if not nesterov:
            return np.multiply(v, lr, out=work)
        ahead = g + momentum * v
        return np.multiply(ahead, lr, out=work)


def _has_velocity(flat: Flat) -> Any:
    """1 for the elements that have a velocity already, 0 for the others."""
    return flat.of_each(np.minimum(flat.steps, 1)) if "v" in flat.state else 0.0


class Lion(Optimizer):
    """Lion (Chen et al. 2023, algorithm 2), with decoupled weight decay.

        p = p - lr (sign(β₁ m + (1 - β₁) g) + λ p),   then m = β₂ m + (1 - β₂) g

    Every element moves by lr at each step, so lr is small.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: the weight of the running average in the sign, and its decay rate.
        weight_decay: λ, decoupled as in AdamW.
        **common: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0, **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay}, **common)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running average of g."""
        return {"m": 0.0}

    @staticmethod
    def rule(
        p: Array,
        g: Array,
        state: State,
        step: Array,
        work: Array,
        *,
        lr: Array,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> Array:
        """The change of p: lr (sign + λ p)."""
        b1, b2 = betas
        m = state["m"]
        change = np.sign(m * b1 + np.multiply(g, 1 - b1, out=work))
        update_mean(m, g, b2, work)
        if weight_decay:
            np.add(change, np.multiply(p, weight_decay, out=work), out=change)
        return np.multiply(change, lr, out=work)
