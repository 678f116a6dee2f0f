"""mg.derive: the backward pass of a function, written as a person writes it, and proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from minigrad.verify.as_written.inputs import shapes_of
from minigrad.verify.derivation.forward import Forward
from minigrad.verify.derive.derived import Derived, derived
from minigrad.verify.derive.second_order import second_order
from minigrad.verify.pairs.instrument import Written
from minigrad.verify.pairs.pair import is_float_array

LETTERS = "NDKCHW"


def derive(f: Callable[..., Any], *arrays: Any, order: int = 1, all_steps: bool = False, **shapes: Any) -> Derived:
    """Write the backward pass of a function: lines of NumPy in the user's names, simplified and proven.

    Args:
        f: a function of named inputs. Values that shall have a gradient of their own are named in it with `mg.name`.
            Parameters with a default are constants.
        *arrays: example inputs, in the order of the parameters.
        order: 1 for the gradient; 2 for the product of the Hessian with a vector, of a function that returns a number.
        all_steps: whether every named value has a line. By default the gradient of an intermediate value is put into
            the lines that use it where that makes the whole shorter.
        **shapes: for each input its shape, as in `mg.verify.Derivation`: "N D", a tuple of ints, an array, or a function
            of a Generator. Shapes that are not given are taken from annotations, the docstring or the code of f.

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
        dx = dh * (1 - h**2) @ w.T
        dw = x.T @ (dh * (1 - h**2))
    """
    if order not in (1, 2):
        raise ValueError(f"derive(order={order}): the order is 1, for gradients, or 2, for products with the Hessian")
    forward = Forward(f, shapes)
    for name, array in zip(forward.inputs, arrays, strict=False):
        forward.shapes[name] = array
    if len(arrays) > len(forward.inputs):
        raise TypeError(f"derive({forward.name}): {len(arrays)} arrays for the inputs {', '.join(forward.inputs)}")
    if any(k not in forward.shapes for k in forward.inputs):
        forward.shapes.update(_shapes_in_code(forward))
    unknown = [k for k in forward.inputs if k not in forward.shapes]
    if unknown:
        raise TypeError(
            f"derive({forward.name}): the shape of {unknown[0]!r} is not known; give it, {unknown[0]}=\"N D\", or an array"
        )
    write = derived if order == 1 else second_order
    general = _with_named_axes(forward)
    if general is not None:
        with suppress(ValueError, IndexError, TypeError, ArithmeticError):
            return write(general, all_steps)
    return write(Forward(f, forward.shapes), all_steps)


def _shapes_in_code(forward: Forward) -> dict[str, Any]:
    """The shapes that annotations, the docstring or the code of a function say."""
    try:
        found, sizes = shapes_of(Written(forward.function))
    except (OSError, TypeError):
        return {}
    shapes: dict[str, Any] = {}
    for name, shape in found.items():
        if name not in forward.inputs or name in forward.shapes:
            continue
        axes = " ".join(str(sizes.get(axis, axis)) for axis in shape.axes)
        shapes[name] = _integers(shape.axes, shape.below, sizes) if shape.is_integer else axes
    return shapes


def _integers(axes: tuple[str, ...], below: str | None, sizes: Mapping[str, int]) -> Callable[[np.random.Generator], Any]:
    def draw(rng: np.random.Generator) -> Any:
        bound = int(below) if below and below.isdigit() else sizes.get(below or "", 3)
        return rng.integers(0, bound, tuple(int(axis) if axis.isdigit() else sizes.get(axis, 7) for axis in axes))

    return draw


def _with_named_axes(forward: Forward) -> Forward | None:
    """The function with shapes whose axes have names, for example arrays: equal sizes are one axis. None if not needed."""
    given = {k: forward.shapes[k] for k in forward.inputs}
    if not any(is_float_array(np.asarray(v)) for v in given.values() if not isinstance(v, (str, tuple)) and not callable(v)):
        return None
    if not all(isinstance(v, (str, tuple)) or is_float_array(np.asarray(v)) for v in given.values()):
        return None
    sizes = sorted({n for v in given.values() if not isinstance(v, (str, tuple)) for n in np.shape(v)} - {1}, reverse=True)
    if len(sizes) > len(LETTERS):
        return None
    letters = dict(zip(sizes, LETTERS, strict=False))
    shapes = {
        k: v if isinstance(v, (str, tuple)) else " ".join(letters.get(n, str(n)) for n in np.shape(v))
        for k, v in given.items()
    }
    constants = {k: v for k, v in forward.shapes.items() if k not in forward.inputs}
    return Forward(forward.function, {**shapes, **constants})
