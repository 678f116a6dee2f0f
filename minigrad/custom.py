"""custom: a user's own function with a derivative written by hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.primitive import Function, Primitive, Rule, as_function


def custom(
    function: Callable[..., Any],
    *rules: Rule,
    joint: Callable[..., Any] | None = None,
    outputs: Sequence[str] = (),
    name: str | None = None,
) -> Function:
    """A primitive from a function of arrays and the rules of its derivative.

    Args:
        function: computes with NumPy. Parameters without a default are operands, those with one are static and passed
            by keyword.
        *rules: one for each operand, None for an operand without a derivative. A rule takes v, the cotangent of the
            result, and names what else it needs: operands, `out`, static parameters, `x_shape`, `x_dtype`. It returns
            the operand's share, and is written with NumPy's functions, so that it can be differentiated again.
        joint: instead of the rules, one rule that returns a tuple with the shares of all operands.
        outputs: names of the results, if the function returns a tuple. The joint rule's v is then a tuple, with None
            for results that were not used, and it may name the results.
        name: what printed tapes and pictures call it.

    Returns:
        A function of arrays or Tensors. Check its rules with `mg.verify.check_gradients`.

    Raises:
        TypeError: there is not one rule for each operand, or a rule names something unknown.

    Example:
        >>> import minigrad as mg
        >>> import numpy as np
        >>> cube = mg.custom(lambda x: x**3, lambda v, x: v * 3 * x**2, name="cube")
        >>> float(mg.grad(cube)(2.0)), float(mg.grad(mg.grad(cube))(2.0))
        (12.0, 12.0)
    """
    operands, static = [], []
    for p in inspect.signature(function).parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise TypeError(f"custom: {p} is not a fixed operand; give each operand a name (fixed number of operands)")
        if p.kind is p.KEYWORD_ONLY or p.default is not p.empty:
            static.append(p.replace(kind=p.KEYWORD_ONLY, annotation=p.empty))
        else:
            operands.append(p.replace(kind=p.POSITIONAL_ONLY, annotation=p.empty))
    label = name or str(getattr(function, "__name__", "custom"))
    made = Primitive(
        function,
        *rules,
        joint=joint,
        signature=inspect.Signature([*operands, *static]),
        outputs=outputs,
        name=label if label.isidentifier() else "custom",
    )
    return as_function(made)
