"""The base class of optimizers: groups of parameters, their state, and the step that applies the update rule."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from minigrad.engine.errors import describe
from minigrad.engine.modes import enable_grad
from minigrad.optim import clip
from minigrad.optim.flat import Flat
from minigrad.optim.group import Group, load_state_dict, state_dict
from minigrad.optim.options import LIMITS, NAMES, Clipping, as_list, check_names
from minigrad.tensor.replaced import replacements
from minigrad.tensor.tensor import Tensor

Array = Any


class Optimizer:
    """Moves parameters against their gradients. Subclasses define the rule, its state and its defaults.

    Args:
        params: Tensors, pairs of a name and a Tensor, or groups as dictionaries with "params" and options of their own.
        defaults: the options of groups that do not set them.
        maximize: move along the gradients instead of against them.
        clipvalue: limit each element of the gradients to ±clipvalue.
        clipnorm: limit the norm of each parameter's gradient.
        global_clipnorm: limit the norm of all gradients together. At most one of the three, as in Keras.

    Raises:
        ValueError: no parameters, the same one twice, options out of range, or two kinds of clipping.
        TypeError: a parameter is not a leaf Tensor; a group has an unknown option.

    The parameters are moved into flat arrays, one for each group and dtype; every `.data` becomes a view of one.
    Options belong to the groups, `optimizer.param_groups[0]["lr"] = 0.1`, and are checked whenever they are set. The
    state of half-precision parameters is in single precision, and steps are integers. An optimizer can be pickled and
    copied, together with its model in one call: pickle.dumps((model, optimizer)). Steps of several threads run one
    after the other.
    """

    rule: Callable[..., Array]
    clipping: Mapping[str, Any]
    fixed = ("defaults",)  # containers that are never changed
    computed_state: frozenset[str] = frozenset()  # state that is computed if a saved state lacks it

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Create the optimizer; the keyword of Keras for the learning rate is an error with a hint.

        A user's own `__init__` may have an argument of that name.
        """
        if "learning_rate" in options and cls.__init__.__module__.startswith("minigrad."):
            raise TypeError(
                f"optim.{cls.__name__}() got an unexpected keyword argument 'learning_rate'. It is called lr: "
                f"optim.{cls.__name__}(params, lr={options['learning_rate']!r})"
            )
        return object.__new__(cls)

    def __init__(
        self,
        params: Iterable[Any],
        defaults: dict[str, Any],
        *,
        maximize: bool = False,
        clipvalue: float | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
    ) -> None:
        self._lock = threading.RLock()  # steps of several threads run one after the other
        self.clipping = dict(
            zip(LIMITS, (clipvalue, clipnorm, global_clipnorm), strict=True)
        )  # keeps those that are not None
        self.defaults = {**defaults, "maximize": maximize}
        self.param_groups: list[Group] = []
        for group in self._groups(params):
            self.add_param_group(group)

    vars(__new__).update(__wrapped__=__init__)  # inspect.signature and help show the arguments of __init__

    def __setattr__(self, name: str, value: Any) -> None:
        if name in LIMITS:
            raise AttributeError(
                f"{self._call()}.{name} = {value!r} would have no effect. Write: "
                f"optimizer.clipping = {{{name!r}: {value!r}}}"
            )
        if name in NAMES:
            option = "lr" if name == "learning_rate" else name
            raise AttributeError(
                f"{self._call()}.{name} = {value!r} would have no effect: options belong to the groups of parameters. "
                f"Write: for group in optimizer.param_groups: group[{option!r}] = {value!r}"
            )
        if name == "clipping":
            value = Clipping(self._call(), value)
        object.__setattr__(self, name, value)

    if not TYPE_CHECKING:  # type checkers report unknown attributes

        def __getattr__(self, name: str) -> Any:
            owner = "clipping" if name in LIMITS else "param_groups[0]" if name in NAMES else ""
            option = "lr" if name == "learning_rate" else name
            hint = f": it is an option, optimizer.{owner}[{option!r}]" if owner else ""
            raise AttributeError(f"{self._call()} has no attribute {name!r}{hint}")

    def _call(self) -> str:
        return f"optim.{type(self).__name__}"

    def _groups(self, params: Iterable[Any]) -> list[dict[str, Any]]:
        if isinstance(params, Tensor):
            raise TypeError(
                f"{self._call()}: params is a single Tensor; give a list of them, [w], or model.parameters()"
            )
        if isinstance(params, Mapping):
            raise TypeError(
                f"{self._call()}: params is a dictionary; give a list of Tensors or of groups: [{{'params': ...}}]"
            )
        members = as_list(params, self._call())
        if not members:
            raise ValueError(
                f"{self._call()}: got no parameters. A generator can be read only once: call model.parameters() again"
            )
        return members if isinstance(members[0], dict) else [{"params": members}]

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Optimize more parameters, with options of their own: {"params": [...], "lr": 0.1}."""
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(
                f"{self._call()}: a group is a dictionary with 'params' and perhaps {sorted(self.defaults)}, "
                f"not {list(group) if isinstance(group, Mapping) else describe(group)}"
            )
        check_names(self._call(), set(group) - {"params"}, self.defaults)
        members = as_list(group["params"], self._call())
        members = [p[1] if isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) else p for p in members]
        seen = {id(p) for other in self.param_groups for p in other["params"]}
        for p in members:
            if not isinstance(p, Tensor) or not p.is_leaf:
                kind = "the result of an operation" if isinstance(p, Tensor) else type(p).__name__
                raise TypeError(f"{self._call()}: {describe(p)} is {kind}; give leaf Tensors: model.parameters()")
            if p.dtype.kind != "f":
                raise TypeError(f"{self._call()}: a parameter has dtype {p.dtype}; it must be a floating-point dtype")
            if id(p) in seen:
                raise ValueError(f"{self._call()}: a parameter of shape {p.shape} is listed twice")
            seen.add(id(p))
        self.param_groups.append(Group({**self.defaults, **group, "params": tuple(members)}, self, self._call()))

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuse options that do not go together. Each option was checked on its own before."""

    def initial_state(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The arrays of a parameter's shape that the rule keeps with these options, by name.

        Returns:
            The first value of each: a number, or a function that computes it from the Flat.
        """
        return {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None, or with set_to_none=False to zeros where there are any."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None if set_to_none or p.grad is None else np.zeros_like(p.grad.data)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient. Others keep their value and their state.

        Args:
            closure: called first; it computes the gradients and returns the loss. Only LBFGS requires one.

        Returns:
            The result of the closure, or None without one.

        Raises:
            ValueError: no parameter has a gradient, or one was replaced in its model after the optimizer was made.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with self._lock:
            self._step()
        return loss

    def _step(self) -> None:
        work = []
        for group in self.param_groups:
            if type(group) is not Group:
                raise TypeError(
                    f"{self._call()}.step: param_groups holds a {type(group).__name__} that was added by hand; add "
                    "parameters with optimizer.add_param_group({'params': [...]}) instead"
                )
            for flat in group.flats:
                if flat.is_stale():
                    self._check_replaced()
                    flat.refresh()
                work.append((group, flat, flat.gather()))
                if group["maximize"]:
                    np.negative(flat.gradient, out=flat.gradient)
        if not any(runs for _, _, runs in work):
            raise ValueError(
                f"{self._call()}.step: no parameter has a gradient, so nothing would change. Call loss.backward() "
                "before; are these the parameters of the model that computed the loss, and do they require gradients?"
            )
        if self.clipping:
            self._clip([(flat, runs) for _, flat, runs in work])
        for group, flat, runs in work:
            flat.update(type(self).rule, runs, group.options())

    def _check_replaced(self) -> None:
        """Refuse to continue if a model has other parameters by now than this optimizer updates."""
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for group in self.param_groups:
            for p in group["params"]:
                for name, new in replacements(p):
                    if id(new) not in known:
                        raise ValueError(
                            f"{self._call()}.step: {name} was replaced after the optimizer was made, which updates "
                            f"the old one only; the new one, of shape {new.shape}, would never change. Create the "
                            "optimizer after the replacement, or add the new parameters: "
                            "optimizer.add_param_group({'params': [...]}). To give a parameter new values, write into "
                            "it: with no_grad(): p[...] = values"
                        )

    def _clip(self, work: list[tuple[Flat, list[tuple[int, int]]]]) -> None:
        ((kind, limit),) = self.clipping.items()
        parts = [flat.part(flat.gradient, *run) for flat, runs in work for run in runs]
        if kind == "global_clipnorm":
            clip.by_global_norm(parts, limit)
        elif kind == "clipvalue":
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
            "state": the number of steps and the rule's arrays, by parameter number; "param_groups": options, and the
            numbers.
        """
        with self._lock:
            return state_dict(self.param_groups)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where state_dict was taken.

        Raises:
            ValueError: groups, parameters, shapes or options differ or are out of range; nothing is changed.
        """
        with self._lock:
            load_state_dict(self.param_groups, state, self, f"{self._call()}.load_state_dict")

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name not in ("param_groups", "_lock")}
        with self._lock:
            groups = [dict(group) for group in self.param_groups]
            return {**own, "groups": groups, "state": state_dict(self.param_groups)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "param_groups" in state:
            state = self._from_0_1_0(state)
        vars(self).update({name: value for name, value in state.items() if name not in ("groups", "state")})
        self._lock = threading.RLock()
        self.param_groups = [Group(group, self, self._call()) for group in state["groups"]]
        load_state_dict(self.param_groups, state["state"], self, f"{self._call()}.load_state_dict")

    def _from_0_1_0(self, state: dict[str, Any]) -> dict[str, Any]:
        """What __getstate__ returns, from what version 0.1.0 pickled: the groups with their flat arrays."""
        groups, new = state["param_groups"], {"maximize": False}
        for group in groups:
            group.find_places()  # they are known by the ids of the parameters
        return {
            **{name: value for name, value in state.items() if name != "param_groups"},
            "clipping": Clipping(self._call(), state["clipping"]),
            "defaults": {**state["defaults"], **new},
            "groups": [{**group, **new} for group in groups],
            "state": state_dict(groups),
        }

    def __repr__(self) -> str:
        groups = [
            f"{sum(p.size for p in g['params'])} numbers in {len(g['params'])} parameters, "
            + ", ".join(f"{k}={v}" for k, v in g.items() if k != "params" and (k != "maximize" or v))
            for g in self.param_groups
        ]
        return f"{type(self).__name__}({'; '.join(groups)})"
