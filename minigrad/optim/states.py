"""The state of an optimizer as plain data, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.errors import refuse_mask
from minigrad.optim.options import FLAGS, checked

if TYPE_CHECKING:
    from minigrad.optim.group import Group
    from minigrad.optim.optimizer import Optimizer
    from minigrad.tensor.tensor import Tensor

Array = Any


def state_dict(optimizer: Optimizer) -> dict[str, Any]:
    """Copies of the state of each parameter, numbered through all groups, and of the options."""
    state, groups, number = {}, [], 0
    for group in optimizer.param_groups:
        numbers = range(number, number + len(group["params"]))
        number = numbers.stop
        groups.append({**group, "params": list(numbers)})
        for k, p in zip(numbers, group["params"], strict=True):
            state[k] = {name: np.copy(value) for name, value in group.state_of(p)}
    return {"state": state, "param_groups": groups}


def load_state_dict(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Put a state into an optimizer, after all of it was checked.

    Raises:
        ValueError: it does not fit.
    """
    call = f"{optimizer._call()}.load_state_dict"
    if not isinstance(state, Mapping) or not {"state", "param_groups"} <= state.keys():
        raise ValueError(f"{call}: this is no state of an optimizer, which has 'state' and 'param_groups'")
    given, ours = state["param_groups"], optimizer.param_groups
    sizes, wanted = [len(g["params"]) for g in given], [len(g["params"]) for g in ours]
    if sizes != wanted:
        raise ValueError(f"{call}: groups of {sizes} parameters given, {wanted} wanted")
    options = [_options(optimizer, call, saved, group) for saved, group in zip(given, ours, strict=True)]
    values = []
    for saved, group, new in zip(given, ours, options, strict=True):
        for k, p in zip(saved["params"], group["params"], strict=True):
            found = _fitting(optimizer, call, k, p, state["state"].get(k, {}), new)
            values.append((group, p, found))
    for group, new in zip(ours, options, strict=True):
        for flat in group.flats:
            flat.state = {}  # what is there now begins again, unless the other state has it
        group.store(new)
    for group, p, found in values:
        _put(group, p, found)
    for name in optimizer.computed_state:  # files of older versions lack it
        for group, p, found in values:
            if found and name not in found and name in group.place[id(p)][0].state:
                flat, k = group.place[id(p)]
                flat.part(flat.state[name], k, k + 1)[...] = min(int(flat.steps[k]), 1)
    for group in ours:
        for flat in group.flats:
            flat.breaks = set((np.flatnonzero(np.diff(flat.steps)) + 1).tolist())


def _options(optimizer: Optimizer, call: str, saved: Mapping[str, Any], group: Group) -> dict[str, Any]:
    """The saved options of a group, checked."""
    given = {name: value for name, value in saved.items() if name != "params"}
    different = (given.keys() ^ optimizer.defaults.keys()) - {"initial_lr", "maximize"}
    if different:
        raise ValueError(
            f"{call}: the state of another kind of optimizer: options {sorted(given)} given, "
            f"{sorted(optimizer.defaults)} wanted"
        )
    try:
        new = checked(call, given)
    except TypeError as error:
        raise ValueError(str(error)) from error
    optimizer.check({**group, **new})
    return new


def _fitting(
    optimizer: Optimizer, call: str, k: Any, p: Tensor, values: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Array]:
    """The saved arrays of a parameter, if they are those that the rule needs or may have needed before."""
    if not p.size and not values:
        return {}
    switches: dict[str, Any] = dict.fromkeys(FLAGS & options.keys(), True)
    switches |= {name: 0.5 for name in ("momentum", "dampening") if name in options}
    possible = {"step", *optimizer.initial_state({**options, **switches})}
    needed = {"step", *optimizer.initial_state(options)} - optimizer.computed_state
    for name, value in values.items():
        refuse_mask(value, f"{call}: parameter {k}, {name}")
    found = {name: np.asarray(value) for name, value in values.items()}
    if not needed <= found.keys() <= possible or any(
        x.shape != (() if name == "step" else p.shape) or x.dtype.kind not in "biuf" for name, x in found.items()
    ):
        shapes = {name: x.shape for name, x in found.items()}
        raise ValueError(
            f"{call}: parameter {k} of shape {p.shape} comes with {shapes}, not "
            f"{ {name: () if name == 'step' else p.shape for name in sorted(needed)} }"
        )
    if not (found["step"] >= 0 and found["step"] == np.floor(found["step"])):
        raise ValueError(f"{call}: parameter {k} has taken {found['step']} steps; the number must be whole")
    return found


def _put(group: Group, p: Tensor, found: Mapping[str, Array]) -> None:
    """Write the arrays of one parameter."""
    if not found:
        return
    flat, _ = group.place[id(p)]
    missing = found.keys() - flat.state.keys() - {"step"}
    if missing:  # options do not need it now, but it was there when they did
        flat.add_state(dict.fromkeys(missing, 0.0))
    for name, view in group.state_of(p):
        if name in found:
            np.copyto(view, found[name], casting="unsafe")
