"""Schedules made of others: all at once, or one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

from minigrad.optim.optimizer import Optimizer
from minigrad.optim.schedule import Schedule


class ChainedScheduler(Schedule):
    """All schedules at once: each is applied to the rate of the one before. Factors multiply.

    Raises:
        ValueError: there are none, or they belong to different optimizers.
    """

    def __init__(self, schedulers: Iterable[Schedule]) -> None:
        self.schedulers = list(schedulers)
        super().__init__(self._take_parts())

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

    def _take_parts(self) -> Optimizer:
        """From here on the parts are stepped by this schedule only, and what they did to the rates is forgotten."""
        optimizer = self._common_optimizer()
        for s in self.schedulers:
            s._mark.part_of = type(self).__name__
        return optimizer

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
        for milestone in self.milestones:
            self._require_count(0, milestones=milestone)
        self._require(self.milestones == sorted(set(self.milestones)), f"milestones={self.milestones} must increase")
        self._require(self._common_optimizer() is optimizer, "the schedules belong to another optimizer")
        self._take_parts()
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
