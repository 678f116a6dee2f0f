"""Losses, composed of primitives: differentiable to any order, on Tensors or arrays.

Their arguments are predictions and targets of equal shapes, which are never broadcast, or logits (..., C) and class ids
(...).
`reduction` is "mean" over all elements, "sum", or "none".
"""

from minigrad.functional.losses.classification import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    hinge_loss,
    kl_div,
    multi_margin_loss,
)
from minigrad.functional.losses.ctc import ctc_loss
from minigrad.functional.losses.distance import cosine_embedding_loss, cosine_similarity, triplet_margin_loss
from minigrad.functional.losses.likelihood import cross_entropy, nll_loss
from minigrad.functional.losses.regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "smooth_l1_loss",
    "triplet_margin_loss",
]
