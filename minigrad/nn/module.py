"""Module: a function with parameters, buffers and modules inside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from textwrap import indent
from typing import Any, ParamSpec, Protocol, Self, TypeVar

import numpy as np

from minigrad.engine.errors import refuse_mask
from minigrad.engine.modes import current_scope, open_path
from minigrad.engine.mutation import note_change
from minigrad.engine.node import mode
from minigrad.engine.primitive import value_of
from minigrad.nn import hooks
from minigrad.nn.module_checks import check_state, explain_input, warn_of_unregistered
from minigrad.nn.parameter import assigned_value, note_parameter
from minigrad.nn.summary import Summary, summary
from minigrad.tensor.inplace import refuse_traced
from minigrad.tensor.tensor import Tensor
from minigrad.util import hints

Array = Any
P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class _HasForward(Protocol[P, R_co]):
    """The type of a module for its own call, which has the signature of forward."""

    def forward(self, *inputs: P.args, **options: P.kwargs) -> R_co: ...


class Module:
    """The base of all layers and networks. A subclass sets attributes and defines forward.

    An attribute that is a Tensor with requires_grad=True becomes a parameter, one that is a Module a child. Both are
    plain attributes; only their names are registered. An array or a constant Tensor is not a parameter: it is neither
    trained nor saved. Use `mg.Tensor(array, requires_grad=True)` or `register_buffer` for that. Assigned to an
    attribute that is a parameter, it becomes a new parameter with these values. The nodes that a child records on the
    tape have its name as their scope, and its parameters are listed under it: `encoder/0/weight`.

    For type checkers a call has the signature of forward: `forward(self, x: Tensor) -> Tensor` makes `model(x)` a
    Tensor.

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

    traversed = (Tensor, np.ndarray)  # what methods look for in all attributes, besides modules: for mg.compile
    training = True
    _repr_names: tuple[str, ...] = ()  # names of the attributes in repr
    _name = ""  # the name of the attribute of the parent that holds this module
    _calls_forward = True  # False for containers, whose modules are called instead
    _parameters: tuple[str, ...] = ()  # names of attributes, in the order in which they were set
    _buffers: tuple[str, ...] = ()
    _hooks: Any = None  # None, or a dictionary whose keys are the hooks in the order in which they were registered

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Create the module; arguments that another library has are an error with a hint."""
        hints.check_arguments(cls, arguments, options)
        return object.__new__(cls)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output. Subclasses define it; call the module itself, not forward."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(self, x)")

    def __call__(self: _HasForward[P, R_co], *inputs: P.args, **options: P.kwargs) -> R_co:
        """Call the hooks and forward; the nodes that they record have this module's scope."""
        module: Any = self
        run = module._hooked if module._hooks else module.forward
        if not module._name:
            try:
                return run(*inputs, **options)
            except AttributeError as error:
                explain_input(module, (*inputs, *options.values()), error)
                raise
        variable, path = open_path()
        try:
            variable.set(scope := f"{path}/{module._name}" if path else module._name)
            if module._parameters and variable is mode:
                module._place_parameters(scope)
            return run(*inputs, **options)
        except AttributeError as error:
            explain_input(module, (*inputs, *options.values()), error)
            raise
        finally:
            variable.set(path)

    def _hooked(self, *inputs: Any, **options: Any) -> Any:
        return hooks.call(self, self._hooks, inputs, options)

    def _place_parameters(self, path: str) -> None:
        """List the parameters under the scope in which they are used."""
        for name in self._parameters:
            node = self.__dict__[name].node
            if node is not None:
                node.scope = path

    def __setattr__(self, name: str, value: Any) -> None:
        old = self.__dict__.get(name)
        if old is not value and isinstance(old, (Tensor, Module)):
            value = assigned_value(self, name, old, value)
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
        """Make an array that is not a parameter part of the state, such as running statistics.

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
            A Hook, which is removed by its remove() or by leaving a `with` block over it.

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
            A Hook, which is removed by its remove() or by leaving a `with` block over it.
        """
        return hooks.Hook(self.__dict__.setdefault("_hooks", {}), function, before=False)

    # Traversal, in the order in which attributes were set. What is reached several times is listed once.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside this one, with their names."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        """The modules directly inside this one."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all modules inside it, with their dotted names; its own is the prefix."""
        pending, seen = [(prefix, self)], set()
        while pending:
            path, module = pending.pop()
            if module in seen:
                continue
            seen.add(module)
            yield path, module
            children = [(f"{path}.{name}" if path else name, child) for name, child in module.named_children()]
            pending += reversed(children)

    def modules(self) -> Iterator[Module]:
        """This module and all modules inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters of this module and all modules inside it, with their dotted names.

        Modules and parameters in plain lists, tuples, sets and dictionaries are not found; the first call warns of
        them, unless they are also registered elsewhere.
        """
        warn_of_unregistered(self)
        return self._named("_parameters")

    def parameters(self) -> Iterator[Tensor]:
        """The parameters of this module and all modules inside it."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """The buffers of this module and all modules inside it, with their dotted names."""
        return self._named("_buffers")

    def buffers(self) -> Iterator[Array]:
        """The buffers of this module and all modules inside it."""
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
        """The number of elements of all parameters, shared ones counted once; trainable=True leaves out frozen ones."""
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable)

    def requires_grad_(self, requires_grad: bool = True, *, wanted: bool | None = None) -> Self:
        """Set requires_grad of all parameters; False freezes them. Returns the module.

        The gradient of a frozen parameter becomes None, so that optimizers do not change it; it stays a parameter.
        """
        if wanted is not None:
            warnings.warn("requires_grad_(wanted=) is called requires_grad= now", DeprecationWarning, stacklevel=2)
            requires_grad = wanted
        for p in self.parameters():
            if not requires_grad:
                p.grad = None
            p.requires_grad = requires_grad
        return self

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call function(module) for this module and all modules inside it. Returns the module."""
        for module in list(self.modules()):
            function(module)
        return self

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all modules inside it to training, or with False to evaluation. Returns the module."""
        for module in self.modules():
            if module.training != mode:
                vars(module).pop("training", None)  # so train() after eval() leaves no attribute
                if module.training != mode:
                    module.training = mode
        return self

    def eval(self) -> Self:
        """Switch this module and all modules inside it to evaluation. Returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        for _, p in self._named("_parameters"):
            p.grad = None

    # State

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by dotted name. A shared one appears under each of its names."""
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
            ValueError: names (if strict) or shapes differ, or a dtype cannot be cast; all problems are listed, and
                nothing is changed.
        """
        arrays = self._state()
        check_state(type(self).__name__, arrays, state, strict)
        for name, value in state.items():
            if name in arrays:
                refuse_traced(value, f"{type(self).__name__}.load_state_dict")
                np.copyto(arrays[name], value_of(value), casting="same_kind")
                note_change(arrays[name])

    # Text

    def summary(self, input_shape: Any, dtype: Any = None) -> Summary:
        """The layers with their output shapes, parameters and cost, as a table: see `nn.summary`."""
        return summary(self, input_shape, dtype)

    def extra_repr(self) -> str:
        """The text between the parentheses of repr. Subclasses define it."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._repr_names)

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self.named_children()]
        text = self.extra_repr()
        if not children:
            return f"{type(self).__name__}({text})"
        return f"{type(self).__name__}({text}\n{indent(chr(10).join(children), '  ')}\n)"

    def _input_error(self, problem: str) -> ValueError:
        """The error for an input that does not fit; it says which layer of the network this is."""
        path, kind = current_scope(), f"{type(self).__name__}({self.extra_repr()})"
        return ValueError(f"{f'layer {path!r}, ' if path else ''}{kind}: {problem}")


hints.install(Module, hints.MODULE)
