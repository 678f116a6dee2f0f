"""Adam and its variants: running averages of the gradient and of its square, both corrected for their start at 0."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Unpack

import numpy as np

from minigrad.optim.averages import (
    Array,
    State,
    add_l2,
    bias_correction,
    cast_like,
    update_mean,
    update_mean_square,
)
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.options import CommonOptions


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1); AMSGrad (Reddi, Kale & Kumar 2018).

        m = β₁ m + (1 - β₁) g      s = β₂ s + (1 - β₂) g²
        p = p - lr m̂ / (√ŝ + ε),   m̂ = m / (1 - β₁ᵗ),   ŝ = s / (1 - β₂ᵗ)

    m and s are running averages of g and g². Both start at zero, so after t steps their weights add up to 1 - βᵗ only,
    and they are divided by it. Keras's epsilon is added to √s itself ("epsilon hat").

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: the decay rates of the running averages of g and g².
        eps: added to the root.
        weight_decay: λ, L2: λ p is added to the gradient. AdamW decouples it.
        amsgrad: divide by the largest average of g² so far.
        **common: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, amsgrad: bool = False, **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, options, **common)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running averages, and with AMSGrad the largest of the second."""
        return {"m": 0.0, "s": 0.0, **({"top": 0.0} if options["amsgrad"] else {})}

    @staticmethod
    def rule(
        p: Array, g: Array, state: State, step: Array, work: Array, *,
        lr: Array, betas: tuple[float, float], eps: float, weight_decay: float, amsgrad: bool,
    ) -> Array:  # fmt: skip
        """The change of p: lr m̂ / (√ŝ + ε)."""
        if weight_decay:
            g = add_l2(p, g, weight_decay, work)
        b1, b2 = betas
        m = update_mean(state["m"], g, b1, work)
        s = update_mean_square(state["s"], g, b2, work)
        if amsgrad:
            s = np.maximum(state["top"], s, out=state["top"])
        # lr m̂ / (√ŝ + ε) with both corrections in one factor: c lr m / (√s + ε √(1 - β₂ᵗ)) saves a pass
        root = np.sqrt(bias_correction(b2, step, g))
        np.add(np.sqrt(s, out=work), eps * root, out=work)
        np.divide(m, work, out=work)
        return np.multiply(work, lr * root / bias_correction(b1, step, g), out=work)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): p = p - lr λ p - Adam's change.

    Arguments as Adam's; weight_decay is 1e-2.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **common)

    @staticmethod
    def rule(
        p: Array, g: Array, state: State, step: Array, work: Array, *,
        lr: Array, betas: tuple[float, float], eps: float, weight_decay: float, amsgrad: bool,
    ) -> Array:  # fmt: skip
        """The change of p: Adam's, and lr λ p."""
        change = Adam.rule(p, g, state, step, work, lr=lr, betas=betas, eps=eps, weight_decay=0, amsgrad=amsgrad)
        return np.add(change, p * (lr * weight_decay), out=change) if weight_decay else change


class Adamax(Optimizer):
    """Adamax, Adam with the largest |g| instead of the root (Kingma & Ba 2015, algorithm 2); ε as in PyTorch.

        m = β₁ m + (1 - β₁) g      u = max(β₂ u, |g| + ε)
        p = p - lr / (1 - β₁ᵗ) m / u

    The paper has no ε; Keras divides by u + ε, with u = max(β₂ u, |g|).

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: the decay rates of the running average of g and of the maximum of |g|.
        eps: added to |g|.
        weight_decay: λ, L2: λ p is added to the gradient.
        **common: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}, **common)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running average of g and the decaying maximum of |g|."""
        return {"m": 0.0, "u": 0.0}

    @staticmethod
    def rule(
        p: Array, g: Array, state: State, step: Array, work: Array, *,
        lr: Array, betas: tuple[float, float], eps: float, weight_decay: float,
    ) -> Array:  # fmt: skip
        """The change of p: lr / (1 - β₁ᵗ) m / u."""
        if weight_decay:
            g = add_l2(p, g, weight_decay, work)
        b1, b2 = betas
        m, u = update_mean(state["m"], g, b1, work), state["u"]
        np.add(np.abs(g, out=work), eps, out=work)
        np.maximum(np.multiply(u, b2, out=u), work, out=u)
        np.divide(m, u, out=work)
        return np.multiply(work, lr / bias_correction(b1, step, g), out=work)


class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016, algorithm 2 and its schedule of μ).

        μₜ = β₁ (1 - ½ 0.96^(t ψ)),   Πₜ = μ₁ ... μₜ,   ψ = momentum_decay
        m̂ = μₜ₊₁ m / (1 - Πₜ₊₁) + (1 - μₜ) g / (1 - Πₜ)
        p = p - lr m̂ / (√ŝ + ε),   m, s and ŝ as in Adam

    Keras fixes ψ = 4e-3; PyTorch keeps Π in single precision. Π begins at 1 and is kept for each element: parameters
    that miss a step have their own.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: the decay rates of the running averages of g and g².
        eps: added to the root.
        weight_decay: λ, L2, or decoupled as in AdamW.
        momentum_decay: ψ, how fast the momentum rises from about β₁/2 to β₁.
        decoupled_weight_decay: subtract lr λ p from p instead of adding λ p to the gradient.
        **common: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False,
        **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        decays = {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, {**options, **decays}, **common)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running averages, and the product of the momenta."""
        return {"m": 0.0, "s": 0.0, "product": 1.0}

    @staticmethod
    def rule(
        p: Array, g: Array, state: State, step: Array, work: Array, *,
        lr: Array, betas: tuple[float, float], eps: float, weight_decay: float,
        momentum_decay: float, decoupled_weight_decay: bool,
    ) -> Array:  # fmt: skip
        """The change of p: lr m̂ / (√ŝ + ε)."""
        decay = p * (lr * weight_decay) if decoupled_weight_decay and weight_decay else None
        if weight_decay and decay is None:
            g = add_l2(p, g, weight_decay, work)
        b1, b2 = betas
        m = update_mean(state["m"], g, b1, work)
        s = update_mean_square(state["s"], g, b2, work)
        log_decay = momentum_decay * math.log(0.96)
        mu = cast_like(g, b1 * (1 - 0.5 * np.exp(step * log_decay)))
        mu_next = cast_like(g, b1 * (1 - 0.5 * np.exp((step + 1) * log_decay)))
        product = np.multiply(state["product"], mu, out=state["product"])
        ahead = m * (mu_next / (1 - product * mu_next)) + g * ((1 - mu) / (1 - product))
        np.add(np.sqrt(np.divide(s, bias_correction(b2, step, g), out=work), out=work), eps, out=work)
        np.divide(ahead, work, out=work)
        np.multiply(work, lr, out=work)
        return work if decay is None else np.add(work, decay, out=work)


class RAdam(Optimizer):
    """Rectified Adam (Liu et al. 2020, algorithm 2).

        ρ∞ = 2 / (1 - β₂) - 1,   ρ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ)
        ρ > 5:      p = p - lr r m̂ √(1 - β₂ᵗ) / (√s + ε),   r = √((ρ-4)(ρ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρ))
        otherwise:  p = p - lr m̂,   m̂ = m / (1 - β₁ᵗ)

    m and s as in Adam. The paper rectifies for ρ > 4; 5 is its authors' program and PyTorch.

    Args:
        params: Tensors, or groups.
        lr: the learning rate.
        betas: the decay rates of the running averages of g and g².
        eps: added to the root.
        weight_decay: λ, L2, or decoupled as in AdamW.
        decoupled_weight_decay: subtract lr λ p from p instead of adding λ p to the gradient.
        **common: clipvalue, clipnorm or global_clipnorm, and maximize, as in Optimizer.

    Raises:
        ValueError: an option is out of range, and as Optimizer.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, decoupled_weight_decay: bool = False, **common: Unpack[CommonOptions],
    ) -> None:  # fmt: skip
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**options, "decoupled_weight_decay": decoupled_weight_decay}, **common)

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The running averages."""
        return {"m": 0.0, "s": 0.0}

    @staticmethod
    def rule(
        p: Array, g: Array, state: State, step: Array, work: Array, *,
        lr: Array, betas: tuple[float, float], eps: float, weight_decay: float, decoupled_weight_decay: bool,
    ) -> Array:  # fmt: skip
        """The change of p: with the rectification from ρ > 5 on, before that lr m̂."""
        decay = p * (lr * weight_decay) if decoupled_weight_decay and weight_decay else None
        if weight_decay and decay is None:
            g = add_l2(p, g, weight_decay, work)
        b1, b2 = betas
        m = update_mean(state["m"], g, b1, work)
        s = update_mean_square(state["s"], g, b2, work)
        scale = lr / bias_correction(b1, step, g)
        rho_max = 2 / (1 - b2) - 1
        if rho_max > 5:
            correction = bias_correction(b2, step, g)
            length = rho_max - 2 * cast_like(g, step) * (1 - correction) / correction
            is_rectified = length > 5
            rho = np.maximum(length, 5)
            r = np.sqrt((rho - 4) * (rho - 2) / rho * (rho_max / ((rho_max - 4) * (rho_max - 2))))
            np.divide(m, np.where(is_rectified, np.add(np.sqrt(s, out=work), eps, out=work), 1), out=work)
            change = np.multiply(work, scale * np.where(is_rectified, r * np.sqrt(correction), 1), out=work)
        else:
            change = np.multiply(m, scale, out=work)
        return change if decay is None else np.add(change, decay, out=change)
