"""The text of the two functions that run for every operation, record and pull, written for each primitive once.

A general version would look up at every call what never changes: how many operands there are, which values some
rule names, which parameters exist. So both are written from the rules' own parameter names, which takes about
a third off the cost of a small operation. `print(multiply.source)` shows it. For multiply:

    def multiply(x, y, /):
        if type(x) is Tensor: x_value = x.data; x_node = x.node
        else: x_value = x if type(x) in plain else constant(x, name); x_node = None
        if x_node is not None and not x_node.shape and ...: x_value = x_value[()]
        ...                                                                       # the same for y
        try: out = x_value * y_value if x_value is not x or y_value is not y else function(x_value, y_value)
        except errors as error: raise explain_error(error, name, (x, y), {}) from error
        if (x_node is None and y_node is None) or (scope := mode()) is None:
            if type(x) is not Tensor and type(y) is not Tensor: return out
            n = None
        else:
            n = Node(); n.primitive = primitive; n.parents = (x_node, y_node); ...
            n.residuals = (x_value if y_node is not None else None, y_value if x_node is not None else None)
            ...
        t = new(Tensor); t.data = out; t.node = n
        return t

    def pull(n, v, pending, residuals):
        (x_node, y_node) = n.parents
        (x, y) = residuals
        shape = n.shape
        if x_node is not None:
            contribution = rule_x(v, y)
            if shape != x_node.shape: contribution = unbroadcast(contribution, x_node.shape)
            pending[x_node] = pending[x_node] + ... if x_node in pending else contribution
        ...                                                                       # the same for y

`residuals` is an argument, so that the walk can hand in the same values as Tensors: what the rules do is then recorded
in its turn, and that is all that higher derivatives need.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from minigrad.engine.primitive import Primitive

# What a record function writes in place of a call: NumPy's scalars, the values of a graph of single numbers, have
# operators five times as quick as the ufuncs, and ten times as quick as those of an array without axes. Such an array,
# which a leaf has to be so that it can be written in place, is taken as the scalar that it holds. Not for operands that
# are all Python's own numbers, nor for the square of what may be a boolean: there operators differ from ufuncs.
OPERATORS: dict[Any, str] = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.power: "{} ** {}",
    np.negative: "-{}",
    np.square: "{0} * {0}",
}

VARIADIC = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def named(rule: Callable[..., Any] | None) -> tuple[str, ...]:
    """What a rule needs besides v."""
    if rule is None:
        return ()
    if isinstance(rule, FunctionType) and not rule.__dict__ and not rule.__code__.co_flags & VARIADIC:
        code = rule.__code__  # as inspect.signature says, at a tenth of the time: there are two hundred rules
        return code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    return tuple(inspect.signature(rule).parameters)[1:]


def residuals(p: Primitive) -> tuple[str, ...]:
    """The values that are kept for the rules: operands and outputs that some rule names."""
    needed = {name for names in (*p.names, p.joint_names) for name in names}
    return tuple(name for name in (*p.operands, *(p.outputs or ("out",))) if name in needed)


def record_source(p: Primitive, as_operator: bool = True) -> str:
    """The function that applies a primitive and records a node."""
    tracked = _differentiable(p)
    lines = [f"def record{p.signature.replace(parameters=_bare(p))}:"]
    lines += ARRAYS if p.sequence else [line for x in p.operands for line in _operand(p, x, x in tracked)]
    has_operator = as_operator and p.function in OPERATORS
    given = "tuple(arrays)" if p.sequence else _tuple(list(p.operands))
    params = "{" + ", ".join(f"{s!r}: {s}" for s in p.param_names) + "}"
    lines += [
        *(_as_scalar(p, x) for x in p.operands if has_operator),
        f"    try: out = {_operated(p) if has_operator else _called(p)}",
        f"    except errors as error: raise explain_error(error, name, {given}, {params}) from error",
    ]
    no_tensor = "not any(tensors)" if p.sequence else " and ".join(f"type({x}) is not Tensor" for x in p.operands)
    if not tracked:
        return "\n".join([*lines, f"    return out if {no_tensor} else untracked(out)"]) + "\n"
    return "\n".join([*lines, *_node(p, tracked, no_tensor)]) + "\n"


# The operands of a primitive over a sequence.
ARRAYS = [
    "    tensors = [type(x) is Tensor for x in arrays]",
    "    arrays_value = [x.data if t else x if type(x) in plain else constant(x, name)"
    " for x, t in zip(arrays, tensors)]",
    "    nodes = tuple([x.node if t else None for x, t in zip(arrays, tensors)])",
]


def _operand(p: Primitive, x: str, is_tracked: bool) -> list[str]:
    """An operand's value, and its node if a gradient can flow to it."""
    optional = f" or {x} is None" if p.signature.parameters[x].default is None else ""
    node, none = (f"; {x}_node = {x}.node", f"; {x}_node = None") if is_tracked else ("", "")
    return [
        f"    if type({x}) is Tensor: {x}_value = {x}.data{node}",
        f"    else: {x}_value = {x} if type({x}) in plain{optional} else constant({x}, name){none}",
    ]


def _as_scalar(p: Primitive, x: str) -> str:
    has_no_axes = f"{x}_node is not None and not {x}_node.shape and type({x}_value) is ndarray"
    none_listens = "".join(f" and type({y}_value) in numeric" for y in p.operands if y != x)
    return f"    if {has_no_axes}{none_listens}: {x}_value = {x}_value[()]"


def _operated(p: Primitive) -> str:
    operation = OPERATORS[p.function].format(*(f"{x}_value" for x in p.operands))
    has_tensor = " or ".join(f"{x}_value is not {x}" for x in p.operands)
    return f"{operation} if {'x_node is not None' if p.function is np.square else has_tensor} else {_called(p)}"


def _called(p: Primitive) -> str:
    return f"function({', '.join([*(f'{x}_value' for x in p.operands), *(f'{s}={s}' for s in p.param_names)])})"


def _node(p: Primitive, tracked: list[str], no_tensor: str) -> list[str]:
    """The node, if an operand has one and recording is on, and the result."""
    constant = "all(x is None for x in nodes)" if p.sequence else " and ".join(f"{x}_node is None" for x in tracked)
    constant = f"({constant})" if " and " in constant else constant
    parents = "nodes" if p.sequence else _tuple([f"{x}_node" if x in tracked else "None" for x in p.operands])
    line = [
        f"n = Node(); n.primitive = primitive; n.parents = {parents}; n.scope = scope",
        f"n.residuals = {_saved(p, tracked)}; n.params = {_tuple(list(p.param_names))}; n.serial = next_serial()",
    ]
    if p.is_checked and p.param_names:
        line.append(f"n.params = owned({_tuple(list(p.param_names))})")
    if not p.sequence and len(p.operands) > 1:
        has_constant = " or ".join(f"{x}_node is None" for x in tracked)
        numbers = _tuple([f"{x} if type({x}) in plain else None" for x in p.operands])
        line += [f"if {has_constant}:", f"    n.numbers = {numbers}", *_borrowed(p, tracked, "    ")]
        line += _borrowed(p, [x for x in p.operands if x not in tracked], "")
    opening = f"    if {constant} or (scope := mode()) is None:"
    if p.outputs:
        return [
            opening,
            f"        return out if {no_tensor} else untracked(out)",
            *(f"    {part}" for part in line),
            "    n.shape = tuple([x.shape for x in out]); n.dtype = tuple([x.dtype for x in out])",
            "    return selected(n, out)",
        ]
    return [
        opening,
        f"        if {no_tensor}: return out",
        "        n = None",
        "    else:",
        *(f"        {part}" for part in [*line, *_form(p)]),
        "    t = new(Tensor); t.data = out; t.node = n",
        "    return t",
    ]


def _borrowed(p: Primitive, operands: list[str], indent: str) -> list[str]:
    """Constant arrays among the residuals: the user's own, and those of Tensors that share their memory."""
    return [
        f"{indent}if {f'{x}_node is None and ' if indent else ''}type({x}_value) is ndarray"
        f" and ({x}_value is {x} or {x}_value.base is not None): n.residuals = kept(n, {p.residuals.index(x)})"
        for x in operands
        if x in p.residuals
    ]


def _form(p: Primitive) -> list[str]:
    """Shape and dtype of the value. To ask a NumPy scalar for them costs three times as much as to look at its type."""
    asked = "n.shape = out.shape; n.dtype = out.dtype"
    if p.kind != "elementwise":
        return [asked]
    return ["if type(out) is float64: n.shape = (); n.dtype = double", f"else: {asked}"]


def _saved(p: Primitive, tracked: list[str]) -> str:
    """The tuple of kept values; one is replaced by None when no rule that will run names it."""
    values = dict(zip(p.outputs, (f"out[{k}]" for k in range(len(p.outputs))), strict=True)) or {"out": "out"}
    items = []
    for name in p.residuals:
        value = values.get(name, f"{name}_value")
        users = [x for x, names in zip(p.operands, p.names, strict=False) if name in names]
        if p.joint or p.sequence or set(users) >= set(tracked):
            items.append(value)
        else:
            items.append(f"{value} if {' or '.join(f'{x}_node is not None' for x in users)} else None")
    return _tuple(items)


def pull_source(p: Primitive) -> str:
    """The function that takes a cotangent through a node, or "" if the primitive has no derivative."""
    if not (p.rules or p.joint):
        return ""
    body = _joint_contributions(p) if p.joint else _shares_of_sequence(p) if p.sequence else _contributions(p)
    return "\n".join(["def pull(n, v, pending, residuals):", *body]) + "\n"


def _contributions(p: Primitive) -> list[str]:
    lines = [f"    {_tuple([f'{x}_node' for x in p.operands])} = n.parents"]
    lines += _opening(p, {name for names in p.names for name in names})
    elementwise = p.kind == "elementwise"
    if elementwise and len(p.operands) > 1:
        lines.append("    shape = n.shape")
    for k, (x, rule, names) in enumerate(zip(p.operands, p.rules, p.names, strict=True)):
        if rule is None:
            continue
        contribution = "v" if _is_identity(rule) else _call(f"rule_{x}", names, p)
        lines.append(f"    if {x}_node is not None:")
        if p.is_checked:
            lines += [
                f"        contribution = checked(n, {k}, {contribution})",
                f"    if {x}_node is not None and contribution is not None:",
            ]
        else:
            lines.append(f"        contribution = {contribution}")
        if not elementwise or len(p.operands) > 1:
            shape = "shape" if elementwise else "contribution.shape"
            lines.append(
                f"        if {shape} != {x}_node.shape: contribution = unbroadcast(contribution, {x}_node.shape)"
            )
        lines.append(f"        {_pending(f'{x}_node')}")
    return lines


def _shares_of_sequence(p: Primitive) -> list[str]:
    return [
        *_opening(p, set(p.names[0])),
        "    for i, parent in enumerate(n.parents):",
        "        if parent is not None:",
        f"            contribution = {_call('rule_arrays', p.names[0], p)}",
        f"            {_pending('parent')}",
    ]


def _pending(node: str) -> str:
    """Add a contribution to a node's pending cotangent; of float16 the sum is float32 until the walk reaches it."""
    contribution = f"(contribution if {node}.dtype is not half else wide(contribution))"
    return f"pending[{node}] = pending[{node}] + {contribution} if {node} in pending else contribution"


def _joint_contributions(p: Primitive) -> list[str]:
    names = p.joint_names
    lines = [*_opening(p, set(names)), f"    {_tuple([f'{x}_node' for x in p.operands])} = n.parents"]
    if "needs_grad" in names:
        lines.append("    needs_grad = [parent is not None for parent in n.parents]")
    contributions = _call("joint", names, p)
    contributions = f"checked_all(n, {contributions})" if p.is_checked else contributions
    return [
        *lines,
        f"    for parent, contribution in zip(n.parents, {contributions}):",
        "        if parent is not None and contribution is not None:",
        "            if contribution.shape != parent.shape: contribution = unbroadcast(contribution, parent.shape)",
        f"            {_pending('parent')}",
    ]


def _opening(p: Primitive, names: set[str]) -> list[str]:
    """The first lines of a pull: what the rules name, as local variables."""
    lines = [f"    {_tuple(list(p.residuals))} = residuals"] if p.residuals else []
    if names & set(p.param_names):
        lines.append(f"    {_tuple(list(p.param_names))} = n.params")
    return lines


def _call(rule: str, names: tuple[str, ...], p: Primitive) -> str:
    of_node = {f"{x}_{what}": f"{x}_node.{what}" for x in p.operands for what in ("shape", "dtype")}
    return f"{rule}({', '.join(['v', *(of_node.get(name, name) for name in names)])})"


def _is_identity(rule: Any) -> bool:
    """Whether a rule is `lambda v: v`."""
    code = getattr(rule, "__code__", None)
    return code is not None and code.co_argcount == 1 and code.co_code == (lambda v: v).__code__.co_code


def _differentiable(p: Primitive) -> list[str]:
    """The operands through which a gradient can flow."""
    return [x for k, x in enumerate(p.operands) if p.joint or (p.rules and p.rules[k] is not None)]


def _tuple(items: list[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


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
