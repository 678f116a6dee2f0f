"""Makes, for each primitive, the two functions that run for every operation, record and pull, from their text.

`codegen.py` writes the text. Primitives of the same form share what was compiled, and both are compiled when they
first run, which keeps the import light. What the text refers to is here: the globals of all written functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from textwrap import indent
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.borrowed import kept, owned
from minigrad.engine.codegen import OPERATORS, pull_source, record_source
from minigrad.engine.errors import ERRORS, constant, explain_error
from minigrad.engine.node import Node, mode, next_serial
from minigrad.engine.pairwise import HALF, add_reduce, column_sums, wide
from minigrad.util.locks import LOCK

if TYPE_CHECKING:
    from minigrad.engine.primitive import Primitive


class Unbound:
    """Stands for Tensor until tensor.py binds itself in: nothing is an instance, so primitives are plain functions."""


_UNBOUND: list[dict[str, Any]] = []  # the globals of record functions that do not know Tensor yet

# The globals that all written functions contribution.
ENGINE: dict[str, Any] = {
    "__name__": __name__,
    "Tensor": Unbound,
    "Node": Node,
    "mode": mode.get,
    "next_serial": next_serial,
    "plain": frozenset({float, int, bool}),
    "ndarray": np.ndarray,
    "numeric": frozenset({float, int, bool, np.ndarray, np.float64, np.float32}),  # which see no operation
    "float64": np.float64,
    "double": np.dtype(np.float64),
    "half": HALF,
    "wide": wide,
    "constant": constant,
    "explain_error": explain_error,
    "errors": ERRORS,
    "kept": kept,
    "owned": owned,
}


def bind(tensor: type) -> None:
    """From here on, primitives record the operations on this class."""
    for scope in (ENGINE, *_UNBOUND):
        scope["Tensor"] = tensor
    _UNBOUND.clear()


def attach(value: Any, node: Node | None) -> Any:
    """A Tensor with this value, made by this node."""
    tensor = new(ENGINE["Tensor"])
    tensor.data = value
    tensor.node = node
    return tensor


def untracked(value: Any) -> Any:
    """The value of an operation that is not recorded."""
    return tuple([attach(x, None) for x in value]) if isinstance(value, tuple) else attach(value, None)


class Select:
    """The node that picks one of several outputs; its cotangent goes to that output's place in the tuple."""

    kind = "select"
    name = "select"
    residuals = operands = outputs = ()
    param_names = ("output",)

    @staticmethod
    def pull(n: Node, v: Any, pending: dict[Node, Any], residuals: tuple[Any, ...]) -> None:
        """The cotangent goes to its place in the tuple."""
        parent, k = n.parents[0], n.params[0]
        assert parent is not None
        places = pending.setdefault(parent, [None] * len(parent.shape))
        places[k] = v if places[k] is None else places[k] + wide(v)

    @staticmethod
    def push(n: Node, tangents: Any, residuals: tuple[Any, ...]) -> Any:
        """The tangent of that output."""
        return tangents[0][n.params[0]]


SELECT = Select()


def select(node: Node, k: int) -> Node:
    """A node for output k of a node with several."""
    n = Node()
    n.primitive, n.parents, n.params, n.residuals = SELECT, (node,), (k,), ()
    n.scope, n.shape, n.dtype, n.serial = node.scope, node.shape[k], node.dtype[k], next_serial()
    return n


def selected(node: Node, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A Tensor for each output."""
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


MANY = 1 << 13  # numbers: from here on a product with ones is quicker than a sum, of few columns ten times


def _has_rows(contribution: Any, shape: tuple[int, ...]) -> bool:
    """Whether BLAS sums the rows as they lie. A sum of everything stays NumPy's, which adds in pairs."""
    return contribution.dtype.char in "fd" and contribution.flags.c_contiguous and math.prod(shape) > 1


new = object.__new__
ENGINE |= {"unbroadcast": unbroadcast, "untracked": untracked, "selected": selected, "new": new}


def write(p: Primitive) -> tuple[Callable[..., Any], str, str]:
    """The record function of a primitive, its source, and that of the pull. Each is compiled when it first runs."""
    source = record_source(p)
    own = {"function": p.callee, "primitive": p, "name": p.name, "compiled": _compiled}
    record = FunctionType(_uncompiled.__code__, ENGINE | own, p.name)
    record.__qualname__ = p.name
    record.__signature__ = p.signature  # type: ignore[attr-defined]
    if ENGINE["Tensor"] is Unbound:
        _UNBOUND.append(record.__globals__)
    return record, source.replace("def record(", f"def {p.name}(", 1), pull_source(p)


def _uncompiled(*operands: Any, **params: Any) -> Any:
    """The code of a record function before its first call. Its globals are the primitive's own."""
    return compiled(primitive)(*operands, **params)  # type: ignore[name-defined]  # noqa: F821


def _compiled(p: Primitive) -> Callable[..., Any]:
    """The record function, from here on with the code that is written for its primitive."""
    with LOCK:
        _write(p)
    return p.record


def _write(p: Primitive) -> None:
    """Give the record function of a primitive its code: with an operator, unless it calls something else now."""
    record: Any = p.record
    as_operator = record.__globals__["function"] is p.callee
    written = p.__dict__.setdefault("written", {})
    if as_operator not in written:
        scope: dict[str, Any] = {}
        exec(_code(record_source(p, as_operator)), record.__globals__, scope)
        # The code is shared with other primitives of the same form; the name that tracebacks show is this one's.
        code = scope["record"].__code__.replace(co_name=p.name, co_qualname=p.name)
        written[as_operator] = code, scope["record"].__defaults__, scope["record"].__kwdefaults__
    code, record.__defaults__, record.__kwdefaults__ = written[as_operator]
    record.__code__ = code


@cache
def _code(source: str) -> CodeType:
    return compile(source, "<minigrad primitive>", "exec")


def made(p: Primitive, source: str) -> FunctionType:
    """The pull with this source, with the primitive's rules for its free variables."""
    rules = {
        "joint": (None, p.joint),
        **{f"rule_{x}": (k, p.rules[k]) for k, x in enumerate(p.operands[: len(p.rules)])},
    }
    known: dict[str, Any] = {key: rule for key, (_, rule) in rules.items()}
    if p.is_checked:
        checked: Any = p
        known = {key: rule and checked.guarded(k, rule) for key, (k, rule) in rules.items()}
        known |= {"checked": checked.checked, "checked_all": checked.checked_all}
    return _maker(source, tuple(known))(*known.values())  # type: ignore[no-any-return]


def rebind(p: Primitive, function: Callable[..., Any]) -> None:
    """Let the record function of a primitive call another function in place of the primitive's own."""
    record: Any = p.record
    with LOCK:
        record.__globals__["function"] = function
        if p.function in OPERATORS and record.__code__ is not _uncompiled.__code__:
            _write(p)


@cache
def _maker(source: str, given: tuple[str, ...]) -> Callable[..., Any]:
    """A function that makes the function with this source, for all primitives of the same form."""
    name = source[len("def ") : source.index("(")]
    text = f"def make({', '.join(given)}):\n{indent(source, '    ')}\n    return {name}\n"
    scope: dict[str, Any] = {}
    exec(_code(text), ENGINE, scope)
    return scope["make"]  # type: ignore[no-any-return]
