"""Activations, normalizations and losses (`minigrad.functional.losses`), composed of primitives.

All functions accept Tensors or arrays, record a node for each of their steps, and are differentiable to any order.
Channels are last. `minigrad.fused` has the most used ones as single primitives with derivatives written by hand.
"""

from minigrad.functional import losses
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
from minigrad.functional.losses import *  # noqa: F403
from minigrad.functional.normalization.batch import batch_norm, batch_norm_inference
from minigrad.functional.normalization.layer import group_norm, instance_norm, layer_norm, rms_norm
from minigrad.functional.recurrent.gru import gru_cell
from minigrad.functional.recurrent.lstm import lstm_cell
from minigrad.functional.recurrent.rnn import rnn_cell
from minigrad.ops.activation import relu, sigmoid, softplus
from minigrad.ops.elementwise import tanh
from minigrad.ops.spatial.interpolate import interpolate

__all__ = [
    "alpha_dropout",
    "batch_norm",
    "batch_norm_inference",
    "bilinear",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "group_norm",
    "gru_cell",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "instance_norm",
    "interpolate",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "lstm_cell",
    "mish",
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
    "softmax",
    "softplus",
    "softsign",
    "spatial_dropout",
    "tanh",
]
__all__ += losses.__all__
