"""Activations, normalizations and losses (`minigrad.functional.losses`), composed of primitives.

All functions accept Tensors or arrays, record a node for each of their steps, and are differentiable to any order.
Channels are last. `minigrad.fused` has the most used ones as single primitives with derivatives written by hand.
"""

from minigrad.functional import activations, losses
from minigrad.functional.activations import *  # noqa: F403
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
    "embedding",
    "group_norm",
    "gru_cell",
    "instance_norm",
    "interpolate",
    "layer_norm",
    "linear",
    "lstm_cell",
    "one_hot",
    "relu",
    "rms_norm",
    "rnn_cell",
    "scaled_dot_product_attention",
    "sigmoid",
    "sinusoidal_encoding",
    "softplus",
    "spatial_dropout",
    "tanh",
]
__all__ += activations.__all__
__all__ += losses.__all__
