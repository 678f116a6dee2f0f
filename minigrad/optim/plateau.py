"""ReduceLROnPlateau: the learning rate falls when a metric stops improving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule_base import Mark, leave_mark


class ReduceLROnPlateau:
    """Multiplies the learning rates by a factor when a metric has not improved for `patience` epochs.

    Call step(metric) after each epoch; among the callbacks of `mg.fit` it takes the metric from the history.

    Better than the best so far means, for mode "min" and "max":
        threshold_mode "rel":  metric < best - threshold |best|    metric > best + threshold |best|
        threshold_mode "abs":  metric < best - threshold           metric > best + threshold

    PyTorch has best (1 - threshold), by which a loss below 0 that becomes worse counts as better.

    Args:
        optimizer: the optimizer whose rates are changed.
        mode: "min" for a loss, "max" for an accuracy.
        factor: in (0, 1).
        patience: the number of epochs without improvement that are accepted; the next one reduces the rates.
        threshold: the least improvement that counts.
        threshold_mode: "rel" or "abs".
        cooldown: the number of epochs after a reduction that are not counted.
        min_lr: the rates stay at or above it.
        eps: smaller changes are not made.
        monitor: the metric's name in the history of `mg.fit`.

    Raises:
        TypeError: the optimizer is not an Optimizer.
        ValueError: an option is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
        monitor: str = "val_loss",
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optim.ReduceLROnPlateau: {type(optimizer).__name__} is not an Optimizer")
        if isinstance(factor, bool) or not isinstance(factor, (int, float, np.number)) or not 0 < factor < 1:
            raise ValueError(f"optim.ReduceLROnPlateau: factor={factor} must lie in (0, 1)")
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"optim.ReduceLROnPlateau: mode={mode!r} must be 'min' or 'max', "
                f"threshold_mode={threshold_mode!r} 'rel' or 'abs'"
            )
        counts = {"patience": patience, "cooldown": cooldown}
        for name, value in {**counts, "threshold": threshold, "min_lr": min_lr, "eps": eps}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not 0 <= value < math.inf:
                raise ValueError(f"optim.ReduceLROnPlateau: {name}={value!r} must be a finite number, at least 0")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode, self.cooldown = threshold, threshold_mode, cooldown
        self.min_lr, self.eps, self.monitor = min_lr, eps, monitor
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_epochs = self.resting = 0

    def step(self, metric: Any) -> None:
        """Take the metric of one epoch, a number or anything that float accepts. NaN is not an improvement."""
        value = float(metric)
        if self._is_better(value):
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        if self.resting:
            self.resting, self.bad_epochs = self.resting - 1, 0
        if self.bad_epochs > self.patience:
            self._reduce()
            self.resting, self.bad_epochs = self.cooldown, 0

    def _is_better(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if math.isinf(self.best):
            return sign * value < sign * self.best
        margin = self.threshold if self.threshold_mode == "abs" else abs(self.best) * self.threshold
        return sign * value < sign * self.best - margin

    def _reduce(self) -> None:
        for group in self.optimizer.param_groups:
            lr = max(group["lr"] * self.factor, self.min_lr)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr
                leave_mark(self.optimizer, Mark("ReduceLROnPlateau", stepped=True))

    def on_epoch_end(self, training: Any) -> None:
        """Take the metric of the last epoch of `mg.fit`."""
        self.step(training.history.last(self.monitor))

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The best metric and the counts; the rates themselves are in the optimizer's state_dict."""
        return {"best": self.best, "bad_epochs": self.bad_epochs, "resting": self.resting}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where state_dict was taken."""
        self.best, self.bad_epochs, self.resting = state["best"], state["bad_epochs"], state["resting"]
