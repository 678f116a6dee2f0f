"""Learning rates that change with the steps: closed forms of t, the number of calls of schedule.step() so far.

Every schedule but ReduceLROnPlateau is a function `at(base, t)` of the rate that the group began with, so nothing adds
up rounding errors, schedules nest, and any t can be asked for without a training run. PyTorch's defaults and values;
where PyTorch multiplies the present rate by a factor at each step, the closed form differs from it by rounding only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from minigrad.optim.optimizer import Optimizer


class Schedule:
    """Sets the learning rate of every group of an optimizer. Subclasses define `at`.

    Call step() once after each epoch, or after each step of the optimizer: the unit of t is up to you. A rate that is
    set by hand is overwritten at the next call. The first rate of a group is kept as its "initial_lr", also in the
    optimizer's state_dict; save both.

    Args:
        optimizer: whose groups are set, at once and at each call of step().

    Raises:
        TypeError: the optimizer is not an Optimizer.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optim.{type(self).__name__}: {type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        self.steps = 0
        self.set_options()

    def at(self, base: float, t: int) -> float:
        """The learning rate after t steps of a group that began with base."""
        raise NotImplementedError(f"{type(self).__name__} does not define at(base, t)")

    def others(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        """Further options of the group after t steps, such as its momentum."""
        return {}

    def set_options(self) -> None:
        """Write into the groups what holds after as many steps as were taken."""
        for group in self.optimizer.param_groups:
            base = group.setdefault("initial_lr", group["lr"])
            for name, value in {"lr": self.at(base, self.steps), **self.others(group, self.steps)}.items():
                group[name] = value

    def step(self) -> None:
        """Go on by one step, and set the groups."""
        self.steps += 1
        self.set_options()

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The number of steps: all that a later step depends on, besides the optimizer's state."""
        return {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where state_dict was taken. Load the optimizer's state first."""
        self.steps = state["steps"]
        self.set_options()

    def __repr__(self) -> str:
        options = {name: x for name, x in vars(self).items() if name not in ("optimizer", "steps") and name[0] != "_"}
        text = "".join(f", {name}={x!r}" for name, x in options.items())
        return f"{type(self).__name__}(lr={self.get_last_lr()} after {self.steps} steps{text})"

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(f"optim.{type(self).__name__}: {what}")


class LambdaLR(Schedule):
    """lr = base · f(t), for any function: the form of Keras's callbacks.

    Example:
        >>> from minigrad import Tensor, optim
        >>> optimizer = optim.SGD([Tensor([1.0], requires_grad=True)], lr=0.8)
        >>> schedule = LambdaLR(optimizer, lambda t: 1 / (1 + t))
        >>> schedule.step()
        >>> schedule.get_last_lr()
        [0.4]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float]) -> None:
        self.lr_lambda = lr_lambda
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base f(t)."""
        return base * self.lr_lambda(t)


class StepLR(Schedule):
    """lr = base · γ^⌊t / step_size⌋."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = step_size, gamma
        self._require(step_size >= 1, f"step_size={step_size} must be at least 1")
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base γ^⌊t / step_size⌋."""
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """lr = base · γ^(the number of milestones ≤ t)."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base γ^(milestones passed)."""
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(Schedule):
    """lr = base · γᵗ."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base γᵗ."""
        return base * self.gamma**t


class LinearLR(Schedule):
    """Linear warm-up: lr = base · (a + (b - a) min(t, T) / T), a = start_factor, b = end_factor, T = total_iters."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        self._require(0 < start_factor <= 1, f"start_factor={start_factor} must lie in (0, 1]")
        self._require(0 <= end_factor <= 1, f"end_factor={end_factor} must lie in [0, 1]")
        self._require(total_iters >= 1, f"total_iters={total_iters} must be at least 1")
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """On the line from start_factor to end_factor, then constant."""
        share = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * share)


class ConstantLR(Schedule):
    """lr = base · factor for the first total_iters steps, then base."""

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5) -> None:
        self.factor, self.total_iters = factor, total_iters
        self._require(0 <= factor <= 1, f"factor={factor} must lie in [0, 1]")
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base factor, then base."""
        return base * self.factor if t < self.total_iters else base


class PolynomialLR(Schedule):
    """lr = base · (1 - min(t, T) / T)^power, T = total_iters. Keras's PolynomialDecay ends at 1e-4, this one at 0."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters, self.power = total_iters, power
        self._require(total_iters >= 1, f"total_iters={total_iters} must be at least 1")
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base (1 - t/T)^power."""
        return float(base * (1 - min(t, self.total_iters) / self.total_iters) ** self.power)


class CosineAnnealingLR(Schedule):
    """lr = η + (base - η)(1 + cos(π t / T_max)) / 2, η = eta_min (Loshchilov & Hutter 2017, equation 5).

    After T_max it rises again, as the formula says; Keras's CosineDecay stays at its end.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        self._require(T_max > 0, f"T_max={T_max} must be positive")
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """Half a cosine from base down to eta_min."""
        return cosine(base, self.eta_min, t / self.T_max)


class CosineAnnealingWarmRestarts(Schedule):
    """Half cosines that begin anew after T_0, T_0 T_mult, T_0 T_mult², ... steps (SGDR, Loshchilov & Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self._require(T_0 >= 1, f"T_0={T_0} must be at least 1")
        self._require(T_mult >= 1, f"T_mult={T_mult} must be at least 1")
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """The place in the present cycle, in the formula of CosineAnnealingLR."""
        if self.T_mult == 1:
            return cosine(base, self.eta_min, t % self.T_0 / self.T_0)
        length = self.T_0
        while t >= length:
            t, length = t - length, length * self.T_mult
        return cosine(base, self.eta_min, t / length)


class ChainedScheduler(Schedule):
    """All schedules at once: each is applied to the rate of the one before. Factors multiply.

    Raises:
        ValueError: there are none, or they belong to different optimizers.
    """

    def __init__(self, schedulers: Iterable[Schedule]) -> None:
        self.schedulers = list(schedulers)
        super().__init__(self._common_optimizer())

    def _common_optimizer(self) -> Optimizer:
        self._require(bool(self.schedulers), "there are no schedules")
        for s in self.schedulers:
            if not isinstance(s, Schedule):
                raise TypeError(
                    f"optim.{type(self).__name__}: {type(s).__name__} is no function of the step; it cannot be a part"
                )
        first = self.schedulers[0].optimizer
        self._require(all(s.optimizer is first for s in self.schedulers), "they belong to different optimizers")
        return first

    def at(self, base: float, t: int) -> float:
        """The rate that the last one makes of the others'."""
        for s in self.schedulers:
            base = s.at(base, t)
        return base

    def others(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        """What any of them sets; of two, the later."""
        return {name: value for s in self.schedulers for name, value in s.others(group, t).items()}


class SequentialLR(ChainedScheduler):
    """One schedule after the other: each begins with its own t = 0 at a milestone.

    Args:
        optimizer: the one that all schedules were made with.
        schedulers: one more than there are milestones.
        milestones: the steps at which the next one takes over, increasing.

    Raises:
        ValueError: the numbers do not fit, milestones do not increase, or the optimizers differ.
    """

    def __init__(self, optimizer: Optimizer, schedulers: Iterable[Schedule], milestones: Iterable[int]) -> None:
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        count = len(self.schedulers), len(self.milestones)
        self._require(count[0] == count[1] + 1, "{} schedules need one milestone less, not {}".format(*count))
        self._require(self.milestones == sorted(set(self.milestones)), f"milestones={self.milestones} must increase")
        self._require(self._common_optimizer() is optimizer, "the schedules belong to another optimizer")
        Schedule.__init__(self, optimizer)

    def _present(self, t: int) -> tuple[Schedule, int]:
        k = bisect_right(self.milestones, t)
        return self.schedulers[k], t - self.milestones[k - 1] if k else t

    def at(self, base: float, t: int) -> float:
        """The rate of the present schedule."""
        schedule, t = self._present(t)
        return schedule.at(base, t)

    def others(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        """What the present schedule sets."""
        schedule, t = self._present(t)
        return schedule.others(group, t)


def cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from start at share = 0 to end at share = 1."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
