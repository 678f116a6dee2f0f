"""Groups of parameters: their options, checked whenever they are set, their flat arrays, and their state as data."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol, Self

import numpy as np

from minigrad.engine.errors import refuse_mask
from minigrad.optim.flat import Flat
from minigrad.optim.options import FLAGS, check_names, checked
from minigrad.tensor.tensor import Tensor

Array = Any
NOT_FOR_THE_RULE = ("params", "lr", "initial_lr", "maximize")


class Method(Protocol):
    """What a group needs of its optimizer."""

    defaults: dict[str, Any]
    computed_state: frozenset[str]

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that do not go together."""

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays that the rule keeps with these options, and their first values."""


class Group(dict[str, Any]):
    """The options of a group of parameters, as a dictionary with fixed keys.

    Setting an option checks it, copies lr to the arrays that the rule reads, and creates the state that the rule needs
    from then on: `group["momentum"] = 0.9` after some steps without momentum begins with a velocity of 0.

    Raises:
        ValueError: an option is out of range; nothing is changed.
        TypeError: an option is of another kind, there is none of this name, or it cannot be set or removed.
    """

    fixed = ("flats", "place")  # containers that are never changed
    _method: Any = None  # a reference to the optimizer

    def __init__(self, options: Mapping[str, Any], method: Method, call: str) -> None:
        self._call, self._method = call, weakref.ref(method)
        super().__init__(checked(call, options))
        method.check(self)
        by_dtype: dict[Any, list[Tensor]] = {}
        for p in self["params"]:
            if p.size:
                by_dtype.setdefault(p.dtype, []).append(p)
        self.flats = [Flat(members, self["lr"]) for members in by_dtype.values()]
        self.find_places()
        self.create_state()

    def find_places(self) -> None:
        """Note in which flat array, and where in it, each parameter is."""
        self.place = {id(p): (flat, k) for flat in self.flats for k, p in enumerate(flat.parameters)}

    def __setitem__(self, name: str, value: Any) -> None:
        if self._method is None:  # a pickle of version 0.1.0, whose optimizer makes another group of it
            super().__setitem__(name, value)
        else:
            self.update({name: value})

    def update(self, *options: Any, **named: Any) -> None:
        """Set several options at once, so that they are checked together."""
        new, method = dict(*options, **named), self._method()
        check_names(self._call, new, self)
        new = checked(self._call, new)
        if method is not None:
            method.check({**self, **new})
        self.store(new)

    def store(self, new: Mapping[str, Any]) -> None:
        """Set options that have been checked."""
        super().update(new)
        if "lr" in new:
            for flat in self.flats:
                np.copyto(flat.lr, new["lr"], casting="same_kind")
        self.create_state()

    def create_state(self) -> None:
        """Create the arrays that the rule needs with these options and that do not exist yet."""
        method = self._method()
        state = {} if method is None else method.initial_state(self)
        for flat in self.flats:
            if not state.keys() <= flat.state.keys():
                flat.add_state(state)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The option; it is set if it is not there."""
        if name not in self:
            self[name] = default
        return self[name]

    def _merge(self, other: Any) -> Self:
        self.update(other)
        return self

    __ior__: Any = _merge

    def _fixed(self, *arguments: Any) -> NoReturn:
        raise TypeError("an optimizer's group keeps all its options: set them to other values, or make a new optimizer")

    __delitem__ = pop = popitem = clear = _fixed

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def options(self) -> dict[str, Any]:
        """The options that the rule is called with, without lr."""
        return {name: value for name, value in self.items() if name not in NOT_FOR_THE_RULE}

    def state_of(self, p: Tensor) -> Iterator[tuple[str, Any]]:
        """Views of the arrays that belong to one parameter, with their names: "step", and the rule's."""
        if p.size:
            flat, k = self.place[id(p)]
            yield "step", np.reshape(flat.steps[k : k + 1], ())
            for name, x in flat.state.items():
                yield name, np.reshape(flat.part(x, k, k + 1), p.shape)


# The state of all groups as plain data, and back


def state_dict(groups: Sequence[Group]) -> dict[str, Any]:
    """Copies of the state of each parameter, numbered through all groups, and of the options."""
    state, saved, first = {}, [], 0
    for group in groups:
        numbers = range(first, first + len(group["params"]))
        first = numbers.stop
        saved.append({**group, "params": list(numbers)})
        for k, p in zip(numbers, group["params"], strict=True):
            state[k] = {name: np.copy(value) for name, value in group.state_of(p)}
    return {"state": state, "param_groups": saved}


def load_state_dict(groups: Sequence[Group], state: Mapping[str, Any], method: Method, call: str) -> None:
    """Load a saved state into the groups of an optimizer. All of it is checked first.

    Raises:
        ValueError: it does not fit.
    """
    if not isinstance(state, Mapping) or not {"state", "param_groups"} <= state.keys():
        raise ValueError(f"{call}: this is not the state of an optimizer, which has 'state' and 'param_groups'")
    saved_groups = state["param_groups"]
    sizes, expected = [len(g["params"]) for g in saved_groups], [len(g["params"]) for g in groups]
    if sizes != expected:
        raise ValueError(f"{call}: expected groups of {expected} parameters, got {sizes}")
    options = [_loaded_options(method, call, saved, group) for saved, group in zip(saved_groups, groups, strict=True)]
    loaded = []
    for saved, group, new in zip(saved_groups, groups, options, strict=True):
        for k, p in zip(saved["params"], group["params"], strict=True):
            loaded.append((group, p, _loaded_arrays(method, call, k, p, state["state"].get(k, {}), new)))
    for group, new in zip(groups, options, strict=True):
        for flat in group.flats:
            flat.state = {}  # state that the saved one lacks begins again
        group.store(new)
    for group, p, arrays in loaded:
        _write(group, p, arrays)
    for name in method.computed_state:  # files of older versions lack it
        for group, p, arrays in loaded:
            if arrays and name not in arrays and name in group.place[id(p)][0].state:
                flat, k = group.place[id(p)]
                flat.part(flat.state[name], k, k + 1)[...] = min(int(flat.steps[k]), 1)
    for group in groups:
        for flat in group.flats:
            flat.breaks = set((np.flatnonzero(np.diff(flat.steps)) + 1).tolist())


def _loaded_options(method: Method, call: str, saved: Mapping[str, Any], group: Group) -> dict[str, Any]:
    """The saved options of a group, checked."""
    options = {name: value for name, value in saved.items() if name != "params"}
    different = (options.keys() ^ method.defaults.keys()) - {"initial_lr", "maximize"}
    if different:
        raise ValueError(
            f"{call}: the state is that of another kind of optimizer: expected the options "
            f"{sorted(method.defaults)}, got {sorted(options)}"
        )
    try:
        new = checked(call, options)
    except TypeError as error:
        raise ValueError(str(error)) from error
    method.check({**group, **new})
    return new


def _loaded_arrays(
    method: Method, call: str, k: Any, p: Tensor, saved: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Array]:
    """The saved arrays of a parameter, if they are those that the rule needs or may have needed before."""
    if not p.size and not saved:
        return {}
    switches: dict[str, Any] = dict.fromkeys(FLAGS & options.keys(), True)
    switches |= {name: 0.5 for name in ("momentum", "dampening") if name in options}
    possible = {"step", *method.initial_state({**options, **switches})}
    needed = {"step", *method.initial_state(options)} - method.computed_state
    for name, value in saved.items():
        refuse_mask(value, f"{call}: parameter {k}, {name}")
    arrays = {name: np.asarray(value) for name, value in saved.items()}
    if not needed <= arrays.keys() <= possible or any(
        x.shape != (() if name == "step" else p.shape) or x.dtype.kind not in "biuf" for name, x in arrays.items()
    ):
        shapes = {name: x.shape for name, x in arrays.items()}
        expected = {name: () if name == "step" else p.shape for name in sorted(needed)}
        raise ValueError(
            f"{call}: parameter {k} of shape {p.shape}: expected arrays of shapes {expected}, got {shapes}"
        )
    if not (arrays["step"] >= 0 and arrays["step"] == np.floor(arrays["step"])):
        raise ValueError(
            f"{call}: parameter {k}: the number of steps is {arrays['step']}; it must be an integer, at least 0"
        )
    return arrays


def _write(group: Group, p: Tensor, arrays: Mapping[str, Array]) -> None:
    """Write the saved arrays of one parameter."""
    if not arrays:
        return
    flat, _ = group.place[id(p)]
    missing = arrays.keys() - flat.state.keys() - {"step"}
    if missing:  # the options do not need it now, but did when it was created
        flat.add_state(dict.fromkeys(missing, 0.0))
    for name, view in group.state_of(p):
        if name in arrays:
            np.copyto(view, arrays[name], casting="unsafe")
