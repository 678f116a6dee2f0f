"""Functions that a module calls before or after its forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """A registered function; `remove()` removes it, and so does leaving a `with` block over it."""

    def __init__(self, hooks: dict[Hook, None], function: Callable[..., Any], before: bool) -> None:
        if not callable(function):
            raise TypeError(f"a hook must be a function of the module and its inputs, got {function!r}")
        self.function, self.before, self._hooks = function, before, hooks
        hooks[self] = None

    def remove(self) -> None:
        """Stop calling the function. Removing it again does nothing."""
        self._hooks.pop(self, None)

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


def call(module: Any, hooks: dict[Hook, None], inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Call module.forward and the hooks, whose results replace the inputs and the output."""
    for hook in list(hooks):
        if hook.before:
            replacement = hook.function(module, inputs)
            if replacement is not None:
                inputs = replacement if isinstance(replacement, tuple) else (replacement,)
    output = module.forward(*inputs, **options)
    for hook in list(hooks):
        if not hook.before:
            replacement = hook.function(module, inputs, output)
            output = output if replacement is None else replacement
    return output
