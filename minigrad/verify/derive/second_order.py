"""Products of the Hessian with a vector: the backward pass of the product of the gradient with the vector.

The lines of the gradient are run on the tape as a forward function, and the backward pass of that is derived.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from minigrad.tensor.naming import name, probe
from minigrad.verify.derivation.forward import Forward
from minigrad.verify.derive.derived import Derived, derived


def second_order(forward: Forward, all_steps: bool) -> Derived:
    """The Hessian-vector product of a function that returns a number.

    Raises:
        ValueError: it returns something else, or the product cannot be written well.
    """
    first = derived(forward, all_steps)
    if first.shape != ():
        raise ValueError(
            f"derive({forward.name}, order=2): the Hessian is that of a number, and the result has shape "
            f"{first.shape}; take a loss, for example the sum"
        )
    gradients = [line.target for line in first.lines if line.target in first.inputs]
    inputs = [*forward.inputs, *(f"v_{k}" for k in gradients)]
    product = _product(forward, first, gradients, inputs)
    shapes = dict(forward.shapes)
    for k in gradients:
        spec = shapes[k]
        is_array = not isinstance(spec, (str, tuple)) and not callable(spec)
        shapes[f"v_{k}"] = np.random.default_rng(3).normal(size=np.shape(spec)) if is_array else spec
    prelude = [(f"grad_{target}", text) for target, text in first.as_values("grad_").items()]
    return derived(Forward(product, shapes), all_steps, prelude, [f"v_{k}" for k in gradients], is_loss=True)


def _product(forward: Forward, first: Derived, gradients: list[str], inputs: list[str]) -> Any:
    """The function of the inputs and vectors whose result is the gradient's product with the vectors."""
    lines = first.derivation.lines

    def product(**arguments: Any) -> Any:
        values = {k: v for k, v in arguments.items() if not k.startswith("v_") or k in forward.inputs}
        with _kept_names() as named:
            out = forward.function(*(values[k] for k in forward.positional), **_by_keyword(values, forward))
        names: dict[str, Any] = {**values, **named, "out": out, "dout": 1.0}
        for target in first.derivation.order():
            line = lines[target]
            result = line.function(*(names[k] for k in line.parameters))
            names[f"d{target}"] = name(f"grad_{target}", result)
        total: Any = 0.0
        for k in gradients:
            total = total + (names[f"d{k}"] * arguments[f"v_{k}"]).sum()
        return total

    product.__name__ = product.__qualname__ = forward.name
    kind = inspect.Parameter
    vars(product)["__signature__"] = inspect.Signature(
        [kind(k, kind.KEYWORD_ONLY) for k in inputs]
        + [kind(k, kind.KEYWORD_ONLY, default=value) for k, value in forward.constants.items()]
    )
    return product


def _by_keyword(values: Mapping[str, Any], forward: Forward) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k not in forward.positional}


@contextmanager
def _kept_names() -> Iterator[dict[str, Any]]:
    """The values that the function names within the block; whoever listens already sees them too."""
    outer = probe.get()
    values: dict[str, Any] = {}

    def store(text: str, value: Any, label: str | None) -> Any:
        values[text] = value if outer is None else outer(text, value, label)
        return values[text]

    token = probe.set(store)
    try:
        yield values
    finally:
        probe.reset(token)
