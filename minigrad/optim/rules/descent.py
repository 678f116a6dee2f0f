"""Gradient descent, the rules that scale each element by the gradients it has seen, and Lion."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.optim.rules.means import decayed, in_dtype_of, toward, toward_square

Array = Any
State = dict[str, Array]


def sgd(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Array:
    """Gradient descent with momentum (Polyak 1964), in the form of Sutskever et al. 2013 as PyTorch writes it.

        v = μ v + (1 - dampening) g,   v = g in the first step
        p = p - lr v,   with Nesterov p - lr (g + μ v)

    Keras has v = μ v - lr g, which is the same only while lr is constant.
    """
    if weight_decay:
        g = decayed(p, g, weight_decay, work)
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


def adagrad(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    initial_accumulator_value: float = 0.0,
    eps: float = 1e-10,
) -> Array:
    """Adagrad (Duchi, Hazan & Singer 2011, figure 1, diagonal).

        s = s + g²
        p = p - lr / (1 + (t - 1) lr_decay) g / (√s + ε)

    s begins at initial_accumulator_value. Keras begins at 0.1 and has ε = 1e-7 inside the root.
    """
    if weight_decay:
        g = decayed(p, g, weight_decay, work)
    s = np.add(state["s"], np.multiply(g, g, out=work), out=state["s"])
    np.add(np.sqrt(s, out=work), eps, out=work)
    np.divide(g, work, out=work)
    return np.multiply(work, lr / in_dtype_of(g, 1 + (step - 1) * lr_decay), out=work)


def rmsprop(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
) -> Array:
    """RMSprop (Tieleman & Hinton 2012, lecture 6.5); centered and with momentum as in Graves 2013, equations 38-45.

        s = α s + (1 - α) g²
        d = g / (√s + ε),   centered g / (√(s - m²) + ε) with m = α m + (1 - α) g
        p = p - lr d,       with momentum v = μ v + d, p = p - lr v

    Keras has α = 0.9 (its rho), ε = 1e-7 inside the root, and lr inside v. s - m² is a variance: what rounding takes
    below 0 counts as 0.
    """
    if weight_decay:
        g = decayed(p, g, weight_decay, work)
    s = toward_square(state["s"], g, alpha, work)
    if centered:
        m = toward(state["m"], g, alpha, work)
        s = np.subtract(s, np.multiply(m, m, out=work), out=work)
        np.maximum(s, 0, out=work)
    np.add(np.sqrt(s, out=work), eps, out=work)
    d = np.divide(g, work, out=work)
    if momentum:
        v = state["v"]
        d = np.add(np.multiply(v, momentum, out=v), d, out=v)
    return np.multiply(d, lr, out=work)


def adadelta(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
) -> Array:
    """Adadelta (Zeiler 2012, algorithm 1), times lr.

        s = ρ s + (1 - ρ) g²
        d = g √(u + ε) / √(s + ε),   u = ρ u + (1 - ρ) d²
        p = p - lr d

    Keras has ρ = 0.95, ε = 1e-7 and lr = 1e-3, which is far from the paper's 1.
    """
    if weight_decay:
        g = decayed(p, g, weight_decay, work)
    u = state["u"]
    s = toward_square(state["s"], g, rho, work)
    d = np.sqrt(np.divide(u + eps, np.add(s, eps, out=work), out=work))
    np.multiply(d, g, out=d)
    toward_square(u, d, rho, work)
    return np.multiply(d, lr, out=work)


def lion(
    p: Array,
    g: Array,
    state: State,
    step: Array,
    work: Array,
    *,
    lr: Array,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
) -> Array:
    """Lion (Chen et al. 2023, algorithm 2), with decoupled weight decay.

    p = p - lr (sign(β₁ m + (1 - β₁) g) + λ p),   then m = β₂ m + (1 - β₂) g
    """
    b1, b2 = betas
    m = state["m"]
    change = np.sign(m * b1 + np.multiply(g, 1 - b1, out=work))
    toward(m, g, b2, work)
    if weight_decay:
        np.add(change, np.multiply(p, weight_decay, out=work), out=change)
    return np.multiply(change, lr, out=work)
