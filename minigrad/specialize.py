"""Writes, for each primitive once, the two functions that run for every operation: record and pull.

A general version would look up at every call what never changes: how many operands there are, which values some
rule names, which static parameters exist. So the source of both is written from the rules' own parameter names and
compiled, which takes about a third off the cost of a small operation. Primitives of the same form share what was
compiled, and both are compiled when they first run. `print(multiply.source)` shows it. For multiply:

    def multiply(x, y, /):
        if isinstance(x, Tensor): x_value = x.data; x_line = x.node
        else: x_value = x if type(x) in plain else constant(x, name); x_line = None
        ...                                                                       # the same for y
        try: out = function(x_value, y_value)
        except errors as error: raise complaint(error, name, (x, y), {}) from error
        if (x_line is None and y_line is None) or (scope := mode()) is None:
            return untracked(out) if isinstance(x, Tensor) or isinstance(y, Tensor) else out
        n = Node(); n.primitive = primitive; n.parents = (x_line, y_line); ...
        n.saved = (x_value if y_line is not None else None, y_value if x_line is not None else None)
        ...

    def pull(n, v, due, saved):
        (x_line, y_line) = n.parents
        (x, y) = saved
        shape = n.shape
        if x_line is not None:
            share = rule_x(v, y)
            if shape != x_line.shape: share = unbroadcast(share, x_line.shape)
            due[x_line] = due[x_line] + share if x_line in due else share
        ...                                                                       # the same for y

`saved` is an argument, so that the walk can hand in the same values as Tensors: what the rules do is then recorded
in its turn, and that is all that higher derivatives need.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import cache, partial
from textwrap import indent
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.errors import ERRORS, complaint, constant
from minigrad.node import Node, mode, next_serial

if TYPE_CHECKING:
    from minigrad.primitive import Primitive


class Unbound:
    """Stands for Tensor until tensor.py binds itself in: nothing is an instance, so primitives are plain functions."""


_UNBOUND: list[dict[str, Any]] = []  # the globals of record functions that do not know Tensor yet

# The globals that all written functions share.
ENGINE: dict[str, Any] = {
    "Tensor": Unbound,
    "Node": Node,
    "mode": mode.get,
    "next_serial": next_serial,
    "plain": frozenset({float, int, bool}),
    "constant": constant,
    "complaint": complaint,
    "errors": ERRORS,
}


# What the record functions write in the place of a call: NumPy's scalars, the values of a graph of single numbers, have
# operators five times as quick as the ufuncs. Not for operands that are all Python's own numbers: theirs differ.
OPERATORS: dict[Any, str] = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.power: "{} ** {}",
    np.negative: "-{}",
}


def bind(tensor: type) -> None:
    """From here on, primitives record the operations on this class."""
    for scope in (ENGINE, *_UNBOUND):
        scope["Tensor"] = tensor
    _UNBOUND.clear()


def attach(value: Any, line: Node | None) -> Any:
    """A Tensor with this value, made by this line."""
    tensor = new(ENGINE["Tensor"])
    tensor.data = value
    tensor.node = line
    return tensor


def untracked(value: Any) -> Any:
    """The value of an operation that is not recorded."""
    return tuple([attach(x, None) for x in value]) if isinstance(value, tuple) else attach(value, None)


class Select:
    """The line that picks one of several outputs; its cotangent goes to that output's place in the tuple."""

    kind = "select"
    name = "select"
    saved = operands = outputs = ()
    static = ("output",)

    @staticmethod
    def pull(n: Node, v: Any, due: dict[Node, Any], saved: tuple[Any, ...]) -> None:
        """The cotangent goes to its place in the tuple."""
        parent, k = n.parents[0], n.params[0]
        assert parent is not None
        places = due.setdefault(parent, [None] * len(parent.shape))
        places[k] = v if places[k] is None else places[k] + v

    @staticmethod
    def push(n: Node, tangents: Any, saved: tuple[Any, ...]) -> Any:
        """The tangent of that output."""
        return tangents[0][n.params[0]]


SELECT = Select()


def select(line: Node, k: int) -> Node:
    """A line for output k of a line with several."""
    n = Node()
    n.primitive, n.parents, n.params, n.saved = SELECT, (line,), (k,), ()
    n.scope, n.shape, n.dtype, n.serial = line.scope, line.shape[k], line.dtype[k], next_serial()
    return n


def selected(line: Node, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A Tensor for each output."""
    return tuple([attach(x, select(line, k)) for k, x in enumerate(values)])


def unbroadcast(share: Any, shape: tuple[int, ...]) -> Any:
    """Sum a share over the axes along which its operand was broadcast: the transpose of broadcasting."""
    lead = share.ndim - len(shape)
    if type(share) is np.ndarray and share.size >= MANY and share.shape[lead:] == shape and _has_rows(share, shape):
        rows = np.reshape(share, (math.prod(share.shape[:lead]), math.prod(shape)))
        return np.reshape(np.ones(len(rows), rows.dtype) @ rows, shape)
    axes = tuple(range(lead)) + tuple(
        lead + k for k, size in enumerate(shape) if size == 1 and share.shape[lead + k] != 1
    )
    share = np.add.reduce(share, axis=axes, keepdims=True)
    return share if share.shape == shape else np.reshape(share, shape)


MANY = 1 << 13  # numbers: from here on a product with ones is quicker than a sum, of few columns ten times


def _has_rows(share: Any, shape: tuple[int, ...]) -> bool:
    """Whether BLAS sums the rows as they lie. A sum of everything stays NumPy's, which adds in pairs."""
    return share.dtype.char in "fd" and share.flags.c_contiguous and math.prod(shape) > 1


new = object.__new__
ENGINE |= {"unbroadcast": unbroadcast, "untracked": untracked, "selected": selected, "new": new}


def named(rule: Callable[..., Any] | None) -> tuple[str, ...]:
    """What a rule needs besides v."""
    if rule is None:
        return ()
    if isinstance(rule, FunctionType) and not rule.__dict__ and not rule.__code__.co_flags & VARIADIC:
        code = rule.__code__  # as inspect.signature says, at a tenth of the time: there are two hundred rules
        return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    return tuple(inspect.signature(rule).parameters)[1:]


VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def saved(p: Primitive) -> tuple[str, ...]:
    """The values that are kept for the rules: operands and outputs that some rule names."""
    needed = {name for names in (*p.names, named(p.joint)) for name in names}
    return tuple(name for name in (*p.operands, *(p.outputs or ("out",))) if name in needed)


def write(p: Primitive) -> tuple[Callable[..., Any], str, str]:
    """The record function of a primitive, its source, and that of the pull. Each is compiled when it first runs."""
    source = _record(p)
    own = {"function": p.function, "primitive": p, "name": p.name, "compiled": partial(_compiled, source)}
    record = FunctionType(_uncompiled.__code__, ENGINE | own, p.name)
    record.__qualname__ = p.name
    record.__signature__ = p.signature  # type: ignore[attr-defined]
    if ENGINE["Tensor"] is Unbound:
        _UNBOUND.append(record.__globals__)
    pull = ""
    if p.rules or p.joint:
        pull = _pull_joint(p) if p.joint else _pull_sequence(p) if p.sequence else _pull(p)
    return record, source.replace("def record(", f"def {p.name}(", 1), pull


def _uncompiled(*operands: Any, **static: Any) -> Any:
    """The code of a record function before its first call. Its globals are the primitive's own."""
    return compiled(primitive)(*operands, **static)  # type: ignore[name-defined]  # noqa: F821


def _compiled(source: str, p: Primitive) -> Callable[..., Any]:
    """The record function, from here on with the code that is written for its primitive."""
    record: Any = p.record
    scope: dict[str, Any] = {}
    exec(_code(source), record.__globals__, scope)
    written = scope["record"]
    # The code is shared with other primitives of the same form; the name that tracebacks show is this one's.
    record.__defaults__, record.__kwdefaults__ = written.__defaults__, written.__kwdefaults__
    record.__code__ = written.__code__.replace(co_name=p.name, co_qualname=p.name)
    return record  # type: ignore[no-any-return]


@cache
def _code(source: str) -> CodeType:
    return compile(source, "<minigrad primitive>", "exec")


def made(p: Primitive, source: str) -> FunctionType:
    """The pull with this source, with the primitive's rules for its free variables."""
    known = {"joint": p.joint, **{f"rule_{x}": rule for x, rule in zip(p.operands, p.rules, strict=False)}}
    return _maker(source, tuple(known))(*known.values())  # type: ignore[no-any-return]


def rebind(p: Primitive, function: Callable[..., Any]) -> None:
    """Let the record function of a primitive call another function in the place of the primitive's own."""
    record: Any = p.record
    record.__globals__["function"] = function
    if p.function in OPERATORS:
        _compiled(_record(p, as_operator=function is p.function), p)


@cache
def _maker(source: str, given: tuple[str, ...]) -> Callable[..., Any]:
    """A function that makes the function with this source, for all primitives of the same form."""
    name = source[len("def ") : source.index("(")]
    text = f"def make({', '.join(given)}):\n{indent(source, '    ')}\n    return {name}\n"
    scope: dict[str, Any] = {}
    exec(_code(text), ENGINE, scope)
    return scope["make"]  # type: ignore[no-any-return]


def _tuple(items: list[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def _differentiable(p: Primitive) -> list[str]:
    """The operands through which a gradient can flow."""
    return [x for k, x in enumerate(p.operands) if p.joint or (p.rules and p.rules[k] is not None)]


def _record(p: Primitive, as_operator: bool = True) -> str:
    tracked = _differentiable(p)
    static = "{" + ", ".join(f"{s!r}: {s}" for s in p.static) + "}"
    lines = [f"def record{p.signature.replace(parameters=_bare(p))}:"]
    if p.sequence:
        lines += [
            "    tensors = [isinstance(x, Tensor) for x in arrays]",
            "    arrays_value = [x.data if t else x if type(x) in plain else constant(x, name)"
            " for x, t in zip(arrays, tensors)]",
            "    lines = tuple([x.node if t else None for x, t in zip(arrays, tensors)])",
        ]
        constant, any_tensor, parents, given = "all(x is None for x in lines)", "any(tensors)", "lines", "tuple(arrays)"
    else:
        for x in p.operands:
            take, none = (f"; {x}_line = {x}.node", f"; {x}_line = None") if x in tracked else ("", "")
            lines += [
                f"    if isinstance({x}, Tensor): {x}_value = {x}.data{take}",
                f"    else: {x}_value = {x} if type({x}) in plain{_optional(p, x)} else constant({x}, name){none}",
            ]
        constant = " and ".join(f"{x}_line is None" for x in tracked)
        any_tensor = " or ".join(f"isinstance({x}, Tensor)" for x in p.operands)
        parents = _tuple([f"{x}_line" if x in tracked else "None" for x in p.operands])
        given = _tuple(list(p.operands))
    arguments = ", ".join([*(f"{x}_value" for x in p.operands), *(f"{s}={s}" for s in p.static)])
    computed = f"function({arguments})"
    if as_operator and p.function in OPERATORS:
        operated = OPERATORS[p.function].format(*(f"{x}_value" for x in p.operands))
        computed = f"{operated} if {' or '.join(f'{x}_value is not {x}' for x in p.operands)} else {computed}"
    lines += [
        f"    try: out = {computed}",
        f"    except errors as error: raise complaint(error, name, {given}, {static}) from error",
    ]
    if not tracked:
        return "\n".join([*lines, f"    return untracked(out) if {any_tensor} else out"]) + "\n"
    lines += [
        f"    if ({constant}) or (scope := mode()) is None:"
        if " and " in constant
        else f"    if {constant} or (scope := mode()) is None:",
        f"        return untracked(out) if {any_tensor} else out",
        f"    n = Node(); n.primitive = primitive; n.parents = {parents}; n.scope = scope",
        f"    n.saved = {_saved(p, tracked)}; n.params = {_tuple(list(p.static))}; n.serial = next_serial()",
    ]
    if not p.sequence and len(p.operands) > 1:
        untracked = " or ".join(f"{x}_line is None" for x in tracked)
        numbers = _tuple([f"{x} if type({x}) in plain else None" for x in p.operands])
        lines.append(f"    if {untracked}: n.numbers = {numbers}")
    if p.outputs:
        lines += [
            "    n.shape = tuple([x.shape for x in out]); n.dtype = tuple([x.dtype for x in out])",
            "    return selected(n, out)",
        ]
    else:
        lines += [
            "    n.shape = out.shape; n.dtype = out.dtype",
            "    t = new(Tensor); t.data = out; t.node = n",
            "    return t",
        ]
    return "\n".join(lines) + "\n"


class _Verbatim:
    """A default that is not a literal: written as where it is found."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"primitive.signature.parameters[{self.name!r}].default"


def _bare(p: Primitive) -> list[inspect.Parameter]:
    """The parameters as they stand in the source: without annotations, defaults as literals."""
    literal = (type(None), bool, int, float, str, type(inspect.Parameter.empty))
    return [
        q.replace(annotation=q.empty, default=q.default if isinstance(q.default, literal) else _Verbatim(q.name))
        for q in p.signature.parameters.values()
    ]


def _optional(p: Primitive, x: str) -> str:
    return f" or {x} is None" if p.signature.parameters[x].default is None else ""


def _saved(p: Primitive, tracked: list[str]) -> str:
    """The tuple of kept values; one is replaced by None when no rule that will run names it."""
    values = dict(zip(p.outputs, (f"out[{k}]" for k in range(len(p.outputs))), strict=True)) or {"out": "out"}
    items = []
    for name in p.saved:
        value = values.get(name, f"{name}_value")
        users = [x for x, names in zip(p.operands, p.names, strict=False) if name in names]
        if p.joint or p.sequence or set(users) >= set(tracked):
            items.append(value)
        else:
            items.append(f"{value} if {' or '.join(f'{x}_line is not None' for x in users)} else None")
    return _tuple(items)


def _opening(p: Primitive, names: set[str]) -> list[str]:
    """The first lines of a pull: what the rules name, as local variables."""
    lines = [f"    {_tuple(list(p.saved))} = saved"] if p.saved else []
    if names & set(p.static):
        lines.append(f"    {_tuple(list(p.static))} = n.params")
    return lines


def _call(rule: str, names: tuple[str, ...], p: Primitive) -> str:
    of_line = {f"{x}_{what}": f"{x}_line.{what}" for x in p.operands for what in ("shape", "dtype")}
    return f"{rule}({', '.join(['v', *(of_line.get(name, name) for name in names)])})"


def _pull(p: Primitive) -> str:
    lines = ["def pull(n, v, due, saved):", f"    {_tuple([f'{x}_line' for x in p.operands])} = n.parents"]
    lines += _opening(p, {name for names in p.names for name in names})
    elementwise = p.kind == "elementwise"
    if elementwise and len(p.operands) > 1:
        lines.append("    shape = n.shape")
    for x, names in zip(p.operands, p.names, strict=True):
        if x not in _differentiable(p):
            continue
        lines += [f"    if {x}_line is not None:", f"        share = {_call(f'rule_{x}', names, p)}"]
        if not elementwise or len(p.operands) > 1:
            shape = "shape" if elementwise else "share.shape"
            lines.append(f"        if {shape} != {x}_line.shape: share = unbroadcast(share, {x}_line.shape)")
        lines.append(f"        due[{x}_line] = due[{x}_line] + share if {x}_line in due else share")
    return "\n".join(lines) + "\n"


def _pull_sequence(p: Primitive) -> str:
    lines = ["def pull(n, v, due, saved):", *_opening(p, set(p.names[0]))]
    lines += [
        "    for i, line in enumerate(n.parents):",
        "        if line is not None:",
        f"            share = {_call('rule_arrays', p.names[0], p)}",
        "            due[line] = due[line] + share if line in due else share",
    ]
    return "\n".join(lines) + "\n"


def _pull_joint(p: Primitive) -> str:
    names = named(p.joint)
    lines = ["def pull(n, v, due, saved):", *_opening(p, set(names))]
    lines += [f"    {_tuple([f'{x}_line' for x in p.operands])} = n.parents"]
    if "wanted" in names:
        lines.append("    wanted = [line is not None for line in n.parents]")
    lines += [
        f"    for line, share in zip(n.parents, {_call('joint', names, p)}):",
        "        if line is not None and share is not None:",
        "            if share.shape != line.shape: share = unbroadcast(share, line.shape)",
        "            due[line] = due[line] + share if line in due else share",
    ]
    return "\n".join(lines) + "\n"
