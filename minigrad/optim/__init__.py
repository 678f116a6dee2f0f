"""Optimizers, and the update rules that they are made of."""

from minigrad.optim import rules
from minigrad.optim.algorithms import SGD, Adam, AdamW
from minigrad.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "rules"]
