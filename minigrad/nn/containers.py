"""Modules that contain others: Sequential, ModuleList, ModuleDict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Never, overload

from minigrad.nn.module import Module
from minigrad.tensor.tensor import Tensor
from minigrad.util import hints


class Sequential(Module):
    """Modules applied one after another.

    Example:
        >>> from minigrad.nn import Linear, ReLU
        >>> net = Sequential(Linear(2, 3), ReLU(), Linear(3, 1))
        >>> net
        Sequential(
          (0): Linear(in_features=2, out_features=3)
          (1): ReLU()
          (2): Linear(in_features=3, out_features=1)
        )
        >>> len(net), net[-1], net[:2]
        (3, Linear(in_features=3, out_features=1), Sequential(
          (0): Linear(in_features=2, out_features=3)
          (1): ReLU()
        ))
    """

    def __init__(self, *modules: Module) -> None:
        for k, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential: argument {k} is {module!r}, not a Module; {_hint(module)}")
            setattr(self, str(k), module)

    def forward(self, x: Any) -> Tensor:
        for module in self.__dict__.values():
            if isinstance(module, Module):
                x = module(x)
        return x

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, k: int) -> Module: ...
    @overload
    def __getitem__(self, k: slice) -> Sequential: ...
    def __getitem__(self, k: int | slice) -> Module:
        children = list(self.named_children())
        if isinstance(k, slice):
            part = Sequential()
            for name, module in children[k]:  # a module keeps its name
                setattr(part, name, module)
            return part
        return children[k][1]


hints.install(Sequential, hints.SEQUENTIAL)


def _hint(argument: Any) -> str:
    if isinstance(argument, Mapping):
        return "write Sequential(*modules.values())"
    if isinstance(argument, Iterable) and not isinstance(argument, str):
        return "write Sequential(*modules)"
    return "write ReLU(), not ReLU or a function"


class Container(Module):
    """A module that is not called itself. Its name is a prefix of those of its modules on the tape: `blocks/0`."""

    _calls_forward = False

    def _take_name(self, name: str) -> None:
        super()._take_name(name)
        for key, module in self.named_children():
            module._take_name(f"{name}/{key}")

    def _set(self, key: str, module: Any) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: {key} is {module!r}, not a Module; write ReLU(), not ReLU")
        setattr(self, key, module)
        if self._name:
            module._take_name(f"{self._name}/{key}")

    def forward(self, *inputs: Any, **options: Any) -> Any:
        raise NotImplementedError(f"a {type(self).__name__} cannot be called; call its modules, or use Sequential")

    def __len__(self) -> int:
        return sum(1 for _ in self.children())


class ModuleList(Container):
    """A list of modules, which are children of the module that has the list as an attribute.

    Example:
        >>> from minigrad.nn import Linear, ReLU
        >>> blocks = ModuleList(Linear(2, 2) for _ in range(3))
        >>> blocks.append(ReLU()).extend([ReLU()])[-1], len(blocks), len(list(blocks.parameters()))
        (ReLU(), 5, 6)
    """

    def __init__(self, modules: Iterable[Module] = (), *more: Never) -> None:
        if more or isinstance(modules, Mapping):
            argument = f"{1 + len(more)} arguments" if more else "a dictionary; use ModuleDict"
            raise TypeError(f"ModuleList: expected one list of modules, ModuleList([...]), got {argument}")
        self.extend(modules)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end. Returns the list."""
        self._set(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end. Returns the list."""
        if not isinstance(modules, Iterable):
            raise TypeError(f"ModuleList: expected a list of modules, got {modules!r}")
        for module in modules:
            self.append(module)
        return self

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    @overload
    def __getitem__(self, k: int) -> Module: ...
    @overload
    def __getitem__(self, k: slice) -> list[Module]: ...
    def __getitem__(self, k: int | slice) -> Module | list[Module]:
        return list(self.children())[k]

    def __setitem__(self, k: int, module: Module) -> None:
        self._set([name for name, _ in self.named_children()][k], module)


class ModuleDict(Container):
    """Modules by name, which are children of the module that has the dictionary as an attribute.

    Raises:
        ValueError: a name is not a non-empty string without dots, or is an attribute that every module has.
        TypeError: a value is not a Module.

    Example:
        >>> from minigrad.nn import Linear, ReLU, Tanh
        >>> heads = ModuleDict({"mean": Linear(2, 1), "log_std": Linear(2, 1)})
        >>> heads["mean"], list(heads), "std" in heads
        (Linear(in_features=2, out_features=1), ['mean', 'log_std'], False)
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()) -> None:
        self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, or replace those of the same names."""
        if not isinstance(modules, Iterable):
            raise TypeError(f"ModuleDict: expected a dictionary of modules, {{'name': ...}}, got {modules!r}")
        for name, module in dict(modules).items():
            self[name] = module

    def keys(self) -> list[str]:
        """The names."""
        return [name for name, _ in self.named_children()]

    def values(self) -> list[Module]:
        """The modules."""
        return list(self.children())

    def items(self) -> list[tuple[str, Module]]:
        """The names and modules."""
        return list(self.named_children())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __getitem__(self, name: str) -> Module:
        if name not in self:
            raise KeyError(f"ModuleDict: no module is called {name!r}; there are {', '.join(self) or 'none'}")
        return dict(self.named_children())[name]

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(name, str) or not name or "." in name or hasattr(type(self), name):
            raise ValueError(
                f"ModuleDict: {name!r} cannot name a module; use a string without dots that no attribute of Module has"
            )
        self._set(name, module)

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self, name)
