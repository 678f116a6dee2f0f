"""Options of optimizers: what each may be. They are checked when they are set, so that a step need not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from minigrad.ops.checking import require

# Name: the least value, the largest, and whether that one is allowed too.
RANGES: dict[str, tuple[float, float, bool]] = {
    **dict.fromkeys(["lr", "initial_lr", "eps", "weight_decay", "lr_decay"], (0, math.inf, False)),
    **dict.fromkeys(["initial_accumulator_value", "momentum_decay"], (0, math.inf, False)),
    **dict.fromkeys(["tolerance_grad", "tolerance_change"], (0, math.inf, False)),
    **dict.fromkeys(["momentum", "dampening"], (0, 1, True)),
    **dict.fromkeys(["alpha", "rho"], (0, 1, False)),
}
FLAGS = frozenset({"amsgrad", "centered", "decoupled_weight_decay", "maximize", "nesterov"})
LIMITS = ("clipvalue", "clipnorm", "global_clipnorm")
NAMES = frozenset({*RANGES, *FLAGS, *LIMITS, "betas", "learning_rate"})  # none is an attribute of the optimizer


def checked(call: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with plain values: numbers, booleans and tuples.

    Args:
        call: what sets them, for errors.
        given: some options, by name. Names that are not known here are passed on.

    Raises:
        TypeError: an option is of another kind.
        ValueError: a number is out of range or not finite.
    """
    found = {}
    for name, value in given.items():
        if name in RANGES:
            found[name] = _number(call, name, value, value, *RANGES[name])
        elif name == "betas":
            found[name] = _betas(call, value)
        elif name in FLAGS:
            found[name] = _flag(call, name, value)
        else:
            found[name] = value
    return found


def _number(call: str, name: str, value: Any, shown: Any, low: float, high: float, closed: bool) -> Any:
    """A number of a range; shown is what the error repeats."""
    if _is_number(value):
        inside = low <= value <= high if closed else low <= value < high
        if inside:
            return value
        raise _out_of_range(call, name, shown, low, high, closed)
    if getattr(value, "shape", None) != () or isinstance(value, (bool, np.bool_)) or value.dtype.kind not in "biuf":
        raise TypeError(f"{call}({name}={shown!r}): must be a number, not {type(value).__name__}")
    if hasattr(type(value), "minigrad_tracer"):  # computed by a step that is being compiled
        require(
            lambda x: (x >= low) & ((x <= high) if closed else (x < high)),
            lambda x: _out_of_range(call, name, x, low, high, closed),
            value,
        )
        return value.mg_as_number()
    return _number(call, name, value.item(), shown, low, high, closed)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, (bool, np.generic))


def _out_of_range(call: str, name: str, shown: Any, low: float, high: float, closed: bool) -> ValueError:
    if high == math.inf:
        return ValueError(f"{call}({name}={shown}): must not be negative, and must be finite")
    each = "both " if name == "betas" else ""
    return ValueError(f"{call}({name}={shown}): {each}must lie in [{low}, {high}{']' if closed else ')'}")


def _betas(call: str, value: Any) -> tuple[Any, Any]:
    """Two numbers in [0, 1)."""
    try:
        both = tuple(value)
    except TypeError:
        both = ()
    if len(both) != 2:
        raise ValueError(f"{call}(betas={value!r}): must be two numbers in [0, 1), such as (0.9, 0.999)")
    first, second = (_number(call, "betas", beta, value, 0, 1, False) for beta in both)
    return first, second


def _flag(call: str, name: str, value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{call}({name}={value!r}): must be True or False")


class Clipping(dict[str, float]):
    """The one way of clipping gradients, with its limit, or none. It is checked when it is set.

    Raises:
        ValueError: there are two ways, or the limit is not positive.
        TypeError: the limit is no number, or there is no such way.
    """

    def __init__(self, call: str, given: Mapping[str, Any]) -> None:
        super().__init__()
        self._call = call
        self.update(given)

    def __setitem__(self, name: str, limit: Any) -> None:
        self.update({name: limit})

    def update(self, *given: Any, **named: Any) -> None:
        """Set limits. None is no limit."""
        new = dict(*given, **named)
        for name, limit in new.items():
            if name not in LIMITS:
                raise TypeError(f"{self._call}: unknown option {name!r}; gradients are clipped by {', '.join(LIMITS)}")
            if limit is not None and not _is_number(limit) and not isinstance(limit, np.number):
                raise TypeError(f"{self._call}({name}={limit!r}): must be a number, not {type(limit).__name__}")
            if limit is not None and not limit > 0:
                raise ValueError(f"{self._call}: {name}={limit} must be positive")
        found = {name: limit for name, limit in {**self, **new}.items() if limit is not None}
        if len(found) > 1:
            raise ValueError(f"{self._call}: {' and '.join(found)} are given; gradients are clipped one way only")
        self.clear()
        super().update(found)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The limit; it is set if there is none."""
        if name not in self:
            self[name] = default
        return self.get(name)

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        return Clipping, (self._call, dict(self))
