"""Activations, normalizations and losses (`minigrad.functional.losses`), composed of primitives.

All functions accept Tensors or arrays, record a node for each of their steps, and are differentiable to any order.
Channels are last. `minigrad.fused` has the most used ones as single primitives with derivatives written by hand.
"""

from minigrad.functional.activations import (
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    mish,
    prelu,
    relu6,
    selu,
    silu,
    softmax,
    softsign,
)
from minigrad.functional.attention import scaled_dot_product_attention, sinusoidal_encoding
from minigrad.functional.dropout import alpha_dropout, dropout, spatial_dropout
from minigrad.functional.linear_maps import bilinear, embedding, linear, one_hot
from minigrad.functional.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    ctc_loss,
    hinge_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    multi_margin_loss,
    nll_loss,
    smooth_l1_loss,
    triplet_margin_loss,
)
from minigrad.functional.normalization import (
    batch_norm,
    batch_norm_inference,
    group_norm,
    instance_norm,
    layer_norm,
    rms_norm,
)
from minigrad.functional.recurrent import gru_cell, lstm_cell, rnn_cell
from minigrad.ops.activation import relu, sigmoid, softplus
from minigrad.ops.elementwise import tanh
from minigrad.ops.spatial.interpolate import interpolate

__all__ = [
    "alpha_dropout",
    "batch_norm",
    "batch_norm_inference",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "group_norm",
    "gru_cell",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "lstm_cell",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "one_hot",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rnn_cell",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "sinusoidal_encoding",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "softsign",
    "spatial_dropout",
    "tanh",
    "triplet_margin_loss",
]
