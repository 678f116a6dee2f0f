"""Rewriting programs: they are built again, op by op, through rules that replace ops by better ones.

A rule is a function of the rewriter and of an op's operands and parameters. It returns a value that can replace the
op's, or None. The first rule that applies decides. What a rule builds goes through the rules again, so a rule must make
something simpler; a rule that only brings an op into a normal form builds with `raw`. Most rules are equations:

    rules.rewrite(X + -Y, lambda x, y: x - y)

The rules that may apply to an op are looked up by its name and by the names of the ops that compute its operands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from minigrad.compiler.ir.patterns import LITERAL, Operators, Pattern
from minigrad.compiler.ir.predicates import Operand, is_float
from minigrad.compiler.ir.program import COMMUTATIVE, Op, Program, Value
from minigrad.compiler.ir.typing import OPAQUE, result

Rule = Callable[..., Value | None]
Accepts = Callable[[tuple[str, ...]], bool]  # whether a rule may apply, by the ops that compute the operands
INDEXED = 3  # operands by which rules are looked up


# Rules


class Term(Operators):
    """A value within a rewriter: its operators build ops, through the rules."""

    __slots__ = ("rewriter", "value")

    def __init__(self, rewriter: Rewriter, value: Value) -> None:
        self.rewriter, self.value = rewriter, value

    def _build(self, name: str, ins: tuple[Any, ...], params: dict[str, Any]) -> Term:
        operands = [x.value if isinstance(x, Term) else x for x in ins]
        return Term(self.rewriter, self.rewriter.op(name, *operands, **params))


class Equation:
    """A rule: an op that matches the pattern is replaced by what `change` builds. See `Rules.rewrite`."""

    def __init__(
        self, pattern: Pattern, change: Callable[..., Any], when: Callable[..., bool] | None, any_dtype: bool
    ) -> None:
        self.pattern, self.change, self.when, self.any_dtype = pattern, change, when, any_dtype
        self._change_names, self._when_names = _parameters(change), _parameters(when)

    def __call__(self, rewriter: Rewriter, *ins: Operand, **params: Any) -> Value | None:
        """The value that replaces the op's."""
        bound = dict(params)
        if not self.pattern.binds_operands(ins, bound) or not (self.any_dtype or is_float(*ins)):
            return None
        if self.when is not None and not self.when(*[bound[name] for name in self._when_names]):
            return None
        shape, dtype = result(self.pattern.name, ins, params)
        if not self.any_dtype and dtype.kind != "f":
            return None
        operands = [bound[name] for name in self._change_names]
        replacement = self.change(*[Term(rewriter, x) if type(x) is Value else x for x in operands])
        if type(replacement) is not Term or replacement.value.dtype != dtype:
            return None
        x = replacement.value
        return x if x.shape == shape else rewriter.op("broadcast", x, shape=shape)


def _parameters(function: Callable[..., Any] | None) -> tuple[str, ...]:
    return function.__code__.co_varnames[: function.__code__.co_argcount] if function is not None else ()


def _for_floats(rule: Rule) -> Rule:
    return lambda b, *ins, **params: rule(b, *ins, **params) if is_float(*ins) else None


class Rules:
    """Rules for ops, in the order in which they are tried."""

    def __init__(self) -> None:
        self._rules: dict[str, list[tuple[Accepts, Rule]]] = {}
        self._candidates: dict[tuple[str, ...], tuple[Rule, ...]] = {}

    def rule(self, *names: str, operands: Iterable[str] = (), any_dtype: bool = True) -> Callable[[Rule], Rule]:
        """Decorate a function that is a rule for some ops.

        Args:
            names: the names of the ops.
            operands: names of ops: the rule is tried only where one of them computes an operand. LITERAL is for
                operands that are literals. The rule is tried for any operands if there are none.
            any_dtype: whether the rule is tried for other operands than floating-point ones of one dtype.
        """
        some = frozenset(operands)

        def accepts(names: tuple[str, ...]) -> bool:
            return not some or not some.isdisjoint(names)

        def enter(function: Rule) -> Rule:
            for name in names:
                self._enter(name, accepts, function if any_dtype else _for_floats(function))
            return function

        return enter

    def rewrite(
        self,
        pattern: Any,
        change: Callable[..., Any],
        when: Callable[..., bool] | None = None,
        *,
        any_dtype: bool = False,
    ) -> None:
        """Enter an equation: an op that matches the pattern becomes what `change` builds, in the same shape.

        Args:
            pattern: variables, numbers and operators; see patterns.py.
            change: builds the replacement with the operators of terms. Its parameters are named as the variables, in
                lower case, or as parameters of the op. A replacement of another dtype than the op's is not used.
            when: a condition. Its parameters are named in the same way, and are values and numbers.
            any_dtype: whether the equation also holds for other operands than floating-point ones of one dtype.
        """
        for ordered in pattern.orders():
            self._enter(pattern.name, ordered.accepts_operands, Equation(ordered, change, when, any_dtype))

    def _enter(self, name: str, accepts: Accepts, rule: Rule) -> None:
        self._rules.setdefault(name, []).append((accepts, rule))
        self._candidates.clear()

    def candidates(self, name: str, ins: tuple[Operand, ...]) -> tuple[Rule, ...]:
        """The rules that may apply to an op with these operands."""
        if name not in self._rules:
            return ()
        key = name, *[x.op.name if type(x) is Value else LITERAL for x in ins[:INDEXED]]
        candidates = self._candidates.get(key)
        if candidates is None:
            candidates = tuple([rule for accepts, rule in self._rules[name] if accepts(key[1:])])
            self._candidates[key] = candidates
        return candidates


# The rewriter


class Rewriter:
    """Builds a program again through rules, and makes equal ops one.

    A subclass names the rules, and has what they need to know of the program.
    """

    rules: ClassVar[Rules] = Rules()
    merges: ClassVar[bool] = True  # whether equal ops become one

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.position: dict[Op, int] = {}  # of the new ops
        self.note = ""
        self._by_key: dict[Any, Op] = {}
        self._missed: list[Any] = []  # keys of ops that a rule asked for before they were there

    def run(self, program: Program) -> Program:
        """The program, each op through the rules. An op that stays what it was is the same object."""
        new: dict[Value, Value] = {}
        for op in program.ops:
            self.note = op.note
            ins = tuple([new[x] if type(x) is Value else x for x in op.ins])
            outs = self._rewritten(op, ins)
            for before, after in zip(op.outs, outs, strict=True):
                if before is not after and (before.shape, before.dtype) != (after.shape, after.dtype):
                    raise AssertionError(f"a rule replaced {op} by {after}")
                if before.name:
                    self._carry_name(before, after)
                new[before] = after
        return program.replaced(new.__getitem__, self.ops)

    def _rewritten(self, op: Op, ins: tuple[Operand, ...]) -> tuple[Value, ...]:
        if op.name not in OPAQUE:
            for rule in self.rules.candidates(op.name, ins):
                better = rule(self, *ins, **op.params)
                if better is not None:
                    return (better,)
        key = self._key(op.name, ins, op.params) if self.merges else None
        known = self._by_key.get(key) if key is not None else None
        return (known or self._append(key, op.on(ins))).outs

    def _carry_name(self, before: Value, after: Value) -> None:
        """Give a value the name of the value that it replaces; and what it is a reshape of, which may replace it."""
        if after.name is None:
            after.name, after.label = before.name, before.label
        while after.op.name == "reshape" and (after := after.op.operands[0]).name is None:
            after.name, after.label = before.name, before.label

    def op(self, name: str, *ins: Operand, **params: Any) -> Value:
        """The value of an op, through the rules."""
        for rule in self.rules.candidates(name, ins):
            better = rule(self, *ins, **params)
            if better is not None:
                return better
        return self.raw(name, *ins, **params)

    def raw(self, name: str, *ins: Operand, **params: Any) -> Value:
        """The value of an op, not through the rules."""
        key = self._key(name, ins, params)
        known = self._by_key.get(key) if key is not None else None
        return (known or self._append(key, Op(name, ins, params, [result(name, ins, params)], self.note))).out

    def _append(self, key: Any, op: Op) -> Op:
        self.position[op] = len(self.ops)
        self.ops.append(op)
        if key is not None:
            self._by_key[key] = op
        return op

    def has(self, name: str, *ins: Operand, **params: Any) -> bool:
        """Whether there is such an op already."""
        key = self._key(name, ins, params)
        if key in self._by_key:
            return True
        self._missed.append(key)
        return False

    def added_late(self) -> list[Op]:
        """The ops that a rule asked for by `has` before they were there.

        If there are none, a second run changes nothing: an op is appended when no rule applies to it, and rules look at
        operands, which do not change.
        """
        return [self._by_key[key] for key in self._missed if key in self._by_key]

    def _key(self, name: str, ins: Iterable[Operand], params: dict[str, Any]) -> Any:
        """A key that is the same for equal ops; None for an op that is not merged with others."""
        if not self.merges or name in ("random", "input"):
            return None
        operands: list[Any] = [id(x) if type(x) is Value else (type(x), repr(x)) for x in ins]
        if name in COMMUTATIVE:
            operands.sort(key=_values_first)
        if not params:
            return name, *operands
        key = (name, tuple(operands), tuple(sorted([(k, _frozen(v)) for k, v in params.items()])))
        try:
            hash(key)
        except TypeError:
            return None
        return key


def _values_first(operand: Any) -> Any:
    """An order of operands in which those of equal ops are equal."""
    return (0, operand) if type(operand) is int else (1, repr(operand))


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
