"""custom: a user's own function with a derivative written by hand.

Rules get v and the operands as arrays that cannot be written to, because others use them too. What a rule returns must
fit its operand. Errors name the rule.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from types import FunctionType
from typing import Any

import numpy as np

from minigrad.engine.borrowed import read_only
from minigrad.engine.errors import NUMERIC, describe
from minigrad.engine.node import Node, mode
from minigrad.engine.primitive import Function, Primitive, Rule, as_function
from minigrad.engine.signatures import names_needed, signature_of
from minigrad.engine.specialize import attach
from minigrad.ops.shape import broadcasts
from minigrad.tensor.tensor import Tensor


def custom(
    function: Callable[..., Any],
    *rules: Rule,
    joint: Callable[..., Any] | None = None,
    outputs: Sequence[str] = (),
    name: str | None = None,
) -> Function:
    """A primitive from a function of arrays and the rules of its derivative.

    Args:
        function: computes with NumPy. Parameters without a default are operands, those with one are params and passed
            by keyword. A ufunc (also SciPy's) has the operands x, y, z, or x1, x2, ... if there are more than three.
        *rules: one for each operand, None for an operand without a derivative. A rule takes v, the cotangent of the
            result, and names what else it needs: operands, `out`, parameters, `x_shape`, `x_dtype`. It returns
            the operand's gradient, of the operand's shape (or of the result's, if the operand was broadcast), or None
            if there is no gradient. It is written with NumPy's functions, so that it can be differentiated again, and
            does not write into v or the operands.
        joint: instead of the rules, one rule that returns a tuple with the contributions of all operands.
        outputs: names of the results, if the function returns a tuple. The joint rule's v is then a tuple, with None
            for results that were not used, and it may name the results.
        name: what printed tapes and pictures call it.

    Returns:
        A function of arrays or Tensors. Check its rules with `mg.verify.check_gradients`.

    Raises:
        TypeError: there is not one rule for each operand, or a rule names something unknown. When it runs: the result
            of a rule or of the function is not an array of real numbers.
        ValueError: a rule returns another shape, or writes into v or its operands.

    Example:
        >>> import minigrad as mg
        >>> import numpy as np
        >>> cube = mg.custom(lambda x: x**3, lambda v, x: v * 3 * x**2, name="cube")
        >>> float(mg.grad(cube)(2.0)), float(mg.grad(mg.grad(cube))(2.0))
        (12.0, 12.0)
    """
    label = name or str(getattr(function, "__name__", "custom"))
    label = label if label.isidentifier() else "custom"
    signature = _signature(function, label)
    operands = [p.name for p in signature.parameters.values() if p.kind is p.POSITIONAL_ONLY]
    if not rules and joint is None:
        raise TypeError(
            f"custom: {label}{signature} has no rule, so gradients would be lost; give one for each of its operands "
            f"({', '.join(operands)}), None for an operand without a derivative"
        )
    for k, rule in enumerate((joint,) if joint is not None else rules):
        of = f" for {operands[k]}" if joint is None and k < len(operands) else ""
        if rule is not None and not callable(rule):
            raise TypeError(f"custom: the rule of {label}{of} is {describe(rule)}, which is not a function of v")
        if isinstance(rule, FunctionType) and not inspect.signature(rule).parameters:
            raise TypeError(f"custom: the rule of {label}{of} takes no parameter; its first is v, the cotangent")
    if "wanted" in names_needed(joint):
        warnings.warn(
            f"custom: in the joint rule of {label}, `wanted` is called `needs_grad` since version 0.2",
            DeprecationWarning,
            stacklevel=2,
        )
    if isinstance(function, np.ufunc) and function.nout not in (1, len(outputs)):
        raise TypeError(
            f"custom: {label} returns {function.nout} arrays; name them with outputs=, and give a joint rule"
        )
    return as_function(Custom(function, *rules, joint=joint, signature=signature, outputs=outputs, name=label))


def _signature(function: Any, label: str) -> inspect.Signature:
    """The signature with positional-only operands and keyword-only parameters."""
    if isinstance(function, np.ufunc):
        return signature_of(function)
    if not callable(function):
        raise TypeError(f"custom({describe(function)}, ...): give a function of arrays, then the rules")
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        raise TypeError(f"custom: the signature of {label} is unknown; wrap it: lambda x: {label}(x)") from None
    operands, params = [], []
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise TypeError(f"custom: {p} of {label} is not a fixed operand; give each operand a parameter of its own")
        if p.kind is p.KEYWORD_ONLY or p.default is not p.empty:
            params.append(p.replace(kind=p.KEYWORD_ONLY, annotation=p.empty))
        else:
            operands.append(p.replace(kind=p.POSITIONAL_ONLY, annotation=p.empty))
    return inspect.Signature([*operands, *params])


class Custom(Primitive):
    """A primitive whose function and rules are a user's."""

    is_checked = True

    @cached_property
    def callee(self) -> Callable[..., Any]:
        """The function, called with arrays that it cannot write to, and its result checked."""
        return self.function if isinstance(self.function, np.ufunc) else self._applied

    def _applied(self, *operands: Any, **params: Any) -> Any:
        for key, value in params.items():
            if isinstance(value, Tensor):
                if value.node is not None and mode.get() is not None:
                    raise TypeError(
                        f"{key}= is a Tensor that requires grad, and no gradient flows to a "
                        "parameter; make it an operand, that is a parameter without a default"
                    )
                params[key] = value.data
        protected = [_protected(x) for x in operands]
        try:
            out = self.function(*protected, **params)
        except ValueError as error:
            raise _explained(error, "the function", "its operands") from error
        if not self.outputs:
            return self._value(next((x for x, y in zip(operands, protected, strict=True) if out is y), out))
        if not isinstance(out, (tuple, list)) or len(out) != len(self.outputs):
            result = f"{len(out)} values" if isinstance(out, (tuple, list)) else f"a {type(out).__name__}"
            raise TypeError(
                f"the function returned {result}, and outputs= names {len(self.outputs)}: {', '.join(self.outputs)}"
            )
        return tuple(map(self._value, out))

    def _value(self, out: Any) -> Any:
        if isinstance(out, Tensor):
            raise TypeError(
                "the function returned a Tensor. It is called with arrays: compute with NumPy's functions "
                "on its operands, and make Tensors that take part operands too"
            )
        if isinstance(out, (bool, int, float)):
            return np.asarray(out)[()]
        if not _is_array(out):
            raise TypeError(
                f"the function returned {describe(out)} ({type(out).__name__}); it must return an array "
                "of numbers" + (", and outputs= names the results of one that returns several" * isinstance(out, tuple))
            )
        return out

    # Rules

    def guarded(self, k: int | None, rule: Any) -> Any:
        """The rule of operand k, or the joint one, called with arrays that it cannot write to."""

        def run(v: Any, *values: Any) -> Any:
            protected = [_protected(x) for x in (v, *values)]
            try:
                contribution = rule(*protected)
            except Exception as error:
                raise _explained(error, self._rule(k), "v or its operands") from error
            return v if contribution is protected[0] and type(v) is np.ndarray else contribution

        return run

    def checked(self, n: Node, k: int, contribution: Any) -> Any:
        """A contribution, checked and in an array of floating-point numbers; None if there is none."""
        parent = n.parents[k]
        if contribution is None or parent is None:
            return None
        if isinstance(contribution, (bool, int, float)):
            contribution = np.asarray(contribution, parent.dtype)[()]
        if not _is_array(contribution):
            raise TypeError(
                f"{self._rule(k)} returned {describe(contribution)} ({type(contribution).__name__}); it must return an "
                f"array of the operand's shape {parent.shape}, or None if there is no gradient"
            )
        if contribution.dtype.kind == "c":
            raise TypeError(f"{self._rule(k)} returned {contribution.dtype}; gradients are real numbers")
        shapes = n.shape if self.outputs else (n.shape,)
        if contribution.shape != parent.shape and not any(
            contribution.shape == s and broadcasts(parent.shape, s) for s in shapes
        ):
            raise ValueError(
                f"{self._rule(k)} returned shape {contribution.shape} for an operand of shape {parent.shape}; it must "
                f"return the gradient with respect to the operand, which has the operand's shape"
            )
        return contribution if contribution.dtype.kind == "f" else contribution.astype(parent.dtype)

    def checked_all(self, n: Node, contributions: Any) -> tuple[Any, ...]:
        """The contributions of a joint rule, checked."""
        is_sequence = isinstance(contributions, (tuple, list))
        if not is_sequence or len(contributions) != len(self.operands):
            result = f"{len(contributions)} contributions" if is_sequence else f"a {type(contributions).__name__}"
            raise TypeError(
                f"{self._rule(None)} returned {result}; it must return a tuple with one contribution for each operand "
                f"({', '.join(self.operands)}), None where there is no gradient"
            )
        return tuple(self.checked(n, k, contribution) for k, contribution in enumerate(contributions))

    def _rule(self, k: int | None) -> str:
        of = "" if k is None else f" for {self.operands[k]}"
        return f"the {'joint ' * (k is None or self.joint is not None)}rule of {self.name}{of}"


def _protected(x: Any) -> Any:
    """The same values, which cannot be written to."""
    if isinstance(x, Tensor):
        return attach(read_only(x.data), x.node)
    return tuple(map(_protected, x)) if type(x) is tuple else read_only(x)


def _explained(error: Exception, where: str, arguments: str) -> Exception:
    """An error in a user's function that says where it was raised; with a hint if the function wrote to arguments."""
    kind, message = type(error), f"{where}: {error}"
    if "read-only" in str(error):
        message += f". It must not write into {arguments}, which others use too: compute a new array instead"
    if kind.__module__ == "builtins":
        try:
            return kind(message)
        except TypeError:
            pass  # its arguments are not one message
    error.add_note(f"in {where}")
    return error


def _is_array(x: Any) -> bool:
    """Whether this is an array of numbers: NumPy's, or one with its protocols."""
    dtype = getattr(x, "dtype", None)
    return hasattr(x, "shape") and isinstance(dtype, np.dtype) and (dtype.char in NUMERIC or dtype.kind == "c")
