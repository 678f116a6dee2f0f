"""Arguments of optimizers: what each option may be. Options are checked when they are set, so that a step need not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Self, TypedDict

import numpy as np

from minigrad.engine.errors import describe
from minigrad.ops.checking import require
from minigrad.tensor.tensor import Tensor

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


class CommonOptions(TypedDict, total=False):
    """Keyword arguments of every optimizer, which `Optimizer` describes."""

    maximize: bool
    clipvalue: float | None
    clipnorm: float | None
    global_clipnorm: float | None


def as_list(params: Any, call: str) -> list[Any]:
    """The parameters as a list, a single Tensor as a list of one; a TypeError for what holds no Tensors."""
    if isinstance(params, Tensor):
        return [params]
    if hasattr(params, "parameters"):
        raise TypeError(f"{call}: params is a {type(params).__name__}; give its parameters: model.parameters()")
    if callable(params):
        raise TypeError(f"{call}: params is a function; call it: model.parameters()")
    if isinstance(params, np.ndarray):
        raise TypeError(
            f"{call}: params is an array, {describe(params)}; parameters are Tensors: "
            "w = mg.Tensor(array, requires_grad=True), and then [w]"
        )
    if not isinstance(params, Iterable):
        raise TypeError(
            f"{call}: params is {describe(params)} ({type(params).__name__}); give a list of Tensors, [w], or "
            "model.parameters()"
        )
    return list(params)


def check_names(call: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raise a TypeError for options that an optimizer does not have, and for a change of the parameters."""
    options = sorted(set(known) - {"params", "initial_lr"})
    if "params" in names:
        raise TypeError(
            f"{call}: the parameters of a group stay as they are; add others with optimizer.add_param_group"
        )
    unknown = sorted(set(names) - {*options, "initial_lr"}, key=repr)
    if unknown:
        raise TypeError(f"{call}: a group has no option {', '.join(map(repr, unknown))}; it may have {options}")


def checked(call: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with plain values: numbers, booleans and tuples.

    Args:
        call: the call that sets them, for errors.
        options: some options, by name. Unknown names are passed on.

    Raises:
        TypeError: an option is of another kind.
        ValueError: a number is out of range or not finite.
    """
    result = {}
    for name, value in options.items():
        if name in RANGES:
            result[name] = _checked_number(call, name, value, value, *RANGES[name])
        elif name == "betas":
            result[name] = _checked_betas(call, value)
        elif name in FLAGS:
            result[name] = _checked_flag(call, name, value)
        else:
            result[name] = value
    return result


def _checked_number(call: str, name: str, value: Any, shown: Any, low: float, high: float, closed: bool) -> Any:
    """A number in a range; shown is what the error repeats."""
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
    return _checked_number(call, name, value.item(), shown, low, high, closed)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, (bool, np.generic))


def _out_of_range(call: str, name: str, shown: Any, low: float, high: float, closed: bool) -> ValueError:
    if high == math.inf:
        return ValueError(f"{call}({name}={shown}): must not be negative, and must be finite")
    each = "both " if name == "betas" else ""
    return ValueError(f"{call}({name}={shown}): {each}must lie in [{low}, {high}{']' if closed else ')'}")


def _checked_betas(call: str, value: Any) -> tuple[Any, Any]:
    """Two numbers in [0, 1)."""
    try:
        betas = tuple(value)
    except TypeError:
        betas = ()
    if len(betas) != 2:
        raise ValueError(f"{call}(betas={value!r}): must be two numbers in [0, 1), such as (0.9, 0.999)")
    first, second = (_checked_number(call, "betas", beta, value, 0, 1, False) for beta in betas)
    return first, second


def _checked_flag(call: str, name: str, value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{call}({name}={value!r}): must be True or False")


class Clipping(dict[str, float]):
    """How gradients are clipped: empty, or one kind of clipping with its limit. It is checked when it is set.

    Raises:
        ValueError: there are two kinds, or the limit is not positive.
        TypeError: the limit is not a number, or the kind is unknown.
    """

    def __init__(self, call: str, limits: Mapping[str, Any]) -> None:
        super().__init__()
        self._call = call
        self.update(limits)

    def __setitem__(self, name: str, limit: Any) -> None:
        self.update({name: limit})

    def update(self, *limits: Any, **named: Any) -> None:
        """Set limits. None stands for no limit."""
        new = dict(*limits, **named)
        for name, limit in new.items():
            if name not in LIMITS:
                raise TypeError(f"{self._call}: unknown option {name!r}; gradients are clipped by {', '.join(LIMITS)}")
            if limit is not None and not _is_number(limit) and not isinstance(limit, np.number):
                raise TypeError(f"{self._call}({name}={limit!r}): must be a number, not {type(limit).__name__}")
            if limit is not None and not limit > 0:
                raise ValueError(f"{self._call}: {name}={limit} must be positive")
        combined = {name: limit for name, limit in {**self, **new}.items() if limit is not None}
        if len(combined) > 1:
            raise ValueError(f"{self._call}: got {' and '.join(combined)}; gradients are clipped one way only")
        self.clear()
        super().update(combined)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The limit; it is set if there is none."""
        if name not in self:
            self[name] = default
        return self.get(name)

    def _merge(self, other: Any) -> Self:
        self.update(other)
        return self

    __ior__: Any = _merge

    def __reduce__(self) -> Any:
        return Clipping, (self._call, dict(self))
