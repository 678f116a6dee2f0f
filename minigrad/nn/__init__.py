"""Layers, networks and initializers."""

from minigrad.nn import init
from minigrad.nn.activations import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from minigrad.nn.attention import MultiheadAttention, PositionalEncoding, TransformerEncoderLayer
from minigrad.nn.dropout import Dropout
from minigrad.nn.layers import Flatten, Linear, Sequential
from minigrad.nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CosineEmbeddingLoss,
    CrossEntropyLoss,
    CTCLoss,
    HingeLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    MultiMarginLoss,
    NLLLoss,
    SmoothL1Loss,
    TripletMarginLoss,
)
from minigrad.nn.module import Module
from minigrad.nn.norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm, RMSNorm

__all__ = [
    "ELU",
    "GELU",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm",
    "CTCLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "GroupNorm",
    "HingeLoss",
    "HuberLoss",
    "InstanceNorm",
    "KLDivLoss",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MSELoss",
    "Module",
    "MultiMarginLoss",
    "MultiheadAttention",
    "NLLLoss",
    "PositionalEncoding",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "Tanh",
    "TransformerEncoderLayer",
    "TripletMarginLoss",
    "init",
]
