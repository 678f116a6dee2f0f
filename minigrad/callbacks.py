"""Callbacks of fit: early stopping, checkpoints, and schedules that are stepped after every step."""

from minigrad.train.callbacks import Checkpoint, EachStep, EarlyStopping

__all__ = ["Checkpoint", "EachStep", "EarlyStopping"]
