"""The names of a primitive: its operands and parameters, and what its rules need besides v."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from types import FunctionType
from typing import Any

import numpy as np

Primitive = Any  # the class imports this file

# Names that the written functions use, so operands and parameters must have others.
RESERVED = frozenset({"v", "n", "pending", "function", "primitive", "Node", "Tensor", "scope_path", "new_object"})
VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def names_needed(rule: Callable[..., Any] | None) -> tuple[str, ...]:
    """The names of what a rule needs besides v: its parameters."""
    if rule is None:
        return ()
    if isinstance(rule, FunctionType) and not rule.__dict__ and not rule.__code__.co_flags & VARIADIC:
        code = rule.__code__  # the answer of inspect.signature at a tenth of the time: there are two hundred rules
        return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    return tuple(inspect.signature(rule).parameters)[1:]


def residual_names(p: Primitive) -> tuple[str, ...]:
    """The values that are kept for the rules: operands and outputs that some rule names."""
    needed = {name for names in (*p.names, p.joint_names) for name in names}
    return tuple(name for name in (*p.operands, *(p.outputs or ("out",))) if name in needed)


def check_names(p: Primitive) -> None:
    """Refuse names of operands and parameters that are taken, and names in rules that nothing has."""
    own = {*p.operands, *p.param_names}
    needed = {name for names in (*p.names, p.joint_names) for name in names}
    taken = own & RESERVED | own & {f"{x}_{what}" for x in p.operands for what in ("value", "node")}
    if not p.outputs:
        taken |= own & needed & {"out"}  # the value of the function
    if taken:
        raise TypeError(
            f"{p.name}{p.signature}: the name {min(taken)!r} is taken (v is the vector that a rule "
            "transforms, out the value of the function, others are used by the engine); rename the parameter"
        )
    known = {*own, *(p.outputs or ("out",)), "i", "needs_grad"}
    known |= {f"{x}_{what}" for x in p.operands for what in ("shape", "dtype")}
    if unknown := needed - known:
        raise TypeError(f"a rule of {p.name}{p.signature} names {min(unknown)!r}, which is none of its values")


def signature_of(function: Callable[..., Any], signature: str | inspect.Signature | None = None) -> inspect.Signature:
    """The given signature, for example "(x, /, *, axis=None)"; else a ufunc's, else the function's own."""
    if isinstance(signature, inspect.Signature):
        return signature
    if signature is not None:
        return _parsed(signature)
    if isinstance(function, np.ufunc):
        operands = "xyz"[: function.nin] if function.nin <= 3 else [f"x{k + 1}" for k in range(function.nin)]
        return _parsed(f"({', '.join(operands)}, /)")
    return inspect.signature(function).replace(return_annotation=inspect.Signature.empty)


@lru_cache(maxsize=256)
def _parsed(text: str) -> inspect.Signature:
    return inspect.signature(eval(f"lambda {text.strip('()')}: None"))


class _DefaultOf:
    """A default that is not a literal: the text says where it is found."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"primitive.signature.parameters[{self.name!r}].default"


def plain_parameters(p: Primitive) -> list[inspect.Parameter]:
    """The parameters as the text has them: without annotations, defaults as literals."""
    literal = (type(None), bool, int, float, str, type(inspect.Parameter.empty))
    return [
        q.replace(annotation=q.empty, default=q.default if isinstance(q.default, literal) else _DefaultOf(q.name))
        for q in p.signature.parameters.values()
    ]
