"""Activations. `minigrad.functional` lists these functions.

relu, sigmoid, tanh, softplus, gelu, silu, mish and softsign are primitives (ops/activation.py); the others are composed
of primitives. Softmax is also one primitive, with its derivative: `fused_softmax`.
Derivatives at kinks are chosen as in docs/conventions.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.primitive import Array, primitive, value_of
from minigrad.ops.activation import gelu_by_tanh, gelu_exact, mish, relu, silu, softplus, softsign
from minigrad.ops.blocks import row_blocks
from minigrad.ops.precision import floating, widened
from minigrad.ops.reduction import logsumexp
from minigrad.tensor.tensor import Tensor

__all__ = [
    "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_sigmoid", "log_softmax", "mish", "prelu",
    "relu6", "selu", "silu", "softmax", "softsign",
]  # fmt: skip

# The α and λ of Klambauer et al. (2017), equation 14, to all digits of float64.
SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def gelu(x: Any, /, *, approximate: str = "none") -> Tensor:
    """x Φ(x), with Φ the distribution function of the standard normal (Hendrycks & Gimpel 2016). One primitive.

        none    y = x Φ(x)                                            dx = dy (Φ(x) + x φ(x))
        tanh    y = x σ(2u)    u = √(2/π) (x + 0.044715 x³)           dx = dy (σ(2u) + x σ'(2u) 2 du/dx)

    Args:
        x: any shape.
        approximate: "none", or "tanh" for their approximation; x σ(2u) is ½ x (1 + tanh u).

    Raises:
        ValueError: approximate is neither.

    Example:
        >>> import numpy as np
        >>> gelu(np.array([-1.0, 0.0, 1.0])).round(4)
        array([-0.1587,  0.    ,  0.8413])
    """
    if approximate == "none":
        return gelu_exact(x)
    if approximate == "tanh":
        return gelu_by_tanh(x)
    raise ValueError(f"gelu(approximate={approximate!r}): must be 'none' or 'tanh'")


def log_sigmoid(x: Any, /) -> Tensor:
    """log sigmoid(x) = -softplus(-x), without overflow. Integers and booleans are converted to float64."""
    return -softplus(-floating(x))


def hardtanh(x: Any, /, *, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x clipped to [min_val, max_val] (Collobert 2004). As for clip, the derivative at the bounds is 1; PyTorch has 0.

    Args:
        x: any shape.
        min_val: the lower bound.
        max_val: the upper bound.

    Raises:
        ValueError: min_val is not less than max_val.
    """
    if not min_val < max_val:
        raise ValueError(f"hardtanh(min_val={min_val}, max_val={max_val}): min_val must be less than max_val")
    return np.clip(x, min_val, max_val)


def relu6(x: Any, /) -> Tensor:
    """min(max(x, 0), 6) (Krizhevsky 2010). The derivative is 0 at 0, as of relu, and 1 at 6, as of clip (PyTorch 0)."""
    bounded: Any = np.where(x > 6, 6, relu(x))
    return bounded


def hardsigmoid(x: Any, /) -> Tensor:
    """min(max(x + 3, 0), 6) / 6, a piecewise linear sigmoid (Howard et al. 2019, section 5.2).

    The derivative at ±3 is 1/6, as of clip.
    """
    return np.clip(x + 3.0, 0, 6) / 6


def hardswish(x: Any, /) -> Tensor:
    """x · hardsigmoid(x) (Howard et al. 2019, section 5.2), 0 at -inf."""
    inside = np.clip(x, -3.0, 3.0)  # floats, as unsigned integers have no -3
    return np.where(x > 3, x, inside * (inside + 3) / 6)


def leaky_relu(x: Any, /, *, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, negative_slope · x elsewhere (Maas, Hannun & Ng 2013), also at 0."""
    return np.where(x > 0, x, negative_slope * x)


def prelu(x: Any, alpha: Any, /) -> Tensor:
    """x where it is positive, alpha · x elsewhere, also at 0, with learned alpha (He et al. 2015, equation 1).

    Args:
        x: (..., C), channels last.
        alpha: (C,), one slope for each channel, or (1,) or () for all.

    Raises:
        ValueError: alpha has another shape.

    Example:
        >>> prelu(np.array([[-1.0, -1.0], [2.0, 2.0]]), np.array([0.25, 0.5]))
        array([[-0.25, -0.5 ],
               [ 2.  ,  2.  ]])
    """
    if alpha.shape not in ((), (1,), x.shape[-1:]):
        raise ValueError(
            f"{call('prelu', (x, alpha), {})}: alpha must be one slope, or one for each channel, and channels are "
            "the last axis of x"
        )
    if not x.ndim:
        alpha = np.reshape(alpha, ())
    return np.where(x > 0, x, alpha * x)


def elu(x: Any, /, *, alpha: float = 1.0) -> Tensor:
    """x where it is positive, α (exp(x) - 1) elsewhere (Clevert, Unterthiner & Hochreiter 2016)."""
    x = floating(x)  # NumPy's exponentials of small integers are float16
    positive = x > 0
    # The inner where prevents an overflow in the branch that is not chosen.
    out: Any = np.where(positive, x, alpha * np.expm1(np.where(positive, 0, x)))
    return out


def selu(x: Any, /) -> Tensor:
    """λ elu(x; α), with α and λ such that mean 0 and variance 1 are preserved (Klambauer et al. 2017, equation 2).

    Use it with `lecun_normal` initial weights and `alpha_dropout`.
    """
    return SELU_SCALE * elu(x, alpha=SELU_ALPHA)


@widened
def softmax(x: Any, /, *, axis: int = -1) -> Tensor:
    """exp(x) / Σ exp(x) along an axis, without overflow."""
    e = np.exp(below_largest(x, axis))
    return e / np.sum(e, axis=axis, keepdims=True)


@widened
def log_softmax(x: Any, /, *, axis: int = -1) -> Tensor:
    """x - log Σ exp(x) along an axis, without overflow."""
    x = below_largest(x, axis)
    return x - logsumexp(x, axis=axis, keepdims=True)


def below_largest(x: Any, axis: int) -> Any:
    """x minus its largest element along an axis, unless that is infinite.

    Softmax and its derivatives do not change, so the largest element is treated as a constant. log Σ exp of the
    differences has digits that would be lost if it had the size of the largest element.
    """
    top = np.max(value_of(x), axis=axis, keepdims=True, initial=-np.inf)
    return x - np.where(np.isfinite(top), top, 0)


# Softmax as one primitive


def _softmax(x: Any, /, *, axis: int = -1) -> Array:
    """`functional.softmax` as one primitive: exp(x) / Σ exp(x) along an axis, without overflow.

    Args:
        x: any shape.
        axis: along which the sum is 1.

    Example:
        >>> fused_softmax(np.array([0.0, 0.0, np.log(2)]))
        array([0.25, 0.25, 0.5 ])
    """
    if not x.size:
        return np.copy(x)
    return (_softmax_values if axis in (0, -x.ndim) else _softmax_values_by_rows)(x, axis)


def _softmax_contribution(v: Any, out: Any, axis: int) -> Array:
    """dx = p (dp - Σ dp p), where p is the softmax."""
    return (_softmax_rule if axis in (0, -out.ndim) else _softmax_rule_by_rows)(v, out, axis)


def _softmax_values(x: Any, axis: int) -> Array:
    p = np.exp(x - np.maximum.reduce(x, axis=axis, keepdims=True))
    return p / np.add.reduce(p, axis=axis, keepdims=True)


def _softmax_rule(v: Any, p: Any, axis: int) -> Array:
    return p * (v - np.add.reduce(v * p, axis=axis, keepdims=True))


_softmax_values_by_rows, _softmax_rule_by_rows = row_blocks(1)(_softmax_values), row_blocks(2)(_softmax_rule)
fused_softmax = primitive(widened(_softmax), widened(_softmax_contribution))
