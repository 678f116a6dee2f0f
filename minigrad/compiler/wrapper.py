"""A compiled function as a replacement of its function: attributes, methods in classes, a lock that survives forks."""

from __future__ import annotations

import functools
import os
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Self

from minigrad.compiler.refusal import CompileWarning, caller_level
from minigrad.engine.tracing import active

# The attributes of a compiled function itself. All others are those of its function.
OWN = frozenset({
    *("function", "state", "limit", "backend", "fallback", "audit", "verify", "versions", "latest", "eager", "why"),
    *("learned", "derivatives", "recordings", "forgotten", "discarded", "lock", "attribute", "is_homeless"),
    *("avoided", "has_warned"),
})  # fmt: skip
_all: weakref.WeakSet[Wrapper] = weakref.WeakSet()


class Wrapper:
    """Behaves like the function that it wraps, also as an attribute of a class.

    Args:
        function: the function.
    """

    attribute: str | None = None  # its name in a class
    is_homeless = False  # whether an object had no place for its compiled method
    lock: threading.RLock

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._renew_lock()
        _all.add(self)
        wrapper: Any = self  # its subclasses have the calls
        functools.update_wrapper(wrapper, function, updated=())

    def _renew_lock(self) -> None:
        self.lock = threading.RLock()  # a program's memory serves one call at a time

    def _like(self, function: Any) -> Self:
        """The same wrapper around another function."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The name of the step."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def __getattr__(self, name: str) -> Any:
        """Other attributes are the function's: counters on it, the parameters of a model."""
        if name.startswith("__") or "function" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.function, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in OWN or name.startswith("__"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.function, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.function, name)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As an attribute of a class it is a method, with one compiled step for each object."""
        if instance is None:
            return self
        method = self.function.__get__(instance)
        own = getattr(instance, "__dict__", None)
        if self.attribute is None:  # assigned to the class later
            attributes = ((n, x) for base in type(instance).__mro__ for n, x in vars(base).items())
            self.attribute = next((n for n, x in attributes if x is self), None)
        name = self.attribute
        if own is not None and name in own:  # the user has assigned something else
            return own[name]
        if own is None or name is None:
            self._warn_homeless(instance)
            return method
        if active.get() is not None:
            return method
        key = f"<compiled {getattr(self.function, '__qualname__', name)}>"  # a subclass may have another of that name
        step = own.get(key)
        if step is None or getattr(step.function, "__self__", None) is not instance:  # that of a copied object
            step = own[key] = self._like(method)
        return step

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.attribute] = value  # with this method, Python calls __get__ before it looks there

    def __set_name__(self, owner: type, name: str) -> None:
        self.attribute = name

    def _warn_homeless(self, instance: Any) -> None:
        """Warn once that a method runs eagerly, as its object cannot keep a compiled step."""
        if self.is_homeless:
            return
        self.is_homeless = True
        why, hint = f"as a {type(instance).__name__} has no __dict__ to keep it in", "compile the method in __init__"
        if isinstance(instance, type):  # a class method
            why = f"as it is a method of the class {instance.__name__} itself, which keeps no compiled one"
            hint = "make it a static method"
        text = f"mg.compile: {self.name} runs eagerly, {why}.\nHint: {hint}."
        warnings.warn(CompileWarning(text), stacklevel=caller_level())


def _renew_locks() -> None:
    """In a forked child: nothing would release what another thread had locked."""
    for wrapper in list(_all):
        wrapper._renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
