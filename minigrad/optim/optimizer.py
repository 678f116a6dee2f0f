"""Optimizers: groups of parameters, their state, and the update rule that moves them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from minigrad.errors import describe
from minigrad.modes import enable_grad
from minigrad.optim import clip
from minigrad.optim.flat import Flat
from minigrad.tensor import Tensor

Array = Any
NOT_NEGATIVE = {"lr", "eps", "weight_decay", "momentum", "lr_decay", "initial_accumulator_value", "momentum_decay"}
NOT_NEGATIVE |= {"tolerance_grad", "tolerance_change"}


class Group(dict[str, Any]):
    """The options of a group of parameters. Setting "lr" reaches the arrays that the rule reads."""

    fixed = ("flats", "place")  # containers that are never changed

    def __init__(self, options: Mapping[str, Any], state: Mapping[str, float]) -> None:
        super().__init__(options)
        by_dtype: dict[Any, list[Tensor]] = {}
        for p in self["params"]:
            if p.size:
                by_dtype.setdefault(p.dtype, []).append(p)
        self.flats = [Flat(members, state, self["lr"]) for members in by_dtype.values()]
        self.place = {id(p): (flat, k) for flat in self.flats for k, p in enumerate(flat.parameters)}

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        if name == "lr":
            for flat in self.flats:
                np.copyto(flat.lr, value, casting="same_kind")

    def options(self) -> dict[str, Any]:
        """What the rule is called with, besides lr."""
        return {name: value for name, value in self.items() if name not in ("params", "lr", "initial_lr")}


class Optimizer:
    """Moves parameters against their gradients. Subclasses give the rule, its state and its defaults.

    Args:
        params: Tensors, or groups as dictionaries with "params" and options of their own.
        defaults: the options of groups that do not give them.
        clipvalue: limit each element of the gradients to ±clipvalue.
        clipnorm: limit the norm of each parameter's gradient.
        global_clipnorm: limit the norm of all gradients together. At most one of the three, as in Keras.

    Raises:
        ValueError: no parameters, the same one twice, options out of range, or two kinds of clipping.
        TypeError: a parameter is not a leaf Tensor; a group has an unknown option.

    The parameters are moved into flat arrays, one for each group and dtype; every `.data` becomes a view of one.
    """

    rule: Callable[..., Array]
    fixed = ("defaults",)  # containers that are never changed

    def __init__(
        self,
        params: Iterable[Any],
        defaults: dict[str, Any],
        *,
        clipvalue: float | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        given = {"clipvalue": clipvalue, "clipnorm": clipnorm, "global_clipnorm": global_clipnorm}
        self.clipping = {name: limit for name, limit in given.items() if limit is not None}
        if len(self.clipping) > 1:
            raise ValueError(
                f"{self._call()}: {' and '.join(self.clipping)} are given; gradients are clipped one way only"
            )
        for name, limit in self.clipping.items():
            if not limit > 0:
                raise ValueError(f"{self._call()}: {name}={limit} must be positive")
        self.defaults = defaults
        self.param_groups: list[Group] = []
        for group in self._groups(params):
            self.add_param_group(group)

    def _call(self) -> str:
        return f"optim.{type(self).__name__}"

    def _groups(self, params: Iterable[Any]) -> list[dict[str, Any]]:
        if isinstance(params, Tensor):
            raise TypeError(
                f"{self._call()}: params is a single Tensor; give a list of them, [w], or model.parameters()"
            )
        members = list(params)
        if not members:
            raise ValueError(f"{self._call()}: there are no parameters. Was a generator used up before?")
        return members if isinstance(members[0], dict) else [{"params": members}]

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Optimize more parameters, with options of their own: {"params": [...], "lr": 0.1}."""
        unknown = set(group) - set(self.defaults) - {"params"}
        if unknown or "params" not in group:
            raise TypeError(
                f"{self._call()}: a group has {sorted(group)}; it needs 'params' and may have {sorted(self.defaults)}"
            )
        members = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        seen = {id(p) for other in self.param_groups for p in other["params"]}
        for p in members:
            if not isinstance(p, Tensor) or not p.is_leaf:
                what = "the result of an operation" if isinstance(p, Tensor) else type(p).__name__
                raise TypeError(f"{self._call()}: {describe(p)} is {what}; give leaf Tensors: model.parameters()")
            if p.dtype.kind != "f":
                raise TypeError(f"{self._call()}: a parameter of dtype {p.dtype}; it must be a floating-point one")
            if id(p) in seen:
                raise ValueError(f"{self._call()}: a parameter of shape {p.shape} is listed twice")
            seen.add(id(p))
        options = {**self.defaults, **group, "params": members}
        self.check(options)
        self.param_groups.append(Group(options, self.initial_state(options)))

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that are out of range."""
        for name in options.keys() & NOT_NEGATIVE:
            if not options[name] >= 0:
                raise ValueError(f"{self._call()}({name}={options[name]}): must not be negative")
        for name in options.keys() & {"alpha", "rho"}:
            if not 0 <= options[name] < 1:
                raise ValueError(f"{self._call()}({name}={options[name]}): must lie in [0, 1)")
        for beta in options.get("betas", ()):
            if not 0 <= beta < 1:
                raise ValueError(f"{self._call()}(betas={options['betas']}): both must lie in [0, 1)")

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, float]:
        """The arrays of a parameter's shape that the rule keeps, and what they are filled with at first."""
        return {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Move every parameter that has a gradient. Others keep their value and their state.

        Args:
            closure: called first, if given: it computes the gradients and returns the loss. LBFGS needs one.

        Returns:
            What the closure returned, or None.

        Raises:
            ValueError: no parameter has a gradient.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        work = []
        for group in self.param_groups:
            for flat in group.flats:
                flat.refresh()
                work.append((group, flat, flat.gather()))
        if not any(runs for _, _, runs in work):
            raise ValueError(
                f"optim.{type(self).__name__}.step: no parameter has a gradient, so nothing would change. Call "
                "loss.backward() before; are these the parameters of the model that made the loss, and do they require "
                "gradients?"
            )
        if self.clipping:
            self._clip([(flat, runs) for _, flat, runs in work])
        for group, flat, runs in work:
            flat.update(type(self).rule, runs, group.options())
        return loss

    def _clip(self, work: list[tuple[Flat, list[tuple[int, int]]]]) -> None:
        ((how, limit),) = self.clipping.items()
        parts = [flat.part(flat.gradient, *run) for flat, runs in work for run in runs]
        if how == "global_clipnorm":
            clip.by_global_norm(parts, limit)
        elif how == "clipvalue":
            for g in parts:
                clip.by_value(g, limit)
        else:
            for flat, runs in work:
                for first, end in runs:
                    starts = np.asarray(flat.stops[first:end]) - flat.stops[first]
                    clip.by_norm(flat.part(flat.gradient, first, end), starts, flat.sizes[first:end], limit)

    # State

    def state_dict(self) -> dict[str, Any]:
        """Copies of all that a later step depends on. Parameters are numbered through all groups.

        Returns:
            "state": for each number the steps taken and the rule's arrays; "param_groups": options, and the numbers.
        """
        state, groups, number = {}, [], 0
        for group in self.param_groups:
            numbers = range(number, number + len(group["params"]))
            number = numbers.stop
            groups.append({**group, "params": list(numbers)})
            for k, p in zip(numbers, group["params"], strict=True):
                state[k] = {name: np.copy(value) for name, value in self._state_of(group, p).items()}
        return {"state": state, "param_groups": groups}

    def _state_of(self, group: Group, p: Tensor) -> dict[str, Array]:
        """Views of the arrays that belong to one parameter."""
        if not p.size:
            return {}
        flat, k = group.place[id(p)]
        views = {name: np.reshape(flat.part(x, k, k + 1), p.shape) for name, x in flat.state.items()}
        return {"step": np.reshape(flat.steps[k : k + 1], ()), **views}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where state_dict was taken.

        Raises:
            ValueError: groups, parameters or shapes differ; nothing is changed then.
        """
        given, ours = state["param_groups"], self.param_groups
        sizes, wanted = [len(g["params"]) for g in given], [len(g["params"]) for g in ours]
        if sizes != wanted:
            raise ValueError(f"{self._call()}.load_state_dict: groups of {sizes} parameters given, {wanted} wanted")
        pairs = []
        for saved, group in zip(given, ours, strict=True):
            for k, p in zip(saved["params"], group["params"], strict=True):
                views, values = self._state_of(group, p), state["state"].get(k, {})
                found, fitting = ({n: np.shape(v) for n, v in of.items()} for of in (values, views))
                if found != fitting:
                    raise ValueError(
                        f"{self._call()}.load_state_dict: parameter {k} of shape {p.shape} comes with {found}, "
                        f"not {fitting}"
                    )
                pairs += [(views[name], values[name]) for name in views]
        for view, value in pairs:
            np.copyto(view, value, casting="same_kind")
        for saved, group in zip(given, ours, strict=True):
            for name, value in saved.items():
                if name != "params":
                    group[name] = value
            for flat in group.flats:
                flat.breaks = set((np.flatnonzero(np.diff(flat.steps)) + 1).tolist())

    def __repr__(self) -> str:
        groups = [
            f"{sum(p.size for p in g['params'])} numbers in {len(g['params'])} parameters, "
            + ", ".join(f"{name}={value}" for name, value in g.items() if name != "params")
            for g in self.param_groups
        ]
        return f"{type(self).__name__}({'; '.join(groups)})"
