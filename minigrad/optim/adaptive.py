"""Optimizers that scale each element by the gradients it has seen, and Lion, which keeps only their signs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minigrad.optim import rules
from minigrad.optim.optimizer import Optimizer


class Adagrad(Optimizer):
    """Adagrad: `rules.adagrad` has the equations.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        lr_decay: how fast the learning rate falls besides: lr / (1 + (t - 1) lr_decay).
        weight_decay: λ, L2: λ p is added to the gradient.
        initial_accumulator_value: where the sum of g² begins.
        eps: added to the root.
        **clipping: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    rule = staticmethod(rules.adagrad)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        **clipping: Any,
    ) -> None:
        options = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay}
        accumulator = {"initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(params, {**options, **accumulator}, **clipping)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The sum of g²."""
        return {"s": options["initial_accumulator_value"]}


class RMSprop(Optimizer):
    """RMSprop: `rules.rmsprop` has the equations.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        alpha: how much the running mean of g² keeps at each step.
        eps: added to the root.
        weight_decay: λ, L2: λ p is added to the gradient.
        momentum: μ.
        centered: divide by the root of the variance of g, not of the mean of g².
        **clipping: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    rule = staticmethod(rules.rmsprop)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **clipping: Any,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "momentum": momentum, "centered": centered}, **clipping)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running mean of g², if centered that of g, and the velocity, if there is momentum."""
        names = ["s"] + ["m"] * bool(options["centered"]) + ["v"] * bool(options["momentum"])
        return dict.fromkeys(names, 0.0)


class Adadelta(Optimizer):
    """Adadelta: `rules.adadelta` has the equations.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        rho: how much the running means of g² and of the squared changes keep at each step.
        eps: added under both roots.
        weight_decay: λ, L2: λ p is added to the gradient.
        **clipping: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    rule = staticmethod(rules.adadelta)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **clipping: Any,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}, **clipping)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running means of g² and of the squared changes."""
        return {"s": 0.0, "u": 0.0}


class Lion(Optimizer):
    """Lion: `rules.lion` has the equations. Every element moves by lr at each step, so lr is small.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: the share of the running mean in the sign, and how much the mean keeps at each step.
        weight_decay: λ, decoupled as in AdamW.
        **clipping: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    rule = staticmethod(rules.lion)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        **clipping: Any,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay}, **clipping)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running mean of g."""
        return {"m": 0.0}
