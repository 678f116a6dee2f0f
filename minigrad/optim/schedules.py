"""Learning rates that change with the steps: closed forms of t, the number of calls of schedule.step() so far.

Every schedule but ReduceLROnPlateau is a function `at(base, t)` of the rate that the group began with, so nothing adds
up rounding errors, schedules nest, and any t can be asked for without a training run. PyTorch's defaults and values;
where PyTorch multiplies the present rate by a factor at each step, the closed form differs from it by rounding only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable

from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule import Schedule


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
        if not callable(lr_lambda):
            raise TypeError(f"optim.LambdaLR: {lr_lambda!r} is no function of the step; for groups, a schedule each")
        self.lr_lambda = lr_lambda
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base f(t)."""
        return base * self.lr_lambda(t)


class StepLR(Schedule):
    """lr = base · γ^⌊t / step_size⌋."""

    composes = True

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = step_size, gamma
        self._require_count(1, step_size=step_size)
        self._require_number(gamma=gamma)
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base γ^⌊t / step_size⌋."""
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """lr = base · γ^(the number of milestones ≤ t)."""

    composes = True

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        self._require_number(gamma=gamma)
        for milestone in self.milestones:
            self._require_count(0, milestones=milestone)
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base γ^(milestones passed)."""
        return base * self.gamma ** bisect_right(self.milestones, t)


class ExponentialLR(Schedule):
    """lr = base · γᵗ."""

    composes = True

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self._require_number(gamma=gamma)
        self.gamma = gamma
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base γᵗ."""
        return base * self.gamma**t


class LinearLR(Schedule):
    """Linear warm-up: lr = base · (a + (b - a) min(t, T) / T), a = start_factor, b = end_factor, T = total_iters."""

    composes = True

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5
    ) -> None:
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        self._require_number(0, 1, start_factor=start_factor)
        self._require(start_factor > 0, f"start_factor={start_factor} must be positive")
        self._require_number(0, 1, end_factor=end_factor)
        self._require_count(1, total_iters=total_iters)
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """On the line from start_factor to end_factor, then constant."""
        share = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * share)


class ConstantLR(Schedule):
    """lr = base · factor for the first total_iters steps, then base."""

    composes = True

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5) -> None:
        self.factor, self.total_iters = factor, total_iters
        self._require_number(0, 1, factor=factor)
        self._require_count(0, total_iters=total_iters)
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base factor, then base."""
        return base * self.factor if t < self.total_iters else base


class PolynomialLR(Schedule):
    """lr = base · (1 - min(t, T) / T)^power, T = total_iters. Keras's PolynomialDecay ends at 1e-4, this one at 0."""

    composes = True

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters, self.power = total_iters, power
        self._require_count(1, total_iters=total_iters)
        self._require_number(power=power)
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """base (1 - t/T)^power."""
        return base * (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(Schedule):
    """lr = η + (base - η)(1 + cos(π t / T_max)) / 2, η = eta_min (Loshchilov & Hutter 2017, equation 5).

    After T_max it rises again, as the formula says; Keras's CosineDecay stays at its end.
    """

    composes = True

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        self._require_number(eta_min=eta_min)
        self._require_count(1, T_max=T_max)
        self.floor = eta_min
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """Half a cosine from base down to eta_min."""
        return cosine(base, self.eta_min, t / self.T_max)


class CosineAnnealingWarmRestarts(Schedule):
    """Half cosines that begin again after T_0, T_0 T_mult, T_0 T_mult², ... steps (SGDR, Loshchilov & Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self._require_number(eta_min=eta_min)
        self._require_count(1, T_0=T_0)
        self._require_count(1, T_mult=T_mult)
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """The place in the present cycle, in the formula of CosineAnnealingLR."""
        if self.T_mult == 1:
            return cosine(base, self.eta_min, t % self.T_0 / self.T_0)
        length = self.T_0
        while t >= length:
            t, length = t - length, length * self.T_mult
        return cosine(base, self.eta_min, t / length)


def cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from start at share = 0 to end at share = 1."""
    return end + (start - end) * (1 + _cos(math.pi * share)) / 2


def _cos(x: float) -> float:
    """math.cos, also of a number that a compiled step traces."""
    through = getattr(x, "mg_through", None)
    made: float = math.cos(x) if through is None else through(math.cos, "cos")
    return made
