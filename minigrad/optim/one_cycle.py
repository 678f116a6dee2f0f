"""The one-cycle policy: learning rate up and down, momentum down and up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule import Schedule
from minigrad.optim.schedules import cosine


class OneCycleLR(Schedule):
    """Up to max_lr and down to nearly nothing, with the momentum the other way (Smith & Topin 2019).

        max_lr / div_factor → max_lr                        for t in [0, a],      a = pct_start T - 1
        max_lr → max_lr / div_factor / final_div_factor     for t in [a, T - 1],  T = total_steps

    With three_phase the way down ends at max_lr / div_factor after as many steps as the way up, and the rest of the
    steps lead to the end. Call step() after each step of the optimizer. The optimizer's own lr is not used.

    Args:
        optimizer: with momentum or betas, if cycle_momentum.
        max_lr: the top, for all groups.
        total_steps: T; or give epochs and steps_per_epoch, whose product it is.
        epochs: of the whole training.
        steps_per_epoch: the length of the loader.
        pct_start: the share of the way up.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether momentum (or β₁) runs from max_momentum to base_momentum and back.
        base_momentum: the lowest, when the rate is at its top.
        max_momentum: the first and last.
        div_factor: max_lr / the first rate.
        final_div_factor: the first rate / the last.
        three_phase: return to the first rate before the last phase.

    Raises:
        ValueError: an option is out of range, the optimizer has no momentum to cycle, or more steps than T.
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
        most = 0.5 if three_phase else 1
        self._require_number(0, most, pct_start=pct_start)
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
        """The rate after t steps, whatever base is."""
        if t > self.total_steps:  # the text is written then only: it would make t a constant of a compiled step
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


def _line(start: float, end: float, share: float) -> float:
    """The line from start at share = 0 to end at share = 1."""
    return start + (end - start) * share
