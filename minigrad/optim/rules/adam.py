"""Adam and its kin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.optim.rules.means import decayed, in_dtype_of, toward, toward_square, weight_of_mean

Array = Any
State = dict[str, Array]


def adam(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
) -> Array:
    """Adam (Kingma & Ba 2015, algorithm 1); AMSGrad (Reddi, Kale & Kumar 2018).

        m = β₁ m + (1 - β₁) g      s = β₂ s + (1 - β₂) g²
        p = p - lr m̂ / (√ŝ + ε),   m̂ = m / (1 - β₁ᵗ),   ŝ = s / (1 - β₂ᵗ)

    m and s are running means of g and g². Both start at zero, so after t steps their weights add up to 1 - βᵗ only,
    and they are divided by it. weight_decay is L2: added to g. Keras's epsilon is added to √s itself ("epsilon hat").
    """
    if weight_decay:
        g = decayed(p, g, weight_decay, work)
    b1, b2 = betas
    m = toward(state["m"], g, b1, work)
    s = toward_square(state["s"], g, b2, work)
    if amsgrad:
        s = np.maximum(state["top"], s, out=state["top"])
    # lr m̂ / (√ŝ + ε) with both corrections in one factor: c lr m / (√s + ε √(1 - β₂ᵗ)) saves a pass
    root = np.sqrt(weight_of_mean(b2, step, g))
    np.add(np.sqrt(s, out=work), eps * root, out=work)
    np.divide(m, work, out=work)
    return np.multiply(work, lr * root / weight_of_mean(b1, step, g), out=work)


def adamw(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    weight_decay: float = 1e-2,
    **options: Any,
) -> Array:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2): p = p - lr λ p - Adam's change."""
    change = adam(p, g, state, step, work, lr=lr, **options)
    return np.add(change, p * (lr * weight_decay), out=change) if weight_decay else change


def adamax(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> Array:
    """Adamax, Adam with the largest |g| for the root (Kingma & Ba 2015, algorithm 2); ε stands as in PyTorch.

        m = β₁ m + (1 - β₁) g      u = max(β₂ u, |g| + ε)
        p = p - lr / (1 - β₁ᵗ) m / u

    The paper has no ε; Keras divides by u + ε, with u = max(β₂ u, |g|).
    """
    if weight_decay:
        g = decayed(p, g, weight_decay, work)
    b1, b2 = betas
    m, u = toward(state["m"], g, b1, work), state["u"]
    np.add(np.abs(g, out=work), eps, out=work)
    np.maximum(np.multiply(u, b2, out=u), work, out=u)
    np.divide(m, u, out=work)
    return np.multiply(work, lr / weight_of_mean(b1, step, g), out=work)


def nadam(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    decoupled_weight_decay: bool = False,
) -> Array:
    """Adam with Nesterov's momentum (Dozat 2016, algorithm 2 and its schedule of μ).

        μₜ = β₁ (1 - ½ 0.96^(t ψ)),   Πₜ = μ₁ ... μₜ,   ψ = momentum_decay
        m̂ = μₜ₊₁ m / (1 - Πₜ₊₁) + (1 - μₜ) g / (1 - Πₜ)
        p = p - lr m̂ / (√ŝ + ε),   m, s and ŝ as in Adam

    Keras fixes ψ = 4e-3; PyTorch keeps Π in single precision. Π begins at 1 and is kept for each
    element: parameters that miss a step have their own.
    """
    decay = p * (lr * weight_decay) if decoupled_weight_decay and weight_decay else None
    if weight_decay and decay is None:
        g = decayed(p, g, weight_decay, work)
    b1, b2 = betas
    m = toward(state["m"], g, b1, work)
    s = toward_square(state["s"], g, b2, work)
    fading = momentum_decay * math.log(0.96)
    now = in_dtype_of(g, b1 * (1 - 0.5 * np.exp(step * fading)))
    after = in_dtype_of(g, b1 * (1 - 0.5 * np.exp((step + 1) * fading)))
    product = np.multiply(state["product"], now, out=state["product"])
    ahead = m * (after / (1 - product * after)) + g * ((1 - now) / (1 - product))
    np.add(np.sqrt(np.divide(s, weight_of_mean(b2, step, g), out=work), out=work), eps, out=work)
    np.divide(ahead, work, out=work)
    np.multiply(work, lr, out=work)
    return work if decay is None else np.add(work, decay, out=work)


def radam(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
) -> Array:
    """Rectified Adam (Liu et al. 2020, algorithm 2).

        ρ∞ = 2 / (1 - β₂) - 1,   ρ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ)
        ρ > 5:      p = p - lr r m̂ √(1 - β₂ᵗ) / (√s + ε),   r = √((ρ-4)(ρ-2)ρ∞ / ((ρ∞-4)(ρ∞-2)ρ))
        otherwise:  p = p - lr m̂,   m̂ = m / (1 - β₁ᵗ)

    m and s as in Adam. The paper rectifies for ρ > 4; 5 is its authors' program and PyTorch.
    """
    decay = p * (lr * weight_decay) if decoupled_weight_decay and weight_decay else None
    if weight_decay and decay is None:
        g = decayed(p, g, weight_decay, work)
    b1, b2 = betas
    m = toward(state["m"], g, b1, work)
    s = toward_square(state["s"], g, b2, work)
    scale = lr / weight_of_mean(b1, step, g)
    last = 2 / (1 - b2) - 1
    if last > 5:
        reached = weight_of_mean(b2, step, g)
        length = last - 2 * in_dtype_of(g, step) * (1 - reached) / reached
        steady = length > 5
        rho = np.maximum(length, 5)
        r = np.sqrt((rho - 4) * (rho - 2) / rho * (last / ((last - 4) * (last - 2))))
        np.divide(m, np.where(steady, np.add(np.sqrt(s, out=work), eps, out=work), 1), out=work)
        change = np.multiply(work, scale * np.where(steady, r * np.sqrt(reached), 1), out=work)
    else:
        change = np.multiply(m, scale, out=work)
    return change if decay is None else np.add(change, decay, out=change)
