"""Learning rates as closed forms of t, the number of calls of schedule.step() so far.

Every schedule but ReduceLROnPlateau is a function `at(base, t)` of the initial rate of the group, so rounding errors do
not add up, schedules nest, and the rate at any t is known without a training run. PyTorch's defaults and values; where
PyTorch multiplies the present rate by a factor at each step, the closed form differs from it by rounding only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule_base import (
    ChainedScheduler,  # noqa: F401  # its path in pickles of version 0.1.0
    Schedule,
    SequentialLR,  # noqa: F401  # likewise
)


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
            raise TypeError(f"optim.LambdaLR: {lr_lambda!r} is not a function of the step; give one, for all groups")
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
        """base times a factor that runs from start_factor to end_factor, then stays."""
        return base * _line(self.start_factor, self.end_factor, min(t, self.total_iters) / self.total_iters)


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

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({"floor": state["eta_min"], **state})  # version 0.1.0 had no floor

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
        """The formula of CosineAnnealingLR, with t counted from the beginning of the present cycle."""
        if self.T_mult == 1:
            return cosine(base, self.eta_min, t % self.T_0 / self.T_0)
        length = self.T_0
        while t >= length:
            t, length = t - length, length * self.T_mult
        return cosine(base, self.eta_min, t / length)


class OneCycleLR(Schedule):
    """The one-cycle policy: lr up to max_lr and down to nearly 0, momentum down and up (Smith & Topin 2019).

        max_lr / div_factor → max_lr                        for t in [0, a],      a = pct_start T - 1
        max_lr → max_lr / div_factor / final_div_factor     for t in [a, T - 1],  T = total_steps

    With three_phase the way down ends at max_lr / div_factor after as many steps as the way up, and the rest of the
    steps lead to the end. Call step() after each step of the optimizer. The optimizer's own lr is not used.

    Args:
        optimizer: with momentum or betas, if cycle_momentum.
        max_lr: the largest rate, for all groups.
        total_steps: T; or give epochs and steps_per_epoch, and T is their product.
        epochs: the number of epochs of the training.
        steps_per_epoch: the length of the loader.
        pct_start: the fraction of steps on the way up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether momentum (or β₁) runs from max_momentum to base_momentum and back.
        base_momentum: the lowest momentum, where the rate is largest.
        max_momentum: the first and last momentum.
        div_factor: max_lr / the first rate.
        final_div_factor: the first rate / the last.
        three_phase: return to the first rate before the last phase.

    Raises:
        ValueError: an option is out of range, the optimizer has no momentum to cycle, or step() is called too often.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        self._require(
            (total_steps is None) != (epochs is None or steps_per_epoch is None),
            f"give total_steps, or epochs and steps_per_epoch; got {total_steps}, {epochs}, {steps_per_epoch}",
        )
        if total_steps is None:
            self._require_count(1, epochs=epochs)
            self._require_count(1, steps_per_epoch=steps_per_epoch)
        total = (epochs or 0) * (steps_per_epoch or 0) if total_steps is None else total_steps
        self._require_count(0, total_steps=total)
        self._require(total >= 2, f"a cycle of {total} steps; it needs at least 2")
        self._require_number(max_lr=max_lr)
        for name, value in {"div_factor": div_factor, "final_div_factor": final_div_factor}.items():
            self._require_number(**{name: value})
            self._require(value > 0, f"{name}={value} must be positive")
        for name, value in {"base_momentum": base_momentum, "max_momentum": max_momentum}.items():
            self._require_number(0, 1, **{name: value})
        self._require_number(0, 0.5 if three_phase else 1, pct_start=pct_start)
        self._require(
            anneal_strategy in ("cos", "linear"), f"anneal_strategy={anneal_strategy!r} must be 'cos' or 'linear'"
        )
        self.total_steps, self.cycle_momentum = total, cycle_momentum
        self.anneal = cosine if anneal_strategy == "cos" else _line
        first, last = max_lr / div_factor, max_lr / div_factor / final_div_factor
        peak = pct_start * total - 1
        low, high = base_momentum, max_momentum
        self.stops, self.rates, self.momenta = [0.0, peak, total - 1.0], [first, max_lr, last], [high, low, high]
        if three_phase:
            self.stops.insert(2, 2 * peak)
            self.rates.insert(2, first)
            self.momenta.insert(2, high)
        if cycle_momentum:
            self._require(
                all("momentum" in group or "betas" in group for group in optimizer.param_groups),
                f"{type(optimizer).__name__} has no momentum to cycle; give cycle_momentum=False",
            )
        super().__init__(optimizer)

    def at(self, base: float, t: int) -> float:
        """The rate after t steps; it does not depend on base."""
        if t > self.total_steps:  # the message is written only then: it would make t a constant of a compiled step
            self._require(False, f"step {t} of a cycle of {self.total_steps} steps")
        return self._between(self.rates, t)

    def others(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        """The momentum, or betas."""
        if not self.cycle_momentum:
            return {}
        momentum = self._between(self.momenta, t)
        return {"betas": (momentum, *group["betas"][1:])} if "betas" in group else {"momentum": momentum}

    def _between(self, values: list[float], t: int) -> float:
        t = min(t, self.total_steps - 1)
        k = next(k for k in range(1, len(self.stops)) if t <= self.stops[k] and self.stops[k] > 0)
        return self.anneal(values[k - 1], values[k], (t - self.stops[k - 1]) / (self.stops[k] - self.stops[k - 1]))


def _line(start: float, end: float, x: float) -> float:
    """The straight line from start at x = 0 to end at x = 1."""
    return start + (end - start) * x


def cosine(start: float, end: float, x: float) -> float:
    """Half a cosine from start at x = 0 to end at x = 1."""
    return end + (start - end) * (1 + _cos(math.pi * x)) / 2


def _cos(x: float) -> float:
    """math.cos, also of a number that a compiled step traces."""
    through = getattr(x, "mg_through", None)
    result: float = math.cos(x) if through is None else through(math.cos, "cos")
    return result
