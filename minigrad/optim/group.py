"""Groups of parameters: their options, which are checked whenever they are set, and their flat arrays."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Self

import numpy as np

from minigrad.engine.errors import describe
from minigrad.optim.flat import Flat
from minigrad.optim.options import checked
from minigrad.tensor.tensor import Tensor

if TYPE_CHECKING:
    from minigrad.optim.optimizer import Optimizer

NOT_FOR_THE_RULE = ("params", "lr", "initial_lr", "maximize")


def check_names(call: str, new: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that an optimizer does not have, and other parameters.

    Raises:
        TypeError: there are some.
    """
    names = sorted(set(known) - {"params", "initial_lr"})
    if "params" in new:
        raise TypeError(
            f"{call}: the parameters of a group stay as they are; add others with optimizer.add_param_group"
        )
    unknown = sorted(set(new) - {*names, "initial_lr"}, key=repr)
    if unknown:
        raise TypeError(f"{call}: a group has no option {', '.join(map(repr, unknown))}; it may have {names}")


def listed(params: Any, call: str) -> list[Any]:
    """The parameters, given in a list or one alone.

    Raises:
        TypeError: this is a model, or something else that holds no Tensors.
    """
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


class Group(dict[str, Any]):
    """The options of a group of parameters, as a dictionary with fixed keys.

    Setting an option checks it, brings lr to the arrays that the rule reads, and makes the state that the rule needs
    from then on: `group["momentum"] = 0.9` after some steps without momentum begins with a velocity of 0.

    Raises:
        ValueError: an option is out of range; nothing is changed.
        TypeError: an option is of another kind, there is none of this name, or it cannot be set or removed.
    """

    fixed = ("flats", "place")  # containers that are never changed

    def __init__(self, options: Mapping[str, Any], owner: Optimizer) -> None:
        self._call, self._owner = owner._call(), weakref.ref(owner)
        super().__init__(checked(self._call, options))
        owner.check(self)
        by_dtype: dict[Any, list[Tensor]] = {}
        for p in self["params"]:
            if p.size:
                by_dtype.setdefault(p.dtype, []).append(p)
        self.flats = [Flat(members, self["lr"]) for members in by_dtype.values()]
        self.place = {id(p): (flat, k) for flat in self.flats for k, p in enumerate(flat.parameters)}
        self.make_state()

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *given: Any, **named: Any) -> None:
        """Set several options at once, so that they are checked together."""
        new, owner = dict(*given, **named), self._owner()
        check_names(self._call, new, self)
        new = checked(self._call, new)
        if owner is not None:
            owner.check({**self, **new})
        self.store(new)

    def store(self, new: Mapping[str, Any]) -> None:
        """Set options that were checked."""
        super().update(new)
        if "lr" in new:
            for flat in self.flats:
                np.copyto(flat.lr, new["lr"], casting="same_kind")
        self.make_state()

    def make_state(self) -> None:
        """The arrays that the rule needs with these options, and that are not there yet."""
        owner = self._owner()
        state = {} if owner is None else owner.initial_state(self)
        for flat in self.flats:
            if not state.keys() <= flat.state.keys():
                flat.add_state(state)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The option; it is set if it is not there."""
        if name not in self:
            self[name] = default
        return self[name]

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def _fixed(self, *given: Any) -> NoReturn:
        raise TypeError("an optimizer's group keeps all its options: set them to other values, or make a new optimizer")

    __delitem__ = pop = popitem = clear = _fixed

    def __reduce__(self) -> Any:
        return dict, (dict(self),)

    def options(self) -> dict[str, Any]:
        """What the rule is called with, besides lr."""
        return {name: value for name, value in self.items() if name not in NOT_FOR_THE_RULE}

    def state_of(self, p: Tensor) -> Iterator[tuple[str, Any]]:
        """Views of the arrays that belong to one parameter, with their names: "step", and the rule's."""
        if p.size:
            flat, k = self.place[id(p)]
            yield "step", np.reshape(flat.steps[k : k + 1], ())
            for name, x in flat.state.items():
                yield name, np.reshape(flat.part(x, k, k + 1), p.shape)
