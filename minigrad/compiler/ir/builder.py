"""Programs are rewritten by building them again, line by line, through a builder that knows better ways.

A rule is a function of the builder and an op's operands and parameters. It returns the value by which the op can be
replaced, or None. Rules are entered by operation; the first that applies decides. What a rule builds goes through the
rules again, so a rule must make something simpler; one that only brings an op into a normal form appends with `raw`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Literal, Op, Program, Value
from minigrad.compiler.ir.typing import OPAQUE, result

Rule = Callable[..., Value | None]
RULES: dict[str, list[Rule]] = {}
COMMUTATIVE = frozenset({"add", "multiply", "maximum", "minimum", "equal", "not_equal", "logical_and", "logical_or"})


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Enter a rule for some operations."""

    def enter(function: Rule) -> Rule:
        for name in operations:
            RULES.setdefault(name, []).append(function)
        return function

    return enter


class Builder:
    """Ops of a new program; what is asked for twice is computed once."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.number: dict[Op, int] = {}  # of ops, in order
        self.known: dict[Any, Op] = {}
        self.missed: list[Any] = []  # keys of ops that were asked for, and not there yet
        self.note = ""

    def op(self, name: str, *ins: Value | Literal, **params: Any) -> Value:
        """The value of an op, made in the best way that is known."""
        for better in RULES.get(name, ()):
            found = better(self, *ins, **params)
            if found is not None:
                return found
        return self.raw(name, *ins, **params)

    def raw(self, name: str, *ins: Value | Literal, **params: Any) -> Value:
        """The value of an op as it stands."""
        return self.add(name, ins, params, [result(name, ins, params)]).out

    def add(self, name: str, ins: Any, params: Any, results: Any) -> Op:
        """The op with these operands: one that is there, or a new one."""
        key = self._key(name, ins, params)
        found = self.known.get(key) if key is not None else None
        if found is None:
            found = Op(name, ins, params, results, self.note)
            self.number[found] = len(self.ops)
            self.ops.append(found)
            if key is not None:
                self.known[key] = found
        return found

    def has(self, name: str, *ins: Value | Literal, **params: Any) -> bool:
        """Whether an op is there already."""
        key = self._key(name, ins, params)
        if key not in self.known:
            self.missed.append(key)
            return False
        return True

    def _key(self, name: str, ins: Any, params: Any) -> Any:
        if name in ("draw", "input"):
            return None
        operands = [id(x) if isinstance(x, Value) else (type(x), repr(x)) for x in ins]
        if name in COMMUTATIVE:
            operands.sort(key=_values_first)
        if not params:
            return name, *operands
        key = (name, tuple(operands), tuple(sorted((k, _frozen(v)) for k, v in params.items())))
        try:
            hash(key)
        except TypeError:
            return None
        return key


def _values_first(operand: Any) -> Any:
    """An order of operands in which those of equal ops are equal."""
    return (0, operand) if type(operand) is int else (1, repr(operand))


def rebuilt(program: Program) -> tuple[Program, list[Op]]:
    """The program, each op through the rules, and ops that a rule asked for before they were there.

    If there are none of these, nothing would change another time: an op is appended when no rule applies to it, and
    rules look at operands, which stay what they are.
    """
    builder = Builder()
    now: dict[Value, Value] = {}
    for op in program.ops:
        builder.note = op.note
        ins = tuple(now[x] if isinstance(x, Value) else x for x in op.ins)
        if op.name in OPAQUE or op.name == "check":
            made = builder.add(op.name, ins, op.params, [(v.shape, v.dtype) for v in op.outs]).outs
        else:
            made = (builder.op(op.name, *ins, **op.params),)
        for old, new in zip(op.outs, made, strict=True):
            if (old.shape, old.dtype) != (new.shape, new.dtype):
                raise AssertionError(f"a rule made {new} of {op}")
            if old.name:
                _name(new, old)
            now[old] = new
    late = [builder.known[key] for key in builder.missed if key in builder.known]
    return program.replaced(now.__getitem__, builder.ops), late


def _name(new: Value, old: Value) -> None:
    """Give a value the name that the user gave; and what it is a reshape of, which may take its place."""
    while new.name is None:
        new.name, new.label = old.name, old.label
        if new.op.name != "reshape":
            return
        new = new.op.operands[0]


def _frozen(x: Any) -> Any:
    """A parameter as part of a key; numbers of different types differ."""
    if isinstance(x, (bool, int, float, complex, str, type(None))):
        return str(type(x)), repr(x)
    if isinstance(x, np.dtype):
        return "dtype", x.str
    if isinstance(x, tuple):
        return "tuple", tuple(map(_frozen, x))
    if isinstance(x, (list, dict, slice)):
        return str(type(x)), repr(x)
    return str(type(x)), hash(x) if not isinstance(x, np.ndarray) else id(x)
