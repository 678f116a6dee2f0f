"""Programs are rewritten by building them again, line by line, through a builder that knows better ways.

A rule is a function of the builder and a line's operands and parameters. It returns the value by which the line can be
replaced, or None. Rules are entered by operation; the first that applies decides. What a rule builds goes through the
rules again, so a rule must make something simpler; one that only brings a line into a normal form appends with `raw`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.compiler.ir.program import Line, Literal, Program, Value
from minigrad.compiler.ir.typing import OPAQUE, result

Rule = Callable[..., Value | None]
RULES: dict[str, list[Rule]] = {}
COMMUTATIVE = frozenset({"add", "multiply", "maximum", "minimum", "equal", "not_equal", "logical_and", "logical_or"})


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Enter a rule for some operations."""

    def enter(function: Rule) -> Rule:
        for op in operations:
            RULES.setdefault(op, []).append(function)
        return function

    return enter


class Builder:
    """Lines of a new program; what is asked for twice is computed once."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.number: dict[Line, int] = {}  # of lines, in order
        self.known: dict[Any, Line] = {}
        self.missed: list[Any] = []  # keys of lines that were asked for, and not there yet
        self.note = ""

    def op(self, op: str, *ins: Value | Literal, **params: Any) -> Value:
        """The value of a line, made in the best way that is known."""
        for better in RULES.get(op, ()):
            found = better(self, *ins, **params)
            if found is not None:
                return found
        return self.raw(op, *ins, **params)

    def raw(self, op: str, *ins: Value | Literal, **params: Any) -> Value:
        """The value of a line as it stands."""
        return self.line(op, ins, params, [result(op, ins, params)]).out

    def line(self, op: str, ins: Any, params: Any, results: Any) -> Line:
        """The line with these operands: one that is there, or a new one."""
        key = self._key(op, ins, params)
        found = self.known.get(key) if key is not None else None
        if found is None:
            found = Line(op, ins, params, results, self.note)
            self.number[found] = len(self.lines)
            self.lines.append(found)
            if key is not None:
                self.known[key] = found
        return found

    def has(self, op: str, *ins: Value | Literal, **params: Any) -> bool:
        """Whether a line is there already."""
        key = self._key(op, ins, params)
        if key not in self.known:
            self.missed.append(key)
            return False
        return True

    def _key(self, op: str, ins: Any, params: Any) -> Any:
        if op in ("draw", "input"):
            return None
        operands = [id(x) if isinstance(x, Value) else (type(x), repr(x)) for x in ins]
        if op in COMMUTATIVE:
            operands.sort(key=_values_first)
        if not params:
            return op, *operands
        key = (op, tuple(operands), tuple(sorted((k, _frozen(v)) for k, v in params.items())))
        try:
            hash(key)
        except TypeError:
            return None
        return key


def _values_first(operand: Any) -> Any:
    """An order of operands in which those of equal lines are equal."""
    return (0, operand) if type(operand) is int else (1, repr(operand))


def rebuilt(program: Program) -> tuple[Program, list[Line]]:
    """The program, each line through the rules, and lines that a rule asked for before they were there.

    If there are none of these, nothing would change another time: a line is appended when no rule applies to it, and
    rules look at operands, which stay what they are.
    """
    builder = Builder()
    now: dict[Value, Value] = {}
    for line in program.lines:
        builder.note = line.note
        ins = tuple(now[x] if isinstance(x, Value) else x for x in line.ins)
        if line.op in OPAQUE or line.op == "check":
            made = builder.line(line.op, ins, line.params, [(v.shape, v.dtype) for v in line.outs]).outs
        else:
            made = (builder.op(line.op, *ins, **line.params),)
        for old, new in zip(line.outs, made, strict=True):
            if (old.shape, old.dtype) != (new.shape, new.dtype):
                raise AssertionError(f"a rule made {new} of {line}")
            if old.name:
                _name(new, old)
            now[old] = new
    late = [builder.known[key] for key in builder.missed if key in builder.known]
    return program.replaced(now.__getitem__, builder.lines), late


def _name(new: Value, old: Value) -> None:
    """Give a value the name that the user gave; and what it is a reshape of, which may take its place."""
    while new.name is None:
        new.name, new.label = old.name, old.label
        if new.line.op != "reshape":
            return
        new = new.line.operands[0]


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
