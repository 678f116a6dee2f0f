"""Update rules on arrays: from a gradient and a state to the change that the optimizer subtracts.

A rule is called with p, the parameters, g, their gradient, state, its own arrays by name, and step, how many steps
there were, this one included. step and lr are 0-d arrays of g's dtype, so that a recorded step sees them change. A
rule writes only into its state and into `work`, scratch of g's shape, and returns the change in one of these; p and g
stay as they are. All of it is elementwise: parameters may lie in one flat array.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

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
        g = _decayed(p, g, weight_decay, work)
    if not momentum:
        return np.multiply(g, lr, out=work)
    v = state["v"]
    np.multiply(v, momentum, out=v)
    if dampening:
        later = np.minimum(step - 1, 1)  # 0 in the first step, then 1
        v += (1 - dampening * later) * g
    else:
        np.add(v, g, out=v)
    if not nesterov:
        return np.multiply(v, lr, out=work)
    ahead = g + momentum * v
    return np.multiply(ahead, lr, out=work)


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
        g = _decayed(p, g, weight_decay, work)
    b1, b2 = betas
    m, s = state["m"], state["s"]
    # m + (1 - β₁)(g - m) is β₁ m + (1 - β₁) g
    scaled = np.subtract(g, m)
    np.multiply(scaled, 1 - b1, out=scaled)
    np.add(m, scaled, out=m)
    np.multiply(s, b2, out=s)
    np.multiply(g, g, out=scaled)
    np.multiply(scaled, 1 - b2, out=scaled)
    np.add(s, scaled, out=s)
    if amsgrad:
        s = np.maximum(state["top"], s, out=state["top"])
    # lr m̂ / (√ŝ + ε) with both corrections in one factor: c lr m / (√s + ε √(1 - β₂ᵗ)) saves a pass
    root = np.sqrt(_weight(b2, step))
    np.sqrt(s, out=scaled)
    np.add(scaled, eps * root, out=scaled)
    np.divide(m, scaled, out=work)
    return np.multiply(work, lr * root / _weight(b1, step), out=work)


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


def _decayed(p: Array, g: Array, weight_decay: float, work: Array) -> Array:
    """g + λ p, the gradient of loss + λ/2 Σ p²."""
    return np.add(g, np.multiply(p, weight_decay, out=work))


def _weight(beta: float, step: Array) -> Array:
    """1 - βᵗ, without the cancellation that it suffers for β near 1 in single precision."""
    return -np.expm1(step * (math.log(beta) if beta else -math.inf))
