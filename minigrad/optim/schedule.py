"""The base of the schedules: what sets the rates of an optimizer's groups, and how several of them get on.

Several schedules that step the same optimizer compose as PyTorch's do: each applies its factor of this step to the rate
that the others left. A schedule whose rate is no factor times the one before, such as LambdaLR, would undo what the
others did; that is refused.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.optim.optimizer import Optimizer
from minigrad.util import hints
from minigrad.util.locks import LOCK


@dataclass
class Mark:
    """What is known of the schedule that set the rates of an optimizer last."""

    kind: str  # the name of its class
    stepped: bool = False
    part_of: str = ""  # the kind of schedule that it is a part of


# Beside the optimizers, whose attributes are what a step reads.
_marks: weakref.WeakKeyDictionary[Optimizer, Mark] = weakref.WeakKeyDictionary()


def scheduled_by(optimizer: Optimizer) -> Mark | None:
    """The mark of the schedule that set the rates last."""
    with LOCK:
        return _marks.get(optimizer)


def leave_mark(optimizer: Optimizer, mark: Mark) -> None:
    """A schedule has set the rates."""
    with LOCK:
        _marks[optimizer] = mark


class Schedule:
    """Sets the learning rate of every group of an optimizer. Subclasses define `at`.

    Call step() once after each epoch, or after each step of the optimizer: the unit of t is up to you. A rate that is
    set by hand is overwritten at the next call. The first rate of a group is kept as its "initial_lr", also in the
    optimizer's state_dict; save both. A group that is added later gets, at the next call, the rate that it would have
    if it had been there from the beginning.

    Args:
        optimizer: whose groups are set, at once and at each call of step().

    Raises:
        TypeError: the optimizer is not an Optimizer.
        ValueError: on step(): the schedule is a part of another, or would undo what another schedule of the same
            optimizer did; or a rate that it gives is out of range.
    """

    composes = False  # whether the rate is a factor that depends on t, or an affine function, of the rate before
    floor = 0.0  # what the factor leaves alone: lr - floor is multiplied
    _composed = False  # whether another schedule has moved the rate too

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optim.{type(self).__name__}: {type(optimizer).__name__} is not an Optimizer")
        self.optimizer = optimizer
        self.steps = 0
        self._mark = Mark(type(self).__name__)
        self._meet_others()
        self.set_options()

    def at(self, base: float, t: int) -> float:
        """The learning rate after t steps of a group that began with base."""
        raise NotImplementedError(f"{type(self).__name__} does not define at(base, t)")

    def _rate(self, base: float, t: int) -> float:
        """at(base, t), infinite where Python's power overflows: the group refuses that, as it does other rates."""
        try:
            return self.at(base, t)
        except OverflowError:
            return math.inf

    def others(self, group: Mapping[str, Any], t: int) -> dict[str, Any]:
        """Further options of the group after t steps, such as its momentum."""
        return {}

    def set_options(self) -> None:
        """Write into the groups what holds after as many steps as were taken."""
        for group in self.optimizer.param_groups:
            base = group.setdefault("initial_lr", group["lr"])
            lr = self._following(group["lr"], base) if self._composed else self._rate(base, self.steps)
            group.update({"lr": lr, **self.others(group, self.steps)})

    def step(self) -> None:
        """Go on by one step, and set the groups."""
        owner = self._mark.part_of
        self._require(not owner, f"this is a part of a {owner}, which steps it; call step() of that one only")
        self._meet_others()
        self.steps += 1
        self._mark.stepped = True
        try:
            self.set_options()
        except BaseException:
            self.steps -= 1
            raise

    def _meet_others(self) -> None:
        """Notice that another schedule has moved the rates since."""
        other = scheduled_by(self.optimizer)
        if other is not None and other is not self._mark and not other.part_of:
            self._require(
                self.composes or not (self.steps and other.stepped),
                f"this would undo what {other.kind} did to the same optimizer: its rate is no factor times the present "
                "one. Put both into one ChainedScheduler, or one after the other into a SequentialLR",
            )
            self._composed = self.composes
        leave_mark(self.optimizer, self._mark)

    def _following(self, present: float, base: float) -> float:
        """The present rate, changed as this schedule changes its own in this step."""
        new = self._rate(base, self.steps)
        old = self._rate(base, self.steps - 1) if self.steps else base
        if old == self.floor:  # from there no factor leads away
            return present + (new - old)
        lr = self.floor + (present - self.floor) * ((new - self.floor) / (old - self.floor))
        if lr < 0:
            what = (
                f"composed with the other schedule of this optimizer, which went below {self.floor}, this one leads to"
            )
            self._require(False, f"{what} the negative rate {lr:.3g}. Put both into one ChainedScheduler")
        return lr

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The number of steps: all that a later step depends on, besides the optimizer's state."""
        return {"steps": self.steps, **({"composed": True} if self._composed else {})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where state_dict was taken. Load the optimizer's state first."""
        steps = state["steps"]
        self._require(isinstance(steps, int) and steps >= 0, f"load_state_dict: steps={steps!r} must be a whole number")
        self.steps, self._composed = steps, bool(state.get("composed", False))
        if not self._composed:  # otherwise the optimizer's state has the rate
            self.set_options()

    def __repr__(self) -> str:
        hidden = ("optimizer", "steps", "floor")
        options = {name: x for name, x in vars(self).items() if name not in hidden and name[0] != "_"}
        text = "".join(f", {name}={x!r}" for name, x in options.items())
        return f"{type(self).__name__}(lr={self.get_last_lr()} after {self.steps} steps{text})"

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise ValueError(f"optim.{type(self).__name__}: {what}")

    def _require_number(self, low: float = 0.0, high: float = math.inf, **option: Any) -> None:
        """A finite number that is not below low nor above high."""
        ((name, value),) = option.items()
        is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        upper = "" if high == math.inf else f", {high}"
        what = f"{name}={value!r} must " + (
            f"lie in [{low}{upper}]" if upper else f"be a finite number, at least {low}"
        )
        self._require(is_number and low <= value <= high and value < math.inf, what)

    def _require_count(self, low: int, **option: Any) -> None:
        """A whole number that is not below low."""
        ((name, value),) = option.items()
        is_whole = isinstance(value, (int, np.integer)) or (isinstance(value, float) and value.is_integer())
        what = "must be positive" if low == 1 and name == "T_max" else f"must be at least {low}"
        self._require(is_whole and not isinstance(value, bool) and value >= low, f"{name}={value!r} {what}, and whole")


hints.install(Schedule, hints.SCHEDULE)
