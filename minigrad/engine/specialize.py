"""Compiles the two functions that run for every operation, record and pull, from the text that codegen.py writes.

Primitives of the same form share the compiled code, and both functions are compiled when they first run, which keeps
the import light. The globals of all written functions are defined here, ENGINE.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from textwrap import indent
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from minigrad.engine.borrowed import owned, protected
from minigrad.engine.codegen import OPERATORS, record_source
from minigrad.engine.errors import ERRORS, constant, explain_error
from minigrad.engine.node import Node, mode, next_serial
from minigrad.engine.pairwise import HALF, add_reduce, column_sums, wide
from minigrad.util.locks import LOCK

Primitive = Any  # the class imports this file


# What the written functions call


class Unbound:
    """The class of Tensors until tensor.py binds its own: nothing is an instance, so primitives are plain functions."""


new = object.__new__

# The globals that all written functions share.
ENGINE: dict[str, Any] = {
    "__name__": __name__,
    "Tensor": Unbound,
    "Node": Node,
    "open_scopes": mode.get,
    "next_serial": next_serial,
    "plain": frozenset({float, int, bool}),
    "ndarray": np.ndarray,
    "numeric": frozenset({float, int, bool, np.ndarray, np.float64, np.float32}),  # none of them is a tracer array
    "float64": np.float64,
    "double": np.dtype(np.float64),
    "half": HALF,
    "wide": wide,
    "constant": constant,
    "explain_error": explain_error,
    "errors": ERRORS,
    "protected": protected,
    "owned": owned,
    "new_object": new,
}

_unbound: list[dict[str, Any]] = []  # the globals of record functions that do not know Tensor yet


def bind(tensor: type) -> None:
    """From here on, primitives record the operations on this class."""
    for scope in (ENGINE, *_unbound):
        scope["Tensor"] = tensor
    _unbound.clear()


def attach(value: Any, node: Node | None) -> Any:
    """A Tensor with this value, made by this node."""
    tensor = new(ENGINE["Tensor"])
    tensor.data = value
    tensor.node = node
    return tensor


def untracked(value: Any) -> Any:
    """The value of an operation that is not recorded, as a Tensor or a tuple of them."""
    return tuple([attach(x, None) for x in value]) if isinstance(value, tuple) else attach(value, None)


class Select:
    """The primitive that picks one of several outputs; its cotangent goes to that output's place in the tuple."""

    kind = "select"
    name = "select"
    residuals = operands = outputs = ()
    param_names = ("output",)

    @staticmethod
    def pull(n: Node, v: Any, pending: dict[Node, Any], residuals: tuple[Any, ...]) -> None:
        """Reverse mode: add the cotangent at its place in the tuple."""
        parent, k = n.parents[0], n.params[0]
        assert parent is not None
        cotangents = pending.setdefault(parent, [None] * len(parent.shape))
        cotangents[k] = v if cotangents[k] is None else cotangents[k] + wide(v)

    @staticmethod
    def push(n: Node, tangents: Any, residuals: tuple[Any, ...]) -> Any:
        """Forward mode: the tangent of that output."""
        return tangents[0][n.params[0]]


SELECT = Select()


def select(node: Node, k: int) -> Node:
    """A node for output k of a node with several."""
    n = Node()
    n.primitive, n.parents, n.params, n.residuals = SELECT, (node,), (k,), ()
    n.scope, n.shape, n.dtype, n.serial = node.scope, node.shape[k], node.dtype[k], next_serial()
    return n


def selected(node: Node, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A Tensor for each output of a node."""
    return tuple([attach(x, select(node, k)) for k, x in enumerate(values)])


def unbroadcast(contribution: Any, shape: tuple[int, ...]) -> Any:
    """Sum a contribution over the axes along which its operand was broadcast: the transpose of broadcasting."""
    lead = contribution.ndim - len(shape)
    if lead < 0:  # axes of size 1 before the others, which a value may have that is written to fewer axes
        return np.reshape(unbroadcast(contribution, shape[-lead:]), shape)
    if (
        type(contribution) is np.ndarray
        and contribution.size >= MANY
        and contribution.shape[lead:] == shape
        and _has_rows(contribution, shape)
    ):
        rows = np.reshape(contribution, (math.prod(contribution.shape[:lead]), math.prod(shape)))
        return np.reshape(column_sums(rows), shape)
    axes = tuple(range(lead)) + tuple(
        lead + k for k, size in enumerate(shape) if size == 1 and contribution.shape[lead + k] != 1
    )
    contribution = add_reduce(contribution, axis=axes, keepdims=True)
    return contribution if contribution.shape == shape else np.reshape(contribution, shape)


MANY = 1 << 13  # numbers: from here on a product with ones is faster than a sum, ten times for few columns


def _has_rows(contribution: Any, shape: tuple[int, ...]) -> bool:
    """Whether BLAS sums the rows without a copy. A sum of everything stays NumPy's, which adds in pairs."""
    return contribution.dtype.char in "fd" and contribution.flags.c_contiguous and math.prod(shape) > 1


ENGINE |= {"unbroadcast": unbroadcast, "untracked": untracked, "selected": selected}


# Record


def record_function(p: Primitive) -> Callable[..., Any]:
    """The record function of a primitive, which is compiled when it first runs."""
    own = {"function": p.callee, "primitive": p, "name": p.name, "compiled": _compiled}
    record: Any = FunctionType(_first_call.__code__, ENGINE | own, p.name)
    record.__qualname__ = p.name
    record.__signature__ = p.signature
    if ENGINE["Tensor"] is Unbound:
        _unbound.append(record.__globals__)
    return record


def _first_call(*operands: Any, **params: Any) -> Any:
    """The code of a record function before its first call. Its globals are the primitive's own."""
    return compiled(primitive)(*operands, **params)  # type: ignore[name-defined]  # noqa: F821 -- of its globals


def _compiled(p: Primitive) -> Callable[..., Any]:
    """The record function, from here on with the code that is written for its primitive."""
    with LOCK:
        _set_code(p)
    return p.record


def _set_code(p: Primitive) -> None:
    """Give the record function its written code: with an operator, if it calls the primitive's own function."""
    record: Any = p.record
    as_operator = record.__globals__["function"] is p.callee
    variants = p.__dict__.setdefault("record_variants", {})
    if as_operator not in variants:
        scope: dict[str, Any] = {}
        exec(_code(record_source(p, as_operator)), record.__globals__, scope)
        # The code is shared with other primitives of the same form; the name that tracebacks show is this one's.
        code = scope["record"].__code__.replace(co_name=p.name, co_qualname=p.name)
        variants[as_operator] = code, scope["record"].__defaults__, scope["record"].__kwdefaults__
    code, record.__defaults__, record.__kwdefaults__ = variants[as_operator]
    record.__code__ = code


def rebind(p: Primitive, function: Callable[..., Any]) -> None:
    """Let the record function of a primitive call another function instead of the primitive's own."""
    record: Any = p.record
    with LOCK:
        record.__globals__["function"] = function
        if p.function in OPERATORS and record.__code__ is not _first_call.__code__:
            _set_code(p)


# Pull


class Pull:
    """pull(node, v, pending, residuals): reverse mode through one node, compiled when it is first read.

    From then on it is in the primitive's dictionary. A layer may replace it there (intercept.py), which a thread that
    compiles it at the same time must not undo.
    """

    def __get__(self, p: Any, owner: type) -> Any:
        if p is None:
            return self
        with LOCK:
            return p.__dict__.setdefault("pull", p.written_pull)


def pull_function(p: Primitive) -> FunctionType:
    """The pull of a primitive, with its rules as free variables."""
    rules: dict[str, Any] = {"joint": p.joint}
    rules |= {f"rule_{x}": rule for x, rule in zip(p.operands, p.rules, strict=False)}
    if p.is_checked:
        checked: Any = p
        places = (None, *range(len(p.rules)))
        rules = {name: rule and checked.guarded(k, rule) for k, (name, rule) in zip(places, rules.items(), strict=True)}
        rules |= {"checked": checked.checked, "checked_all": checked.checked_all}
    return _pull_factory(p.pull_source, tuple(rules))(*rules.values())


@cache
def _pull_factory(source: str, names: tuple[str, ...]) -> Callable[..., Any]:
    """A function from rules to the pull with this text, for all primitives of the same form."""
    text = f"def factory({', '.join(names)}):\n{indent(source, '    ')}\n    return pull\n"
    scope: dict[str, Any] = {}
    exec(_code(text), ENGINE, scope)
    return scope["factory"]


@cache
def _code(source: str) -> CodeType:
    return compile(source, "<minigrad primitive>", "exec")
