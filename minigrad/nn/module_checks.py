"""Checks with the errors that modules raise: of sizes, of probabilities, of inputs, of a state to load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minigrad.engine.errors import describe, refuse_mask
from minigrad.engine.primitive import value_of


def check_integers(layer: str, **arguments: Any) -> None:
    """Check that arguments are integers.

    Raises:
        TypeError: one of them is not.
    """
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            hint = f"; write int({value!r})" if isinstance(value, float) and value.is_integer() else ""
            raise TypeError(f"{layer}({name}={value!r}): must be an integer{hint}")


def check_sizes(layer: str, **sizes: Any) -> None:
    """Check that sizes are positive integers.

    Raises:
        TypeError: one of them is not an integer.
        ValueError: one of them is less than 1.
    """
    check_integers(layer, **sizes)
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{layer}({name}={size}): must be at least 1")


def check_dropout(layer: str, dropout: float) -> None:
    """Check that `dropout` is a probability.

    Raises:
        ValueError: it is not.
    """
    if not 0 <= dropout <= 1:
        raise ValueError(f"{layer}(dropout={dropout}): the probability of dropping an element must be in [0, 1]")


def check_state(module: str, arrays: Mapping[str, Any], state: Any, strict: bool) -> None:
    """Check that a state fits a module.

    Args:
        module: the class of the module.
        arrays: its parameters and buffers by name.
        state: what load_state_dict was called with.
        strict: whether names that are missing or unexpected are an error.

    Raises:
        ValueError: it does not; the message lists all problems.
    """
    if not isinstance(state, Mapping):
        raise ValueError(
            f"load_state_dict: expected a dictionary, as state_dict() returns it, got a {type(state).__name__}"
        )
    for name, value in state.items():
        refuse_mask(value, f"load_state_dict: {name}")
    values = {name: value_of(value) for name, value in state.items()}
    values = {n: x if isinstance(x, (np.ndarray, np.generic)) else np.asarray(x) for n, x in values.items()}
    problems = [
        f"{name}: expected shape {arrays[name].shape}, got {value.shape}"
        for name, value in values.items()
        if name in arrays and value.shape != arrays[name].shape
    ]
    problems += [
        f"{name}: expected dtype {arrays[name].dtype}, got {value.dtype}"
        for name, value in values.items()
        if name in arrays and not np.can_cast(value.dtype, arrays[name].dtype, "same_kind")
    ]
    if strict:
        problems += [f"missing: {name} {value.shape}" for name, value in arrays.items() if name not in values]
        problems += [f"unexpected: {name} {value.shape}" for name, value in values.items() if name not in arrays]
    if problems:
        lines = "\n  ".join(problems)
        hint = "\nstrict=False ignores missing and unexpected names." if strict else ""
        raise ValueError(f"load_state_dict: the state does not fit this {module}:\n  {lines}{hint}")


def explain_input(module: Any, inputs: tuple[Any, ...], error: AttributeError) -> None:
    """Raise a clearer error if a module failed because an input is not an array.

    Args:
        module: the module that failed.
        inputs: what it was called with.
        error: what forward raised.

    Raises:
        TypeError: one of the inputs lacks an attribute of arrays.
    """
    if error.name in ("shape", "ndim", "dtype", "size") and any(x is error.obj for x in inputs):
        x = error.obj
        hint = "; np.array(x) makes an array" if isinstance(x, (list, tuple, int, float)) else ""
        raise TypeError(
            f"{type(module).__name__}: expected Tensors or arrays, got {describe(x)} ({type(x).__name__}){hint}"
        ) from error
