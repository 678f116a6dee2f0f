"""Optimizers, and the update rules that they are made of."""

from minigrad.optim import rules
from minigrad.optim.adaptive import Adadelta, Adagrad, Lion, RMSprop
from minigrad.optim.algorithms import SGD, Adam, Adamax, AdamW, NAdam, RAdam
from minigrad.optim.optimizer import Optimizer

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "rules",
]
