"""fit: the training loop, with history, early stopping, checkpoints and exact resume."""

from minigrad.train.loop import History, NonFiniteLoss, Training, evaluate, fit

__all__ = ["History", "NonFiniteLoss", "Training", "evaluate", "fit"]
