"""fit: the training loop, with history, early stopping, checkpoints and exact resume."""

from minigrad.train.loop import NonFiniteLoss, evaluate, fit
from minigrad.train.run_state import History, Training

__all__ = ["History", "NonFiniteLoss", "Training", "evaluate", "fit"]
