"""Module: a function with parameters, buffers and modules inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from textwrap import indent
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from minigrad.engine.errors import refuse_mask
from minigrad.engine.modes import current_scope, open_path
from minigrad.engine.mutation import note_change
from minigrad.engine.node import mode
from minigrad.engine.primitive import value_of
from minigrad.nn import hooks
from minigrad.nn.module_checks import assigned, check_state, explain_input, note_parameter
from minigrad.nn.unregistered import warn_of_unfound
from minigrad.tensor.inplace import refuse_traced
from minigrad.tensor.tensor import Tensor
from minigrad.util import hints

if TYPE_CHECKING:
    from minigrad.nn.summary import Summary

Array = Any


class Module:
    """The base of all layers and networks. A subclass sets attributes and defines forward.

    An attribute that is a Tensor with requires_grad=True becomes a parameter, one that is a Module a child. Both are
    plain attributes; only their names are remembered. An array or a constant Tensor is no parameter: it is neither
    trained nor saved, which `mg.Tensor(array, requires_grad=True)` and `register_buffer` are for. Assigned to a
    parameter it is its new value, as a new parameter. A child's nodes on the tape carry its name as their scope, and
    its parameters are listed under it: `encoder/0/weight`.

    Example:
        >>> import numpy as np
        >>> from minigrad.tensor.tensor import Tensor
        >>> class Scale(Module):
        ...     def __init__(self):
        ...         self.factor = Tensor([2.0], requires_grad=True)
        ...     def forward(self, x):
        ...         return x * self.factor
        >>> model = Scale()
        >>> model(np.array([1.0, 3.0])).tolist(), dict(model.named_parameters())
        ([2.0, 6.0], {'factor': Tensor([2.], name='factor', requires_grad=True)})
    """

    traversed = (Tensor, np.ndarray)  # what methods go through all attributes for, besides modules: for mg.compile
    training = True
    _name = ""  # the attribute of the parent that this is
    _parameters: tuple[str, ...] = ()  # names of attributes, in the order in which they were set
    _buffers: tuple[str, ...] = ()
    _hooks: Any = None  # None or a dict of them, in the order in which they were registered

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """An object of the class, unless its arguments are those of another library."""
        hints.check_arguments(cls, arguments, options)
        return object.__new__(cls)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The function that this module is. Subclasses define it; call the module itself, not forward."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, x)")

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """What forward returns; the nodes that it records belong to this module's scope."""
        run = self._hooked if self._hooks else self.forward
        if not self._name:
            try:
                return run(*inputs, **options)
            except AttributeError as error:
                explain_input(self, (*inputs, *options.values()), error)
                raise
        variable, path = open_path()
        try:
            variable.set(inside := f"{path}/{self._name}" if path else self._name)
            if self._parameters and variable is mode:
                self._place_parameters(inside)
            return run(*inputs, **options)
        except AttributeError as error:
            explain_input(self, (*inputs, *options.values()), error)
            raise
        finally:
            variable.set(path)

    def _hooked(self, *inputs: Any, **options: Any) -> Any:
        return hooks.call(self, self._hooks, inputs, options)

    def _place_parameters(self, path: str) -> None:
        """Parameters are listed under the scope in which they are used."""
        for name in self._parameters:
            node = self.__dict__[name].node
            if node is not None:
                node.scope = path

    def __setattr__(self, name: str, value: Any) -> None:
        before = self.__dict__.get(name)
        if before is not value and isinstance(before, (Tensor, Module)):
            value = assigned(self, name, before, value)
        if isinstance(value, Module):
            value._take_name(name)
        is_parameter = isinstance(value, Tensor) and value.requires_grad and value.is_leaf
        if is_parameter:
            note_parameter(value)
        if is_parameter and name not in self._parameters:
            self.__dict__["_parameters"] = (*self._parameters, name)
        if is_parameter and getattr(value.node, "name", None) is None and name.isidentifier():
            value.named(name)
        elif name in self._parameters and not isinstance(value, Tensor):
            self.__dict__["_parameters"] = tuple(n for n in self._parameters if n != name)
        self.__dict__[name] = value

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in self._parameters:
            note_parameter(getattr(self, name))

    def _take_name(self, name: str) -> None:
        self.__dict__["_name"] = name

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self.__dict__["_parameters"] = tuple(n for n in self._parameters if n != name)
        self.__dict__["_buffers"] = tuple(n for n in self._buffers if n != name)

    def register_buffer(self, name: str, value: Array) -> None:
        """Make an array part of the state that is no parameter, such as running statistics.

        It becomes the attribute `name`. Write into it with np.copyto or out=, so that it stays the same array.
        """
        if name in self._parameters or hasattr(type(self), name):
            raise ValueError(f"register_buffer({name!r}): {type(self).__name__} already has an attribute of this name")
        refuse_mask(value, f"register_buffer({name!r})")
        self.__dict__[name] = value
        if name not in self._buffers:
            self.__dict__["_buffers"] = (*self._buffers, name)

    # Hooks

    def register_forward_pre_hook(self, function: Callable[[Any, tuple[Any, ...]], Any]) -> hooks.Hook:
        """Call function(module, inputs) before each forward. What it returns, unless None, replaces the inputs.

        Returns:
            A Hook: its remove() ends this, or the end of a `with` block over it.

        Example:
            >>> from minigrad.nn import ReLU
            >>> layer = ReLU()
            >>> with layer.register_forward_pre_hook(lambda module, inputs: -inputs[0]):
            ...     layer(np.array([-1.0, 2.0])).tolist()
            [1.0, 0.0]
            >>> layer(np.array([-1.0, 2.0])).tolist()
            [0.0, 2.0]
        """
        return hooks.Hook(self.__dict__.setdefault("_hooks", {}), function, before=True)

    def register_forward_hook(self, function: Callable[[Any, tuple[Any, ...], Any], Any]) -> hooks.Hook:
        """Call function(module, inputs, output) after each forward. What it returns, unless None, replaces the output.

        Returns:
            A Hook: its remove() ends this, or the end of a `with` block over it.
        """
        return hooks.Hook(self.__dict__.setdefault("_hooks", {}), function, before=False)

    # Traversal, in the order in which attributes were set. What is reached twice is listed once.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, with their names."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        """The modules directly inside this one."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, with their dotted names; its own is the prefix."""
        pending, seen = [(prefix, self)], set()
        while pending:
            path, module = pending.pop()
            if module in seen:
                continue
            seen.add(module)
            yield path, module
            inside = [(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]
            pending += reversed(inside)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters of this module and all inside it, with their dotted names.

        Modules and parameters in plain lists, tuples, sets and dictionaries are not found; the first call warns of
        those, unless they are reached in another way.
        """
        warn_of_unfound(self)
        return self._named("_parameters")

    def parameters(self) -> Iterator[Tensor]:
        """The parameters of this module and all inside it."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """The buffers of this module and all inside it, with their dotted names."""
        return self._named("_buffers")

    def buffers(self) -> Iterator[Array]:
        """The buffers of this module and all inside it."""
        return (b for _, b in self.named_buffers())

    def _named(self, names: str) -> Iterator[tuple[str, Any]]:
        seen = set()
        for path, module in self.named_modules():
            for name in getattr(module, names):
                value = getattr(module, name)
                if id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def num_parameters(self, trainable: bool = False) -> int:
        """How many numbers the parameters hold, shared ones counted once; with trainable=True, without frozen ones."""
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable)

    def requires_grad_(self, wanted: bool = True) -> Self:
        """Freeze all parameters with False, or let gradients flow to them again. Returns the module.

        A frozen parameter forgets its gradient, so that optimizers leave it as it is; it stays a parameter.
        """
        for p in self.parameters():
            if not wanted:
                p.grad = None
            p.requires_grad = wanted
        return self

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call function(module) for this module and all inside it. Returns the module."""
        for module in list(self.modules()):
            function(module)
        return self

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all inside it to training, or with False to evaluation. Returns the module."""
        for module in self.modules():
            if module.training != mode:
                vars(module).pop("training", None)  # as it was made, after train() and eval()
                if module.training != mode:
                    module.training = mode
        return self

    def eval(self) -> Self:
        """Switch this module and all inside it to evaluation. Returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for _, p in self._named("_parameters"):
            p.grad = None

    # State

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by dotted name. What is shared appears under each of its names."""
        return {name: np.copy(value) for name, value in self._state().items()}

    def _state(self) -> dict[str, Array]:
        state = {}
        for path, module in self.named_modules():
            for name in (*module._parameters, *module._buffers):
                value = getattr(module, name)
                state[f"{path}.{name}" if path else name] = value.data if isinstance(value, Tensor) else value
        return state

    def load_state_dict(self, state: Mapping[str, Array], strict: bool = True) -> None:
        """Copy arrays into the parameters and buffers of the same names.

        Args:
            state: as state_dict returns it.
            strict: whether names that are missing or unexpected are an error.

        Raises:
            ValueError: names do not agree (if strict), or shapes, or numbers cannot become those of the parameters; all
                of them are listed, and nothing is changed.
        """
        ours = self._state()
        check_state(type(self).__name__, ours, state, strict)
        for name, value in state.items():
            if name in ours:
                refuse_traced(value, f"{type(self).__name__}.load_state_dict")
                np.copyto(ours[name], value_of(value), casting="same_kind")
                note_change(ours[name])

    # Text

    def summary(self, input_shape: Any, dtype: Any = None) -> Summary:
        """The layers with their output shapes, parameters and cost, as a table: see `nn.summary`."""
        from minigrad.nn.summary import summary

        return summary(self, input_shape, dtype)

    def extra_repr(self) -> str:
        """What repr shows between the parentheses. Subclasses define it."""
        return ""

    def __repr__(self) -> str:
        inside = [f"({name}): {child!r}" for name, child in self.named_children()]
        text = self.extra_repr()
        if not inside:
            return f"{type(self).__name__}({text})"
        return f"{type(self).__name__}({text}\n{indent(chr(10).join(inside), '  ')}\n)"

    def _explained(self, problem: str) -> ValueError:
        """An error that says which layer of the network it is."""
        path, kind = current_scope(), f"{type(self).__name__}({self.extra_repr()})"
        return ValueError(f"{f'layer {path!r}, ' if path else ''}{kind}: {problem}")


hints.install(Module, hints.MODULE)
