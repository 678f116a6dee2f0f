"""The base class of schedules, which sets the rates of an optimizer's groups, and how several schedules combine.

Several schedules that step the same optimizer compose as PyTorch's do: each applies its factor of this step to the rate
that the others set. A schedule whose rate is not a factor times the previous one, such as LambdaLR, would undo what the
others did; this is an error. ChainedScheduler and SequentialLR combine any schedules.
"""

from __future__ import annotations

import math
import weakref
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.optim.optimizer import Optimizer
from minigrad.util import hints
from minigrad.util.locks import LOCK


@dataclass
class Mark:
    """The schedule that set the rates of an optimizer last."""

    kind: str  # the name of its class
    stepped: bool = False
    part_of: str = ""  # the kind of schedule that it is a part of


# Not an attribute of the optimizer: a compiled step would read it.
_marks: weakref.WeakKeyDictionary[Optimizer, Mark] = weakref.WeakKeyDictionary()


def scheduled_by(optimizer: Optimizer) -> Mark | None:
    """The mark of the schedule that set the rates last, or None."""
    with LOCK:
        return _marks.get(optimizer)


def leave_mark(optimizer: Optimizer, mark: Mark) -> None:
    """Note that a schedule has set the rates."""
    with LOCK:
        _marks[optimizer] = mark


class Schedule:
    """Sets the learning rate of every group of an optimizer. Subclasses define `at`.

    Call step() once after each epoch, or after each step of the optimizer: the unit of t is up to you. A rate that is
    set by hand is overwritten by the next call. The first rate of a group is kept as its "initial_lr", also in the
    optimizer's state_dict; save both. A group that is added later gets, at the next call, the rate that it would have
    if it had been there from the beginning.

    Args:
        optimizer: its groups are set when the schedule is made and at each call of step().

    Raises:
        TypeError: the optimizer is not an Optimizer.
        ValueError: on step(): the schedule is a part of another, or would undo what another schedule of the same
            optimizer did; or a rate is out of range.
    """

    composes = False  # whether the rate is a factor that depends on t, or an affine function, of the rate before
    floor = 0.0  # the factor multiplies lr - floor
    _composed = False  # whether another schedule has changed the rate too

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optim.{type(self).__name__}: {type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        self.steps = 0
        self._mark = Mark(type(self).__name__)
        self._check_other_schedules()
        self.set_options()

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"_mark": Mark(type(self).__name__), **state})  # version 0.1.0 had no marks

    def at(self, base: float, t: int) -> float:
        """The learning rate after t steps of a group that began with base."""
        raise NotImplementedError(f"{type(self).__name__} does not define at(base, t)")

    def _rate(self, base: float, t: int) -> float:
        """at(base, t), or infinity where Python's power overflows: the group rejects that as any bad rate."""
        try:
            return self.at(base, t)
        except OverflowError:
            return math.inf

    def others(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        """Further options of the group after t steps, such as its momentum."""
        return {}

    def set_options(self) -> None:
        """Set the options of the groups to their values after the present number of steps."""
        for group in self.optimizer.param_groups:
            base = group.setdefault("initial_lr", group["lr"])
            lr = self._composed_rate(group["lr"], base) if self._composed else self._rate(base, self.steps)
            group.update({"lr": lr, **self.others(group, self.steps)})

    def step(self) -> None:
        """Advance by one step, and set the groups."""
        owner = self._mark.part_of
        self._require(not owner, f"this is a part of a {owner}, which steps it; call step() of that one only")
        self._check_other_schedules()
        self.steps += 1
        self._mark.stepped = True
        try:
            self.set_options()
        except BaseException:
            self.steps -= 1
            raise

    def _check_other_schedules(self) -> None:
        """Notice that another schedule has changed the rates since."""
        other = scheduled_by(self.optimizer)
        if other is not None and other is not self._mark and not other.part_of:
            self._require(
                self.composes or not (self.steps and other.stepped),
                f"this would undo what {other.kind} did to the same optimizer: its rate is not a factor times the "
                "present one. Put both into one ChainedScheduler, or one after the other into a SequentialLR",
            )
            self._composed = self.composes
        leave_mark(self.optimizer, self._mark)

    def _composed_rate(self, present: float, base: float) -> float:
        """The present rate, changed as this schedule changes its own in this step."""
        new = self._rate(base, self.steps)
        old = self._rate(base, self.steps - 1) if self.steps else base
        if old == self.floor:  # no factor changes this rate
            return present + (new - old)
        lr = self.floor + (present - self.floor) * ((new - self.floor) / (old - self.floor))
        if lr < 0:
            self._require(
                False,
                f"composed with the other schedule of this optimizer, which went below {self.floor}, this one gives "
                f"the negative rate {lr:.3g}. Put both into one ChainedScheduler",
            )
        return lr

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The number of steps. With the optimizer's state, it is all that a later step depends on."""
        return {"steps": self.steps, **({"composed": True} if self._composed else {})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where state_dict was taken. Load the optimizer's state first."""
        steps = state["steps"]
        self._require(
            isinstance(steps, int) and steps >= 0, f"load_state_dict: steps={steps!r} must be an integer, at least 0"
        )
        self.steps, self._composed = steps, bool(state.get("composed", False))
        if not self._composed:  # otherwise the optimizer's state has the rate
            self.set_options()

    def __repr__(self) -> str:
        hidden = ("optimizer", "steps", "floor")
        options = {name: x for name, x in vars(self).items() if name not in hidden and name[0] != "_"}
        text = "".join(f", {name}={x!r}" for name, x in options.items())
        return f"{type(self).__name__}(lr={self.get_last_lr()} after {self.steps} steps{text})"

    def _require(self, condition: bool, message: str) -> None:
        if not condition:
            raise ValueError(f"optim.{type(self).__name__}: {message}")

    def _require_number(self, low: float = 0.0, high: float = math.inf, **option: Any) -> None:
        """Refuse an option that is not a finite number in [low, high]."""
        ((name, value),) = option.items()
        is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        expected = f"be a finite number, at least {low}" if high == math.inf else f"lie in [{low}, {high}]"
        self._require(is_number and low <= value <= high and value < math.inf, f"{name}={value!r} must {expected}")

    def _require_count(self, low: int, **option: Any) -> None:
        """Refuse an option that is not an integer of at least low."""
        ((name, value),) = option.items()
        is_integer = isinstance(value, (int, np.integer)) or (isinstance(value, float) and value.is_integer())
        is_valid = is_integer and not isinstance(value, bool) and value >= low
        self._require(is_valid, f"{name}={value!r} must be an integer, at least {low}")


hints.install(Schedule, hints.SCHEDULE)


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
                raise TypeError(f"optim.{type(self).__name__}: a part must be a Schedule, not {type(s).__name__}")
        first = self.schedulers[0].optimizer
        self._require(all(s.optimizer is first for s in self.schedulers), "they belong to different optimizers")
        return first

    def _take_parts(self) -> Optimizer:
        """Mark the schedules as parts, which only this schedule steps. What they did to the rates is forgotten."""
        optimizer = self._common_optimizer()
        for s in self.schedulers:
            s._mark.part_of = type(self).__name__
        return optimizer

    def at(self, base: float, t: int) -> float:
        """The rate after all schedules: each starts from the result of the one before."""
        for s in self.schedulers:
            base = s.at(base, t)
        return base

    def others(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        """The options that any of them sets; a later schedule wins."""
        return {name: value for s in self.schedulers for name, value in s.others(group, t).items()}


class SequentialLR(ChainedScheduler):
    """One schedule after the other: each begins with its own t = 0 at a milestone.

    Args:
        optimizer: the optimizer of all schedules.
        schedulers: one more than there are milestones.
        milestones: the steps at which the next schedule begins, increasing.

    Raises:
        ValueError: the number of milestones is wrong, they do not increase, or the optimizers differ.
    """

    def __init__(self, optimizer: Optimizer, schedulers: Iterable[Schedule], milestones: Iterable[int]) -> None:
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        counts = f"{len(self.schedulers)} schedules and {len(self.milestones)} milestones"
        self._require(
            len(self.schedulers) == len(self.milestones) + 1,
            f"expected one milestone less than schedules, got {counts}",
        )
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
        """The options that the present schedule sets."""
        schedule, t = self._present(t)
        return schedule.others(group, t)
