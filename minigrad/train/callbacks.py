"""Callbacks of fit: early stopping, checkpoints, and schedules that are stepped after every step.

A callback is any object with on_step_end, on_epoch_end or on_end, each called with the Training.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minigrad import io
from minigrad.train.run_state import Training

# Parts of the names of measures that are better when larger.
LARGER_IS_BETTER = ("acc", "f1", "auc", "precision", "recall", "r2", "score", "iou", "dice", "bleu")


class EarlyStopping:
    """Stops when a measure has not improved for a number of epochs, and restores the best parameters.

    Args:
        monitor: its name in the history.
        patience: the number of epochs without improvement after which training stops.
        min_delta: the least change that counts as an improvement.
        mode: "min", "max", or "auto": larger is better for names such as accuracy, f1, auc and score, otherwise
            smaller.
        restore_best: whether the best state of the model is restored at the end.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        if mode == "auto":
            mode = "max" if any(word in monitor.lower() for word in LARGER_IS_BETTER) else "min"
        if mode not in ("min", "max") or isinstance(patience, bool) or not patience >= 0:
            raise ValueError(
                f"EarlyStopping(mode={mode!r}, patience={patience}): mode is 'auto', 'min' or 'max', patience >= 0"
            )
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"EarlyStopping(min_delta={min_delta}): must be finite and not negative")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.sign, self.restore_best = (1.0 if mode == "min" else -1.0), restore_best
        self.best, self.best_epoch = math.inf, 0
        self._state: Any = None

    def state_dict(self) -> dict[str, Any]:
        """The best value, its epoch, and the state of the model there."""
        return {"best": self.best, "best_epoch": self.best_epoch, "model": self._state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where state_dict was taken."""
        self.best, self.best_epoch, self._state = state["best"], state["best_epoch"], state["model"]

    def on_epoch_end(self, training: Training) -> None:
        """Compare the last epoch with the best one so far."""
        value = self.sign * training.history.last(self.monitor)
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, training.epoch
            self._state = training.model.state_dict() if self.restore_best else None
        elif training.epoch - self.best_epoch >= max(self.patience, 1):
            training.stop = True

    def on_end(self, training: Training) -> None:
        """Restore the best state."""
        if self._state is not None:
            training.model.load_state_dict(self._state)


class Checkpoint:
    """Writes the whole state of the training to a file after each epoch, from which `fit(resume=...)` continues.

    It is called after the other callbacks, whose state (that of a schedule, of EarlyStopping) is part of the file.

    Args:
        path: the file, which is replaced atomically.
        every: the number of epochs between two files.
    """

    is_last = True

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"Checkpoint(every={every!r}): must be an integer, at least 1")
        self.path, self.every = Path(path), every

    def on_epoch_end(self, training: Training) -> None:
        """Write the state, every few epochs."""
        if training.epoch % self.every == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            io.save(self.path, training.state())


class EachStep:
    """Steps a learning-rate schedule after each step of the optimizer.

    A schedule that is itself among the callbacks is stepped after each epoch.

    Args:
        schedule: a schedule of `optim`, whose t counts steps.

    Example:
        >>> from minigrad import Tensor, optim
        >>> optimizer = optim.Adam([Tensor([1.0], requires_grad=True)])
        >>> callbacks = [EachStep(optim.OneCycleLR(optimizer, max_lr=3e-3, total_steps=1000))]
    """

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule

    def state_dict(self) -> dict[str, Any]:
        """The state of the schedule."""
        return self.schedule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where state_dict was taken."""
        self.schedule.load_state_dict(state)

    def on_step_end(self, training: Training) -> None:
        """Step the schedule."""
        self.schedule.step()
