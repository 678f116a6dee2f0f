"""Writes the text of the two functions that run for every operation: record and pull, once for each primitive.

A general version would look up at every call what never changes: how many operands there are, which values some
rule names, which parameters exist. So both are written from the parameter names of the rules, which saves about a
third of the cost of a small operation. `print(multiply.source)` shows the text, here with some lines left out:

    def multiply(x, y, /):
        if type(x) is Tensor: x_value = x.data; x_node = x.node
        else: x_value = x if type(x) in plain else constant(x, name); x_node = None
        ...                                                                       # the same for y
        try: out = x_value * y_value if x_value is not x or y_value is not y else function(x_value, y_value)
        except errors as error: raise explain_error(error, name, (x, y), {}) from error
        if (x_node is None and y_node is None) or (scope_path := open_scopes()) is None:
            if type(x) is not Tensor and type(y) is not Tensor: return out
            n = None
        else:
            n = Node()
            n.primitive = primitive
            n.parents = (x_node, y_node)
            n.residuals = (x_value if y_node is not None else None, y_value if x_node is not None else None)
            ...
        t = new_object(Tensor); t.data = out; t.node = n
        return t

    def pull(n, v, pending, residuals):
        (x_node, y_node) = n.parents
        (x, y) = residuals
        shape = n.shape
        if x_node is not None:
            contribution = rule_x(v, y)
            if shape != x_node.shape: contribution = unbroadcast(contribution, x_node.shape)
            if x_node not in pending: pending[x_node] = contribution
            else: pending[x_node] = pending[x_node] + contribution
        ...                                                                       # the same for y

The walk (tape.py) calls pull. It passes the residuals as an argument, as arrays or as the same values in Tensors. In
Tensors, the operations of the rules are recorded, and nothing else is needed for higher derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.engine.signatures import plain_parameters

Primitive = Any  # the class imports this file

# Ufuncs that a record function replaces by operators. NumPy's scalars, the values of a graph of single numbers, have
# operators five times as fast as the ufuncs, and ten times as fast as those of an array without axes. Such an array,
# which a leaf has to be so that it can be written in place, is read as a scalar. Not for operands that are all Python
# numbers, nor for the square of a possible boolean: there operators differ from ufuncs.
OPERATORS: dict[Any, str] = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.power: "{} ** {}",
    np.negative: "-{}",
    np.square: "{0} * {0}",
}

# Record


def record_source(p: Primitive, as_operator: bool = True) -> str:
    """The text of the function that applies a primitive and records a node.

    Its name is the same for all, so that primitives of the same form have the same text, which is compiled once.
    """
    tracked = _differentiable(p)
    as_operator = as_operator and p.function in OPERATORS
    lines = [f"def record{p.signature.replace(parameters=plain_parameters(p))}:"]
    lines += _SEQUENCE if p.sequence else [line for x in p.operands for line in _operand(p, x, x in tracked)]
    lines += [_as_scalar(p, x) for x in p.operands if as_operator]
    operands = "tuple(arrays)" if p.sequence else _tuple(p.operands)
    params = "{" + ", ".join(f"{name!r}: {name}" for name in p.param_names) + "}"
    lines += [
        f"    try: out = {_operator(p) if as_operator else _call_of_function(p)}",
        f"    except errors as error: raise explain_error(error, name, {operands}, {params}) from error",
    ]
    no_tensor = "not any(is_tensor)" if p.sequence else " and ".join(f"type({x}) is not Tensor" for x in p.operands)
    if not tracked:
        lines.append(f"    return out if {no_tensor} else untracked(out)")
    elif p.outputs:
        lines += [
            f"    if {_is_constant(p, tracked)} or (scope_path := open_scopes()) is None:",
            f"        return out if {no_tensor} else untracked(out)",
            *(f"    {line}" for line in _node(p, tracked)),
            "    n.shape = tuple([x.shape for x in out])",
            "    n.dtype = tuple([x.dtype for x in out])",
            "    return selected(n, out)",
        ]
    else:
        lines += [
            f"    if {_is_constant(p, tracked)} or (scope_path := open_scopes()) is None:",
            f"        if {no_tensor}: return out",
            "        n = None",
            "    else:",
            *(f"        {line}" for line in (*_node(p, tracked), *_shape_and_dtype(p))),
            "    t = new_object(Tensor); t.data = out; t.node = n",
            "    return t",
        ]
    return "\n".join(lines) + "\n"


_SEQUENCE = [  # the operands of a primitive over a sequence
    "    is_tensor = [type(x) is Tensor for x in arrays]",
    "    arrays_value = [x.data if t else x if type(x) in plain else constant(x, name)"
    " for x, t in zip(arrays, is_tensor)]",
    "    nodes = tuple([x.node if t else None for x, t in zip(arrays, is_tensor)])",
]


def _operand(p: Primitive, x: str, is_tracked: bool) -> list[str]:
    """An operand's value, and its node if a gradient can flow to it."""
    or_none = f" or {x} is None" if p.signature.parameters[x].default is None else ""
    node, no_node = (f"; {x}_node = {x}.node", f"; {x}_node = None") if is_tracked else ("", "")
    return [
        f"    if type({x}) is Tensor: {x}_value = {x}.data{node}",
        f"    else: {x}_value = {x} if type({x}) in plain{or_none} else constant({x}, name){no_node}",
    ]


def _as_scalar(p: Primitive, x: str) -> str:
    """Read an array without axes as a scalar, if the other operands are numbers or arrays of NumPy."""
    has_no_axes = f"{x}_node is not None and not {x}_node.shape and type({x}_value) is ndarray"
    none_is_traced = "".join(f" and type({y}_value) in numeric" for y in p.operands if y != x)
    return f"    if {has_no_axes}{none_is_traced}: {x}_value = {x}_value[()]"


def _operator(p: Primitive) -> str:
    operation = OPERATORS[p.function].format(*(f"{x}_value" for x in p.operands))
    has_tensor = " or ".join(f"{x}_value is not {x}" for x in p.operands)
    condition = "x_node is not None" if p.function is np.square else has_tensor
    return f"{operation} if {condition} else {_call_of_function(p)}"


def _call_of_function(p: Primitive) -> str:
    values = [f"{x}_value" for x in p.operands]
    return f"function({', '.join(values + [f'{name}={name}' for name in p.param_names])})"


def _is_constant(p: Primitive, tracked: list[str]) -> str:
    """Whether no operand has a node."""
    if p.sequence:
        return "all(x is None for x in nodes)"
    conditions = " and ".join(f"{x}_node is None" for x in tracked)
    return f"({conditions})" if len(tracked) > 1 else conditions


def _node(p: Primitive, tracked: list[str]) -> list[str]:
    parents = "nodes" if p.sequence else _tuple([f"{x}_node" if x in tracked else "None" for x in p.operands])
    params = _tuple(p.param_names)
    lines = [
        "n = Node()",
        "n.primitive = primitive",
        f"n.parents = {parents}",
        f"n.residuals = {_residuals(p, tracked)}",
        f"n.params = {f'owned({params})' if p.is_checked and p.param_names else params}",
        "n.scope = scope_path",
        "n.serial = next_serial()",
    ]
    if not p.sequence and len(p.operands) > 1:
        has_constant = " or ".join(f"{x}_node is None" for x in tracked)
        numbers = _tuple([f"{x} if type({x}) in plain else None" for x in p.operands])
        lines += [f"if {has_constant}:", f"    n.numbers = {numbers}"]
        lines += [f"    {_borrowed(p, x, f'{x}_node is None and ')}" for x in tracked if x in p.residuals]
        lines += [_borrowed(p, x, "") for x in p.operands if x in p.residuals and x not in tracked]
    return lines


def _residuals(p: Primitive, tracked: list[str]) -> str:
    """The tuple of residuals; one is None if no rule that will run names it."""
    of_outputs = {name: f"out[{k}]" for k, name in enumerate(p.outputs)} or {"out": "out"}
    items = []
    for name in p.residuals:
        value = of_outputs.get(name, f"{name}_value")
        users = [x for x, names in zip(p.operands, p.names, strict=False) if name in names]
        if not (p.joint or p.sequence or set(users) >= set(tracked)):
            value += f" if {' or '.join(f'{x}_node is not None' for x in users)} else None"
        items.append(value)
    return _tuple(items)


def _borrowed(p: Primitive, x: str, condition: str) -> str:
    """Protect a constant array among the residuals that is the user's own, or a Tensor's that shares its memory."""
    return (
        f"if {condition}type({x}_value) is ndarray and ({x}_value is {x} or {x}_value.base is not None):"
        f" n.residuals = protected(n, {p.residuals.index(x)})"
    )


def _shape_and_dtype(p: Primitive) -> list[str]:
    """Those of the value. To ask a NumPy scalar for them costs three times as much as to look at its type."""
    if p.kind != "elementwise":
        return ["n.shape = out.shape; n.dtype = out.dtype"]
    return [
        "if type(out) is float64: n.shape = (); n.dtype = double",
        "else: n.shape = out.shape; n.dtype = out.dtype",
    ]


# Pull


def pull_source(p: Primitive) -> str:
    """The text of the function that takes a cotangent through a node, or "" if the primitive has no derivative."""
    if not (p.rules or p.joint):
        return ""
    body = _joint_rule(p) if p.joint else _rule_of_sequence(p) if p.sequence else _rules(p)
    return "\n".join(["def pull(n, v, pending, residuals):", *body]) + "\n"


def _rules(p: Primitive) -> list[str]:
    """One rule for each operand."""
    lines = [f"    {_tuple([f'{x}_node' for x in p.operands])} = n.parents"]
    lines += _local_names(p, {name for names in p.names for name in names})
    is_elementwise = p.kind == "elementwise"
    if is_elementwise and len(p.operands) > 1:
        lines.append("    shape = n.shape")
    for k, (x, rule, names) in enumerate(zip(p.operands, p.rules, p.names, strict=True)):
        if rule is None:
            continue
        contribution = "v" if _is_identity(rule) else _call_of_rule(f"rule_{x}", names, p)
        lines.append(f"    if {x}_node is not None:")
        if p.is_checked:
            lines += [
                f"        contribution = checked(n, {k}, {contribution})",
                f"    if {x}_node is not None and contribution is not None:",
            ]
        else:
            lines.append(f"        contribution = {contribution}")
        if not is_elementwise or len(p.operands) > 1:
            shape = "shape" if is_elementwise else "contribution.shape"
            lines.append(
                f"        if {shape} != {x}_node.shape: contribution = unbroadcast(contribution, {x}_node.shape)"
            )
        lines += [f"        {line}" for line in _add_to_pending(f"{x}_node")]
    return lines


def _rule_of_sequence(p: Primitive) -> list[str]:
    """One rule, called for each array of a sequence."""
    return [
        *_local_names(p, set(p.names[0])),
        "    for i, parent in enumerate(n.parents):",
        "        if parent is not None:",
        f"            contribution = {_call_of_rule('rule_arrays', p.names[0], p)}",
        *(f"            {line}" for line in _add_to_pending("parent")),
    ]


def _joint_rule(p: Primitive) -> list[str]:
    """One rule that returns the contributions of all operands."""
    names = p.joint_names
    lines = [*_local_names(p, set(names)), f"    {_tuple([f'{x}_node' for x in p.operands])} = n.parents"]
    if "needs_grad" in names:
        lines.append("    needs_grad = [parent is not None for parent in n.parents]")
    contributions = _call_of_rule("joint", names, p)
    contributions = f"checked_all(n, {contributions})" if p.is_checked else contributions
    return [
        *lines,
        f"    for parent, contribution in zip(n.parents, {contributions}):",
        "        if parent is not None and contribution is not None:",
        "            if contribution.shape != parent.shape: contribution = unbroadcast(contribution, parent.shape)",
        *(f"            {line}" for line in _add_to_pending("parent")),
    ]


def _add_to_pending(node: str) -> list[str]:
    """Add a contribution to a node's pending cotangent; of float16 the sum is float32 until the walk reaches it."""
    return [
        f"if {node} not in pending: pending[{node}] = contribution",
        f"elif {node}.dtype is half: pending[{node}] = pending[{node}] + wide(contribution)",
        f"else: pending[{node}] = pending[{node}] + contribution",
    ]


def _local_names(p: Primitive, names: set[str]) -> list[str]:
    """The residuals and parameters that the rules name, as local variables."""
    lines = [f"    {_tuple(p.residuals)} = residuals"] if p.residuals else []
    if names & set(p.param_names):
        lines.append(f"    {_tuple(p.param_names)} = n.params")
    return lines


def _call_of_rule(rule: str, names: tuple[str, ...], p: Primitive) -> str:
    of_node = {f"{x}_{what}": f"{x}_node.{what}" for x in p.operands for what in ("shape", "dtype")}
    return f"{rule}({', '.join(['v', *(of_node.get(name, name) for name in names)])})"


def _is_identity(rule: Any) -> bool:
    """Whether a rule is `lambda v: v`."""
    code = getattr(rule, "__code__", None)
    return code is not None and code.co_argcount == 1 and code.co_code == (lambda v: v).__code__.co_code


# Both


def _differentiable(p: Primitive) -> list[str]:
    """The operands through which a gradient can flow."""
    return [x for k, x in enumerate(p.operands) if p.joint or (p.rules and p.rules[k] is not None)]


def _tuple(items: Sequence[str]) -> str:
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
