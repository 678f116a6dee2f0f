"""Layers, networks and initializers."""

from minigrad.nn import init
from minigrad.nn.activations import ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from minigrad.nn.layers import BatchNorm, Dropout, Flatten, Linear, Sequential
from minigrad.nn.module import Module

__all__ = [
    "ELU",
    "GELU",
    "BatchNorm",
    "Dropout",
    "Flatten",
    "LeakyReLU",
    "Linear",
    "Module",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "init",
]
