"""Functions that a module calls before or after its forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """A registered function. `remove()` ends it, and so does leaving a `with` block over it."""

    def __init__(self, hooks: dict[Hook, None], function: Callable[..., Any], before: bool) -> None:
        if not callable(function):
            raise TypeError(f"a hook is a function of the module and its inputs, and {function!r} cannot be called")
        self.function, self.before, self._hooks = function, before, hooks
        hooks[self] = None

    def remove(self) -> None:
        """Call the function no more. Removing it again does nothing."""
        self._hooks.pop(self, None)

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


def call(module: Any, hooks: dict[Hook, None], inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """What module.forward returns, with what its hooks put in place of inputs and output."""
    for hook in list(hooks):
        if hook.before:
            given = hook.function(module, inputs)
            if given is not None:
                inputs = given if isinstance(given, tuple) else (given,)
    output = module.forward(*inputs, **options)
    for hook in list(hooks):
        if not hook.before:
            given = hook.function(module, inputs, output)
            output = output if given is None else given
    return output
