"""Optimizers, and the update rules that they are made of."""

from minigrad.optim import rules
from minigrad.optim.optimizer import SGD, Adam, AdamW, Optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "rules"]
