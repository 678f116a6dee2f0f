"""The optimizers: an update rule each, its options and its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from minigrad.optim import rules
from minigrad.optim.flat import Flat
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
        **clipping: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

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

    rule = staticmethod(rules.sgd)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        **clipping: Any,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening, "nesterov": nesterov}
        super().__init__(params, {**options, "weight_decay": weight_decay}, **clipping)

    computed_state = frozenset({"begun"})

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that do not go together."""
        super().check(options)
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ValueError("optim.SGD(nesterov=True) needs momentum > 0 and dampening = 0")

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The velocity, if there is momentum; with dampening, whether it has taken up a gradient: 0 or 1."""
        if not options["momentum"]:
            return {}
        return {"begun": _begun, "v": 0.0} if options["dampening"] else {"v": 0.0}


def _begun(flat: Flat) -> Any:
    """Which elements have a velocity already."""
    return flat.of_each(np.minimum(flat.steps, 1)) if "v" in flat.state else 0.0


class Adam(Optimizer):
    """Adam: `rules.adam` has the equations.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: how much the running means of g and g² keep at each step.
        eps: added to the root.
        weight_decay: λ, L2: λ p is added to the gradient. AdamW decouples it.
        amsgrad: divide by the largest mean of g² so far.
        **clipping: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

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
        **clipping: Any,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, options, **clipping)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running means, and with AMSGrad the largest of the second."""
        return {"m": 0.0, "s": 0.0, **({"top": 0.0} if options["amsgrad"] else {})}


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
        **clipping: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **clipping)


class Adamax(Optimizer):
    """Adamax: `rules.adamax` has the equations.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: how much the running mean of g and the fading maximum of |g| keep at each step.
        eps: added to |g|.
        weight_decay: λ, L2: λ p is added to the gradient.
        **clipping: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    rule = staticmethod(rules.adamax)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **clipping: Any,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}, **clipping)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running mean and the fading maximum."""
        return {"m": 0.0, "u": 0.0}


class NAdam(Optimizer):
    """Adam with Nesterov's momentum: `rules.nadam` has the equations.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: how much the running means of g and g² keep at each step.
        eps: added to the root.
        weight_decay: λ, L2, or decoupled as in AdamW.
        momentum_decay: ψ, how fast the momentum rises from about β₁/2 to β₁.
        decoupled_weight_decay: whether λ p is subtracted from p, times lr, and not added to the gradient.
        **clipping: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    rule = staticmethod(rules.nadam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        **clipping: Any,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        decays = {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {**options, **decays}, **clipping)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running means, and the product of the momenta."""
        return {"m": 0.0, "s": 0.0, "product": 1.0}


class RAdam(Optimizer):
    """Rectified Adam: `rules.radam` has the equations.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: how much the running means of g and g² keep at each step.
        eps: added to the root.
        weight_decay: λ, L2, or decoupled as in AdamW.
        decoupled_weight_decay: whether λ p is subtracted from p, times lr, and not added to the gradient.
        **clipping: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    rule = staticmethod(rules.radam)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        **clipping: Any,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "decoupled_weight_decay": decoupled_weight_decay}, **clipping)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running means."""
        return {"m": 0.0, "s": 0.0}
