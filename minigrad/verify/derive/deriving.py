"""mg.derive: the backward pass of a function, written as a person writes it, and proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from minigrad.verify.as_written.inputs import shapes_of
from minigrad.verify.derivation.forward import Forward
from minigrad.verify.derive.assigned_names import with_assigned_names
from minigrad.verify.derive.derived import Derived, derived
from minigrad.verify.derive.integer_inputs import Integers
from minigrad.verify.derive.second_order import second_order
from minigrad.verify.pairs.instrument import Written
from minigrad.verify.pairs.pair import is_float_array

LETTERS = "NDKCHW"


def derive(
    f: Callable[..., Any], *arrays: Any, order: int = 1, all_steps: bool = False, assigned: bool = False, **shapes: Any
) -> Derived:  # fmt: skip
    """Write the backward pass of a function: lines of NumPy in the user's names, simplified and proven.

    Args:
        f: a function of named inputs. Values that shall have a gradient of their own are named in it with `mg.name`.
            Parameters with a default are constants.
        *arrays: example inputs, in the order of the parameters.
        order: 1 for the gradient; 2 for the product of the Hessian with a vector, of a function that returns a number.
        all_steps: whether every named value has a line. By default the gradient of an intermediate value is put into
            the lines that use it where that makes the whole shorter.
        assigned: whether values that f assigns to its variables have names too, as if `mg.name` stood there. What f
            returns besides its result, for a backward function, is left out then.
        **shapes: for each input its shape, as in `mg.verify.Derivation`: "N D", a tuple of ints, an array, or a
            function of a Generator. Those that are not given are taken from annotations, the docstring or the code.

    Returns:
        A `Derived`: `print` shows the lines, `.source` runs alone, `.derivation` is a `mg.verify.Derivation`,
        `.to_latex()` and `.to_markdown()` show the steps with their rules, `.fused()` is f as one primitive.

    Raises:
        TypeError: the shape of an input is not known.
        ValueError: the backward pass cannot be written well; the message says why.
        ArithmeticError: a derived line did not pass the check, so nothing is shown.

    Example:
        >>> import minigrad as mg
        >>> def layer(x, w):
        ...     h = mg.name("h", mg.tanh(x @ w))
        ...     return h**2
        >>> print(mg.derive(layer, x="N D", w="D K", all_steps=True))
        # layer, backward: 3 lines, proven
        dh = 2 * dout * h
        dx = dh * (1 - out) @ w.T
        dw = x.T @ (dh * (1 - out))
    """
    return derive_from(with_assigned_names(f) if assigned else f, arrays, shapes, {}, order, all_steps)


def derive_from(
    f: Callable[..., Any], arrays: Sequence[Any], shapes: Mapping[str, Any], texts: Mapping[str, str], order: int,
    all_steps: bool,
) -> Derived:  # fmt: skip
    """See derive. `texts` are shapes as on the command line: "N,D", or "N<C" for integers below C."""
    if order not in (1, 2):
        raise ValueError(f"derive(order={order}): the order is 1, for gradients, or 2, for products with the Hessian")
    forward = Forward(f, shapes)
    if len(arrays) > len(forward.inputs):
        raise TypeError(f"derive({forward.name}): {len(arrays)} arrays for the inputs {', '.join(forward.inputs)}")
    specs = {**dict(zip(forward.inputs, arrays, strict=False)), **shapes}
    if any(k not in specs for k in forward.inputs):
        specs = {**_shapes_in_code(forward, texts), **specs}
    unknown = [k for k in forward.inputs if k not in specs]
    if unknown:
        raise TypeError(
            f'derive({forward.name}): the shape of {unknown[0]!r} is not known. Give it, {unknown[0]}="N D" or an '
            f"array (on the command line, --input {unknown[0]}=N,D), or say it in the docstring, {unknown[0]}: (N, D)"
        )
    write = derived if order == 1 else second_order
    general = _with_named_axes(forward, specs)
    if general is not None:
        with suppress(ValueError, IndexError, TypeError, ArithmeticError):
            return write(Forward(f, general), all_steps)
    return write(_with_sizes(Forward(f, specs)), all_steps)


def _with_sizes(forward: Forward) -> Forward:
    for spec in forward.shapes.values():
        if isinstance(spec, Integers):
            spec.sizes = forward.axes
    return forward


def _shapes_in_code(forward: Forward, texts: Mapping[str, str]) -> dict[str, Any]:
    """The shapes that annotations, the docstring or the code of a function say, or those in `texts`."""
    try:
        found, sizes = shapes_of(Written(forward.function), texts)
    except (OSError, TypeError) as error:
        if texts:
            raise TypeError(f"derive({forward.name}): its source is not available") from error
        return {}
    shapes: dict[str, Any] = {}
    for name, shape in found.items():
        if name in forward.inputs:
            text = " ".join(str(sizes.get(axis, axis)) for axis in shape.axes)
            shapes[name] = Integers(shape.axes, shape.below, sizes) if shape.is_integer else text
    return shapes


def _with_named_axes(forward: Forward, specs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The shapes with names of axes for example arrays: equal sizes are one axis. None if there are no such arrays."""
    arrays = {k: np.asarray(specs[k]) for k in forward.inputs if not isinstance(specs[k], (str, tuple, Integers))}
    if not arrays or any(callable(specs[k]) or not is_float_array(v) for k, v in arrays.items()):
        return None
    sizes = sorted({n for v in arrays.values() for n in v.shape} - {1}, reverse=True)
    if len(sizes) > len(LETTERS):
        return None
    letters = dict(zip(sizes, LETTERS, strict=False))
    texts = {k: " ".join(letters.get(n, str(n)) for n in v.shape) for k, v in arrays.items()}
    return {**specs, **texts}
