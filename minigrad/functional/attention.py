"""Scaled dot-product attention (Vaswani et al. 2017, equation 1), composed and as one primitive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.engine.errors import call
from minigrad.engine.node import Node
from minigrad.engine.primitive import Array, primitive
from minigrad.functional.activations import softmax
from minigrad.ops.product import matmul
from minigrad.ops.reduction import max
from minigrad.ops.shape import broadcasts, matrix_transpose
from minigrad.tensor.convert import get_default_dtype
from minigrad.tensor.naming import name
from minigrad.tensor.tensor import Tensor


def scaled_dot_product_attention(q: Any, k: Any, v: Any, mask: Any = None, is_causal: bool = False) -> Tensor:
    """softmax(q kᵀ / √d) v: for each query the mean of the values, weighted by the similarity of their keys.

    Args:
        q: (..., T, d), the queries.
        k: (..., S, d), the keys.
        v: (..., S, e), the values.
        mask: broadcasts to (..., T, S). Booleans say which keys a query may attend to; numbers are added to the
            scores, and -inf excludes a key. A query that may attend to no key gets zeros.
        is_causal: whether query t may attend to the keys 0 ... t only, in addition to the mask.

    Returns:
        (..., T, e). The nodes of the tape are called scores, weights and out. `fused.attention` is one primitive.

    Raises:
        ValueError: shapes do not fit.

    Example:
        >>> import numpy as np
        >>> q, k, v = np.zeros((2, 4)), np.zeros((3, 4)), np.arange(3.0)[:, None]
        >>> scaled_dot_product_attention(q, k, v).ravel(), scaled_dot_product_attention(q, k, v, is_causal=True).ravel()
        (array([1., 1.]), array([0. , 0.5]))
    """
    _check("scaled_dot_product_attention", q, k, v, mask)
    scores = name("scores", matmul(q * (1 / math.sqrt(q.shape[-1])), matrix_transpose(k)))
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if is_causal:
        scores = np.where(_past(scores), scores, -np.inf)
    is_excluded = max(scores, axis=-1, keepdims=True) == -np.inf  # queries that may attend to no key
    scores = np.where(is_excluded, 0, scores)
    weights = name("weights", np.where(is_excluded, 0, softmax(scores)))
    return name("out", matmul(weights, v))


def _past(scores: Any) -> Array:
    """Whether each key is not later than each query: (T, S) booleans, a lower triangle."""
    return np.tril(np.ones_like(scores, shape=scores.shape[-2:], dtype=bool))


def _check(what: str, q: Any, k: Any, v: Any, mask: Any) -> None:
    """Raise an error for shapes that do not fit, before anything is computed."""
    shapes = [np.shape(x) for x in (q, k, v)]
    fits = all(len(shape) > 1 for shape in shapes)
    fits = fits and shapes[0][-1] == shapes[1][-1] and shapes[1][-2] == shapes[2][-2] and 0 not in shapes[1][-2:]
    if not fits:
        raise ValueError(
            f"{call(what, (q, k, v), {})}: expected queries (..., T, d), keys (..., S, d) and values (..., S, e), "
            "with S and d at least 1. Heads are a leading axis: (N, heads, T, d)"
        )
    scores = (*np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2]), shapes[0][-2], shapes[1][-2])
    if mask is None:
        return
    if not hasattr(mask, "dtype"):
        raise TypeError(f"{call(what, (q, k, v), {'mask': mask})}: the mask must be an array: np.array(mask)")
    if mask.dtype.kind not in "bf":
        raise TypeError(
            f"{call(what, (q, k, v), {'mask': mask})}: a mask has booleans (True may be attended to) or floats, "
            "which are added to the scores. For a mask of 0 and 1: mask.astype(bool)"
        )
    if not broadcasts(np.shape(mask), scores):
        raise ValueError(
            f"{call(what, (q, k, v), {'mask': mask})}: the mask must broadcast to the scores, {scores}. Insert axes "
            "over which it is the same: mask[:, None, None, :] for keys (N, S) and scores (N, heads, T, S)"
        )


# One primitive


def _attention(
    query: Any, key: Any, value: Any, mask: Any, /, *, scale: float = 1.0, is_causal: bool = False
) -> tuple[Array, Array]:
    """The output and the weights. A mask without axes stands for no mask."""
    scores = np.matmul(query * scale, key.mT)
    is_masked = is_causal or np.ndim(mask) > 0
    if np.ndim(mask):
        scores = scores + (_additive(mask, scores) if mask.dtype == bool else mask)
    if is_causal:
        scores = scores + _additive(_past(scores), scores)
    top = np.maximum.reduce(scores, axis=-1, keepdims=True)
    if is_masked:  # a finite maximum where all keys are excluded: their weights become exp(-inf) = 0
        top = np.maximum(top, np.finfo(scores.dtype).min)
    p = np.subtract(scores, top, out=scores)
    p = np.exp(p, out=p)
    total = np.add.reduce(p, axis=-1, keepdims=True)
    if is_masked:  # the largest term is 1, so this only changes the sum 0 of a row without keys
        total = np.maximum(total, 1)
    p = np.divide(p, total, out=p)
    return np.matmul(p, value), p


def _additive(is_allowed: Any, scores: Any) -> Array:
    """A boolean mask as one that is added: 0 where a key is allowed, -inf elsewhere, in the dtype of the scores."""
    return np.where(is_allowed, np.zeros_like(scores, shape=()), -np.inf)


def _attention_contributions(v: Any, query: Any, key: Any, value: Any, weights: Any, scale: float) -> tuple[Any, ...]:
    """The contributions of query, key, value and mask, from the cotangents dy of the output and dp of the weights p:

    dvalue = pᵀ dy     dp += dy valueᵀ     ds = p (dp - Σ dp p)     dquery = ds key / √d     dkey = dsᵀ query / √d

    ds, the cotangent of the scores, is that of the mask, too.
    """
    dy, dp = v
    dvalue = None
    if dy is not None:
        dvalue = np.matmul(weights.mT, dy)
        through = np.matmul(dy, value.mT)
        dp = through if dp is None else dp + through
    dscores = weights * (dp - np.add.reduce(dp * weights, axis=-1, keepdims=True))
    return np.matmul(dscores, key) * scale, np.matmul(dscores.mT, query) * scale, dvalue, dscores


def _multiply_adds(node: Node) -> int:
    """One for each weight and feature: of the query for the scores, of the value for the output."""
    (*_, features), weights = node.shape
    query = node.parents[0]
    return int(math.prod(weights) * ((0 if query is None else query.shape[-1]) + features))


_attend = primitive(
    _attention, joint=_attention_contributions, outputs=("out", "weights"), multiply_adds=_multiply_adds
)


def attention(q: Any, k: Any, v: Any, mask: Any = None, is_causal: bool = False) -> tuple[Tensor, Tensor]:
    """`functional.scaled_dot_product_attention` as one primitive, with the weights as its second output.

    Args:
        q: (..., T, d), the queries. Heads are a leading axis.
        k: (..., S, d), the keys.
        v: (..., S, e), the values.
        mask: broadcasts to (..., T, S): booleans say which keys a query may attend to, numbers are added to the scores.
        is_causal: whether query t may attend to the keys 0 ... t only, in addition to the mask.

    Returns:
        out (..., T, e) and the weights (..., T, S), both differentiable. The operands and the weights are kept
        for the backward pass.

    Raises:
        ValueError: shapes do not fit.
        TypeError: the mask holds neither booleans nor numbers.

    Example:
        >>> out, weights = attention(np.zeros((2, 4)), np.zeros((2, 4)), np.array([[1.0], [2.0]]), is_causal=True)
        >>> out.ravel(), weights
        (array([1. , 1.5]), array([[1. , 0. ],
               [0.5, 0.5]]))
    """
    _check("attention", q, k, v, mask)
    scale = 1 / math.sqrt(q.shape[-1])
    pair: tuple[Any, Any] = _attend(q, k, v, 0.0 if mask is None else mask, scale=scale, is_causal=is_causal)
    return pair


# Positions


def sinusoidal_encoding(length: int, features: int, /, *, dtype: Any = None) -> Array:
    """Sines and cosines of positions (Vaswani et al. 2017, section 3.5), to be added to a sequence.

        p[t, 2i] = sin(t / 10000^(2i/D))    p[t, 2i + 1] = cos(t / 10000^(2i/D))

    Args:
        length: T, the number of positions t = 0 ... T - 1.
        features: D.
        dtype: of the result; by default that of new Tensors.

    Returns:
        An array (T, D).

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> sinusoidal_encoding(2, 4).round(2)
        array([[0.  , 1.  , 0.  , 1.  ],
               [0.84, 0.54, 0.01, 1.  ]])
    """
    if length < 1 or features < 1:
        raise ValueError(f"sinusoidal_encoding({length}, {features}): both sizes must be at least 1")
    k = np.arange(features)
    angles = np.arange(length)[:, None] / 10000.0 ** ((k - k % 2) / features)
    return np.where(k % 2, np.cos(angles), np.sin(angles)).astype(np.dtype(dtype or get_default_dtype()))
