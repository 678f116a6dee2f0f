"""The optimizers: an update rule each, its options and its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from minigrad.optim import rules
from minigrad.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent with momentum: `rules.sgd` has the equations. The batch decides whether it is stochastic.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        momentum: μ.
        dampening: how much less than the whole gradient the momentum takes up.
        nesterov: look ahead (Nesterov 1983). Needs momentum, and no dampening.
        weight_decay: λ, L2: λ p is added to the gradient.
        **clipping: clipvalue, clipnorm or global_clipnorm, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.

    Example:
        >>> from minigrad.tensor import Tensor
        >>> w = Tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = SGD([w], lr=0.5)
        >>> (w * w).sum().backward()
        >>> optimizer.step()
        >>> w.tolist()
        [0.0, 0.0]
    """

    rule = staticmethod(rules.sgd)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        **clipping: float | None,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(params, {**options, "weight_decay": weight_decay}, **clipping)

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that are out of range."""
        super().check(options)
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ValueError("optim.SGD(nesterov=True) needs momentum > 0 and dampening = 0")

    def state_names(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The velocity, if there is momentum."""
        return ("v",) if options["momentum"] else ()


class Adam(Optimizer):
    """Adam: `rules.adam` has the equations.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: how much the running means of g and g² keep at each step.
        eps: added to the root.
        weight_decay: λ, L2: λ p is added to the gradient. AdamW decouples it.
        amsgrad: divide by the largest mean of g² so far.
        **clipping: clipvalue, clipnorm or global_clipnorm, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    rule = staticmethod(rules.adam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        **clipping: float | None,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, options, **clipping)

    def state_names(self, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The running means, and with AMSGrad the largest of the second."""
        return ("m", "s", "top") if options["amsgrad"] else ("m", "s")


class AdamW(Adam):
    """Adam with decoupled weight decay: `rules.adamw` has the equations. Arguments as Adam's; weight_decay is 1e-2."""

    rule = staticmethod(rules.adamw)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **clipping: float | None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **clipping)
