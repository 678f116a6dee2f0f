"""What a module refuses: to lose a parameter, and to load a state that does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.primitive import value_of
from minigrad.replaced import note_replaced
from minigrad.tensor import Tensor


def check_assignment(module: Any, name: str, before: Any, value: Any) -> None:
    """Refuse what would take a parameter away in silence, and note for optimizers which are replaced.

    Args:
        module: the one whose attribute is assigned.
        name: of the attribute.
        before: the Tensor or module that it is.
        value: what it becomes.

    Raises:
        TypeError: a parameter would become a constant.
    """
    if hasattr(before, "modules"):
        for _, p in before._named("_parameters") if hasattr(value, "modules") else ():
            note_replaced(p, module, name)
    elif name in module._parameters:
        is_constant = isinstance(value, Tensor) and not value.requires_grad
        is_other = not (value is None or isinstance(value, Tensor) or hasattr(value, "modules"))
        if is_other or (is_constant and before.requires_grad):
            kind = "a Tensor without requires_grad" if is_constant else type(value).__name__
            raise TypeError(
                f"{type(module).__name__}.{name} is a parameter, and {kind} would end that. For new values write into "
                f"it: with mg.no_grad(): module.{name}[...] = values. For another parameter assign mg.Tensor(values, "
                f"requires_grad=True); to freeze it, module.{name}.requires_grad = False; to have none, assign None"
            )
        if value is not None:
            note_replaced(before, module, name)


def check_state(kind: str, ours: Mapping[str, Any], state: Any, strict: bool) -> None:
    """Refuse a state that does not fit.

    Args:
        kind: the class of the module.
        ours: its arrays by name.
        state: the given ones.
        strict: whether names that are missing or unexpected are an error.

    Raises:
        ValueError: it lists all problems.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"load_state_dict: a {type(state).__name__} is no state; give what state_dict() returned")
    given = {name: np.asarray(value_of(value)) for name, value in state.items()}
    problems = [
        f"{name}: {value.shape} given, {ours[name].shape} wanted"
        for name, value in given.items()
        if name in ours and value.shape != ours[name].shape
    ]
    problems += [
        f"{name}: dtype {value.dtype} given, {ours[name].dtype} wanted"
        for name, value in given.items()
        if name in ours and not np.can_cast(value.dtype, ours[name].dtype, "same_kind")
    ]
    if strict:
        problems += [f"missing: {name} {value.shape}" for name, value in ours.items() if name not in given]
        problems += [f"unexpected: {name} {value.shape}" for name, value in given.items() if name not in ours]
    if problems:
        listed = "\n  ".join(problems)
        hint = "\nstrict=False ignores missing and unexpected names." if strict else ""
        raise ValueError(f"load_state_dict: the state does not fit this {kind}:\n  {listed}{hint}")
