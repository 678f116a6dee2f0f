"""`minigrad derive`: writes the backward pass of a function in a file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from minigrad.app.source_files import load


def run(
    target: str, inputs: Mapping[str, str], order: int = 1, all_steps: bool = False, assigned: bool = False,
    shown: str = "text",
) -> bool:  # fmt: skip
    """Derive the backward pass of a function and print it.

    Args:
        target: "file.py:function".
        inputs: by parameter, its shape: "N,D", or "N<C" for integers below C.
        order: 1 for gradients, 2 for products with the Hessian.
        all_steps: whether every named value has a line.
        assigned: whether values that the function assigns to variables have names.
        shown: "text", "source", "latex" or "markdown".

    Returns:
        Whether it is proven, which it is if no error is raised.

    Raises:
        ValueError: there is no such function, or its backward pass cannot be written well.
        TypeError: the shape of an input is not known.
    """
    from minigrad.verify.derive.assigned_names import with_assigned_names
    from minigrad.verify.derive.deriving import derive_from

    path, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier():
        raise ValueError(f"{target}: write FILE.py:FUNCTION")
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{path} does not exist")
    module, _ = load(file)
    function = getattr(module, name, None)
    if not inspect.isfunction(function):
        functions = [k for k, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__]
        raise ValueError(f"{path} has no function {name}; it has {', '.join(functions) or 'none'}")
    shapes = _shapes_of_derivation(module, function, inputs)
    if assigned:
        function = with_assigned_names(function)
    result = derive_from(function, (), shapes, inputs, order, all_steps)
    text = {"source": lambda: result.source, "latex": result.to_latex, "markdown": result.to_markdown}
    print(text.get(shown, lambda: str(result))())
    return True


def _shapes_of_derivation(module: ModuleType, function: Any, inputs: Mapping[str, str]) -> dict[str, Any]:
    """The shapes of a derivation by hand of the same function in the file, if there is one."""
    from minigrad.verify import Derivation

    derivations = [d for d in vars(module).values() if isinstance(d, Derivation) and d.forward.function is function]
    shapes = derivations[0].forward.shapes if derivations else {}
    return {name: shape for name, shape in shapes.items() if name not in inputs}
