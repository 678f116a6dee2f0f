"""Which gradient is which, among all that a backward function returns or stores in its object."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from minigrad.engine.primitive import value_of
from minigrad.util.pytree import flatten
from minigrad.verify.pairs.gradient_names import squeeze, values_named_by
from minigrad.verify.pairs.instrument import Return
from minigrad.verify.pairs.pair import Pair, is_number

Array = Any


def given_gradients(
    pair: Pair, inputs: Mapping[int, str], returned: Any, return_number: int, owner: Any,
    names: Mapping[str, str] | None = None, fits: Callable[[int, Array], int] | None = None,
) -> dict[int, Array]:  # fmt: skip
    """The gradients of inputs, by the key of the input.

    They are found by name: of a returned variable, of a key in a returned dictionary, of an attribute of the object or
    of an item in one of its dictionaries. Returned expressions without a name are the gradients of the inputs that are
    left, in the order of the forward function's parameters; an only expression is that of the input that it fits best.

    Args:
        pair: the functions.
        inputs: the name of each input.
        returned: what the backward function returned.
        return_number: by which of its return statements.
        owner: the object of a method; None of a function.
        names: by name of a gradient, the name of its value.
        fits: how well an array fits as the gradient of the input with a key: more is better.
    """
    found: dict[int, Array] = {}
    for path, value in [] if owner is None else attributes(owner):
        _add(found, inputs, path, value, names or {})
    parts = list(returned) if isinstance(returned, tuple) else [returned]
    statements = pair.backward.returns
    statement = statements[return_number] if return_number < len(statements) else Return([], (0, 0))
    unnamed: list[Any] = []
    for k, part in enumerate(parts):
        if pair.is_one_function and k == 0:  # the loss
            continue
        name = statement.path(k) if len(statement.parts) == len(parts) else None
        if isinstance(part, dict):
            for key, value in part.items():
                _add(found, inputs, f"grads.{key}", value, names or {})
        elif isinstance(part, (list, tuple)):
            unnamed += flatten(part)[0]
        elif is_number(value_of(part)) and not (name and _add(found, inputs, name, part, names or {})):
            is_expression = not pair.is_one_function or isinstance(statement.parts[k], (ast.BinOp, ast.Call))
            unnamed += [part] * is_expression  # one function also returns values, as hs[-1]
    parameters = {p.name for p in pair.parameters}
    left = [key for key, name in inputs.items() if key not in found and name in parameters]
    if len(parts) == len(unnamed) == 1 and fits is not None:
        left.sort(key=lambda key: -fits(key, unnamed[0]))
    if len(unnamed) == len(left) or len(parts) == len(unnamed) == 1:
        found |= dict(zip(left, unnamed, strict=False))
    return found


def _add(found: dict[int, Array], inputs: Mapping[int, str], path: str, value: Any, names: Mapping[str, str]) -> bool:
    """Add the gradient with a path, if it is that of an input. Returns whether it is."""
    if not is_number(value_of(value)):
        return False
    mapped = names.get(path.rpartition(".")[2])
    for squeezed in [squeeze(mapped)] if mapped else values_named_by(path):
        for key, name in inputs.items():
            if squeeze(name) == squeezed:
                found.setdefault(key, value)
                return True
    return False


def attributes(owner: Any) -> list[tuple[str, Any]]:
    """The attributes of an object, and the items of its dictionaries, by path."""
    found: list[tuple[str, Any]] = []
    for name, value in vars(owner).items():
        found += (
            [(f"{name}.{key}", item) for key, item in value.items()] if isinstance(value, dict) else [(name, value)]
        )
    return found
